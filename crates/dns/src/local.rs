//! Questions that are answered here, whatever a resolver would say.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::rdata::svcb::SvcParamKey;
use hickory_proto::rr::rdata::{A, AAAA, HINFO, HTTPS, PTR};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use crate::ExtendedError;
use crate::fake::{self, FakePool, is_host_name};
use crate::message::Question;

/// The TTL in seconds of what never changes.
const LONG_TTL: u32 = 3_600;

/// Top-level names that no resolver knows, or must not learn that they are asked for: RFC 6761 §6.4,
/// RFC 6762 §22.1, RFC 7686 §2, RFC 9476 §3.
const NOT_IN_DNS: [&[u8]; 4] = [b"invalid", b"local", b"onion", b"alt"];

/// What an answer may be made of: nothing to ask for, no such name, or one record.
enum Local {
    NoData,
    NoSuchName,
    Record(u32, RData),
}

/// The answer to a question whose answer is the same everywhere; nothing where it is not known here.
pub(crate) fn everywhere(question: &Question) -> Option<Message> {
    let local = match question.record_type() {
        // RFC 8482 §4.2: whoever asks for everything gets something.
        RecordType::ANY => {
            Local::Record(LONG_TTL, RData::HINFO(HINFO::new("RFC8482".into(), String::new())))
        }
        kind => by_name(question.name(), kind)?,
    };
    Some(message(question, local))
}

/// The answer without any record.
pub(crate) fn no_data(question: &Question) -> Message {
    message(question, Local::NoData)
}

/// Takes the IPv6 addresses out of service bindings (RFC 9460 §7.3).
pub(crate) fn drop_ipv6_hints(answer: &mut Message) {
    for record in &mut answer.answers {
        if let RData::HTTPS(HTTPS(binding)) | RData::SVCB(binding) = &mut record.data {
            binding.svc_params.retain(|(key, _)| *key != SvcParamKey::Ipv6Hint);
        }
    }
}

/// The answer from fake addresses; nothing where the question is none for them, or all are in use.
pub(crate) fn fake(
    question: &Question,
    pool: &mut FakePool,
    now: std::time::Instant,
) -> Option<Message> {
    if question.record_type() == RecordType::PTR {
        return reverse(question, pool);
    }
    let name = question.name().to_lowercase().to_ascii();
    let name = name.strip_suffix('.').unwrap_or(&name);
    if !is_host_name(name) {
        return None;
    }
    let local = match question.record_type() {
        RecordType::A => Local::Record(fake::TTL, RData::A(A(pool.assign(now, name)?.0))),
        RecordType::AAAA => Local::Record(fake::TTL, RData::AAAA(AAAA(pool.assign(now, name)?.1))),
        // RFC 9460 §7.3: their hints are real addresses, which would lead past the name.
        RecordType::HTTPS | RecordType::SVCB => Local::NoData,
        _ => return None,
    };
    Some(message(question, local))
}

/// The name behind a fake address.
fn reverse(question: &Question, pool: &FakePool) -> Option<Message> {
    let address = reversed(question.name()).filter(|address| FakePool::contains(*address))?;
    let local =
        match pool.name_of(address).and_then(|name| Name::from_ascii(format!("{name}.")).ok()) {
            Some(name) => Local::Record(fake::TTL, RData::PTR(PTR(name))),
            None => Local::NoSuchName,
        };
    Some(message(question, local))
}

fn by_name(name: &Name, kind: RecordType) -> Option<Local> {
    let labels: Vec<Vec<u8>> = name.iter().map(<[u8]>::to_ascii_lowercase).rev().collect();
    let labels: Vec<&[u8]> = labels.iter().map(Vec::as_slice).collect();
    match labels.as_slice() {
        // RFC 6761 §6.3.
        [b"localhost", ..] => Some(loopback(kind)),
        [top, ..] if NOT_IN_DNS.contains(top) => Some(Local::NoSuchName),
        // RFC 9462 §6.4: there is no other resolver to find.
        [b"arpa", b"resolver", ..] => Some(Local::NoData),
        // Firefox takes this for the wish that it leaves DNS to the system.
        [b"net", b"use-application-dns"] => Some(Local::NoSuchName),
        // RFC 6303 §4: whose names private addresses have is nobody else's business.
        [b"arpa", b"in-addr" | b"ip6", ..] if reversed(name).is_some_and(is_private) => {
            Some(Local::NoSuchName)
        }
        _ => None,
    }
}

fn loopback(kind: RecordType) -> Local {
    match kind {
        RecordType::A => Local::Record(LONG_TTL, RData::A(A(Ipv4Addr::LOCALHOST))),
        RecordType::AAAA => Local::Record(LONG_TTL, RData::AAAA(AAAA(Ipv6Addr::LOCALHOST))),
        _ => Local::NoData,
    }
}

/// The address that a reverse name stands for.
fn reversed(name: &Name) -> Option<IpAddr> {
    let network = name.parse_arpa_name().ok()?;
    let is_host = network.prefix_len() == network.max_prefix_len();
    is_host.then(|| network.addr())
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.octets()[0] == 0
        }
        IpAddr::V6(v6) => {
            v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_unique_local()
                || v6.is_unicast_link_local()
        }
    }
}

fn message(question: &Question, local: Local) -> Message {
    let mut answer = Message::response(0, OpCode::Query);
    match local {
        Local::NoData => {}
        Local::NoSuchName => answer.metadata.response_code = ResponseCode::NXDomain,
        Local::Record(ttl, data) => {
            answer.answers.push(Record::from_rdata(question.name().clone(), ttl, data));
        }
    }
    ExtendedError::Synthesized.explain(answer)
}
