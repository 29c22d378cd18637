//! The table that the demo ends with.

use std::time::Duration;

use pseudotcp_pipeline::stack;

use super::checks::{BULK, DATAGRAMS, Measured};

/// Prints the table; true if every check was good.
pub(super) fn print(host: &str, measured: &Measured, stack: &stack::Stats) -> bool {
    row("host", host);
    row("download, 100 MB", &throughput(measured.download));
    row("upload, 100 MB", &throughput(measured.upload));
    row("connect, p50 / p99", &percentiles(&measured.connects));
    row("request, p50 / p99", &percentiles(&measured.requests));
    row("refused port", &measured.refused.map_or_else(none, |took| format!("after {took:.1?}")));
    row("datagrams lost", &format!("{} of {DATAGRAMS}", measured.datagrams_lost));
    print_stack(stack);
    row("peak memory", &peak_memory());
    for (check, reason) in &measured.failures {
        row("FAILED", &format!("{check}: {reason}"));
    }
    if measured.failures.is_empty() {
        row("all checks", "ok");
    }
    measured.failures.is_empty()
}

fn print_stack(stack: &stack::Stats) {
    let (tcp, udp) = (&stack.tcp, &stack.udp);
    row(
        "TCP flows",
        &format!("{} opened, {} closed, {} refused", tcp.opened, tcp.closed, tcp.refused),
    );
    row("UDP flows", &format!("{} opened", udp.flows_opened));
    row(
        "bytes up / down",
        &format!("{} / {}", mega(stack.tcp_bytes_up), mega(stack.tcp_bytes_down)),
    );
    row("segments in / out", &format!("{} / {}", tcp.segments_in, tcp.segments_out));
    row("retransmissions", &tcp.retransmissions.to_string());
}

fn row(name: &str, value: &str) {
    println!("{name:>20}  {value}");
}

fn none() -> String {
    "-".to_owned()
}

/// The throughput of a bulk transfer in Gbit/s.
#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn throughput(took: Option<Duration>) -> String {
    took.map_or_else(none, |took| {
        let gbits = BULK as f64 * 8.0 / took.as_secs_f64() / 1e9;
        format!("{gbits:.2} Gbit/s, SHA-256 equal")
    })
}

fn percentiles(times: &[Duration]) -> String {
    let mut times = times.to_vec();
    times.sort_unstable();
    let at = |percent: usize| times.get(times.len().saturating_sub(1) * percent / 100);
    match (at(50), at(99)) {
        (Some(p50), Some(p99)) => format!("{p50:.1?} / {p99:.1?}"),
        _ => none(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn mega(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// The most memory that this process has had resident.
fn peak_memory() -> String {
    use nix::sys::resource::{UsageWho, getrusage};
    getrusage(UsageWho::RUSAGE_SELF).map_or_else(
        |_| none(),
        |usage| {
            format!("{:.1} MiB", f64::from(u32::try_from(usage.max_rss()).unwrap_or(0)) / 1024.0)
        },
    )
}
