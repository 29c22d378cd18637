//! What upstreams are asked, and what is taken for their answer.

mod support;

use hickory_proto::op::{MessageType, OpCode, ResponseCode};
use hickory_proto::rr::RecordType;
use proptest::collection::vec;
use proptest::prelude::*;
use pseudotcp_dns::message::{Key, Question};
use pseudotcp_dns::upstream::{self, Endpoint, EndpointError, Method, ResponseError};
use support::{a, query, read, response, wire, with_edns};

fn key() -> Key {
    let asked = with_edns(query("WwW.eXample.", RecordType::A), 4_096, true);
    Question::read(&wire(&asked)).unwrap().key()
}

#[test]
fn a_query_says_nothing_of_the_client_but_its_question() {
    let sent = read(&upstream::query(&key()).unwrap());
    assert_eq!((sent.metadata.id, sent.metadata.op_code), (0, OpCode::Query));
    assert!(sent.metadata.recursion_desired && sent.metadata.authentic_data);
    assert_eq!(sent.queries[0].name().to_ascii(), "www.example.");
    let edns = sent.edns.unwrap();
    assert!(edns.flags().dnssec_ok && edns.options().as_ref().is_empty());
    assert_eq!(edns.max_payload(), 1_232);
}

#[test]
fn an_answer_to_the_question_is_taken_without_its_edns() {
    let sent = upstream::query(&key()).unwrap();
    let mut answer = response(&sent, ResponseCode::NoError, vec![a("www.example.", 60, 1)]);
    answer.queries[0].set_name(support::name("WWW.Example."));
    let taken = upstream::response(&key(), &wire(&answer)).unwrap();
    assert_eq!((taken.answers, taken.edns), (vec![a("www.example.", 60, 1)], None));
}

#[test]
fn what_does_not_match_is_not_taken() {
    let sent = upstream::query(&key()).unwrap();
    let good = response(&sent, ResponseCode::NoError, vec![a("www.example.", 60, 1)]);
    let reject = |message: &[u8]| upstream::response(&key(), message).unwrap_err();

    let mut message = good.clone();
    message.metadata.id = 7;
    assert_eq!(reject(&wire(&message)), ResponseError::WrongId);
    message = good.clone();
    message.metadata.message_type = MessageType::Query;
    assert_eq!(reject(&wire(&message)), ResponseError::NotAResponse);
    message = good.clone();
    message.queries[0].set_name(support::name("other.example."));
    assert_eq!(reject(&wire(&message)), ResponseError::WrongQuestion);
    message = good.clone();
    message.queries[0].set_query_type(RecordType::AAAA);
    assert_eq!(reject(&wire(&message)), ResponseError::WrongQuestion);
    message = good.clone();
    message.queries.clear();
    assert_eq!(reject(&wire(&message)), ResponseError::WrongQuestion);
    let whole = wire(&good);
    assert_eq!(reject(&whole[..whole.len() - 1]), ResponseError::Malformed);
    assert_eq!(reject(&whole[..11]), ResponseError::Malformed);
}

#[test]
fn a_template_becomes_requests() {
    let endpoint = Endpoint::parse("https://dns.example:8443/dns-query{?dns}").unwrap();
    assert_eq!(endpoint.authority(), "dns.example:8443");
    assert_eq!(endpoint, Endpoint::parse("https://dns.example:8443/dns-query").unwrap());
    let post = endpoint.post("message".into());
    assert_eq!((post.method, post.path.as_str()), (Method::Post, "/dns-query"));
    assert_eq!(post.body, "message");
    let get = endpoint.get(&[0xfb, 0xff, 0x00, 0x01]);
    assert_eq!((get.method, get.path.as_str()), (Method::Get, "/dns-query?dns=-_8AAQ"));
    assert!(get.body.is_empty());
    assert_eq!(Endpoint::parse("https://[2001:db8::1]").unwrap().post("".into()).path, "/");
}

#[test]
fn what_is_no_template_is_told_why() {
    for (text, error) in [
        ("http://dns.example/dns-query", EndpointError::NotHttps),
        ("dns.example/dns-query", EndpointError::NotHttps),
        ("https:///dns-query", EndpointError::NoHost),
        ("https://user:password@dns.example/", EndpointError::NoHost),
        ("https://dns.example\r\n/", EndpointError::NoHost),
        ("https://dns.example/{dns}", EndpointError::BadPath),
        ("https://dns.example/dns-query?dns=", EndpointError::BadPath),
        ("https://dns.example/dns query", EndpointError::BadPath),
        ("https://dns.example/ünicode", EndpointError::BadPath),
    ] {
        assert_eq!(Endpoint::parse(text), Err(error), "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_response_panics(changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..6), cut in any::<prop::sample::Index>()) {
        let sent = upstream::query(&key()).unwrap();
        let mut bytes = wire(&response(&sent, ResponseCode::NoError, vec![a("www.example.", 60, 1)]));
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(bytes.len() - cut.index(4));
        if let Ok(answer) = upstream::response(&key(), &bytes) {
            let question = Question::read(&wire(&query("www.example.", RecordType::A))).unwrap();
            let answer = question.answer(answer, 512);
            prop_assert!((12..=512).contains(&answer.len()));
        }
    }
}
