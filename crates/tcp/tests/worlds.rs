//! The engine against an independent TCP, over links that lose, swap, double and delay.

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::interposer::Interposer;
use common::{assert_pattern, pattern};
use pseudotcp_tcp::Config;
use pseudotcp_testkit::{HostConfig, LinkConfig, SmoltcpHost, TcpId, TcpState, World, epoch, seed};

const MEGABYTE: u64 = 1_000_000;

/// An app on the smoltcp host, with the streams it sends and expects.
struct App {
    id: TcpId,
    sent: u64,
    received: u64,
    closing: bool,
}

impl App {
    fn connect(host: &mut SmoltcpHost, port: u16) -> Self {
        let local = SocketAddr::from(([10, 0, 0, 1], port));
        let id = host.connect(local, "192.0.2.7:80".parse().unwrap());
        Self { id, sent: 0, received: 0, closing: false }
    }

    /// Sends and receives what it can; whether it has sent `upload` and everything has ended.
    fn run(&mut self, host: &mut SmoltcpHost, upload: u64) -> bool {
        while let data = host.recv(self.id, usize::MAX)
            && !data.is_empty()
        {
            assert_pattern(self.received, &data);
            self.received += data.len() as u64;
        }
        let open = matches!(host.state(self.id), TcpState::Established | TcpState::CloseWait);
        while open && self.sent < upload {
            let len = usize::try_from(upload - self.sent).unwrap().min(16_384);
            let taken = host.send(self.id, &pattern(self.sent, len));
            self.sent += taken as u64;
            if taken < len {
                break;
            }
        }
        if open && self.sent == upload && !self.closing {
            host.close(self.id);
            self.closing = true;
        }
        self.closing && matches!(host.state(self.id), TcpState::Closed | TcpState::TimeWait)
    }
}

fn host(seed: u64, buffer: usize) -> SmoltcpHost {
    let config = HostConfig::new([10, 0, 0, 1].into()).with_seed(seed).with_buffers(buffer, buffer);
    SmoltcpHost::new(config, epoch())
}

/// One flow, so many bytes each way, over such a link.
fn transfer(link: LinkConfig, config: Config, bytes: u64) -> World<SmoltcpHost, Interposer> {
    let seed = seed();
    let mut world = World::new(host(seed, 256 * 1024), Interposer::new(config, bytes), link, seed);
    let mut app = App::connect(&mut world.a, 5_000);
    let ended = world.run(Duration::from_hours(1), |host, far, _| {
        app.run(host, bytes) && far.far.len() == 1 && far.all_clean()
    });
    println!("{:?} after {:?}: {:?}", world.b.engine.stats(), world.elapsed(), world.b.far);
    assert!(ended, "app {:?}: {} sent, {} received", world.a.state(app.id), app.sent, app.received);
    assert_eq!((app.received, world.b.only().received), (bytes, bytes));
    world
}

#[test]
fn a_clean_link_needs_no_retransmission() {
    let world = transfer(LinkConfig::new(Duration::from_millis(1)), Config::new(), 5 * MEGABYTE);
    let stats = world.b.engine.stats();
    assert_eq!((stats.retransmissions, stats.timeouts, stats.duplicates), (0, 0, 0));
}

#[test]
fn d05_loss_reordering_and_duplication_change_no_byte() {
    let link = LinkConfig::new(Duration::from_millis(2))
        .with_loss(0.01)
        .with_reordering(0.01)
        .with_duplication(0.01)
        .with_jitter(Duration::from_micros(100));
    let world = transfer(link, Config::new(), 50 * MEGABYTE);
    assert!(world.b.engine.stats().retransmissions >= 200);
}
