//! The engine against an independent TCP, over links that lose, swap, double and delay.

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::interposer::Interposer;
use common::recorded::Recorded;
use common::{assert_pattern, pattern};
use pseudotcp_tcp::{Config, CongestionControl};
use pseudotcp_testkit::{HostConfig, LinkConfig, SmoltcpHost, TcpId, TcpState, World, epoch, seed};

const MEGABYTE: u64 = 1_000_000;
/// What one direction may keep alive beside its bytes: headers, and joined pieces with room to grow.
const SURPLUS: usize = 16 * 1024;

/// An app on the smoltcp host, with the streams it sends and expects.
struct App {
    id: TcpId,
    sent: u64,
    received: u64,
    closing: bool,
}

impl App {
    fn connect(host: &mut SmoltcpHost, port: u16) -> Self {
        Self::connect_from(host, ([10, 0, 0, 1], port).into(), "192.0.2.7:80")
    }

    fn connect_from(host: &mut SmoltcpHost, local: SocketAddr, remote: &str) -> Self {
        let id = host.connect(local, remote.parse().unwrap());
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

fn host_config(seed: u64) -> HostConfig {
    HostConfig::new([10, 0, 0, 1].into()).with_seed(seed).with_buffers(256 * 1024, 256 * 1024)
}

/// One flow of the default host, so many bytes each way, over such a link.
fn transfer(link: LinkConfig, config: Config, bytes: u64) -> Recorded<SmoltcpHost, Interposer> {
    let seed = seed();
    transfer_by(host_config(seed), link, config, bytes, seed)
}

/// One flow, so many bytes each way, over such a link.
fn transfer_by(
    host: HostConfig,
    link: LinkConfig,
    config: Config,
    bytes: u64,
    seed: u64,
) -> Recorded<SmoltcpHost, Interposer> {
    let host = SmoltcpHost::new(host, epoch());
    let mut world = recorded(host, Interposer::new(config, bytes), link, seed);
    let mut app = App::connect(&mut world.a, 5_000);
    let ended = world.run(Duration::from_hours(1), |host, far, _| {
        app.run(host, bytes) && far.far.len() == 1 && far.all_clean()
    });
    println!("{:?} after {:?}: {:?}", world.b.engine.stats(), world.elapsed(), world.b.far);
    assert!(ended, "app {:?}: {} sent, {} received", world.a.state(app.id), app.sent, app.received);
    assert_eq!((app.received, world.b.only().received), (bytes, bytes));
    assert_eq!((world.b.engine.buffered(), world.b.engine.flow_count()), (0, 0));
    world
}

fn recorded(
    host: SmoltcpHost,
    far: Interposer,
    link: LinkConfig,
    seed: u64,
) -> Recorded<SmoltcpHost, Interposer> {
    Recorded::new(World::new(host, far, link, seed), seed)
}

/// Loss, reordering, duplication, corruption and jitter, each of so many packets.
fn bad_link(share: f64) -> LinkConfig {
    LinkConfig::new(Duration::from_millis(2))
        .with_loss(share)
        .with_reordering(share)
        .with_duplication(share)
        .with_corruption(share)
        .with_jitter(Duration::from_micros(100))
}

#[test]
fn a_clean_link_needs_no_retransmission() {
    let world = transfer(LinkConfig::new(Duration::from_millis(1)), Config::new(), 5 * MEGABYTE);
    let stats = world.b.engine.stats();
    assert_eq!((stats.retransmissions, stats.timeouts, stats.duplicates), (0, 0, 0));
}

#[test]
fn d05_loss_reordering_and_duplication_change_no_byte() {
    let world = transfer(bad_link(0.01), Config::new(), 50 * MEGABYTE);
    assert!(world.b.engine.stats().retransmissions >= 200);
}

#[test]
fn rare_losses_are_repaired_one_for_one_and_without_the_timer() {
    let link = LinkConfig::new(Duration::from_millis(2)).with_loss(0.000_5);
    let world = transfer(link, Config::new(), 10 * MEGABYTE);
    let (stats, lost) = (world.b.engine.stats(), world.down.stats().lost);
    assert!(stats.retransmissions <= lost + 4, "{} for {lost}", stats.retransmissions);
}

#[test]
fn rfc_9438_a_gateway_with_congestion_control() {
    let config = || Config::new().congestion(CongestionControl::Cubic);
    let link = LinkConfig::new(Duration::from_millis(2)).with_loss(0.001);
    transfer(link, config(), 5 * MEGABYTE);
    transfer(bad_link(0.01), config(), 2 * MEGABYTE);
}

#[test]
fn hosts_without_timestamps() {
    let seed = seed();
    let host = host_config(seed).with_timestamps(false);
    transfer_by(host, bad_link(0.02), Config::new(), 2 * MEGABYTE, seed);
}

#[test]
fn hosts_with_small_windows_and_delayed_acknowledgements() {
    let seed = seed();
    let host = host_config(seed).with_buffers(5_000, 5_000);
    let host = host.with_delayed_ack(Duration::from_millis(10)).with_nagle(true);
    transfer_by(host, bad_link(0.01), Config::new(), MEGABYTE, seed);
}

#[test]
fn hosts_with_a_small_mtu() {
    let seed = seed();
    transfer_by(host_config(seed).with_mtu(600), bad_link(0.01), Config::new(), MEGABYTE, seed);
}

#[test]
fn a_narrow_way_to_the_app() {
    for super_segment in [0, 65_535] {
        let seed = seed();
        let host = SmoltcpHost::new(host_config(seed), epoch());
        let config = Config::new().max_segment_bytes(super_segment);
        let mut far = Interposer::new(config, 2 * MEGABYTE);
        far.path_mtu = Some(1_100);
        let mut world = recorded(host, far, bad_link(0.01), seed);
        let mut app = App::connect(&mut world.a, 5_000);
        let ended = world.run(Duration::from_hours(1), |host, far, _| {
            app.run(host, MEGABYTE) && far.far.len() == 1 && far.all_clean()
        });
        assert!(ended && (app.received, world.b.only().received) == (2 * MEGABYTE, MEGABYTE));
        assert_eq!(world.b.engine.stats().path_mtu_reductions, 1);
    }
}

#[test]
fn super_segments_over_a_bad_link() {
    let config = Config::new().max_segment_bytes(65_535);
    let world = transfer(bad_link(0.01), config, 50 * MEGABYTE);
    assert!(world.b.engine.stats().retransmissions >= 200);
}

#[test]
fn a_small_receive_buffer_and_a_small_budget() {
    let config = Config::new().receive_buffer(4_096).send_buffer(4_096).budget(1024 * 1024);
    let world = transfer(bad_link(0.01), config, MEGABYTE);
    assert!(world.b.peak <= 4_096 + 4_096 + 16_375 + 2 * SURPLUS, "{}", world.b.peak);
}

#[test]
fn a_far_side_that_stalls_closes_the_window_and_goes_on() {
    let seed = seed();
    let host = SmoltcpHost::new(host_config(seed), epoch());
    let far = Interposer::new(Config::new().receive_buffer(32_768), 0);
    let mut world = recorded(host, far, bad_link(0.01), seed);
    world.b.stalled = true;
    let mut app = App::connect(&mut world.a, 5_000);
    let stopped = world.run(Duration::from_mins(1), |host, _, _| app.run(host, MEGABYTE));
    assert!(!stopped && world.b.engine.buffered() > 32_000, "one buffer, and no more");
    // What lies behind a gap may have as much room to grow.
    assert!(world.b.peak <= 2 * 32_768 + SURPLUS, "{}", world.b.peak);
    let now = world.now();
    world.b.resume(now);
    let ended = world
        .run(Duration::from_hours(1), |host, far, _| app.run(host, MEGABYTE) && far.all_clean());
    assert!(ended && world.b.only().received == MEGABYTE);
}

#[test]
fn d03_a_hundred_flows_at_once_share_a_bad_link() {
    let seed = seed();
    let host = SmoltcpHost::new(host_config(seed), epoch());
    let far = Interposer::new(Config::new().budget(4 * 1024 * 1024), 50_000);
    let mut world = recorded(host, far, bad_link(0.01), seed);
    let mut apps: Vec<App> = (0..100).map(|n| App::connect(&mut world.a, 5_000 + n)).collect();
    let ended = world.run(Duration::from_hours(1), |host, far, _| {
        let ended = apps.iter_mut().filter_map(|app| app.run(host, 50_000).then_some(())).count();
        ended == 100 && far.far.len() == 100 && far.all_clean()
    });
    assert!(ended, "{:?}", world.b.engine.stats());
    assert!(apps.iter().all(|app| app.received == 50_000));
    assert!(world.b.far.values().all(|far| far.received == 50_000 && far.finished));
    assert!(world.b.peak <= 4 * 1024 * 1024);
}

#[test]
fn over_ipv6() {
    let seed = seed();
    let config = HostConfig::new("fd00::1".parse().unwrap()).with_seed(seed);
    let host = SmoltcpHost::new(config, epoch());
    let mut world = recorded(host, Interposer::new(Config::new(), MEGABYTE), bad_link(0.01), seed);
    let local = "[fd00::1]:5000".parse().unwrap();
    let mut app = App::connect_from(&mut world.a, local, "[2001:db8::7]:443");
    let ended = world.run(Duration::from_hours(1), |host, far, _| {
        app.run(host, MEGABYTE) && far.far.len() == 1 && far.all_clean()
    });
    assert!(ended && (app.received, world.b.only().received) == (MEGABYTE, MEGABYTE));
}

#[test]
fn a_world_that_fails_leaves_a_capture() {
    let seed = seed();
    let link = LinkConfig::new(Duration::from_millis(1));
    let host = SmoltcpHost::new(host_config(seed), epoch());
    let mut world = recorded(host, Interposer::new(Config::new(), 1), link, seed);
    let file = world.file().to_owned();
    let failed = std::thread::scope(|scope| {
        let failing = scope.spawn(move || {
            let mut app = App::connect(&mut world.a, 5_000);
            world.run(Duration::from_secs(1), |host, _, _| app.run(host, 1));
            panic!("as a failing test does");
        });
        failing.join().is_err()
    });
    let capture = std::fs::read(&file).unwrap();
    std::fs::remove_file(file).unwrap();
    assert!(failed && capture.starts_with(&[0x0a, 0x0d, 0x0d, 0x0a]) && capture.len() > 500);
}
