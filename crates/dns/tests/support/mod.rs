//! Short names for DNS messages, and a clock that only tests move.
#![allow(dead_code, reason = "each test file uses its part")]

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, SOA, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};

#[expect(clippy::disallowed_methods, reason = "the origin of the virtual time")]
pub(crate) fn epoch() -> Instant {
    Instant::now()
}

pub(crate) fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

pub(crate) fn query(text: &str, kind: RecordType) -> Message {
    let mut message = Message::new(0x1234, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.queries.push(Query::query(name(text), kind));
    message
}

pub(crate) fn with_edns(mut message: Message, max_datagram: u16, dnssec_ok: bool) -> Message {
    let mut edns = Edns::new();
    edns.set_max_payload(max_datagram).set_dnssec_ok(dnssec_ok);
    message.edns = Some(edns);
    message
}

pub(crate) fn wire(message: &Message) -> Vec<u8> {
    message.to_vec().unwrap()
}

pub(crate) fn read(message: &[u8]) -> Message {
    Message::from_vec(message).unwrap()
}

/// The upstream's answer to a message that it was sent.
pub(crate) fn response(to: &[u8], code: ResponseCode, answers: Vec<Record>) -> Message {
    let asked = read(to);
    let mut message = Message::response(asked.metadata.id, OpCode::Query);
    message.metadata.response_code = code;
    message.metadata.recursion_available = true;
    message.queries = asked.queries;
    message.answers = answers;
    with_edns(message, 1_232, false)
}

pub(crate) fn a(owner: &str, ttl: u32, last: u8) -> Record {
    Record::from_rdata(name(owner), ttl, RData::A(A(Ipv4Addr::new(192, 0, 2, last))))
}

pub(crate) fn aaaa(owner: &str, ttl: u32) -> Record {
    let address: Ipv6Addr = "2001:db8::7".parse().unwrap();
    Record::from_rdata(name(owner), ttl, RData::AAAA(AAAA(address)))
}

pub(crate) fn cname(owner: &str, ttl: u32, target: &str) -> Record {
    Record::from_rdata(name(owner), ttl, RData::CNAME(CNAME(name(target))))
}

pub(crate) fn txt(owner: &str, ttl: u32, len: usize) -> Record {
    Record::from_rdata(name(owner), ttl, RData::TXT(TXT::new(vec!["x".repeat(len)])))
}

pub(crate) fn soa(owner: &str, ttl: u32, minimum: u32) -> Record {
    let data = SOA::new(name("ns.example."), name("admin.example."), 1, 2, 3, 4, minimum);
    Record::from_rdata(name(owner), ttl, RData::SOA(data))
}
