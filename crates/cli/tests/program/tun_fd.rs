use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pseudotcp_packet::build::datagram;
use pseudotcp_packet::{Packet, Transport};
use pseudotcp_testkit::skip;

use crate::support::Proxy;

/// Descriptor 3 is what the program was started with as standard input.
const ON_DESCRIPTOR_3: &str = r#"exec "$0" "$@" 3<&0"#;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What proxy and client share; no log line may hold it.
const SECRET: &str = "hunter2-is-the-secret";

/// An address of this machine that packets may have on the way: nothing is tunnelled to loopback.
/// Connecting a datagram socket sends nothing; it only finds out where a packet would leave.
fn own_address() -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(203, 0, 113, 1), 9)).ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(own) if !own.is_loopback() && !own.is_unspecified() => Some(own),
        _ => None,
    }
}

/// The whole program without root: a socket pair in place of the device.
#[test]
fn a_datagram_goes_through_an_inherited_descriptor_and_comes_back() {
    let Some(own) = own_address() else {
        return skip("this machine has no address but those of loopback");
    };
    let echo = UdpSocket::bind((own, 0)).unwrap();
    let target = echo.local_addr().unwrap();
    let proxy = Proxy::start(&["--token", SECRET]);
    let (device, theirs) = UnixDatagram::pair().unwrap();
    device.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut child = Command::new("sh")
        .args(["-c", ON_DESCRIPTOR_3, env!("CARGO_BIN_EXE_pseudotcp"), "up", "--tun-fd", "3"])
        .args(proxy.arguments())
        .args(["--token", SECRET, "-vvv"])
        .stderr(Stdio::piped())
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .spawn()
        .unwrap();

    let app: SocketAddr = "10.1.1.1:1234".parse().unwrap();
    let request = datagram(app, target, Bytes::from_static(b"ping"), None).unwrap();
    device.send(&request.segments().next().unwrap().to_bytes()).unwrap();
    echo.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut heard = [0; 16];
    let (len, from) = echo.recv_from(&mut heard).unwrap();
    assert_eq!(&heard[..len], b"ping");
    echo.send_to(b"pong", from).unwrap();

    let mut bytes = vec![0; 2_000];
    let len = device.recv(&mut bytes).unwrap();
    bytes.truncate(len);
    let reply = Packet::parse(Bytes::from(bytes)).unwrap();
    assert!(matches!(reply.transport(), Transport::Udp(_)));
    let flow = reply.flow().unwrap();
    assert_eq!((flow.source(), flow.destination()), (target, app));
    assert_eq!(reply.body().concat(), b"pong");

    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    let mut log = String::new();
    child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(log.contains("connected to the proxy"), "{log}");
    assert!(!log.contains(SECRET), "{log}");
}
