//! 100 MB each way through each proxy arrive as they were sent.

use std::path::PathBuf;

use crate::support::lab::{Lab, SERVERS};
use crate::support::need::{self, Need};
use crate::support::pattern::{self, LARGE};
use crate::support::proxy::Kind;
use crate::support::{client, curl, proxy};

const CURL: Need = Need::Program("curl");

/// Asks curl for HTTP/2 and for trust in our certificate, and fails on anything less.
const HTTP2: [&str; 2] = ["--insecure", "--http2"];

#[test]
fn downloads_through_our_proxy() {
    if need::met(&[CURL]) {
        downloads(Kind::Ours, &[]);
    }
}

#[test]
fn downloads_through_envoy() {
    if need::met(&[CURL, Need::Envoy]) {
        downloads(Kind::Envoy, &[]);
    }
}

#[test]
fn uploads_through_our_proxy() {
    if need::met(&[CURL]) {
        uploads(Kind::Ours, &[]);
    }
}

#[test]
fn uploads_through_envoy() {
    if need::met(&[CURL, Need::Envoy]) {
        uploads(Kind::Envoy, &[]);
    }
}

/// Every packet of 1,500 bytes by itself, its checksum computed and verified by us.
#[test]
fn without_offload_through_our_proxy() {
    if need::met(&[CURL]) {
        downloads(Kind::Ours, &["--no-offload"]);
        uploads(Kind::Ours, &["--no-offload"]);
    }
}

/// Several threads: each carries some of the flows.
#[test]
fn in_shards_through_our_proxy() {
    if need::met(&[CURL]) {
        downloads(Kind::Ours, &["--shards", "3"]);
        uploads(Kind::Ours, &["--shards", "3"]);
    }
}

/// A body whose end is the server's FIN: nothing of its tail is lost at the default windows.
#[test]
fn d01_download_until_close_through_our_proxy() {
    if need::met(&[CURL]) {
        download_until_close(Kind::Ours, "until-close");
    }
}

/// Envoy drops what still waits for a window when the target closes; over a network little does.
#[test]
fn d01_download_until_close_through_envoy() {
    if need::met(&[CURL, Need::Envoy]) {
        download_until_close(Kind::Envoy, "paced-until-close");
    }
}

fn downloads(kind: Kind, options: &[&str]) {
    let lab = Lab::new();
    lab.serve_web();
    let _proxy = proxy::start(&lab, kind);
    let _client = client::up(&lab, options);
    let expected = (LARGE, pattern::large_sum());
    for server in SERVERS {
        let plain = format!("http://{}/bytes/{LARGE}", bracketed(server));
        assert_eq!(curl::download(&lab, &plain, &[]), expected, "{plain}");
        let tls = format!("https://{}/bytes/{LARGE}", bracketed(server));
        assert_eq!(curl::download(&lab, &tls, &HTTP2), expected, "{tls}");
    }
}

fn uploads(kind: Kind, options: &[&str]) {
    let lab = Lab::new();
    lab.serve_web();
    let _proxy = proxy::start(&lab, kind);
    let _client = client::up(&lab, options);
    let (file, expected) = (file(&lab), pattern::hex(&pattern::large_sum()));
    for server in SERVERS {
        let plain = format!("http://{}/sum", bracketed(server));
        assert_eq!(curl::upload(&lab, &plain, &file, &[]), expected, "{plain}");
        let tls = format!("https://{}/sum", bracketed(server));
        assert_eq!(curl::upload(&lab, &tls, &file, &HTTP2), expected, "{tls}");
    }
}

fn download_until_close(kind: Kind, path: &str) {
    let lab = Lab::new();
    lab.serve_web();
    let _proxy = proxy::start(&lab, kind);
    let _client = client::up(&lab, &[]);
    let url = format!("http://{}/{path}/{LARGE}", SERVERS[0]);
    assert_eq!(curl::download(&lab, &url, &[]), (LARGE, pattern::large_sum()));
}

/// The pattern's first 100 MB as a file.
fn file(lab: &Lab) -> PathBuf {
    let path = lab.file("upload");
    std::fs::write(&path, pattern::bytes(LARGE)).expect("write a file");
    path
}

fn bracketed(address: &str) -> String {
    if address.contains(':') { format!("[{address}]") } else { address.to_owned() }
}
