//! The DNS stage at its boundary: tunnels in, questions out, in virtual time.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use pseudotcp_dns::{ExtendedError, UpstreamQuery};
use pseudotcp_masque::{ByteTunnel, DatagramTunnel, OpenError, OpenRequest, Target, Transport};
use pseudotcp_masque_mock::{Mock, Script};
use pseudotcp_pipeline::dns::{Config, Dns, Interception};

const SERVERS: [&str; 2] = ["192.0.2.53:53", "[2001:db8::53]:53"];

/// The names that were asked upstream.
type Asked = Arc<Mutex<Vec<String>>>;

/// A stage whose resolver answers after 10 ms with one A record, for names in `.example` only.
fn stage() -> (Dns, Mock, Asked) {
    let (mock, asked) = (Mock::new(Script::echo()), Asked::default());
    let names = Arc::clone(&asked);
    let resolve = move |query: UpstreamQuery| {
        names.lock().unwrap().push(query.name.to_string());
        let outcome = if query.name.to_string().ends_with(".example.") {
            Ok(answer(&query.message))
        } else {
            Err(ExtendedError::NoReachableResolver)
        };
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(10)).await;
            outcome
        }) as _
    };
    let (dns, service) = Dns::new(Config::default(), Arc::new(mock.clone()), resolve);
    tokio::spawn(service);
    (dns, mock, asked)
}

/// A question for the address of `name`.
fn question(id: u16, name: &str) -> Bytes {
    let mut message = BytesMut::new();
    message.put_u16(id);
    message.put_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        message.put_u8(label.len().try_into().unwrap());
        message.put_slice(label.as_bytes());
    }
    message.put_slice(&[0, 0, 1, 0, 1]);
    message.freeze()
}

/// The answer of a server that says 192.0.2.1 for a minute.
fn answer(query: &[u8]) -> Bytes {
    let end = 12 + query[12..].iter().position(|byte| *byte == 0).unwrap() + 5;
    let mut message = query[..end].to_vec();
    message[2] |= 0x80;
    message[4..12].copy_from_slice(&[0, 1, 0, 1, 0, 0, 0, 0]);
    message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
    message.into()
}

/// Id, response code and number of answers.
fn read(message: &[u8]) -> (u16, u8, u16) {
    let number = |at| u16::from_be_bytes([message[at], message[at + 1]]);
    (number(0), message[3] & 15, number(6))
}

fn request(target: &str) -> OpenRequest {
    let source: SocketAddr = "10.0.0.1:5000".parse().unwrap();
    OpenRequest::new(target.parse::<SocketAddr>().unwrap()).with_source(source)
}

async fn udp(dns: &Dns, server: &str) -> DatagramTunnel {
    dns.open_udp(request(server)).await.unwrap()
}

async fn tcp(dns: &Dns, server: &str) -> ByteTunnel {
    dns.open_tcp(request(server)).await.unwrap()
}

fn framed(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::new();
    framed.put_u16(message.len().try_into().unwrap());
    framed.put_slice(message);
    framed.freeze()
}

#[tokio::test(start_paused = true)]
async fn a_stage_before_another_transport_knows_the_same() {
    let (dns, mock, asked) = stage();
    let other = Mock::new(Script::echo());
    let twin = dns.before(Arc::new(other.clone()));
    for (id, stage) in [(1, &dns), (2, &twin)] {
        let mut client = udp(stage, SERVERS[0]).await;
        client.send(question(id, "www.example")).await.unwrap();
        assert_eq!(read(&client.next().await.unwrap().unwrap()), (id, 0, 1));
    }
    assert_eq!(*asked.lock().unwrap(), ["www.example."]);
    assert_eq!((dns.stats().queries, twin.stats().queries), (2, 2));
    tcp(&twin, "192.0.2.7:80").await;
    assert_eq!((mock.stats().opened, other.stats().opened), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn questions_to_any_server_are_answered_and_nothing_is_opened() {
    let (dns, mock, asked) = stage();
    for server in SERVERS {
        let mut tunnel = udp(&dns, server).await;
        tunnel.send(question(7, "www.example")).await.unwrap();
        assert_eq!(read(&tunnel.next().await.unwrap().unwrap()), (7, 0, 1));
        tunnel.send(question(8, "WWW.example")).await.unwrap();
        assert_eq!(read(&tunnel.next().await.unwrap().unwrap()), (8, 0, 1));
    }
    assert_eq!((mock.stats().opened, asked.lock().unwrap().len()), (0, 1));
    assert_eq!(dns.stats().hits, 3);
}

#[tokio::test(start_paused = true)]
async fn other_flows_go_on_to_the_transport() {
    let (dns, mock, _) = stage();
    tcp(&dns, "192.0.2.53:80").await;
    udp(&dns, "192.0.2.53:5353").await;
    dns.open_tcp(OpenRequest::new(Target::host("name.example", 53))).await.unwrap();
    assert_eq!(mock.stats().opened, 3);
}

#[tokio::test(start_paused = true)]
async fn questions_to_some_servers_are_left_alone_or_redirected() {
    let elsewhere: SocketAddr = "198.51.100.53:5353".parse().unwrap();
    let mock = Mock::new(Script::echo()).with(elsewhere, Script::fail(|| OpenError::Denied(None)));
    let net = |text: &str| text.parse().unwrap();
    let config = Config::default()
        .servers(net("192.0.2.53/32"), Interception::Answer)
        .servers(net("192.0.2.0/24"), Interception::LeaveAlone)
        .servers(net("2001:db8::/32"), Interception::Redirect(elsewhere));
    let (dns, _service) = Dns::new(config, Arc::new(mock.clone()), |_| unreachable!("nobody asks"));
    udp(&dns, SERVERS[0]).await;
    assert_eq!(mock.stats().opened, 0, "the first that is given counts");
    let mut tunnel = udp(&dns, "192.0.2.54:53").await;
    tunnel.send("anything".into()).await.unwrap();
    assert_eq!(tunnel.next().await.unwrap().unwrap(), "anything");
    let redirected = (
        dns.open_udp(request(SERVERS[1])).await.err(),
        dns.open_tcp(request(SERVERS[1])).await.err(),
    );
    assert!(matches!(redirected, (Some(OpenError::Denied(_)), Some(OpenError::Denied(_)))));
}

#[tokio::test(start_paused = true)]
async fn d36_a_stream_carries_many_questions_cut_anywhere() {
    for server in SERVERS {
        for size in [1, 7, 1_000] {
            let (dns, _, _) = stage();
            let mut tunnel = tcp(&dns, server).await;
            let names = ["a.example", "b.example", "a.example", "nowhere"];
            let all: Vec<u8> =
                (0..).zip(names).flat_map(|(id, name)| framed(&question(id, name))).collect();
            for chunk in all.chunks(size) {
                tunnel.send(Bytes::copy_from_slice(chunk)).await.unwrap();
            }
            // The end of the questions does not cut the answers off.
            tunnel.close().await.unwrap();
            let mut answers = Vec::new();
            while let Some(answer) = tunnel.next().await {
                let answer = answer.unwrap();
                assert_eq!(
                    answer.len() - 2,
                    usize::from(u16::from_be_bytes([answer[0], answer[1]]))
                );
                answers.push(read(&answer[2..]));
            }
            answers.sort_unstable();
            assert_eq!(answers, [(0, 0, 1), (1, 0, 1), (2, 0, 1), (3, 2, 0)], "{server} {size}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_asks_without_listening_must_wait() {
    let (dns, _, _) = stage();
    let mut tunnel = tcp(&dns, SERVERS[0]).await;
    let many: Vec<u8> = (0..1_000).flat_map(|id| framed(&question(id, "a.example"))).collect();
    tunnel.send(many.into()).await.unwrap();
    assert_eq!(dns.stats().queries, 256);
    assert!(futures::poll!(tunnel.feed(Bytes::from_static(b"\0"))).is_pending());
    let mut ids = Vec::new();
    for _ in 0..1_000 {
        ids.push(read(&tunnel.next().await.unwrap().unwrap()[2..]).0);
    }
    ids.sort_unstable();
    assert!(ids.into_iter().eq(0..1_000));
    tunnel.feed(Bytes::from_static(b"\0")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_idle_stream_ends_after_half_a_minute() {
    let (dns, _, _) = stage();
    let mut tunnel = tcp(&dns, SERVERS[0]).await;
    let start = tokio::time::Instant::now();
    assert!(tunnel.next().await.is_none());
    assert_eq!(start.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_resolver_that_never_answers_is_a_failure_after_four_seconds() {
    let never = |_: UpstreamQuery| Box::pin(std::future::pending()) as _;
    let (dns, service) = Dns::new(Config::default(), Arc::new(Mock::new(Script::echo())), never);
    tokio::spawn(service);
    let mut tunnel = udp(&dns, SERVERS[0]).await;
    let start = tokio::time::Instant::now();
    tunnel.send(question(7, "www.example")).await.unwrap();
    assert_eq!(read(&tunnel.next().await.unwrap().unwrap()), (7, 2, 0));
    assert_eq!(start.elapsed().as_secs(), 4);
}

#[tokio::test(start_paused = true)]
async fn who_leaves_gets_no_answer_and_harms_nobody() {
    let (dns, _, _) = stage();
    let (mut gone, mut here) = (udp(&dns, SERVERS[0]).await, udp(&dns, SERVERS[0]).await);
    gone.send(question(1, "www.example")).await.unwrap();
    here.send(question(2, "www.example")).await.unwrap();
    drop(gone);
    assert_eq!(read(&here.next().await.unwrap().unwrap()), (2, 0, 1));
}

/// Time passes, flows come and go: without a question nobody is asked.
#[tokio::test(start_paused = true)]
async fn d38_no_name_is_looked_up_that_no_app_asked_for() {
    let (dns, mock, asked) = stage();
    let _tunnel = udp(&dns, SERVERS[0]).await;
    tcp(&dns, "192.0.2.1:80").await;
    tokio::time::sleep(Duration::from_hours(24)).await;
    assert_eq!((asked.lock().unwrap().len(), mock.stats().opened), (0, 1));
}
