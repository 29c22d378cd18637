//! Flows of ordinary apps, and what they notice of what happens to the proxy.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use super::clock;
use super::lab::{Lab, SERVERS};

/// The port of the targets that send back what they hear.
const ECHO: u16 = 7;

/// No app of these tests waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(40);

/// Where the echo is.
fn echo() -> SocketAddr {
    SocketAddr::new(SERVERS[0].parse().expect("an address"), ECHO)
}

/// Connects to the echo, trying again while the flow is refused.
pub(crate) fn connect(lab: &Lab) -> TcpStream {
    let limit = clock::now() + PATIENCE;
    loop {
        match lab.client.run(|| TcpStream::connect(echo())) {
            Ok(stream) => {
                stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
                return stream;
            }
            Err(error) => assert!(clock::now() < limit, "connect: {error}"),
        }
    }
}

/// Many flows to the echo.
pub(crate) fn many(lab: &Lab, count: usize) -> Vec<TcpStream> {
    (0..count).map(|_| connect(lab)).collect()
}

/// Bytes go and come back.
pub(crate) fn answers(flow: &mut TcpStream) {
    flow.write_all(b"question").expect("send");
    let mut answer = [0; 8];
    flow.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"question");
}

/// A new flow works; how long that took.
pub(crate) fn works(lab: &Lab) -> Duration {
    clock::timed(|| answers(&mut connect(lab))).1
}

/// The flow ends by a reset.
pub(crate) fn is_reset(flow: &mut TcpStream) {
    let end = flow.read(&mut [0; 1]).expect_err("an end");
    assert_eq!(end.kind(), ErrorKind::ConnectionReset);
}

/// A datagram goes to the echo and comes back.
pub(crate) fn echoes_datagrams(lab: &Lab) {
    let socket = lab.client.run(|| UdpSocket::bind("0.0.0.0:0")).expect("bind");
    socket.set_read_timeout(Some(PATIENCE)).expect("a limit");
    socket.connect(echo()).expect("connect");
    socket.send(b"question").expect("send");
    let mut answer = [0; 100];
    let length = socket.recv(&mut answer).expect("a datagram comes back");
    assert_eq!(&answer[..length], b"question");
}

/// A new flow is refused.
pub(crate) fn is_refused(lab: &Lab) {
    lab.client.run(|| TcpStream::connect(echo())).expect_err("no flow");
}
