//! `pseudotcp proxy` under an independent client that looks at every frame.

use crate::support::lab::Lab;
use crate::support::need::{self, Need};
use crate::support::proxy::{self, PORT};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../interop/check_proxy.py");

#[test]
fn our_proxy_passes_every_check() {
    if !need::met(&[Need::Python]) {
        return;
    }
    let lab = Lab::new();
    let proxy = proxy::ours(&lab, &["--allow", "127.0.0.0/8", "--allow", "::1/128"]);
    let mut check = lab.proxy.command(need::python().expect("met"));
    check.arg(SCRIPT).arg(format!("https://127.0.0.1:{PORT}"));
    check.args(["--draft03", "--connect-tcp", "--udp-over-h1"]);
    let output = check.arg(format!("--drain-pid={}", proxy.pid())).output();
    let output = output.expect("run the checks");
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    println!("{report}{}", String::from_utf8_lossy(&output.stderr));
    let passed = |prefix: &str| {
        let passes = report.lines().filter_map(|line| line.strip_prefix("PASS "));
        passes.filter(|name| name.trim_start().starts_with(prefix)).count()
    };
    assert!(output.status.success(), "a check failed");
    for (prefix, checks) in [
        ("h2-tcp-", 9),
        ("h2-udp-", 8),
        ("h2-connect-tcp", 2),
        ("h2-draft03-", 1),
        ("h2-drain", 1),
        ("h1-", 8),
    ] {
        assert_eq!(passed(prefix), checks, "checks of {prefix} are missing");
    }
}
