use std::fs;

use super::output;
use crate::support::lab::{Lab, SERVERS};
use crate::support::need::{self, Need};
use crate::support::process::Process;
use crate::support::proxy::{self, Kind};
use crate::support::{client, pattern};

/// A server that sends every body back, and a client that checks what comes.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../interop/http3.py");

const LENGTH: usize = 200_000;

/// The client of [`SCRIPT`] makes so many requests at once.
const REQUESTS: usize = 4;

#[test]
fn http3_through_our_proxy() {
    if need::met(&[Need::Python]) {
        http3(Kind::Ours);
    }
}

#[test]
fn http3_through_envoy() {
    if need::met(&[Need::Python, Need::Envoy]) {
        http3(Kind::Envoy);
    }
}

/// Requests and answers of HTTP/3, both ways at once, over one QUIC connection for each IP version.
fn http3(kind: Kind) {
    let lab = Lab::new();
    let python = need::python().expect("met");
    let mut server = lab.server.command(&python);
    server.args([SCRIPT, "serve"]).arg(&lab.certificate.chain).arg(&lab.certificate.key);
    let server = Process::start("http3", server);
    server.wait_line("serving");
    let _proxy = proxy::start(&lab, kind);
    let _client = client::up(&lab, &[]);
    let (body, file) = (pattern::bytes(LENGTH), lab.file("body"));
    fs::write(&file, &body).expect("write a file");
    let (length, sum) = pattern::read_sum(&body[..]).expect("from memory");
    let expected = format!("200 {length} {}\n", pattern::hex(&sum)).repeat(REQUESTS);
    for host in SERVERS {
        let mut load = lab.client.command(&python);
        load.args([SCRIPT, "load"]).arg(&lab.certificate.chain).arg(host).arg(&file);
        let (text, content) = output(&mut load);
        assert!(content, "{host}: {text}");
        assert_eq!(text, expected, "{host}");
    }
}
