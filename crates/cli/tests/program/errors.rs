use std::net::TcpListener;
use std::thread;

use crate::support::{Ended, Proxy, pseudotcp, run};

const SECRET: &str = "hunter2-is-the-secret";

/// `up` with a proxy that is never asked.
fn up(arguments: &[&str]) -> Ended {
    run(&[&["up", "--proxy", "https://127.0.0.1:9"], arguments].concat())
}

#[test]
fn arguments_that_cannot_be_are_usage_errors() {
    for (arguments, named) in [
        (&["--pin", "a", "--insecure"][..], "--insecure"),
        (&["--token", "a", "--basic", "b:c"], "--basic"),
        (&["--tun-fd", "3", "--route", "10.0.0.0/8"], "--route"),
        (&["--tun-fd", "2"], "--tun-fd"),
        (&["--direct", "10.0.0.0/8"], "--mark"),
        (&["--mark", "254"], "--mark"),
        (&["--spread", "1,2"], "--spread"),
        (&["--pin", "a", "--pin-key", "b"], "--pin-key"),
        (&["--pin-key", "not a hash"], "a pin must"),
        (&["--pin-key", "a", "--pin-key", "b"], "once for each --proxy"),
        (&["--client-cert", "a"], "--client-key"),
        (&["--mtu", "1279"], "--mtu"),
        (&["--shards", "17"], "--shards"),
        (&["--shards", "2", "--tun-fd", "3"], "--shards"),
        (&["--shards", "2", "--max-connections", "1"], "--max-connections"),
        (&["--route", "10.0.0.0/33"], "--route"),
        (&["--congestion-control", "nonsense"], "it has: "),
        (&["--address", "nonsense"], "--address"),
    ] {
        let ended = up(arguments);
        assert_eq!(ended.code, Some(2), "{arguments:?}");
        assert!(ended.stderr.contains(named), "{arguments:?}: {}", ended.stderr);
    }
    assert_eq!(run(&["up"]).code, Some(2), "--proxy is missing");
    assert_eq!(run(&[]).code, Some(2), "a command is missing");
    assert_eq!(run(&["proxy", "--listen", "127.0.0.1:0"]).code, Some(2), "no certificate");
}

#[test]
fn a_proxy_that_is_no_https_origin_is_a_usage_error() {
    for proxy in ["127.0.0.1:443", "http://127.0.0.1", "https://127.0.0.1/path", "https://"] {
        let ended = run(&["up", "--proxy", proxy]);
        assert_eq!(ended.code, Some(2), "{proxy}");
        assert!(ended.stderr.contains("https://HOST"), "{}", ended.stderr);
    }
}

#[test]
fn secrets_are_in_no_message() {
    let header = format!("no colon {SECRET}");
    let broken = format!("x-id: {SECRET}\u{1}");
    let in_url = format!("https://user:{SECRET}@127.0.0.1");
    let basic = format!("user:{SECRET}");
    let cases = [
        &["--header", &header][..],
        &["--header", &broken],
        &["--basic", SECRET],
        &["--token", &broken],
        &["--token", SECRET, "-vvv"],
        &["--basic", &basic, "-vvv"],
    ];
    // At once, since some of them wait for a proxy that never comes.
    thread::scope(|scope| {
        for arguments in cases {
            scope.spawn(move || {
                let ended = up(arguments);
                assert_ne!(ended.code, Some(0));
                let said = ended.stdout + &ended.stderr;
                assert!(!said.contains(SECRET), "{said}");
            });
        }
    });
    let ended = run(&["up", "--proxy", &in_url]);
    assert!(!ended.stderr.contains(SECRET), "{}", ended.stderr);
}

#[test]
fn credentials_of_the_environment_are_used_and_not_shown() {
    let mut command = pseudotcp(&["up", "--proxy", "https://127.0.0.1:9"]);
    let ended: Ended = command.env("PSEUDOTCP_BASIC", SECRET).output().unwrap().into();
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("USER:PASSWORD") && !ended.stderr.contains(SECRET));
}

#[test]
fn a_proxy_that_refuses_is_named() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("https://{closed}");
    let ended = run(&["up", "--proxy", &url, "--insecure"]);
    assert_eq!(ended.code, Some(1));
    let expected = format!("pseudotcp: {url} refuses connections");
    assert!(ended.stderr.contains(&expected), "{}", ended.stderr);
}

#[test]
fn a_certificate_that_is_not_the_pinned_one_is_refused() {
    let (proxy, other) = (Proxy::start(&[]), Proxy::start(&[]));
    let pin = other.pin.to_str().unwrap();
    let ended = run(&["up", "--proxy", &proxy.url, "--pin", pin]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("--pin FILE"), "{}", ended.stderr);
}

#[test]
fn files_that_are_missing_are_named() {
    for option in ["--pin", "--ca", "--token-file"] {
        let ended = up(&[option, "/nowhere/file"]);
        assert_eq!(ended.code, Some(1));
        assert!(ended.stderr.contains("/nowhere/file"), "{}", ended.stderr);
    }
}

#[test]
fn a_port_in_use_is_told() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ended = run(&["proxy", "--self-signed", "--listen", &address]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("the port is in use"), "{}", ended.stderr);
}

#[test]
fn a_descriptor_that_is_not_open_is_told() {
    let proxy = Proxy::start(&[]);
    let ended = run(&[&["up", "--tun-fd", "99"][..], &proxy.arguments()].concat());
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("descriptor 99"), "{}", ended.stderr);
}
