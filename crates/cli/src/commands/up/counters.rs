//! The counters, as the operator sees them.

use std::fmt;
use std::iter::Sum;

use pseudotcp_masque_h2::Proxies;
use pseudotcp_pipeline::{Dns, ExchangeStats, FragmentsStats, Guard, Stack};
use pseudotcp_tun::TunPort;
use serde_json::{Map, Value};

use super::shard::Shard;
use crate::output;

/// What all stages have counted, in groups of a line each.
pub(super) struct Counters(Vec<(&'static str, Vec<(&'static str, u64)>)>);

impl Counters {
    /// Reads all stages of a shard.
    pub(super) fn read(shard: &Shard) -> Self {
        let guard = shard.guard();
        Self(vec![
            ("tcp", tcp(guard.port())),
            ("udp", udp(guard.port())),
            ("device", device(shard.tun(), guard)),
            ("pieces", pieces(shard.fragments().stats())),
            ("proxy", proxy(shard.client())),
            ("shards", shards(shard.exchanges())),
        ])
    }

    /// Adds what the DNS stage has counted.
    pub(super) fn with_dns(mut self, stage: &Dns) -> Self {
        self.0.push(("dns", dns(stage)));
        self
    }

    /// Prints the counters on standard error.
    pub(super) fn show(&self, as_json: bool) {
        if as_json {
            output::show(&format!("{}\n", self.to_json()));
        } else {
            output::show(&self.to_string());
        }
    }

    fn to_json(&self) -> Value {
        let group = |counters: &Vec<(&'static str, u64)>| {
            let entry = |(name, value): &(&str, u64)| (name.replace(' ', "_"), Value::from(*value));
            Value::Object(counters.iter().map(entry).collect())
        };
        let groups: Map<_, _> =
            self.0.iter().map(|(name, counters)| ((*name).to_owned(), group(counters))).collect();
        Value::Object([("counters".to_owned(), Value::Object(groups))].into_iter().collect())
    }
}

/// What several shards have counted, together.
impl Sum for Counters {
    fn sum<I: Iterator<Item = Self>>(shards: I) -> Self {
        let add = |mut total: Self, shard: Self| {
            let groups = total.0.iter_mut().zip(shard.0);
            for ((_, total), (_, counters)) in groups {
                total.iter_mut().zip(counters).for_each(|(total, (_, value))| total.1 += value);
            }
            total
        };
        shards.reduce(add).unwrap_or(Self(Vec::new()))
    }
}

/// One line a group: `name: value what, value what`.
impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (group, counters) in &self.0 {
            let words: Vec<String> =
                counters.iter().map(|(name, value)| format!("{value} {name}")).collect();
            writeln!(f, "{group:7} {}", words.join(", "))?;
        }
        Ok(())
    }
}

fn tcp(stack: &Stack) -> Vec<(&'static str, u64)> {
    let stats = stack.stats();
    vec![
        ("flows now", stack.tcp_flow_count() as u64),
        ("opened", stats.tcp.opened),
        ("closed", stats.tcp.closed),
        ("refused", stats.tcp.refused),
        ("cancelled", stats.tcp.cancelled),
        ("bytes up", stats.tcp_bytes_up),
        ("bytes down", stats.tcp_bytes_down),
        ("segments in", stats.tcp.segments_in),
        ("segments out", stats.tcp.segments_out),
        ("retransmissions", stats.tcp.retransmissions),
        ("resets in", stats.tcp.resets_in),
        ("resets out", stats.tcp.resets_out),
    ]
}

fn udp(stack: &Stack) -> Vec<(&'static str, u64)> {
    let stats = stack.stats();
    let dropped = stats.udp.dropped_opening
        + stats.udp.dropped_queue
        + stats.udp.dropped_memory
        + stats.udp.dropped_unread
        + stats.udp.dropped_flows
        + stats.udp.dropped_too_big
        + stats.udp.dropped_transmit
        + stats.datagrams_not_taken;
    vec![
        ("flows now", stack.udp_flow_count() as u64),
        ("opened", stats.udp.flows_opened),
        ("refused", stats.udp.flows_refused),
        ("expired", stats.udp.flows_expired),
        ("datagrams up", stats.udp.datagrams_in),
        ("datagrams down", stats.udp.datagrams_out),
        ("dropped", dropped),
    ]
}

fn device(tun: &TunPort, guard: &Guard<Stack>) -> Vec<(&'static str, u64)> {
    let (tun, guard_stats, stack) =
        (tun.counters().snapshot(), guard.stats(), guard.port().stats());
    vec![
        ("malformed", tun.malformed),
        ("not taken", tun.dropped),
        ("stalls", tun.stalled),
        ("rejected by rule", guard_stats.rejected),
        ("dropped by rule", guard_stats.dropped),
        ("neither TCP nor UDP", stack.other_packets),
        ("to addresses of no flow", stack.unroutable),
        ("pings answered", stack.pings_answered),
        ("ICMP errors in", stack.icmp_errors_in),
        ("opens failed", stack.opens_failed),
        ("ICMP errors withheld", stack.icmp_limited),
    ]
}

fn pieces(stats: FragmentsStats) -> Vec<(&'static str, u64)> {
    let reassembly = stats.reassembly;
    vec![
        ("fragments in", reassembly.fragments),
        ("packets made of them", reassembly.reassembled),
        ("never completed", reassembly.expired + reassembly.evicted),
        ("overlapping", reassembly.overlapping),
        ("malformed", reassembly.malformed),
        ("packets cut", stats.packets_cut),
    ]
}

fn shards(exchanges: [ExchangeStats; 2]) -> Vec<(&'static str, u64)> {
    vec![
        ("packets handed over", exchanges.iter().map(|stats| stats.handed_over).sum()),
        ("lost in between", exchanges.iter().map(|stats| stats.dropped).sum()),
    ]
}

fn dns(stage: &Dns) -> Vec<(&'static str, u64)> {
    let stats = stage.stats();
    vec![
        ("questions", stats.queries),
        ("answered from memory", stats.hits),
        ("outlived", stats.stale),
        ("asked", stats.upstream_queries),
        ("failed", stats.failures),
        ("rejected", stats.rejected),
        ("dropped", stats.dropped + stats.overloads),
    ]
}

fn proxy(client: &Proxies) -> Vec<(&'static str, u64)> {
    let stats = client.stats();
    vec![
        ("connections opened", stats.connections_opened),
        ("lost", stats.connections_lost),
        ("dials failed", stats.dials_failed),
        ("flows opened", stats.flows_opened),
        ("flows refused", stats.flows_refused),
        ("bytes sent", stats.bytes_sent),
        ("bytes received", stats.bytes_received),
        ("datagrams dropped", stats.datagrams_dropped),
        ("flows given up unread", stats.flows_given_up),
        ("bytes of windows", stats.window_bytes),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_counted_together() {
        let shard =
            |flows, bytes| Counters(vec![("tcp", vec![("flows", flows), ("bytes", bytes)])]);
        let all: Counters = [shard(3, 100), shard(4, 20)].into_iter().sum();
        assert_eq!(all.to_string(), "tcp     7 flows, 120 bytes\n");
    }

    #[test]
    fn for_people_and_for_programs() {
        let counters = Counters(vec![("tcp", vec![("flows now", 3), ("opened", 4)])]);
        assert_eq!(counters.to_string(), "tcp     3 flows now, 4 opened\n");
        let json = r#"{"counters":{"tcp":{"flows_now":3,"opened":4}}}"#;
        assert_eq!(counters.to_json().to_string(), json);
    }
}
