//! curl, as a client of `pseudotcp proxy`: no TUN in between.

use std::net::SocketAddr;

use crate::support::lab::{Lab, SERVERS};
use crate::support::need::{self, Need};
use crate::support::pattern;
use crate::support::{curl, proxy};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../interop/curl_tunnel.py");

const LENGTH: usize = 10_000_000;

/// curl first asks without credentials, hears 407 and then asks again with them.
#[test]
fn curl_tunnels_over_http1() {
    if !need::met(&[Need::Program("curl")]) {
        return;
    }
    let lab = Lab::new();
    lab.serve_web();
    let proxy = proxy::ours(&lab, &["--basic", "user:pass", "--access-log"]);
    let arguments = ["--proxytunnel", "--proxy-insecure", "--proxy-anyauth"];
    let options = ["--proxy", &proxy::url(), "--proxy-user", "user:pass"];
    for url in urls() {
        let downloaded = curl::download(&lab, &url, &[&arguments[..], &options].concat());
        assert_eq!(downloaded, expected(), "{url}");
    }
    proxy.wait_line("status=407");
    proxy.wait_line("end=");
}

/// libcurl speaks HTTP/2 to the proxy where it is built for that.
#[test]
fn curl_tunnels_over_http2() {
    if !need::met(&[Need::Python]) {
        return;
    }
    let lab = Lab::new();
    lab.serve_web();
    let _proxy = proxy::ours(&lab, &["--basic", "user:pass"]);
    for url in urls() {
        let mut script = lab.client.command(need::python().expect("met"));
        let output = script.args([SCRIPT, &proxy::url(), "user:pass", &url]).output();
        let output = output.expect("run the script");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        assert!(said.contains("HTTP/2 proxy tunnel"), "{said}");
        let (length, sum) = expected();
        let printed = String::from_utf8(output.stdout).expect("text");
        assert_eq!(printed, format!("200 {length} {}\n", pattern::hex(&sum)), "{url}");
    }
}

fn urls() -> [String; 2] {
    SERVERS.map(|server| {
        let address = SocketAddr::new(server.parse().expect("an address"), 80);
        format!("http://{address}/bytes/{LENGTH}")
    })
}

fn expected() -> (usize, pattern::Sum) {
    pattern::read_sum(&pattern::bytes(LENGTH)[..]).expect("from memory")
}
