//! The proxy's certificate is renewed while flows run.

use std::fs;

use nix::sys::signal::Signal;

use crate::support::certificate::Certificate;
use crate::support::lab::{Lab, PROXY, SERVERS};
use crate::support::need::{self, Need};
use crate::support::{client, curl, flow, proxy};

/// After SIGHUP newcomers see the new certificate, flows that are open go on, and those who know the old
/// certificate only get no further with new connections.
#[test]
fn a_new_certificate_is_served_after_sighup_and_flows_go_on() {
    if !need::met(&[Need::Program("curl")]) {
        return;
    }
    let lab = Lab::new();
    lab.serve_web();
    lab.serve_echo();
    let proxy = proxy::ours(&lab, &["-v"]);
    let client = client::up(&lab, &[]);
    let mut flows = flow::many(&lab, 20);

    let folder = lab.file("renewed");
    fs::create_dir(&folder).expect("make a folder");
    let renewed = Certificate::new(&folder, &[PROXY]);
    let fetch = |trusted: &str| {
        let options = ["--proxytunnel", "--proxy-cacert", trusted, "--proxy", &proxy::url()];
        curl::downloads(&lab, &format!("http://{}/bytes/1000", SERVERS[0]), &options)
    };
    let trusted = renewed.chain.display().to_string();
    assert!(!fetch(&trusted), "a certificate is served that nobody has put there");
    fs::copy(&renewed.chain, &lab.certificate.chain).expect("replace the certificate");
    fs::copy(&renewed.key, &lab.certificate.key).expect("replace the key");
    proxy.signal(Signal::SIGHUP);
    proxy.wait_line("read again");
    assert!(fetch(&trusted), "the old certificate is still served");

    flows.iter_mut().for_each(flow::answers);
    flow::works(&lab);
    assert!(!client.lines().iter().any(|line| line.contains("lost")), "{:?}", client.lines());
}
