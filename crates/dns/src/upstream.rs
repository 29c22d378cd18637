//! What an upstream resolver is asked, and whether what comes back is the answer.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use hickory_proto::op::{Edns, Header, Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

use crate::extended;
use crate::message::{Key, encode};

/// The media type of DNS messages in HTTP (RFC 8484 §6), for `content-type` and `accept`.
pub const MEDIA_TYPE: &str = "application/dns-message";

/// RFC 8484 §4.1: id 0, so that HTTP caches see equal questions as equal.
const ID: u16 = 0;

/// What we take in a datagram, where the upstream is asked by one.
const OUR_DATAGRAM: u16 = 1_232;

/// The message that asks an upstream. Nothing of the client is in it but the question: no id, no
/// letters, no EDNS options such as its subnet.
pub fn query(key: &Key) -> Option<Bytes> {
    let mut message = Message::new(ID, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.metadata.authentic_data = true;
    message.metadata.checking_disabled = key.checking_disabled;
    message.queries.push(key.query.clone());
    let mut edns = Edns::new();
    edns.set_max_payload(OUR_DATAGRAM).set_dnssec_ok(key.dnssec_ok);
    message.edns = Some(edns);
    encode(&message)
}

/// RFC 8467 §4.1: queries that travel encrypted have a multiple of this length.
const PADDING_BLOCK: usize = 128;

/// The same query with padding (RFC 7830), so that its length does not tell the name. Only for
/// servers that are asked through encryption.
pub fn padded(query: &Bytes) -> Bytes {
    const OPTION: u16 = 12;
    const OPTION_HEAD: usize = 4;
    let Ok(mut message) = Message::from_vec(query) else { return query.clone() };
    let bare = query.len() + OPTION_HEAD;
    let padding = vec![0; bare.next_multiple_of(PADDING_BLOCK) - bare];
    let edns = message.edns.get_or_insert_with(Edns::new);
    edns.options_mut().insert(EdnsOption::Unknown(OPTION, padding));
    encode(&message).unwrap_or_else(|| query.clone())
}

/// Whether a message says that its sender could not answer, so that another server may be asked:
/// whatever is neither an answer nor the news that the name does not exist.
pub fn is_failure(message: &[u8]) -> bool {
    let header = Header::read(&mut BinDecoder::new(message));
    !header.is_ok_and(|header| {
        matches!(header.metadata.response_code, ResponseCode::NoError | ResponseCode::NXDomain)
    })
}

/// Whether a message is cut short, and the whole is to be had over a stream (RFC 2181 §9).
pub fn is_truncated(message: &[u8]) -> bool {
    let header = Header::read(&mut BinDecoder::new(message));
    header.is_ok_and(|header| header.metadata.truncation)
}

/// Why a message is no answer to what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResponseError {
    /// It cannot be read.
    #[error("malformed response")]
    Malformed,
    /// It is no response to a query.
    #[error("not a response")]
    NotAResponse,
    /// It has another id.
    #[error("wrong id")]
    WrongId,
    /// It answers another question (RFC 5452 §4.2), or names none.
    #[error("wrong question")]
    WrongQuestion,
}

/// Reads an upstream's message and checks that it answers the question. What concerns only the
/// hop to the upstream is taken off; of EDNS only extended errors (RFC 8914) stay.
pub fn response(key: &Key, message: &[u8]) -> Result<Message, ResponseError> {
    let header =
        Header::read(&mut BinDecoder::new(message)).map_err(|_| ResponseError::Malformed)?;
    check_header(&header)?;
    let mut answer = Message::from_vec(message).map_err(|_| ResponseError::Malformed)?;
    if answer.queries.first() != Some(&key.query) {
        return Err(ResponseError::WrongQuestion);
    }
    answer.edns = extended::errors(&answer);
    answer.signature = None;
    Ok(answer)
}

/// Counts are checked before anything is read that would be allocated by them.
fn check_header(header: &Header) -> Result<(), ResponseError> {
    match (header.metadata.message_type, header.metadata.op_code) {
        (MessageType::Response, OpCode::Query) => {}
        _ => return Err(ResponseError::NotAResponse),
    }
    if header.metadata.id != ID {
        return Err(ResponseError::WrongId);
    }
    if header.counts.queries != 1 {
        return Err(ResponseError::WrongQuestion);
    }
    Ok(())
}

/// Where a DNS-over-HTTPS server is asked (RFC 8484).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    authority: String,
    path: String,
}

/// Why a text is no DNS-over-HTTPS template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// It does not begin with `https://`.
    #[error("a DNS-over-HTTPS template begins with https://")]
    NotHttps,
    /// It names no host.
    #[error("the template names no host")]
    NoHost,
    /// It has a query, a fragment, an expression other than a final `{?dns}`, or a character that
    /// no URI has.
    #[error("the template's path must be plain, with {{?dns}} at its end at most")]
    BadPath,
}

impl Endpoint {
    /// Reads a template such as `https://dns.example/dns-query{?dns}`; the expression may be left
    /// out.
    pub fn parse(template: &str) -> Result<Self, EndpointError> {
        let rest = template.strip_prefix("https://").ok_or(EndpointError::NotHttps)?;
        let rest = rest.strip_suffix("{?dns}").unwrap_or(rest);
        let (authority, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, "/"),
        };
        if authority.is_empty() || authority.contains('@') || !is_plain(authority) {
            return Err(EndpointError::NoHost);
        }
        if !is_plain(path) {
            return Err(EndpointError::BadPath);
        }
        Ok(Self { authority: authority.to_owned(), path: path.to_owned() })
    }

    /// Host and port for `:authority`.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// A POST request: the message is the body. Costs least, and says least to logs.
    pub fn post(&self, query: Bytes) -> Request {
        Request { method: Method::Post, path: self.path.clone(), body: query }
    }

    /// A GET request: the message is in the path, so that HTTP caches can answer.
    pub fn get(&self, query: &[u8]) -> Request {
        let path = format!("{}?dns={}", self.path, URL_SAFE_NO_PAD.encode(query));
        Request { method: Method::Get, path, body: Bytes::new() }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}{}", self.authority, self.path)
    }
}

/// Visible ASCII without what has a meaning of its own in a template or a URI's tail.
fn is_plain(part: &str) -> bool {
    part.bytes().all(|byte| byte.is_ascii_graphic() && !b"{}?#\\\"<>^`|".contains(&byte))
}

/// The method of a [`Request`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `GET`
    Get,
    /// `POST`
    Post,
}

/// One DNS-over-HTTPS request, as data; see [`MEDIA_TYPE`] for its headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// `:path`, with the query where there is one.
    pub path: String,
    /// The body; empty for GET.
    pub body: Bytes,
}
