//! `pseudotcp proxy` as a service: its files, its counters, its signals.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{pseudotcp, run};

#[test]
fn files_are_read_again_and_counters_are_served() {
    let tokens = std::env::temp_dir().join(format!("pseudotcp-tokens-{}", std::process::id()));
    std::fs::write(&tokens, "# tokens\none\ntwo\n").unwrap();
    let mut command = pseudotcp(&["proxy", "--listen", "127.0.0.1:0", "--self-signed", "-v"]);
    command.args(["--metrics", "127.0.0.1:0", "--token-file", tokens.to_str().unwrap()]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let pid = Pid::from_raw(child.id().try_into().unwrap());
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut logged = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let mut logs = |text: &str| assert!(logged.any(|line| line.contains(text)), "no {text}");

    let counters = said.next().unwrap();
    let address = counters.strip_prefix("pseudotcp: counters at http://").unwrap();
    assert!(said.next().unwrap().starts_with("pseudotcp: listening on https://127.0.0.1:"));
    let mut scrape = TcpStream::connect(address.strip_suffix("/metrics").unwrap()).unwrap();
    scrape.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut answer = String::new();
    scrape.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("\npseudotcp_proxy_connections_total 0\n"), "{answer}");

    kill(pid, Signal::SIGHUP).unwrap();
    logs("were read again");
    std::fs::remove_file(&tokens).unwrap();
    kill(pid, Signal::SIGHUP).unwrap();
    logs("nothing was reloaded");
    kill(pid, Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn rules_that_cannot_be_are_usage_errors() {
    for rule in ["10.0.0.0/33", "10.0.0.0/8:0", "example.org", "*:9-1"] {
        let ended = run(&["proxy", "--listen", "127.0.0.1:0", "--self-signed", "--allow", rule]);
        assert_eq!(ended.code, Some(2), "{rule}");
        assert!(ended.stderr.contains("a rule reads NETWORK"), "{}", ended.stderr);
    }
}
