//! Extended DNS errors (RFC 8914): what the response code alone does not say.

use hickory_proto::op::{Edns, Message};
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};

/// The number of the option (RFC 8914 §2).
const OPTION: u16 = 15;

/// Why an answer is what it is, for clients that speak EDNS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExtendedError {
    /// Too many questions wait already.
    Overloaded,
    /// The answer is an outlived one, as no resolver could be asked (RFC 8767).
    StaleAnswer,
    /// The same, and the answer says that there is no such name.
    StaleNxDomain,
    /// No resolver could be reached.
    NoReachableResolver,
    /// No resolver answered in time.
    NetworkError,
    /// What a resolver answered cannot be used.
    InvalidData,
    /// The answer was made here and comes from no zone.
    Synthesized,
}

impl ExtendedError {
    /// The number of the IANA registry.
    pub fn code(self) -> u16 {
        match self {
            Self::Overloaded => 0,
            Self::StaleAnswer => 3,
            Self::StaleNxDomain => 19,
            Self::NoReachableResolver => 22,
            Self::NetworkError => 23,
            Self::InvalidData => 24,
            Self::Synthesized => 29,
        }
    }

    /// A few words for people.
    pub fn text(self) -> &'static str {
        match self {
            Self::Overloaded => "too many questions at once",
            Self::StaleAnswer | Self::StaleNxDomain => "no resolver answers; this one is outlived",
            Self::NoReachableResolver => "no resolver can be reached through the proxy",
            Self::NetworkError => "no resolver answered in time",
            Self::InvalidData => "the resolver's answer cannot be used",
            Self::Synthesized => "answered on this machine",
        }
    }

    /// The message with this error beside it.
    pub(crate) fn explain(self, mut message: Message) -> Message {
        let data = [&self.code().to_be_bytes()[..], self.text().as_bytes()].concat();
        let edns = message.edns.get_or_insert_with(Edns::new);
        edns.options_mut().insert(EdnsOption::Unknown(OPTION, data));
        message
    }
}

/// What a message says about its errors, and no other option: those belong to the hop to the
/// resolver (RFC 6891 §6.1.1).
pub(crate) fn errors(message: &Message) -> Option<Edns> {
    let options = message.edns.iter().flat_map(|edns| edns.options().as_ref());
    let mut errors = Edns::new();
    for (code, option) in options {
        if *code == EdnsCode::Unknown(OPTION) {
            errors.options_mut().insert(option.clone());
        }
    }
    (!errors.options().as_ref().is_empty()).then_some(errors)
}
