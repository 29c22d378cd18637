use crate::support::run;

#[test]
fn every_command_explains_itself() {
    for (name, arguments) in [
        ("pseudotcp", &["--help"][..]),
        ("up", &["up", "--help"]),
        ("policy_check", &["policy", "check", "--help"]),
        ("policy_explain", &["policy", "explain", "--help"]),
        ("proxy", &["proxy", "--help"]),
    ] {
        let ended = run(arguments);
        assert_eq!(ended.code, Some(0));
        insta::assert_snapshot!(name, ended.stdout);
    }
}

#[test]
fn the_version_is_known() {
    let ended = run(&["--version"]);
    assert_eq!(ended.stdout, format!("pseudotcp {}\n", env!("CARGO_PKG_VERSION")));
}
