//! Many apps that send at once: their windows grow in turns.

mod common;

use std::time::Duration;

use common::bench::{Bench, ack, data, syn};
use pseudotcp_packet::Transport;
use pseudotcp_tcp::{Config, FlowId};

/// The window scale that is offered for 256 KiB.
const SHIFT: u8 = 3;
const MSS: u32 = 1_460;
/// What all those that have a turn may have been promised.
const UNDER_WAY: u32 = 16 * 256 * 1024;

/// Longer than any turn lasts.
const SOON: Duration = Duration::from_millis(100);

/// An app that sends all that its window allows.
struct App {
    id: FlowId,
    port: u16,
    /// What it has sent, and what it may send, from its SYN on.
    next: u32,
    edge: u32,
}

impl App {
    /// Sends up to the right edge, in segments as large as packets can be.
    fn send(&mut self, bench: &mut Bench) -> u32 {
        bench.port = self.port;
        let before = self.next;
        while self.next < self.edge {
            let len = (self.edge - self.next).min(60_000);
            bench.app(data(self.next, 1, vec![0; len as usize]));
            self.next += len;
        }
        self.next - before
    }
}

/// So many apps, whose SYNs come together; they have completed their handshakes.
fn crowd(bench: &mut Bench, apps: u16) -> Vec<App> {
    let ports = 1_000..1_000 + apps;
    let ids: Vec<FlowId> = ports.clone().map(|port| held(bench, port)).collect();
    let apps = ids.into_iter().zip(ports).map(|(id, port)| {
        bench.port = port;
        bench.engine.accept(bench.now, id);
        let answer = bench.transmit().unwrap();
        let Transport::Tcp(tcp) = answer.transport() else { panic!("{answer}") };
        let edge = 1 + u32::from(tcp.window());
        bench.app(ack(1, 1));
        App { id, port, next: 1, edge }
    });
    apps.collect()
}

fn held(bench: &mut Bench, port: u16) -> FlowId {
    bench.port = port;
    bench.opening(syn().wscale(7))
}

/// The apps hear what the engine has to tell them.
fn hear(bench: &mut Bench, apps: &mut [App]) {
    while let Some(packet) = bench.transmit() {
        let Transport::Tcp(tcp) = packet.transport() else { panic!("{packet}") };
        let app = &mut apps[usize::from(tcp.destination_port() - 1_000)];
        let acked = u32::try_from(tcp.ack().offset_from(bench.irs)).unwrap();
        app.edge = app.edge.max(acked + (u32::from(tcp.window()) << SHIFT));
    }
}

/// All send, all is read, all hear; what was sent.
fn round(bench: &mut Bench, apps: &mut [App]) -> u32 {
    let mut sent = 0;
    for app in &mut *apps {
        sent += app.send(bench);
    }
    for app in &*apps {
        bench.read(app.id);
    }
    hear(bench, apps);
    sent
}

#[test]
fn no_more_is_under_way_than_turns_promise_and_everyone_has_one() {
    let mut bench = Bench::new(Config::new());
    let mut apps = crowd(&mut bench, 48);
    round(&mut bench, &mut apps);
    let begun: Vec<u32> = apps.iter().map(|app| app.next).collect();
    for _ in 0..24 {
        let sent = round(&mut bench, &mut apps);
        assert!(sent > 0 && sent <= UNDER_WAY + 48 * MSS, "{sent}");
    }
    let got: Vec<u32> = apps.iter().zip(begun).map(|(app, begun)| app.next - begun).collect();
    let (least, most) = (got.iter().min().unwrap(), got.iter().max().unwrap());
    assert!(*least > 4 * 256 * 1024 && most - least <= 4 * 256 * 1024, "{least} to {most}");
}

#[test]
fn apps_of_a_crowd_begin_with_two_segments_and_others_with_more() {
    let mut bench = Bench::new(Config::new());
    let apps = crowd(&mut bench, 100);
    assert!(apps[..30].iter().all(|app| app.edge == 1 + 2 * MSS));
    assert!(apps[40..].iter().all(|app| app.edge == 1 + 65_535));
}

#[test]
fn apps_that_stop_in_their_turn_hold_nobody_up() {
    let mut bench = Bench::new(Config::new());
    let mut apps = crowd(&mut bench, 80);
    for _ in 0..3 {
        round(&mut bench, &mut apps);
    }
    // Of all apps one goes on; whose turn it is has nothing more to say.
    let (lone, sent) = (50, apps[50].next);
    for _ in 0..40 {
        apps[lone].send(&mut bench);
        bench.read(apps[lone].id);
        hear(&mut bench, &mut apps);
        bench.after(Duration::from_millis(1));
    }
    assert!(apps[lone].next - sent > 10 * 256 * 1024, "{}", apps[lone].next - sent);
    // Nobody waits, so nobody is looked at.
    assert!(bench.engine.poll_timeout().is_some_and(|due| due > bench.now + SOON));
}
