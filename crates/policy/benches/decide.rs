//! What one decision costs among 100,000 blocks, and what it costs to compile them.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pseudotcp_packet::{FlowKey, Protocol};
use pseudotcp_policy::{IpNet, Rule, Rules, RulesBuilder, Verdict, defaults};

const BLOCKS: usize = 100_000;

/// How many flows are asked about in turn, so that the cache does not hold the answer.
const FLOWS: usize = 4_096;

/// Numbers without a pattern, the same for every run.
fn noise() -> impl Iterator<Item = u64> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    })
}

fn address(ipv6: bool, number: u64) -> IpAddr {
    let [_, _, _, _, a, b, c, d] = number.to_be_bytes();
    if ipv6 {
        // 2000::/3, as in the global table.
        Ipv6Addr::from_bits(1 << 125 | u128::from(number) << 61 | u128::from(number)).into()
    } else {
        Ipv4Addr::new(a, b, c, d).into()
    }
}

/// Blocks of the lengths that tables of the world have.
fn blocks(ipv6: bool) -> Vec<IpNet> {
    let shortest = if ipv6 { 32 } else { 16 };
    let block = |(number, len): (u64, u8)| IpNet::new(address(ipv6, number), len).unwrap().trunc();
    let lengths = (0..).map(|n: u64| shortest + u8::try_from(n % 13).unwrap_or(0));
    noise().zip(lengths).map(block).take(BLOCKS).collect()
}

/// Half of the flows go to a block of the table, half to anywhere.
fn flows(ipv6: bool, blocks: &[IpNet]) -> Vec<FlowKey> {
    let app = SocketAddr::new(address(ipv6, 1), 5_000);
    let inside = blocks.iter().step_by(7).map(IpNet::network);
    let anywhere = noise().skip(BLOCKS).map(|number| address(ipv6, number));
    let both = inside.zip(anywhere).flat_map(|(inside, anywhere)| [inside, anywhere]);
    both.map(|to| FlowKey::new(Protocol::Tcp, app, (to, 443).into())).take(FLOWS).collect()
}

fn in_one_rule(blocks: &[IpNet]) -> Rules {
    let rule = Rule::new(Verdict::Direct).destinations(blocks.iter().copied());
    Rules::builder().rule(defaults::reject_dns_over_tls()).rule(rule).build()
}

fn in_rules_of_their_own(blocks: &[IpNet]) -> Rules {
    let rules = blocks.iter().map(|block| Rule::new(Verdict::Direct).destinations([*block]));
    rules.fold(Rules::builder(), RulesBuilder::rule).build()
}

fn decide(c: &mut Criterion) {
    let mut group = c.benchmark_group("decide among 100,000 blocks");
    group.throughput(Throughput::Elements(1));
    for (version, ipv6) in [("IPv4", false), ("IPv6", true)] {
        let blocks = blocks(ipv6);
        let flows = flows(ipv6, &blocks);
        let shapes =
            [("one rule", in_one_rule(&blocks)), ("as many rules", in_rules_of_their_own(&blocks))];
        for (shape, rules) in shapes {
            let mut turn = flows.iter().cycle();
            group.bench_function(format!("{version}, {shape}"), |b| {
                b.iter(|| rules.decide(*black_box(turn.next().unwrap())));
            });
        }
    }
}

fn compile(c: &mut Criterion) {
    let blocks = blocks(false);
    c.bench_function("compile 100,000 blocks", |b| b.iter(|| in_one_rule(black_box(&blocks))));
}

criterion_group!(benches, decide, compile);
criterion_main!(benches);
