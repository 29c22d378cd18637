//! Fragments in, whole packets out: rule by rule, and against a bitmap.

mod support;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;
use pseudotcp_packet::build::datagram;
use pseudotcp_packet::reassembly::{Config, Reassembler};
use pseudotcp_packet::{Packet, Quote, Transport};
use support::{EXPERIMENT, Fragment};

const VERSIONS: [bool; 2] = [false, true];

#[expect(clippy::disallowed_methods, reason = "the origin of the virtual time")]
fn start() -> Instant {
    Instant::now()
}

fn part(ipv6: bool, offset: usize, more: bool, payload: &[u8]) -> Fragment {
    let payload = payload.to_vec();
    Fragment { ipv6, protocol: EXPERIMENT, identification: 7, offset, more, payload }
}

/// A reassembler at a time that does not pass.
struct Bench {
    reassembler: Reassembler,
    now: Instant,
}

impl Bench {
    fn new(config: Config) -> Self {
        Self { reassembler: Reassembler::new(config), now: start() }
    }

    fn take(&mut self, fragment: &Fragment) -> Option<Vec<u8>> {
        let whole = self.reassembler.handle_packet(self.now, fragment.packet())?;
        Packet::parse(whole.to_bytes()).expect("what comes out is valid");
        Some(whole.body().concat())
    }

    fn errors(&mut self) -> Vec<(u8, u8, u32)> {
        std::iter::from_fn(|| self.reassembler.poll_transmit())
            .map(|error| match error.transport() {
                Transport::Icmp(icmp) | Transport::Icmpv6(icmp) => {
                    (icmp.kind(), icmp.code(), icmp.rest())
                }
                other => panic!("{other:?}"),
            })
            .collect()
    }
}

fn big_datagram(ipv6: bool, len: usize) -> Packet {
    let ends = if ipv6 { ("[fd00::1]:1", "[fd00::2]:2") } else { ("10.0.0.1:1", "192.0.2.7:2") };
    let payload: Vec<u8> = (0..len).map(|n| u8::try_from(n % 251).unwrap()).collect();
    datagram(ends.0.parse().unwrap(), ends.1.parse().unwrap(), payload.into(), None).unwrap()
}

#[test]
fn what_is_cut_is_joined_in_any_order() {
    for ipv6 in VERSIONS {
        let sent = big_datagram(ipv6, 4_000);
        let mut fragments: Vec<_> = sent.fragments(1_280, 99).collect();
        assert_eq!(fragments.len(), 4);
        assert!(fragments.iter().all(|fragment| fragment.total_len() <= 1_280));
        for _ in 0..fragments.len() {
            fragments.rotate_left(1);
            let mut bench = Bench::new(Config::default());
            let mut whole = None;
            for fragment in &fragments {
                assert!(whole.is_none(), "complete too early");
                let fragment = Packet::parse(fragment.to_bytes()).unwrap();
                whole = bench.reassembler.handle_packet(bench.now, fragment);
            }
            let whole = whole.expect("all fragments came");
            assert_eq!(whole.flow(), sent.flow());
            assert_eq!(whole.body().concat(), sent.body().concat());
            assert_eq!((bench.reassembler.held(), bench.reassembler.poll_timeout()), (0, None));
        }
    }
}

#[test]
fn what_fits_is_not_cut_and_what_is_whole_passes() {
    for ipv6 in VERSIONS {
        let sent = big_datagram(ipv6, 1_000);
        let pieces: Vec<_> = sent.fragments(1_048, 1).collect();
        assert_eq!(pieces.len(), 1);
        let mut bench = Bench::new(Config::default());
        let passed = bench.reassembler.handle_packet(bench.now, pieces[0].clone()).unwrap();
        assert_eq!(passed.to_bytes(), pieces[0].to_bytes());
        assert_eq!(bench.reassembler.stats().fragments, 0);
    }
}

#[test]
fn the_largest_datagram_survives_the_smallest_links() {
    for (ipv6, len, mtu) in [(false, 65_507, 576), (true, 65_527, 1_280)] {
        let sent = big_datagram(ipv6, len);
        let mut bench = Bench::new(Config::default());
        let whole = sent
            .fragments(mtu, 1)
            .filter_map(|fragment| bench.reassembler.handle_packet(bench.now, fragment))
            .last()
            .expect("whole");
        assert_eq!(whole.payload_len(), len);
    }
}

/// RFC 6946: it is a packet of its own, whatever else has the same identification.
#[test]
fn an_atomic_fragment_is_a_whole_packet() {
    let mut bench = Bench::new(Config::default());
    assert_eq!(bench.take(&part(true, 0, true, &[1; 8])), None);
    assert_eq!(bench.take(&part(true, 0, false, b"atomic")), Some(b"atomic".to_vec()));
    assert_eq!(bench.take(&part(true, 8, false, b"last")), Some([&[1; 8][..], b"last"].concat()));
}

/// RFC 5722 §4, RFC 8200 §4.5: the packet is gone, and what comes of it later is too.
#[test]
fn an_overlap_ends_the_packet_without_a_word() {
    for ipv6 in VERSIONS {
        let mut bench = Bench::new(Config::default());
        bench.take(&part(ipv6, 0, true, &[1; 16]));
        bench.take(&part(ipv6, 8, true, &[1; 16]));
        assert_eq!(bench.reassembler.held(), 0);
        assert_eq!(bench.take(&part(ipv6, 24, false, &[1; 8])), None);
        assert_eq!(bench.take(&part(ipv6, 0, true, &[1; 24])), None);
        assert_eq!(bench.reassembler.stats().overlapping, 3);
        bench.now += Duration::from_secs(61);
        bench.reassembler.handle_timeout(bench.now);
        assert_eq!(bench.errors(), []);
        assert_eq!(bench.take(&part(ipv6, 0, true, &[1; 8])), None);
        assert!(bench.take(&part(ipv6, 8, false, &[2; 8])).is_some(), "a new packet");
    }
}

#[test]
fn a_duplicate_is_passed_over_but_another_content_is_an_overlap() {
    for ipv6 in VERSIONS {
        let mut bench = Bench::new(Config::default());
        bench.take(&part(ipv6, 0, true, &[1; 8]));
        bench.take(&part(ipv6, 0, true, &[1; 8]));
        assert_eq!(bench.reassembler.stats().duplicates, 1);
        assert!(bench.take(&part(ipv6, 8, false, &[2; 3])).is_some());
        bench.take(&part(ipv6, 0, true, &[1; 8]));
        bench.take(&part(ipv6, 0, true, &[9; 8]));
        assert_eq!(bench.take(&part(ipv6, 8, false, &[2; 3])), None);
    }
}

#[test]
fn fragments_must_agree_about_the_end() {
    for ipv6 in VERSIONS {
        for (first, second) in [
            (part(ipv6, 16, false, &[1; 8]), part(ipv6, 32, true, &[1; 8])),
            (part(ipv6, 32, true, &[1; 8]), part(ipv6, 16, false, &[1; 8])),
            (part(ipv6, 16, false, &[1; 8]), part(ipv6, 24, false, &[1; 8])),
        ] {
            let mut bench = Bench::new(Config::default());
            bench.take(&first);
            bench.take(&second);
            assert_eq!(bench.reassembler.stats().overlapping, 1, "{first:?} {second:?}");
        }
    }
}

/// RFC 792 and RFC 1122 §3.3.2: 11/1; RFC 4443 §3.3: 3/1.
#[test]
fn the_first_fragment_is_told_that_time_is_up() {
    for (ipv6, told) in [(false, (11, 1, 0)), (true, (3, 1, 0))] {
        let mut bench = Bench::new(Config::default());
        bench.take(&part(ipv6, 0, true, &[1; 64]));
        let deadline = bench.reassembler.poll_timeout().expect("something waits");
        assert_eq!(deadline - bench.now, Duration::from_mins(1));
        bench.now = deadline;
        bench.reassembler.handle_timeout(bench.now);
        assert_eq!(bench.errors(), [told]);
        assert_eq!((bench.reassembler.held(), bench.reassembler.poll_timeout()), (0, None));
        assert_eq!(bench.take(&part(ipv6, 64, false, &[1; 8])), None, "it came too late");
    }
}

#[test]
fn nobody_is_told_where_the_first_fragment_is_missing() {
    for ipv6 in VERSIONS {
        let mut bench = Bench::new(Config::default());
        bench.take(&part(ipv6, 8, true, &[1; 64]));
        bench.now += Duration::from_mins(1);
        bench.reassembler.handle_timeout(bench.now);
        assert_eq!(bench.errors(), []);
        assert_eq!(bench.reassembler.stats().expired, 1);
    }
}

/// RFC 8200 §4.5: the error points to the payload length.
#[test]
fn a_fragment_of_an_odd_length_is_refused() {
    for (ipv6, told) in [(false, vec![]), (true, vec![(4, 0, 4)])] {
        let mut bench = Bench::new(Config::default());
        assert_eq!(bench.take(&part(ipv6, 0, true, &[1; 9])), None);
        assert_eq!(bench.errors(), told);
        assert_eq!(bench.reassembler.stats().malformed, 1);
    }
}

/// RFC 7112 §5 and RFC 8200 §4.5.
#[test]
fn a_first_fragment_of_ipv6_has_all_headers() {
    let destination_options = [17, 0, 1, 4, 0, 0, 0, 0];
    for (protocol, payload, complete) in [
        (6, &[0; 16][..], false),
        (17, &[0; 8], true),
        (60, &destination_options, false),
        (60, &[destination_options, [0; 8]].concat(), true),
    ] {
        let mut bench = Bench::new(Config::default());
        bench.take(&Fragment { protocol, ..part(true, 0, true, payload) });
        let told = if complete { vec![] } else { vec![(4, 3, 0)] };
        assert_eq!(bench.errors(), told, "{protocol} {payload:?}");
    }
}

#[test]
fn memory_is_bounded_by_bytes_packets_and_fragments() {
    let config = Config::default().max_bytes(10_000).max_packets(8).max_fragments(4);
    for ipv6 in VERSIONS {
        let mut bench = Bench::new(config.clone());
        for identification in 0..1_000 {
            bench.take(&Fragment { identification, ..part(ipv6, 0, true, &[1; 2_000]) });
            assert!(bench.reassembler.held() <= 10_000);
        }
        assert!(bench.reassembler.stats().evicted > 990);
        let mut bench = Bench::new(config.clone());
        for offset in 0..5 {
            bench.take(&part(ipv6, offset * 8, true, &[1; 8]));
        }
        assert_eq!((bench.reassembler.held(), bench.reassembler.stats().overlapping), (0, 1));
    }
}

#[test]
fn fragments_of_other_packets_never_mix() {
    let mut bench = Bench::new(Config::default());
    bench.take(&part(false, 0, true, &[1; 8]));
    let other = Fragment { protocol: 254, ..part(false, 8, false, &[2; 8]) };
    assert_eq!(bench.take(&other), None, "another protocol");
    let other = Fragment { identification: 8, ..part(false, 8, false, &[2; 8]) };
    assert_eq!(bench.take(&other), None, "another identification");
    assert!(bench.take(&part(false, 8, false, &[2; 8])).is_some());
    // RFC 8200 §4.5: in IPv6 the next header of later fragments does not count.
    bench.take(&part(true, 0, true, &[1; 8]));
    let later = Fragment { protocol: 254, ..part(true, 8, false, &[2; 8]) };
    assert!(bench.take(&later).is_some());
}

#[test]
fn a_whole_that_is_no_packet_is_dropped() {
    for ipv6 in VERSIONS {
        let mut bench = Bench::new(Config::default());
        let protocol = 17;
        bench.take(&Fragment { protocol, ..part(ipv6, 0, true, &[1; 16]) });
        assert_eq!(bench.take(&Fragment { protocol, ..part(ipv6, 16, false, &[1; 8]) }), None);
        assert_eq!(bench.reassembler.stats().malformed, 1);
    }
}

#[test]
fn a_later_fragment_is_never_quoted() {
    let sent = big_datagram(false, 4_000);
    let quotable: Vec<_> =
        sent.fragments(1_500, 1).map(|fragment| Quote::of(&fragment).is_some()).collect();
    assert_eq!(quotable, [true, false, false]);
}

/// The naive model of one packet: a map of octets, and the ranges that came.
#[derive(Default)]
struct Model {
    octets: Vec<Option<u8>>,
    came: BTreeSet<(usize, usize)>,
    end: Option<usize>,
    dead: bool,
}

impl Model {
    fn take(&mut self, fragment: &Fragment) -> Option<Vec<u8>> {
        let (start, end) = (fragment.offset, fragment.offset + fragment.payload.len());
        if fragment.payload.is_empty() || fragment.more && !fragment.payload.len().is_multiple_of(8)
        {
            return None;
        }
        self.octets.resize(self.octets.len().max(end), None);
        let there = &self.octets[start..end];
        let same = there.iter().zip(&fragment.payload).all(|(old, new)| *old == Some(*new));
        if self.dead || self.came.contains(&(start, end)) && same {
            return None;
        }
        let overlaps = there.iter().any(Option::is_some);
        let reaches = self.came.iter().map(|(_, end)| *end).max().unwrap_or(0);
        let contradicts = match self.end {
            Some(known) => !fragment.more || end > known,
            None => !fragment.more && reaches > end,
        };
        if overlaps || contradicts {
            self.dead = true;
            return None;
        }
        self.end = if fragment.more { self.end } else { Some(end) };
        self.came.insert((start, end));
        for (octet, new) in self.octets[start..end].iter_mut().zip(&fragment.payload) {
            *octet = Some(*new);
        }
        let whole: Option<Vec<u8>> = self.octets[..self.end?].iter().copied().collect();
        if whole.is_some() {
            *self = Self::default();
        }
        whole
    }
}

/// Fragments that often fit together: eight-octet units of one pattern, seldom another content.
fn any_fragment(ipv6: bool) -> impl Strategy<Value = Fragment> {
    (0..8_usize, 0..4_usize, prop::bool::weighted(0.7), 0..8_usize, prop::bool::weighted(0.05))
        .prop_filter("atomic fragments stand for themselves", |(unit, _, more, ..)| {
            *more || *unit > 0
        })
        .prop_map(move |(unit, units, more, odd, foreign)| {
            let offset = unit * 8;
            let len = if more { units * 8 } else { units * 8 + odd };
            let pattern = |n: usize| u8::try_from(n).unwrap() ^ u8::from(foreign);
            let payload: Vec<u8> = (offset..offset + len).map(pattern).collect();
            part(ipv6, offset, more, &payload)
        })
}

proptest! {
    #[test]
    fn behaves_as_a_bitmap(
        fragments in any::<bool>().prop_flat_map(|ipv6| prop::collection::vec(any_fragment(ipv6), 1..24)),
    ) {
        let mut bench = Bench::new(Config::default());
        let mut model = Model::default();
        for fragment in &fragments {
            prop_assert_eq!(bench.take(fragment), model.take(fragment), "{:?}", fragment);
        }
    }

    #[test]
    fn a_cut_datagram_comes_back_whatever_the_order(
        ipv6: bool,
        len in 0..9_000_usize,
        mtu in 100..3_000_usize,
        order in prop::collection::vec(any::<prop::sample::Index>(), 100),
    ) {
        let sent = big_datagram(ipv6, len);
        let mut fragments: Vec<_> = sent.fragments(mtu, 5).collect();
        for (place, index) in order.iter().enumerate().take(fragments.len()) {
            let other = index.index(fragments.len());
            fragments.swap(place, other);
        }
        let mut bench = Bench::new(Config::default().max_fragments(1_000));
        let whole: Vec<Bytes> = fragments
            .into_iter()
            .filter_map(|fragment| bench.reassembler.handle_packet(bench.now, fragment))
            .map(|whole| whole.body().concat().into())
            .collect();
        prop_assert_eq!(whole, [Bytes::from(sent.body().concat())]);
    }
}
