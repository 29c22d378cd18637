//! curl, as a client of `pseudotcp proxy`: no TUN in between.

use std::net::SocketAddr;
use std::time::Duration;

use crate::support::clock::timed;
use crate::support::lab::{Lab, SERVERS};
use crate::support::need::{self, Need};
use crate::support::pattern;
use crate::support::process::Process;
use crate::support::{curl, proxy};

const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../interop/curl_tunnel.py");
const SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../interop/http3.py");

const LENGTH: usize = 10_000_000;

/// How long our proxy waits for a target in all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What is posted in datagrams and comes back: Python is slow.
const POSTED: usize = 1_000_000;

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

/// A name with two addresses, of which the first one swallows everything (RFC 8305).
#[test]
fn a_target_with_a_dead_address_is_reached_at_its_other() {
    if !need::met(&[Need::Program("curl")]) {
        return;
    }
    let lab = Lab::new();
    lab.serve_web();
    lab.proxy.ip("-6 route add 2001:db8:3::/64 dev server");
    lab.proxy.ip("neighbour add 2001:db8:3::3 dev server lladdr 02:00:00:00:00:01");
    lab.proxy.name("both.example", &["2001:db8:3::3", SERVERS[0]]);
    let _proxy = proxy::ours(&lab, &[]);
    let options = ["--proxytunnel", "--proxy-insecure", "--proxy", &proxy::url()];
    let url = format!("http://both.example/bytes/{LENGTH}");
    let (downloaded, took) = timed(|| curl::download(&lab, &url, &options));
    assert_eq!(downloaded, expected());
    assert!(took < CONNECT_TIMEOUT, "{took:?}");
}

/// libcurl over both versions of HTTP.
#[test]
fn libcurl_tunnels_over_both_versions_of_http() {
    if !need::met(&[Need::Python]) {
        return;
    }
    let lab = Lab::new();
    lab.serve_web();
    let _proxy = proxy::ours(&lab, &["--basic", "user:pass"]);
    for url in urls() {
        for (version, said) in [("1", "CONNECT tunnel established"), ("2", "HTTP/2 proxy tunnel")] {
            let expected = printed(&pattern::bytes(LENGTH));
            assert_eq!(tunnel(&lab, version, &url, said), expected, "{url}, HTTP/{version}");
        }
    }
}

/// libcurl's own CONNECT-UDP, with HTTP/3 inside. Over HTTP/2 it gives up before it asks, whichever
/// proxy there is.
#[test]
fn libcurl_tunnels_datagrams() {
    if !need::met(&[Need::Python]) {
        return;
    }
    let lab = Lab::new();
    let mut server = lab.server.command(need::python().expect("met"));
    server.args([SERVER, "serve"]).arg(&lab.certificate.chain).arg(&lab.certificate.key);
    let server = Process::start("the server of HTTP/3", server);
    server.wait_line("serving");
    let _proxy = proxy::ours(&lab, &["--basic", "user:pass"]);
    let (body, file) = (pattern::bytes(POSTED), lab.file("body"));
    std::fs::write(&file, &body).expect("write a file");
    let url = format!("https://{}/ {}", SERVERS[0], file.display());
    let said = "CONNECT-UDP tunnel established, response 101";
    assert_eq!(tunnel(&lab, "1", &url, said), printed(&body));
}

/// A request through a tunnel that libcurl opens, which must have said so; what the script printed.
fn tunnel(lab: &Lab, version: &str, request: &str, said: &str) -> String {
    let mut script = lab.client.command(need::python().expect("met"));
    script.args([CLIENT, version, &proxy::url(), "user:pass"]).args(request.split(' '));
    let output = script.output().expect("run the script");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && log.contains(said), "{log}");
    String::from_utf8(output.stdout).expect("text")
}

/// What the script prints for a body.
fn printed(body: &[u8]) -> String {
    let (length, sum) = pattern::read_sum(body).expect("from memory");
    format!("200 {length} {}\n", pattern::hex(&sum))
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
