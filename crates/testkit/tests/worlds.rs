//! Two smoltcp hosts over a bad link: what the kit itself must get right.

use std::net::SocketAddr;
use std::time::Duration;

use pseudotcp_packet::{Quote, Transport, Unreachable};
use pseudotcp_testkit::{HostConfig, LinkConfig, Node, SmoltcpHost, TcpState, World, epoch, seed};

const LIMIT: Duration = Duration::from_mins(10);

fn host(address: &str, seed: u64) -> SmoltcpHost {
    SmoltcpHost::new(HostConfig::new(address.parse().unwrap()).with_seed(seed), epoch())
}

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| u8::try_from(i * 31 % 251).unwrap()).collect()
}

/// Sends a stream up, then one down, then closes; both ends must see the other's octets.
fn transfer(
    link: LinkConfig,
    addresses: [&str; 2],
    octets: usize,
) -> World<SmoltcpHost, SmoltcpHost> {
    let seed = seed();
    let [client, server] = addresses.map(at);
    let mut a = host(&client.ip().to_string(), seed);
    let mut b = host(&server.ip().to_string(), seed ^ 1);
    let (ours, theirs) = (a.connect(client, server), b.listen(server));
    let (data, mut up, mut down) = (pattern(octets), Vec::new(), Vec::new());
    let (mut sent_up, mut sent_down) = (0, 0);
    let mut world = World::new(a, b, link, seed);
    let done = world.run(LIMIT, |a, b, _| {
        sent_up += a.send(ours, &data[sent_up..]);
        up.extend_from_slice(&b.recv(theirs, usize::MAX));
        if up.len() == octets && a.unacknowledged(ours) == 0 {
            sent_down += b.send(theirs, &data[sent_down..]);
            down.extend_from_slice(&a.recv(ours, usize::MAX));
        }
        if down.len() == octets {
            a.close(ours);
        }
        if sent_down == octets && !b.may_recv(theirs) {
            b.close(theirs);
        }
        b.state(theirs) == TcpState::Closed
    });
    assert!(done, "up {} of {octets}, down {}", up.len(), down.len());
    assert!(up == data && down == data);
    world
}

#[test]
fn a_clean_link_delivers_everything_once() {
    let world = transfer(
        LinkConfig::new(Duration::from_millis(5)),
        ["10.0.0.1:5000", "10.0.0.2:80"],
        1 << 20,
    );
    let stats = *world.up.stats();
    assert_eq!(stats.sent, stats.delivered);
    assert!(stats.sent > 700, "{stats:?}");
}

#[test]
fn a_bad_link_costs_time_but_no_octet() {
    let link = LinkConfig::new(Duration::from_millis(5))
        .with_loss(0.02)
        .with_duplication(0.02)
        .with_reordering(0.02)
        .with_corruption(0.01)
        .with_jitter(Duration::from_micros(200));
    let world = transfer(link, ["[fd00::1]:5000", "[fd00::2]:80"], 1 << 20);
    for stats in [world.up.stats(), world.down.stats()] {
        assert!(stats.lost > 0 && stats.duplicated > 0 && stats.reordered > 0, "{stats:?}");
        assert!(stats.corrupted > 0, "{stats:?}");
    }
}

#[test]
fn a_slow_link_takes_its_time() {
    let link = LinkConfig::new(Duration::ZERO).with_rate(1_000_000).with_queue(2_000);
    let world = transfer(link, ["10.0.0.1:5000", "10.0.0.2:80"], 1 << 20);
    assert!(world.elapsed() > Duration::from_secs(1));
    assert_eq!(world.up.stats().overflowed, 0);
}

#[test]
fn what_exceeds_the_mtu_is_lost() {
    let (mut a, b) = (host("10.0.0.1", 0), host("10.0.0.2", 0));
    let socket = a.bind(at("10.0.0.1:53"));
    let link = LinkConfig::new(Duration::ZERO).with_mtu(500);
    let mut world = World::new(a, b, link, 0);
    world.a.send_to(socket, at("10.0.0.2:53"), &[0; 472]);
    world.a.send_to(socket, at("10.0.0.2:53"), &[0; 473]);
    world.run(LIMIT, |_, _, _| false);
    assert_eq!((world.up.stats().delivered, world.up.stats().too_big), (1, 1));
}

#[test]
fn datagrams_carry_their_sender() {
    let (mut a, mut b) = (host("fd00::1", 0), host("fd00::2", 0));
    let (from, to) = (a.bind(at("[fd00::1]:7")), b.bind(at("[fd00::2]:9")));
    a.send_to(from, at("[fd00::2]:9"), b"over here");
    let mut world = World::new(a, b, LinkConfig::new(Duration::from_millis(1)), 0);
    let mut received = None;
    assert!(world.run(LIMIT, |_, b, _| {
        received = received.take().or_else(|| b.recv_from(to));
        received.is_some()
    }));
    assert_eq!(received.unwrap(), (at("[fd00::1]:7"), "over here".into()));
}

#[test]
fn a_host_keeps_the_errors_it_hears() {
    let now = epoch();
    let mut host = host("10.0.0.1", 0);
    host.connect(at("10.0.0.1:5000"), at("10.0.0.2:80"));
    let syn = host.poll_transmit(now).unwrap();
    let refusal = Quote::of(&syn).unwrap().unreachable(Unreachable::Port);
    host.handle_packet(now, &refusal);
    let heard = host.poll_icmp().unwrap();
    let Transport::Icmp(icmp) = heard.transport() else { panic!("{heard}") };
    assert_eq!((icmp.kind(), icmp.code()), (3, 3));
}

#[test]
fn a_refused_connection_is_closed() {
    let (mut a, b) = (host("10.0.0.1", 0), host("10.0.0.2", 0));
    let flow = a.connect(at("10.0.0.1:5000"), at("10.0.0.2:81"));
    let mut world = World::new(a, b, LinkConfig::new(Duration::from_millis(1)), 0);
    assert!(world.run(LIMIT, |a, _, _| a.state(flow) == TcpState::Closed));
    assert!(world.trace().any(|line| line.contains("tcp R")));
    assert_eq!(world.elapsed().as_millis(), 2);
}
