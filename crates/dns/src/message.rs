//! What clients send, and what they are answered.

use bytes::Bytes;
use hickory_proto::op::{
    Edns, Header, Message, MessageType, Metadata, OpCode, Query, ResponseCode,
};
use hickory_proto::rr::{DNSClass, Name, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

use crate::extended;

/// RFC 1035 §4.2.1: what a client takes in a datagram unless it says more.
const MIN_DATAGRAM: u16 = 512;

/// What we say that we take in a datagram.
const OUR_DATAGRAM: u16 = 1_232;

/// Why a client's message is not a question that can be asked further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// It has no header, or is a response: an answer would hit a bystander, or start a loop.
    #[error("not a query")]
    Ignored,
    /// It cannot be read, or holds no question or several (RFC 9619 §4): FORMERR.
    #[error("malformed query")]
    Malformed,
    /// Its opcode or type is none that a cache can serve: NOTIMP.
    #[error("not implemented")]
    NotImplemented,
    /// It asks for another class than the Internet's, or for a whole zone: REFUSED.
    #[error("refused")]
    Refused,
    /// It speaks a later version of EDNS (RFC 6891 §6.1.3): BADVERS.
    #[error("unknown EDNS version")]
    BadVersion,
}

impl Rejection {
    /// The answer to the message that was rejected: its id, its question where there is one that
    /// can be read, and the error. Nothing where silence is the answer.
    pub fn answer(self, message: &[u8]) -> Option<Bytes> {
        let code = self.code()?;
        let mut decoder = BinDecoder::new(message);
        let header = Header::read(&mut decoder).ok()?;
        let mut answer = error(&header.metadata, code);
        if header.counts.queries == 1
            && let Ok(query) = Query::read(&mut decoder)
        {
            answer.queries.push(query);
        }
        answer.edns = (self == Self::BadVersion).then(|| our_edns(false, None));
        encode(&answer)
    }

    fn code(self) -> Option<ResponseCode> {
        match self {
            Self::Ignored => None,
            Self::Malformed => Some(ResponseCode::FormErr),
            Self::NotImplemented => Some(ResponseCode::NotImp),
            Self::Refused => Some(ResponseCode::Refused),
            Self::BadVersion => Some(ResponseCode::BADVERS),
        }
    }
}

/// What makes two questions the same one: an answer to the one answers the other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub(crate) query: Query,
    pub(crate) dnssec_ok: bool,
    pub(crate) checking_disabled: bool,
}

/// One question of a client, as it was asked.
#[derive(Clone, Debug)]
pub struct Question {
    metadata: Metadata,
    query: Query,
    edns: Option<ClientEdns>,
}

#[derive(Clone, Copy, Debug)]
struct ClientEdns {
    max_datagram: u16,
    dnssec_ok: bool,
}

impl Question {
    /// Reads a client's message. Never panics, whatever the bytes are.
    pub fn read(message: &[u8]) -> Result<Self, Rejection> {
        let header = Header::read(&mut BinDecoder::new(message)).map_err(|_| Rejection::Ignored)?;
        check_header(&header)?;
        let Message { metadata, queries, edns, .. } =
            Message::from_vec(message).map_err(|_| Rejection::Malformed)?;
        let query = queries.into_iter().next().ok_or(Rejection::Malformed)?;
        check_query(&query)?;
        if edns.as_ref().is_some_and(|edns| edns.version() > 0) {
            return Err(Rejection::BadVersion);
        }
        let edns = edns.map(|edns| ClientEdns {
            max_datagram: edns.max_payload().max(MIN_DATAGRAM),
            dnssec_ok: edns.flags().dnssec_ok,
        });
        Ok(Self { metadata, query, edns })
    }

    /// The name in the letters in which it was asked.
    pub fn name(&self) -> &Name {
        self.query.name()
    }

    /// The type of record that is asked for.
    pub fn record_type(&self) -> RecordType {
        self.query.query_type()
    }

    /// What the question has in common with others; letter case is no part of it.
    pub fn key(&self) -> Key {
        let mut query = self.query.clone();
        query.name = query.name.to_lowercase();
        Key {
            query,
            dnssec_ok: self.dnssec_ok(),
            checking_disabled: self.metadata.checking_disabled,
        }
    }

    /// The largest answer in bytes that the client takes in a datagram.
    pub fn max_datagram(&self) -> u16 {
        self.edns.map_or(MIN_DATAGRAM, |edns| edns.max_datagram)
    }

    /// The answer in the form that suits the question: its id, its flags, its letters (the 0x20
    /// bits of a cautious client), and no more than `limit` bytes.
    ///
    /// What is too long loses its additional records first. Where that is not enough, all records
    /// go and the TC bit is set: half an answer helps nobody (RFC 2181 §9).
    pub fn answer(&self, mut answer: Message, limit: usize) -> Bytes {
        answer.metadata = self.answer_metadata(&answer.metadata);
        answer.queries = vec![self.query.clone()];
        for record in records_mut(&mut answer).filter(|record| record.name == self.query.name) {
            record.name.clone_from(&self.query.name);
        }
        answer.edns = self.edns.map(|_| our_edns(self.dnssec_ok(), extended::errors(&answer)));
        answer.signature = None;
        encode_within(answer, limit).unwrap_or_default()
    }

    /// An answer that says that the question could not be answered.
    pub fn error(&self, code: ResponseCode) -> Bytes {
        self.answer(error(&self.metadata, code), usize::from(MIN_DATAGRAM))
    }

    fn dnssec_ok(&self) -> bool {
        self.edns.is_some_and(|edns| edns.dnssec_ok)
    }

    fn answer_metadata(&self, from: &Metadata) -> Metadata {
        let mut metadata = Metadata::response_from_request(&self.metadata);
        metadata.recursion_available = true;
        metadata.truncation = from.truncation;
        // RFC 6840 §5.8: AD only for those who show that they understand it.
        metadata.authentic_data =
            from.authentic_data && (self.metadata.authentic_data || self.dnssec_ok());
        // The upper bits of a code travel in EDNS; without them it would mean something else.
        let lost = from.response_code.high() > 0 && self.edns.is_none();
        metadata.response_code = if lost { ResponseCode::ServFail } else { from.response_code };
        metadata
    }
}

/// The records of all sections.
pub(crate) fn records_mut(message: &mut Message) -> impl Iterator<Item = &mut Record> {
    let Message { answers, authorities, additionals, .. } = message;
    answers.iter_mut().chain(authorities).chain(additionals)
}

/// Counts are checked before anything is read that would be allocated by them.
fn check_header(header: &Header) -> Result<(), Rejection> {
    match (header.metadata.message_type, header.metadata.op_code, header.counts.queries) {
        (MessageType::Response, ..) => Err(Rejection::Ignored),
        (_, OpCode::Query, 1) => Ok(()),
        (_, OpCode::Query, _) => Err(Rejection::Malformed),
        _ => Err(Rejection::NotImplemented),
    }
}

fn check_query(query: &Query) -> Result<(), Rejection> {
    const OPT: u16 = 41;
    const IXFR: u16 = 251;
    const AXFR: u16 = 252;
    const ANY: u16 = 255;
    match (query.query_class(), u16::from(query.query_type())) {
        (DNSClass::IN, IXFR | AXFR) => Err(Rejection::Refused),
        (DNSClass::IN, ANY) => Ok(()),
        // RFC 6895 §3.1: meta types describe messages and transactions, not data.
        (DNSClass::IN, OPT | 128..=254) => Err(Rejection::NotImplemented),
        (DNSClass::IN, _) => Ok(()),
        _ => Err(Rejection::Refused),
    }
}

fn error(asked: &Metadata, code: ResponseCode) -> Message {
    let mut message = Message::error_msg(asked.id, asked.op_code, code);
    message.metadata.recursion_desired = asked.recursion_desired;
    message.metadata.checking_disabled = asked.checking_disabled;
    message
}

fn our_edns(dnssec_ok: bool, errors: Option<Edns>) -> Edns {
    let mut edns = errors.unwrap_or_default();
    edns.set_max_payload(OUR_DATAGRAM).set_dnssec_ok(dnssec_ok);
    edns
}

fn encode_within(mut message: Message, limit: usize) -> Option<Bytes> {
    let fitting = |message: &Message| encode(message).filter(|bytes| bytes.len() <= limit);
    if let Some(whole) = fitting(&message) {
        return Some(whole);
    }
    message.additionals.clear();
    fitting(&message).or_else(|| encode(&message.truncate()))
}

pub(crate) fn encode(message: &Message) -> Option<Bytes> {
    message.to_vec().ok().map(Bytes::from)
}
