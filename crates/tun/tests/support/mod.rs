//! What the tests with a real kernel share.

use std::net::{IpAddr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use pseudotcp_packet::build::TcpSegment;
use pseudotcp_packet::{FlowKey, Packet, SeqNumber, TcpFlags, TcpHeader, TcpOptions};
use pseudotcp_testkit::skip;

/// How long anything may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs a test in a fresh network namespace, on a thread of its own; skips it without the right to.
pub(crate) fn in_namespace<T: Future<Output = ()>>(test: impl FnOnce() -> T + Send + 'static) {
    let thread = std::thread::spawn(move || {
        if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
            return skip(&format!("no network namespace can be made here: {error}"));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let limited = async { tokio::time::timeout(PATIENCE, test()).await };
        runtime.block_on(limited).expect("the test hangs");
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// A socket of the app's, which does not wait for ever.
pub(crate) fn udp_socket(address: IpAddr) -> UdpSocket {
    let socket = UdpSocket::bind((address, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

pub(crate) fn delete_link(name: &str) {
    assert!(Command::new("ip").args(["link", "delete", name]).status().unwrap().success());
}

pub(crate) fn has_link(name: &str) -> bool {
    std::fs::read_to_string("/proc/thread-self/net/dev").unwrap().contains(name)
}

/// A TCP endpoint that never loses anything: enough to carry two super-segments.
#[derive(Default)]
pub(crate) struct Peer {
    received: usize,
    answered: bool,
    finished: bool,
}

const ISN: u32 = 1_000;

impl Peer {
    pub(crate) fn is_done(&self) -> bool {
        self.finished
    }

    /// The replies to one segment of the app.
    pub(crate) fn handle(
        &mut self,
        flow: FlowKey,
        tcp: &TcpHeader<'_>,
        payload: &[u8],
    ) -> Vec<Packet> {
        let end = tcp.seq().advance(u32::try_from(payload.len()).unwrap());
        if tcp.flags().contains(TcpFlags::SYN) {
            return vec![reply(flow, ISN, tcp.seq().advance(1), TcpFlags::SYN)];
        }
        self.finished = tcp.flags().contains(TcpFlags::FIN);
        if payload.is_empty() {
            return Vec::new();
        }
        self.received += payload.len();
        let response = Self::response();
        if self.received < response.len() || self.answered {
            return vec![reply(flow, ISN + 1, end, TcpFlags::ACK)];
        }
        self.answered = true;
        vec![
            TcpSegment {
                segment_size: Some(1_400.try_into().unwrap()),
                ..header(flow, ISN + 1, end, TcpFlags::PSH | TcpFlags::FIN)
            }
            .build(response),
        ]
    }
}

fn header(flow: FlowKey, seq: u32, ack: SeqNumber, flags: TcpFlags) -> TcpSegment {
    TcpSegment {
        flow: flow.reversed(),
        seq: SeqNumber::new(seq),
        ack: Some(ack),
        flags,
        window: u16::MAX,
        options: TcpOptions::default(),
        segment_size: None,
    }
}

fn reply(flow: FlowKey, seq: u32, ack: SeqNumber, flags: TcpFlags) -> Packet {
    header(flow, seq, ack, flags).build(bytes::Bytes::new())
}
