use std::fs::OpenOptions;
use std::io::Write;

/// Says why a test does not run on this machine, and returns for the test to end.
///
/// The reason is printed past the capture of the test harness, and appended to the file that
/// `PSEUDOTCP_SKIPS` names, from which `cargo xtask test` prints its list.
///
/// # Panics
///
/// Where every test must run (`PSEUDOTCP_REQUIRE_ALL`).
pub fn skip(reason: &str) {
    assert!(std::env::var_os("PSEUDOTCP_REQUIRE_ALL").is_none(), "this test must run: {reason}");
    // A skip that cannot be told is still a skip.
    let _ = writeln!(std::io::stderr(), "SKIP: {reason}");
    if let Some(list) = std::env::var_os("PSEUDOTCP_SKIPS") {
        let list = OpenOptions::new().create(true).append(true).open(list);
        let _ = list.and_then(|mut list| writeln!(list, "{reason}"));
    }
}
