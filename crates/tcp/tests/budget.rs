//! The budget of all flows together: what it promises, and to whom when it is used up.

mod common;

use common::bench::{Bench, ack, data, syn};
use pseudotcp_packet::Transport;
use pseudotcp_tcp::{CloseCause, Config, Event, FlowId};

const BUDGET: usize = 1024 * 1024;

#[test]
fn the_budget_holds_for_all_flows_together_and_shares_fairly() {
    let mut bench = Bench::new(Config::new().budget(BUDGET).receive_buffer(1 << 20));
    let mut ids = Vec::new();
    for port in 1..=40 {
        bench.port = port;
        ids.push(bench.open_with(syn().wscale(7)));
    }
    // Nobody reads, every app sends what its window allows.
    for round in 0..200_u32 {
        for port in 1..=40 {
            bench.port = port;
            bench.app(data(1 + round * 1_400, 1, vec![0; 1_400]));
            bench.out();
        }
        assert!(bench.engine.buffered() <= BUDGET);
    }
    assert!(bench.engine.buffered() > BUDGET / 2, "{}", bench.engine.buffered());
    let held: Vec<usize> = bench.engine.flows().map(|info| info.unread).collect();
    assert!(*held.iter().min().unwrap() > 0, "{held:?}");
    // Reading wakes those that the budget had closed.
    bench.out();
    bench.port = 1;
    bench.read(ids[0]);
    for id in &ids[1..20] {
        bench.engine.read(bench.now, *id, usize::MAX);
        bench.read(*id);
    }
    assert!(bench.engine.buffered() < BUDGET * 3 / 4);
}

/// Writes, unasked, until nothing of the budget can be promised any more.
fn exhaust(bench: &mut Bench, id: FlowId) {
    while bench.engine.buffered() <= BUDGET * 7 / 8 {
        bench.write(id, vec![0; 65_536]);
    }
}

/// The app acknowledges what it is sent, as long as `more` says so.
fn acknowledge_while(bench: &mut Bench, mut more: impl FnMut(&mut Bench) -> bool) {
    let mut acked = 1;
    while more(bench) {
        let sent = u32::try_from(bench.out_bytes().len()).unwrap();
        assert!(sent > 0);
        acked += sent;
        bench.app(ack(1, acked));
    }
}

#[test]
fn a_flow_starved_by_the_budget_gets_its_credit_back() {
    let mut bench = Bench::new(Config::new().budget(BUDGET).send_buffer(BUDGET));
    let greedy = bench.open();
    bench.port += 1;
    let poor = bench.open();
    bench.port -= 1;
    exhaust(&mut bench, greedy);
    assert_eq!(bench.engine.write_credit(bench.now, poor), 0);
    acknowledge_while(&mut bench, |bench| bench.events().is_empty());
    assert!(bench.engine.write_credit(bench.now, poor) > 0);
}

#[test]
fn a_flow_whose_own_credit_is_back_waits_for_the_budget() {
    let mut bench = Bench::new(Config::new().budget(BUDGET).send_buffer(10_000));
    let greedy = bench.open();
    bench.port += 1;
    let poor = bench.open();
    bench.write(poor, vec![0; 10_000]);
    assert_eq!((bench.engine.write_credit(bench.now, poor), bench.out_bytes().len()), (0, 10_000));
    bench.port -= 1;
    exhaust(&mut bench, greedy);
    bench.write(greedy, vec![0; 65_536]);
    bench.port += 1;
    bench.app(ack(1, 10_001));
    assert_eq!(bench.events(), [], "nothing can be promised");
    bench.port -= 1;
    acknowledge_while(&mut bench, |bench| bench.engine.buffered() > BUDGET / 2);
    assert_eq!(bench.events(), [Event::Writable { id: poor }]);
}

#[test]
fn what_comes_ahead_of_a_gap_needs_room_to_grow() {
    let mut bench = Bench::new(Config::new().budget(BUDGET).send_buffer(BUDGET));
    let greedy = bench.open();
    bench.port += 1;
    bench.open();
    bench.app(data(2_001, 1, vec![0; 1_000]));
    assert_eq!(bench.engine.stats().bytes_dropped, 0);
    while bench.engine.buffered() < BUDGET - 60_000 {
        bench.write(greedy, vec![0; 16_384]);
    }
    let before = bench.engine.buffered();
    bench.app(data(1_001, 1, vec![0; 1_000]));
    assert_eq!((bench.engine.stats().bytes_dropped, bench.engine.buffered()), (1_000, before));
    bench.app(data(1, 1, vec![0; 1_000]));
    assert_eq!(bench.engine.stats().bytes_dropped, 1_000, "what is in order needs none");
}

#[test]
fn one_acknowledgement_that_frees_everything_gives_the_credit_back() {
    let mut bench = Bench::new(Config::new().budget(BUDGET).send_buffer(BUDGET * 7 / 8 + 1));
    let id = bench.open_with(syn().wscale(7));
    exhaust(&mut bench, id);
    assert_eq!(bench.engine.write_credit(bench.now, id), 0);
    let sent = u32::try_from(bench.out_bytes().len()).unwrap();
    assert!(sent as usize >= BUDGET * 7 / 8, "neither the buffer nor the budget has room");
    bench.app(ack(1, 1 + sent));
    assert_eq!(bench.events(), [Event::Writable { id }]);
}

#[test]
fn reading_while_the_budget_is_exhausted_opens_the_window_later() {
    let config = Config::new().budget(BUDGET).receive_buffer(4_096).send_buffer(BUDGET);
    let mut bench = Bench::new(config);
    let reader = bench.open();
    bench.app(data(1, 1, vec![0; 4_096]));
    assert_eq!(bench.out(), [". 1 ack 4097 win 0"]);
    assert_eq!(bench.events(), [Event::Readable { id: reader }]);
    bench.port += 1;
    let greedy = bench.open_with(syn().wscale(7));
    exhaust(&mut bench, greedy);
    let sent = u32::try_from(bench.out_bytes().len()).unwrap();
    bench.port -= 1;
    assert_eq!((bench.read(reader).len(), bench.out()), (4_096, vec![]));
    bench.port += 1;
    bench.app(ack(1, 1 + sent));
    bench.port -= 1;
    let to_reader = bench.flow().reversed();
    let update = std::iter::from_fn(|| bench.transmit()).find(|out| out.flow() == Some(to_reader));
    let Transport::Tcp(tcp) = update.as_ref().unwrap().transport() else { panic!() };
    assert_eq!(tcp.window(), 4_096);
}

#[test]
fn who_writes_without_credit_loses_the_flow_and_not_the_budget() {
    let mut bench = Bench::new(Config::new().budget(BUDGET));
    let id = bench.open();
    for _ in 0..20 {
        bench.write(id, vec![0; 65_536]);
    }
    let cause = CloseCause::Evicted;
    assert_eq!(bench.events(), [Event::Closed { id, cause }]);
    assert_eq!(bench.engine.buffered(), 0);
}
