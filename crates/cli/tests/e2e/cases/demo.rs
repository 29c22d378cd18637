//! The demo judges itself; here it must be content.

use std::process::Command;

#[test]
fn the_demo_finds_nothing_wrong() {
    let output = Command::new(env!("CARGO_BIN_EXE_pseudotcp")).arg("demo").output();
    let output = output.expect("run the demo");
    println!("{}", String::from_utf8_lossy(&output.stderr));
    let report = String::from_utf8_lossy(&output.stdout);
    println!("{report}");
    assert!(output.status.success(), "{}", output.status);
    assert!(report.contains("SHA-256 equal"), "no figures");
}
