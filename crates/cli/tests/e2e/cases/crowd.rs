//! Many flows at once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Barrier;

use crate::support::client::DEVICE;
use crate::support::lab::{Lab, SERVERS};
use crate::support::need;
use crate::support::proxy::Kind;
use crate::support::{client, pattern, proxy};

const FLOWS: usize = 1_000;

/// The length of each answer, in bytes.
const LENGTH: usize = 20_000;

#[test]
fn a_thousand_flows_at_once() {
    if need::met(&[]) {
        a_thousand_flows(&[]);
    }
}

#[test]
fn a_thousand_flows_at_once_in_shards() {
    if need::met(&[]) {
        a_thousand_flows(&["--shards", "3"]);
    }
}

fn a_thousand_flows(options: &[&str]) {
    let lab = Lab::new();
    lab.serve_web();
    let _proxy = proxy::start(&lab, Kind::Ours);
    let _client = client::up(&lab, options);
    lab.client.run(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(crowd(&lab));
    });
}

/// All flows are open before the first one asks, the device has room for all that they say, and every
/// answer is right.
async fn crowd(lab: &Lab) {
    let barrier = Arc::new(Barrier::new(FLOWS));
    let flows: Vec<_> = (0..FLOWS)
        .map(|number| {
            let server = SERVERS[number % SERVERS.len()].parse().expect("an address");
            tokio::spawn(flow(SocketAddr::new(server, 80), Arc::clone(&barrier)))
        })
        .collect();
    let expected = &pattern::bytes(LENGTH)[..];
    for flow in flows {
        let limited = tokio::time::timeout(Duration::from_mins(1), flow).await;
        let answer = limited.expect("in time").expect("no panic");
        assert!(answer.ends_with(expected), "an answer of {} bytes is wrong", answer.len());
    }
    assert_eq!(dropped(lab), 0, "packets that the device had no room for");
}

/// How many packets of apps the device has dropped.
fn dropped(lab: &Lab) -> u64 {
    let links = lab.client.ip(&format!("-statistics -json link show dev {DEVICE}"));
    let links: serde_json::Value = serde_json::from_str(&links).expect("JSON");
    links[0]["stats64"]["tx"]["dropped"].as_u64().expect("a count")
}

async fn flow(server: SocketAddr, barrier: Arc<Barrier>) -> Vec<u8> {
    let mut stream = TcpStream::connect(server).await.expect("connect");
    barrier.wait().await;
    let request = format!("GET /until-close/{LENGTH} HTTP/1.1\r\nHost: server\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("send the request");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("read the answer");
    answer
}
