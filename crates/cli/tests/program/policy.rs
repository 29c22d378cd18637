use crate::support::{Ended, Rules, run};

/// Standard output of `policy explain` about a flow, with the name of the file in place of its path.
fn explain(rules: &Rules, flow: &str) -> String {
    let flow = flow.split(' ');
    let arguments: Vec<&str> =
        ["policy", "explain", "--policy", rules.path()].into_iter().chain(flow).collect();
    let ended = run(&arguments);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    said(rules, &ended.stdout)
}

fn said(rules: &Rules, text: &str) -> String {
    text.replace(rules.path(), "rules.toml")
}

const RULES: &str = r#"otherwise = "reject"
quic = "auto"

[[rule]]
to = ["198.51.100.0/24", ".example.com"]
verdict = "direct"

[[rule]]
port = "dns-over-tls"
protocol = ["tcp", "udp"]
verdict = "reject"
answer = "port-unreachable"

[[rule]]
user = 1000
verdict = "drop"

[[rule]]
from = "10.99.99.0/24"
to = ["203.0.113.0/24", "2001:db8::/32"]
verdict = "proxy"
"#;

#[test]
fn explain_shows_the_rule_that_decides() {
    let rules = Rules::new("explain", RULES);
    let proxied = "rules.toml:18: from = \"10.99.99.0/24\", to = [\"203.0.113.0/24\", \
                   \"2001:db8::/32\"], verdict = \"proxy\"";
    let direct = "rules.toml:4: to = [\"198.51.100.0/24\", \".example.com\"], verdict = \"direct\"";
    let from = "--source 10.99.99.10";
    for (flow, verdict, origin) in [
        ("198.51.100.7:80", "direct", direct),
        ("www.example.com:443", "direct", direct),
        ("192.0.2.1:80 --name example.com", "direct", direct),
        (
            "192.0.2.1:853 --udp",
            "reject, port-unreachable",
            "rules.toml:8: port = \"dns-over-tls\", protocol = [\"tcp\", \"udp\"], verdict = \"reject\", \
             answer = \"port-unreachable\"",
        ),
        ("192.0.2.1:80 --uid 1000", "drop", "rules.toml:14: user = 1000, verdict = \"drop\""),
        (&format!("203.0.113.5:80 {from}"), "proxy", proxied),
        (
            &format!("203.0.113.5:443 --udp {from}"),
            "reject, port-unreachable",
            &format!("{proxied}; but QUIC through the proxy is blocked"),
        ),
        (&format!("203.0.113.5 --icmp {from}"), "proxy", proxied),
        ("203.0.113.5:80", "reject, closed", "no rule matches"),
        ("10.1.1.1:80 --reject-private", "reject, host-unreachable", "--reject-private"),
        ("10.1.1.1:80 --direct 10.0.0.0/8", "direct", "--direct 10.0.0.0/8"),
    ] {
        assert_eq!(explain(&rules, flow), format!("{verdict}\n{origin}\n"), "{flow}");
    }
}

#[test]
fn explain_knows_what_is_never_carried() {
    let rules = Rules::new("never", "");
    let many = "drop\nbuilt in: the address is not that of one host elsewhere\n";
    for to in ["239.1.1.1:80", "127.0.0.1:80", "[ff02::1]:80", "255.255.255.255:67"] {
        assert_eq!(explain(&rules, to), many, "{to}");
    }
    let neighbour = "reject, host-unreachable\n\
                     built in: a neighbour's address means another host at the proxy\n";
    assert_eq!(explain(&rules, "[fe80::1]:80"), neighbour);
    let by_rule = "reject, host-unreachable\n--reject-private\n";
    assert_eq!(explain(&rules, "239.1.1.1:80 --reject-private"), by_rule);
}

#[test]
fn explain_knows_what_a_proxy_without_ipv6_means() {
    let rules = Rules::new("ipv6", "");
    let flow = "[2001:db8::1]:80";
    assert_eq!(explain(&rules, flow), "proxy\nno rule matches\n");
    let refused =
        "reject, net-unreachable\nno rule matches; but there is no IPv6 through the proxy\n";
    assert_eq!(explain(&rules, &format!("{flow} --proxy-lacks-ipv6")), refused);
    assert_eq!(explain(&rules, &format!("{flow} --ipv6 off")), refused);
    assert_eq!(
        explain(&rules, &format!("{flow} --proxy-lacks-ipv6 --ipv6 on")),
        "proxy\nno rule matches\n"
    );
}

#[test]
fn check_counts_rules() {
    let rules = Rules::new("check", RULES);
    let ended = run(&["policy", "check", rules.path()]);
    assert_eq!(
        (ended.code, said(&rules, &ended.stdout)),
        (Some(0), "rules.toml: 4 rules, no mistakes\n".into())
    );
}

#[test]
fn mistakes_are_usage_errors_with_file_line_and_value() {
    let rules =
        Rules::new("wrong", "quick = 1\n[[rule]]\nto = \"10.0.0.0/33\"\nverdict = \"drop\"\n");
    let expected = "pseudotcp: 2 mistakes in the policy\n\
                    rules.toml:1:1: unknown key \"quick\"; did you mean \"quic\"?\n\
                    rules.toml:3:6: \"10.0.0.0/33\" is neither an address nor a block like \"10.0.0.0/8\"\n";
    let up = ["up", "--proxy", "https://127.0.0.1:9", "--policy", rules.path()];
    for arguments in [&["policy", "check", rules.path()][..], &up] {
        let Ended { code, stderr, .. } = run(arguments);
        assert_eq!((code, said(&rules, &stderr)), (Some(2), expected.to_owned()));
    }
}

#[test]
fn what_cannot_be_asked_is_told() {
    for (arguments, named) in [
        (&["policy", "explain", "nonsense"][..], "ADDRESS:PORT"),
        (&["policy", "explain", "192.0.2.1:80", "--udp", "--icmp"], "--icmp"),
        (&["policy", "explain", "192.0.2.1:80", "--quic", "never"], "--quic"),
    ] {
        let ended = run(arguments);
        assert_eq!(ended.code, Some(2));
        assert!(ended.stderr.contains(named), "{}", ended.stderr);
    }
    let ended = run(&["policy", "check", "/nowhere/rules.toml"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("/nowhere/rules.toml"), "{}", ended.stderr);
}

#[test]
fn flows_past_the_proxy_need_a_way_around_the_tun() {
    let rules = Rules::new("direct", RULES);
    let ended = run(&["up", "--proxy", "https://127.0.0.1:9", "--policy", rules.path()]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("--mark"), "{}", ended.stderr);
}
