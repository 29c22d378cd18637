//! Envoy is drained and restarted under load.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::support::lab::{Lab, PROXY};
use crate::support::need::{self, Need};
use crate::support::proxy::{self, Kind};
use crate::support::{client, clock, flow};

/// Where Envoy takes orders, and how it drains: it listens for one more second.
const ADMIN: u16 = 9_901;
const DRAINABLE: [&str; 6] = [
    "--config-yaml",
    "admin: { address: { socket_address: { address: 127.0.0.1, port_value: 9901 } } }",
    "--drain-time-s",
    "1",
    "--drain-strategy",
    "immediate",
];

/// Flows that are in use throughout.
const FLOWS: usize = 500;

/// How often each of them asks and hears.
const PULSE: Duration = Duration::from_millis(200);

/// What the client may keep of a second crowd besides what it keeps of the first, in KiB.
const SLACK: usize = 4 * 1024;

/// Every flow that the old process kept goes on, new ones work at once, and nothing is left behind.
#[test]
fn envoy_is_drained_and_restarted_under_five_hundred_flows() {
    if !need::met(&[Need::Envoy]) {
        return;
    }
    let lab = Lab::new();
    lab.serve_echo();
    let old = proxy::envoy(&lab, proxy::PORT, &DRAINABLE);
    let client = client::up(&lab, &[]);
    Busy::start(&lab).end();
    let (descriptors, before) = (client.descriptors(), client.memory());

    let busy = Busy::start(&lab);
    drain(&lab);
    // Envoy says GOAWAY with its next answer.
    flow::works(&lab);
    clock::until("the old Envoy listens no more", || !listens(&lab));
    let _new = proxy::start(&lab, Kind::Envoy);
    let took = flow::works(&lab);
    let asked = busy.end();
    drop(old);
    clock::until("the client holds no more than before", || client.descriptors() <= descriptors);
    let after = client.memory();
    println!(
        "{FLOWS} flows asked {asked} times; a new flow took {took:?}; \
         memory {before} KiB before, {after} KiB after; {descriptors} descriptors"
    );
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert!(after < before + SLACK, "{before} KiB before, {after} KiB after");
}

/// Asks Envoy to take no more clients, and to let those go that it has.
fn drain(lab: &Lab) {
    let admin = lab.proxy.run(|| TcpStream::connect(("127.0.0.1", ADMIN)));
    let mut admin = admin.expect("Envoy's own port");
    let request = "POST /drain_listeners?graceful HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    admin.write_all(request.as_bytes()).expect("ask");
    let mut answer = String::new();
    admin.read_to_string(&mut answer).expect("an answer");
    assert!(answer.contains("200 OK"), "{answer}");
}

fn listens(lab: &Lab) -> bool {
    lab.client.run(|| TcpStream::connect((PROXY, proxy::PORT))).is_ok()
}

/// Flows in use.
struct Busy {
    runtime: tokio::runtime::Runtime,
    enough: watch::Sender<bool>,
    flows: JoinSet<io::Result<u64>>,
}

impl Busy {
    /// Opens them all; each has been used once when this returns.
    fn start(lab: &Lab) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let (enough, flows) = (watch::Sender::new(false), JoinSet::new());
        let mut busy = Self { runtime: runtime.expect("a runtime"), enough, flows };
        for mut stream in flow::many(lab, FLOWS) {
            flow::answers(&mut stream);
            stream.set_nonblocking(true).expect("non-blocking");
            let used = used(stream, busy.enough.subscribe());
            busy.flows.spawn_on(used, busy.runtime.handle());
        }
        busy
    }

    /// Ends them all; tells how often they have asked. None may have failed.
    fn end(mut self) -> u64 {
        self.enough.send_replace(true);
        self.runtime.block_on(async {
            let mut asked = 0;
            while let Some(flow) = self.flows.join_next().await {
                asked += flow.expect("no panic").expect("a flow that goes on");
            }
            asked
        })
    }
}

/// Asks and hears until it is enough, then ends and hears the end.
async fn used(stream: TcpStream, mut enough: watch::Receiver<bool>) -> io::Result<u64> {
    let mut stream = tokio::net::TcpStream::from_std(stream)?;
    let mut pulse = tokio::time::interval(PULSE);
    let mut number = 0_u64;
    loop {
        stream.write_u64(number).await?;
        let answer = stream.read_u64().await?;
        number += 1;
        assert_eq!(answer + 1, number, "the answer to another question");
        tokio::select! {
            _ = pulse.tick() => {}
            _ = enough.wait_for(|enough| *enough) => break,
        }
    }
    stream.shutdown().await?;
    let rest = stream.read(&mut [0; 1]).await?;
    assert_eq!(rest, 0, "more than was asked for");
    Ok(number)
}
