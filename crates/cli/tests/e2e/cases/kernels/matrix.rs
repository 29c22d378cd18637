//! A Linux client in each of its dialects × download, upload, half-close, over a device that loses,
//! doubles and swaps packets: every byte arrives.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use pseudotcp_testkit::Faults;
use sha2::{Digest, Sha256};
use socket2::{Domain, Socket, Type};

use crate::support::bare::Bare;
use crate::support::pattern::{self, Sum};
use crate::support::{clock, need};
use crate::targets::transfer;

/// What the device does to the packets of either direction.
const FAULTS: Faults =
    Faults { drop: 0.01, duplicate: 0.002, reorder: 0.005, corrupt: 0.001, mtu: None };

/// The bytes of one direction; the smallest windows get by with fewer.
const BYTES: usize = 4_000_000;
const FEW_BYTES: usize = 300_000;
const MANY_BYTES: usize = 50_000_000;

const DOWNLOAD: u16 = 1;
const UPLOAD: u16 = 2;
const HALF_CLOSE: u16 = 3;

/// The longest pause of any transfer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Any address will do.
const SERVER: [u8; 4] = [198, 51, 100, 2];

#[test]
fn as_it_comes() {
    exchange(BYTES, |_| {}, plain);
}

/// Long enough that everything goes wrong that can, many times and in both directions.
#[test]
fn fifty_megabytes_each_way() {
    with_host(
        |_| {},
        |bare| {
            download(bare, MANY_BYTES, plain);
            upload(bare, MANY_BYTES, plain);
            for direction in [&bare.inbound, &bare.outbound] {
                let lost = direction.dropped() + direction.corrupted();
                assert!(lost >= 200, "only {lost} packets were lost");
                assert!(direction.reordered() > 0 && direction.duplicated() > 0);
            }
        },
    );
}

#[test]
fn without_window_scaling() {
    exchange(BYTES, |bare| bare.host.set("net/ipv4/tcp_window_scaling", "0"), plain);
}

#[test]
fn without_selective_acknowledgements() {
    exchange(BYTES, |bare| bare.host.set("net/ipv4/tcp_sack", "0"), plain);
}

#[test]
fn without_timestamps() {
    exchange(BYTES, |bare| bare.host.set("net/ipv4/tcp_timestamps", "0"), plain);
}

/// Nothing but what RFC 793 had.
#[test]
fn without_any_option() {
    let bald = |bare: &Bare| {
        for option in ["window_scaling", "sack", "timestamps"] {
            bare.host.set(&format!("net/ipv4/tcp_{option}"), "0");
        }
    };
    exchange(BYTES, bald, plain);
}

#[test]
fn with_segments_of_536_bytes() {
    let small = |bare: &Bare| {
        bare.host.ip("route replace default dev tun0 mtu 576 advmss 536");
    };
    exchange(BYTES, small, plain);
}

#[test]
fn with_ecn() {
    exchange(BYTES, |bare| bare.host.set("net/ipv4/tcp_ecn", "1"), plain);
}

#[test]
fn with_a_receive_buffer_of_4_kib() {
    exchange(FEW_BYTES, |bare| bare.host.set("net/ipv4/tcp_rmem", "4096 4096 4096"), plain);
}

/// Each packet takes 5 ms in either direction.
#[test]
fn over_a_long_way() {
    let delay = Duration::from_millis(5);
    with_device(FAULTS, delay, |_| {}, |bare| all_three(bare, FEW_BYTES, plain));
}

/// A router between the host and the stack carries less than either knows, and says so.
#[test]
fn over_a_narrow_way() {
    let narrow = Faults { mtu: Some(1_100), ..FAULTS };
    let all = |bare: &Bare| {
        all_three(bare, BYTES, plain);
        for direction in [&bare.inbound, &bare.outbound] {
            assert!(direction.too_big() > 0, "everything was small enough");
        }
    };
    with_device(narrow, Duration::ZERO, |_| {}, all);
}

/// Data in the SYN, without a cookie.
#[test]
fn with_fast_open() {
    let in_the_syn = |address| {
        let socket = socket();
        setsockopt(&socket, sockopt::TcpFastOpenConnect, &true)?;
        connect(socket, address)
    };
    exchange(BYTES, |bare| bare.host.set("net/ipv4/tcp_fastopen", "5"), in_the_syn);
}

/// One five-tuple again and again: after a download our side is in TIME-WAIT and is reopened at once,
/// after the others the kernel's, which reopens after a second.
#[test]
fn with_one_port_again_and_again() {
    let same_port = |address| {
        let socket = socket();
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddr::from(([0; 4], 40_000)).into())?;
        connect(socket, address)
    };
    with_host(
        |bare| bare.host.set("net/ipv4/tcp_tw_reuse", "1"),
        |bare| {
            for _ in 0..4 {
                download(bare, FEW_BYTES, same_port);
            }
            for _ in 0..2 {
                upload(bare, FEW_BYTES, same_port);
                half_close(bare, FEW_BYTES, same_port);
            }
        },
    );
}

/// How an app makes its connection.
type Connect = fn(SocketAddr) -> io::Result<TcpStream>;

/// All three kinds of traffic, each over a connection of its own.
fn exchange(bytes: usize, prepare: impl Fn(&Bare), connect: Connect) {
    with_host(prepare, |bare| all_three(bare, bytes, connect));
}

fn all_three(bare: &Bare, bytes: usize, connect: Connect) {
    download(bare, bytes, connect);
    upload(bare, bytes, connect);
    half_close(bare, bytes, connect);
}

/// Runs apps on a host whose device does as [`FAULTS`] says.
fn with_host(prepare: impl Fn(&Bare), apps: impl Fn(&Bare)) {
    with_device(FAULTS, Duration::ZERO, prepare, apps);
}

/// Runs apps on a host whose device treats packets so, and is so far away.
fn with_device(faults: Faults, delay: Duration, prepare: impl Fn(&Bare), apps: impl Fn(&Bare)) {
    if !need::met(&[]) {
        return;
    }
    let bare = Bare::new(faults, delay);
    prepare(&bare);
    transfer::send(bare.host.listen_blocking(DOWNLOAD));
    transfer::sum(bare.host.listen_blocking(UPLOAD));
    transfer::echo(bare.host.listen_blocking(HALF_CLOSE));
    apps(&bare);
    let lost = bare.inbound.dropped() + bare.outbound.dropped();
    assert!(lost > 0, "the device lost nothing");
}

/// The target says how much it sends: the first eight bytes of our request.
fn download(bare: &Bare, bytes: usize, connect: Connect) {
    let mut app = app(bare, DOWNLOAD, connect);
    app.write_all(&(bytes as u64).to_be_bytes()).expect("ask");
    let received = pattern::read_sum(app).expect("read to the end");
    assert_eq!(received, (bytes, sum_of(bytes)), "downloaded");
}

fn upload(bare: &Bare, bytes: usize, connect: Connect) {
    let mut app = app(bare, UPLOAD, connect);
    app.write_all(&pattern::bytes(bytes)).expect("upload");
    app.shutdown(Shutdown::Write).expect("half-close");
    let mut answer = Vec::new();
    app.read_to_end(&mut answer).expect("the sum");
    assert_eq!(answer, sum_of(bytes), "uploaded");
}

fn half_close(bare: &Bare, bytes: usize, connect: Connect) {
    let mut app = app(bare, HALF_CLOSE, connect);
    app.write_all(&pattern::bytes(bytes)).expect("send");
    app.shutdown(Shutdown::Write).expect("half-close");
    let received = pattern::read_sum(app).expect("read to the end");
    assert_eq!(received, (bytes, sum_of(bytes)), "came back after our FIN");
}

/// A connection from the host. Its port may be in TIME-WAIT for a second.
fn app(bare: &Bare, port: u16, connect: Connect) -> TcpStream {
    let limit = clock::now() + Duration::from_secs(30);
    loop {
        match bare.host.run(|| connect(SocketAddr::from((SERVER, port)))) {
            Ok(stream) => return stream,
            Err(error) if error.kind() == ErrorKind::AddrNotAvailable && clock::now() < limit => {}
            Err(error) => panic!("connect: {error}"),
        }
    }
}

fn plain(address: SocketAddr) -> io::Result<TcpStream> {
    connect(socket(), address)
}

fn socket() -> Socket {
    Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket")
}

/// Connects; from then on nothing may take longer than [`PATIENCE`].
fn connect(socket: Socket, address: SocketAddr) -> io::Result<TcpStream> {
    socket.connect(&address.into())?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket.into())
}

fn sum_of(bytes: usize) -> Sum {
    Sha256::digest(pattern::bytes(bytes)).into()
}
