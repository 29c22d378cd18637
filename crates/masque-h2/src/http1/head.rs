//! The head of a response (RFC 9112 §4), read with `httparse`.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use httparse::Status;

/// The most bytes of a head.
const MAX_HEAD: usize = 64 * 1024;

/// The most fields of a head.
const MAX_FIELDS: usize = 100;

/// A head that is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeadError {
    /// The bytes are no response of HTTP/1.1.
    #[error("malformed response head")]
    Malformed,
    /// More bytes or fields than a proxy has reason to send.
    #[error("endless response head")]
    TooLarge,
}

/// Status and fields of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// The status.
    pub status: StatusCode,
    /// The reason phrase, in the proxy's own words.
    pub reason: String,
    /// The fields, in their order.
    pub headers: HeaderMap,
}

impl ResponseHead {
    /// The head at the front of `bytes` and its length in bytes; `None` while more is to come.
    ///
    /// # Errors
    /// Final: no more bytes can mend it.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, HeadError> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut response = httparse::Response::new(&mut fields);
        let length = match response.parse(bytes) {
            Ok(Status::Complete(length)) if length <= MAX_HEAD => length,
            Ok(Status::Partial) if bytes.len() < MAX_HEAD => return Ok(None),
            Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(HeadError::TooLarge),
            Err(_) => return Err(HeadError::Malformed),
        };
        let status = response.code.and_then(|code| StatusCode::from_u16(code).ok());
        let status = status.ok_or(HeadError::Malformed)?;
        let mut headers = HeaderMap::new();
        for field in response.headers {
            let name = HeaderName::from_bytes(field.name.as_bytes());
            let value = HeaderValue::from_bytes(field.value);
            let (Ok(name), Ok(value)) = (name, value) else { return Err(HeadError::Malformed) };
            headers.append(name, value);
        }
        let reason = response.reason.unwrap_or_default().to_owned();
        Ok(Some((Self { status, reason, headers }, length)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEAD: &[u8] = b"HTTP/1.0 200 Connection Established\r\nvia: 1.1 p\r\nvia: 1.1 q\r\n\r\n";

    #[test]
    fn d41_a_head_is_read_whole_and_not_a_byte_more() {
        for end in 0..HEAD.len() {
            assert_eq!(ResponseHead::parse(&HEAD[..end]), Ok(None), "{end}");
        }
        let (head, length) = ResponseHead::parse(&[HEAD, b"early data"].concat()).unwrap().unwrap();
        assert_eq!((head.status.as_u16(), length), (200, HEAD.len()));
        assert_eq!(head.reason, "Connection Established");
        let via: Vec<_> = head.headers.get_all("via").iter().collect();
        assert_eq!(via, ["1.1 p", "1.1 q"]);
    }

    #[test]
    fn what_is_no_head_is_an_error() {
        for bad in [&b"SSH-2.0-OpenSSH\r\n"[..], b"HTTP/2 200\r\n\r\n", b"HTTP/1.1 2x0 a\r\n\r\n"] {
            assert_eq!(ResponseHead::parse(bad), Err(HeadError::Malformed));
        }
        let endless = [b"HTTP/1.1 200 OK\r\nx: ", &b"a".repeat(MAX_HEAD)[..]].concat();
        assert_eq!(ResponseHead::parse(&endless), Err(HeadError::TooLarge));
        let fields = b"a: b\r\n".repeat(MAX_FIELDS + 1);
        let many = [b"HTTP/1.1 200 OK\r\n", &fields[..], b"\r\n"].concat();
        assert_eq!(ResponseHead::parse(&many), Err(HeadError::TooLarge));
    }

    proptest! {
        #[test]
        fn hostile_heads_never_panic(bytes: Vec<u8>) {
            let head = [b"HTTP/1.1 200 OK\r\n", &bytes[..], b"\r\n\r\n"].concat();
            for bytes in [bytes, head] {
                if let Ok(Some((_, length))) = ResponseHead::parse(&bytes) {
                    prop_assert!(length <= bytes.len());
                }
            }
        }
    }
}
