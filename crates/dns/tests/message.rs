//! Clients' messages and the answers to them: every odd one has its outcome.

mod support;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, RecordType};
use proptest::collection::vec;
use proptest::prelude::*;
use pseudotcp_dns::message::{Question, Rejection};
use support::{a, query, read, response, txt, wire, with_edns};

/// What a message is rejected for, and what its sender hears.
fn reject(message: &[u8]) -> (Rejection, Option<Message>) {
    let rejection = Question::read(message).unwrap_err();
    (rejection, rejection.answer(message).map(|answer| read(&answer)))
}

fn code(message: &Message) -> (Rejection, ResponseCode) {
    let (rejection, answer) = reject(&wire(message));
    let answer = answer.unwrap();
    assert_eq!(answer.metadata.id, message.metadata.id);
    assert_eq!(answer.metadata.message_type, MessageType::Response);
    (rejection, answer.metadata.response_code)
}

#[test]
fn a_question_is_read_as_it_was_asked() {
    let question = Question::read(&wire(&query("WwW.eXample.", RecordType::AAAA))).unwrap();
    assert_eq!(question.name().to_ascii(), "WwW.eXample.");
    assert_eq!(question.record_type(), RecordType::AAAA);
    assert_eq!(question.max_datagram(), 512);
}

#[test]
fn d31_a_message_without_a_question_is_malformed() {
    let mut message = query("example.", RecordType::A);
    message.queries.clear();
    assert_eq!(code(&message), (Rejection::Malformed, ResponseCode::FormErr));
}

#[test]
fn d31_a_message_with_two_questions_is_malformed() {
    let mut message = query("example.", RecordType::A);
    message.queries.push(Query::query(support::name("example."), RecordType::AAAA));
    assert_eq!(code(&message), (Rejection::Malformed, ResponseCode::FormErr));
}

#[test]
fn d31_what_ends_early_is_malformed_or_ignored() {
    let whole = wire(&with_edns(query("www.example.", RecordType::A), 1_232, false));
    for len in 0..whole.len() {
        let (rejection, answer) = reject(&whole[..len]);
        let expected = if len < 12 { Rejection::Ignored } else { Rejection::Malformed };
        assert_eq!(rejection, expected, "{len} bytes");
        assert_eq!(answer.is_some(), len >= 12);
    }
}

#[test]
fn a_readable_question_is_echoed_with_the_error() {
    let mut message = wire(&with_edns(query("www.example.", RecordType::A), 1_232, false));
    message.truncate(message.len() - 1);
    let answer = reject(&message).1.unwrap();
    assert_eq!(answer.queries, query("www.example.", RecordType::A).queries);
}

#[test]
fn responses_are_ignored() {
    let mut message = query("example.", RecordType::A);
    message.metadata.message_type = MessageType::Response;
    assert_eq!(reject(&wire(&message)), (Rejection::Ignored, None));
}

#[test]
fn other_opcodes_are_not_implemented() {
    for op_code in [OpCode::Status, OpCode::Notify, OpCode::Update, OpCode::Unknown(6)] {
        let mut message = query("example.", RecordType::A);
        message.metadata.op_code = op_code;
        assert_eq!(code(&message), (Rejection::NotImplemented, ResponseCode::NotImp));
    }
}

#[test]
fn other_classes_zones_and_meta_types_are_not_served() {
    for class in [DNSClass::CH, DNSClass::HS, DNSClass::ANY, DNSClass::Unknown(7)] {
        let mut message = query("version.bind.", RecordType::TXT);
        message.queries[0].set_query_class(class);
        assert_eq!(code(&message), (Rejection::Refused, ResponseCode::Refused));
    }
    for kind in [RecordType::AXFR, RecordType::IXFR] {
        assert_eq!(code(&query("example.", kind)), (Rejection::Refused, ResponseCode::Refused));
    }
    for kind in [41, 128, 249, 254].map(RecordType::from) {
        let expected = (Rejection::NotImplemented, ResponseCode::NotImp);
        assert_eq!(code(&query("example.", kind)), expected, "{kind}");
    }
    assert!(Question::read(&wire(&query("example.", RecordType::ANY))).is_ok());
}

#[test]
fn a_later_edns_version_is_told_ours() {
    let mut message = with_edns(query("example.", RecordType::A), 1_232, false);
    message.edns.as_mut().unwrap().set_version(1);
    let (rejection, code) = code(&message);
    // The number 16 has two names (RFC 6895 §2.3).
    assert_eq!((rejection, u16::from(code)), (Rejection::BadVersion, 16));
}

#[test]
fn a_compression_loop_is_malformed() {
    let mut message = wire(&query("example.", RecordType::A));
    message.splice(12..21, [0xc0, 12]);
    assert_eq!(reject(&message).0, Rejection::Malformed);
}

#[test]
fn an_answer_has_the_id_the_flags_and_the_letters_of_its_question() {
    let mut asked = query("WwW.eXample.", RecordType::A);
    asked.metadata.checking_disabled = true;
    let asked = wire(&asked);
    let question = Question::read(&asked).unwrap();
    let upstream = response(
        &wire(&query("www.example.", RecordType::A)),
        ResponseCode::NoError,
        vec![a("www.example.", 60, 1)],
    );
    let answer = read(&question.answer(upstream, 512));
    assert_eq!((answer.metadata.id, answer.metadata.checking_disabled), (0x1234, true));
    assert!(answer.metadata.recursion_desired && answer.metadata.recursion_available);
    assert_eq!(answer.queries[0].name().to_ascii(), "WwW.eXample.");
    assert_eq!(answer.answers[0].name.to_ascii(), "WwW.eXample.");
    assert_eq!(answer.edns, None, "the client has not used EDNS");
}

#[test]
fn authentic_data_is_only_for_those_who_understand_it() {
    let plain = query("example.", RecordType::A);
    let mut asking = plain.clone();
    asking.metadata.authentic_data = true;
    let dnssec = with_edns(plain.clone(), 1_232, true);
    for (asked, expected) in [(plain, false), (asking, true), (dnssec, true)] {
        let asked = wire(&asked);
        let mut upstream = response(&asked, ResponseCode::NoError, vec![a("example.", 60, 1)]);
        upstream.metadata.authentic_data = true;
        let answer = read(&Question::read(&asked).unwrap().answer(upstream, 512));
        assert_eq!(answer.metadata.authentic_data, expected);
    }
}

#[test]
fn an_extended_code_without_edns_is_a_server_failure() {
    let asked = wire(&query("example.", RecordType::A));
    let upstream = response(&asked, ResponseCode::BADCOOKIE, vec![]);
    let answer = read(&Question::read(&asked).unwrap().answer(upstream, 512));
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
}

#[test]
fn d35_answers_are_truncated_to_what_the_client_takes() {
    for (max_datagram, fits) in [(512, false), (900, false), (1_232, true), (4_096, true)] {
        let asked = wire(&with_edns(query("example.", RecordType::TXT), max_datagram, false));
        let question = Question::read(&asked).unwrap();
        let records = (0..5).map(|_| txt("example.", 60, 200)).collect();
        let upstream = response(&asked, ResponseCode::NoError, records);
        let bytes = question.answer(upstream, usize::from(question.max_datagram()));
        let answer = read(&bytes);
        assert!(bytes.len() <= usize::from(max_datagram));
        assert_eq!(
            (answer.metadata.truncation, answer.answers.len()),
            if fits { (false, 5) } else { (true, 0) }
        );
        assert_eq!(answer.queries.len(), 1);
        assert!(answer.edns.is_some());
    }
}

#[test]
fn additional_records_go_before_the_answer_does() {
    let asked = wire(&query("example.", RecordType::A));
    let mut upstream = response(&asked, ResponseCode::NoError, vec![a("example.", 60, 1)]);
    upstream.additionals = (0..5).map(|_| txt("more.example.", 60, 200)).collect();
    let answer = read(&Question::read(&asked).unwrap().answer(upstream, 512));
    assert_eq!((answer.answers.len(), answer.additionals.len()), (1, 0));
    assert!(!answer.metadata.truncation);
}

#[test]
fn a_truncated_answer_stays_marked() {
    let asked = wire(&query("example.", RecordType::A));
    let mut upstream = response(&asked, ResponseCode::NoError, vec![]);
    upstream.metadata.truncation = true;
    assert!(read(&Question::read(&asked).unwrap().answer(upstream, 512)).metadata.truncation);
}

#[test]
fn the_letters_of_a_name_do_not_make_another_question() {
    let key = |text: &str, kind| Question::read(&wire(&query(text, kind))).unwrap().key();
    assert_eq!(key("Example.", RecordType::A), key("eXAMPLE.", RecordType::A));
    assert_ne!(key("example.", RecordType::A), key("example.", RecordType::AAAA));
    let dnssec = with_edns(query("example.", RecordType::A), 1_232, true);
    assert_ne!(Question::read(&wire(&dnssec)).unwrap().key(), key("example.", RecordType::A));
}

/// Bytes with a plausible header, so that more than the header is reached.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let header = (any::<u16>(), any::<u16>(), vec(0..3u8, 4)).prop_map(|(id, flags, counts)| {
        let mut bytes = [id.to_be_bytes(), (flags & 0x87ff).to_be_bytes()].concat();
        bytes.extend(counts.into_iter().flat_map(|count| [0, count]));
        bytes
    });
    let body = vec(prop_oneof![3 => 0..8u8, 1 => any::<u8>(), 1 => Just(0xc0)], 0..80);
    prop_oneof![
        (header, body).prop_map(|(header, body)| [header, body].concat()),
        vec(any::<u8>(), 0..100),
    ]
}

/// A real question with some of its bytes changed.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    vec((any::<prop::sample::Index>(), any::<u8>()), 0..4).prop_map(|changes| {
        let mut bytes = wire(&with_edns(query("www.example.", RecordType::HTTPS), 1_232, true));
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn d31_no_message_panics(message in prop_oneof![hostile(), mutated()]) {
        let answer = match Question::read(&message) {
            Ok(question) => Some(question.error(ResponseCode::ServFail)),
            Err(rejection) => rejection.answer(&message),
        };
        if let Some(answer) = answer {
            prop_assert!(answer.len() <= 512);
            prop_assert_eq!(&answer[..2], &message[..2]);
            prop_assert!(answer[2] & 0x80 != 0);
        }
    }
}
