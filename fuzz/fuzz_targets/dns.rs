//! Whatever clients and upstreams send: nothing panics, every answer fits, and fake addresses and the
//! cache stay within their bounds.
#![no_main]

use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use pseudotcp_dns::{Asker, Carrier, Config, Interceptor};

/// The bytes that the cache may take.
const CACHE: usize = 10_000;

fuzz_target!(|steps: Vec<(u8, Vec<u8>)>| {
    let config = Config::default().cache_bytes(CACHE).max_waiting(8).fake_names(4);
    let (mut dns, mut now) = (Interceptor::new(config), Instant::now());
    let mut asked = Vec::new();
    let source = [10, 0, 0, 1].into();
    for (kind, message) in steps {
        let carrier = if kind & 1 == 0 { Carrier::Datagram } else { Carrier::Stream };
        match kind % 5 {
            0 | 1 => {
                dns.handle_query(now, Asker { client: carrier, source, carrier }, &message);
            }
            2 => now += Duration::from_millis(u64::from(kind) * 100),
            _ => {
                if let Some(id) = asked.pop() {
                    dns.handle_response(now, id, &message);
                }
            }
        }
        dns.handle_timeout(now);
        asked.extend(std::iter::from_fn(|| dns.poll_query()).map(|query| query.id));
        while let Some(answer) = dns.poll_answer() {
            let limit = if answer.client == Carrier::Datagram { 1_232 } else { 65_535 };
            assert!((12..=limit).contains(&answer.message.len()));
        }
        assert!(dns.cache().bytes() <= CACHE);
        assert!(dns.fake().is_some_and(|pool| pool.len() <= 4));
    }
});
