//! Which way flows go by a file of rules, and what a new file does to them.
//!
//! The proxy's namespace is also a host that the client reaches without the proxy: flows to it are
//! told apart by their source, the client's own address or the proxy's.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use socket2::SockRef;

use crate::support::client;
use crate::support::failure::fails;
use crate::support::lab::{Lab, PROXY, SERVERS};
use crate::support::need::{self, Need};
use crate::support::process::Process;
use crate::support::proxy::{self, Kind};

/// The client's own address.
const CLIENT: &str = "192.0.2.2";

/// How long what comes may take, and how long silence must last to count as silence.
const PATIENCE: Duration = Duration::from_secs(20);
const SILENCE: Duration = Duration::from_secs(2);

/// Where the listeners of these tests are, and a port for each verdict.
const PORT: u16 = 8_080;
const REJECTED: u16 = 8_081;
const PROHIBITED: u16 = 8_082;
const DROPPED: u16 = 8_083;

const RULES: &str = r#"
[[rule]]
port = 8081
verdict = "reject"

[[rule]]
port = 8082
verdict = "reject"
answer = "prohibited"

[[rule]]
port = 8083
verdict = "drop"

[[rule]]
to = "192.0.2.1"
verdict = "direct"
"#;

/// Starts the program with a file of rules, and everything routed into it.
fn up(lab: &Lab, rules: &str, more: &[&str]) -> (Process, PathBuf) {
    let file = lab.file("rules.toml");
    fs::write(&file, rules).expect("write the rules");
    let path = file.to_str().expect("UTF-8");
    let route = format!("{PROXY}/32");
    let arguments = ["--policy", path, "--mark", "7777", "--route", &route];
    (client::up(lab, &[&arguments[..], more].concat()), file)
}

fn address(host: &str, port: u16) -> SocketAddr {
    SocketAddr::new(host.parse().expect("an address"), port)
}

fn connect(lab: &Lab, host: &str, port: u16) -> std::io::Result<TcpStream> {
    lab.client.run(|| TcpStream::connect_timeout(&address(host, port), SILENCE))
}

/// Connects, and says from where the target sees it.
fn seen_from(lab: &Lab, listener: &TcpListener, host: &str) -> (TcpStream, TcpStream, IpAddr) {
    let app = connect(lab, host, PORT).expect("a way");
    let (target, from) = listener.accept().expect("a connection");
    (app, target, from.ip().to_canonical())
}

#[test]
fn every_verdict_is_seen_by_apps() {
    if !need::met(&[]) {
        return;
    }
    let lab = Lab::new();
    let _proxy = proxy::start(&lab, Kind::Ours);
    let (_client, _) = up(&lab, RULES, &[]);
    let (near, far) = (lab.proxy.listen_blocking(PORT), lab.server.listen_blocking(PORT));
    let direct: IpAddr = CLIENT.parse().expect("an address");
    assert_eq!(seen_from(&lab, &near, PROXY).2, direct);
    let proxied = seen_from(&lab, &far, SERVERS[0]).2;
    assert_eq!(proxied, "198.51.100.1".parse::<IpAddr>().expect("an address"));

    fails(&lab, address(SERVERS[0], REJECTED), Errno::ECONNREFUSED, "rejected");
    fails(&lab, address(SERVERS[0], PROHIBITED), Errno::EHOSTUNREACH, "prohibited");
    let dropped = connect(&lab, SERVERS[0], DROPPED).expect_err("silence");
    assert_eq!(dropped.kind(), ErrorKind::TimedOut);
}

#[test]
fn a_new_file_ends_what_it_forbids_and_leaves_the_rest() {
    if !need::met(&[]) {
        return;
    }
    let lab = Lab::new();
    let _proxy = proxy::start(&lab, Kind::Ours);
    let (client, file) = up(&lab, RULES, &[]);
    let (near, far) = (lab.proxy.listen_blocking(PORT), lab.server.listen_blocking(PORT));
    let (mut forbidden, _near_end, _) = seen_from(&lab, &near, PROXY);
    let (mut kept, mut far_end, _) = seen_from(&lab, &far, SERVERS[0]);

    fs::write(&file, "[[rule]]\nto = '192.0.2.1'\nverdict = 'reject'").expect("write the rules");
    client.signal(Signal::SIGHUP);
    client.wait_line("policy replaced, 1 flow ended");
    forbidden.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let reset = forbidden.read(&mut [0; 8]).expect_err("a reset");
    assert_eq!(reset.kind(), ErrorKind::ConnectionReset);
    let again = connect(&lab, PROXY, PORT).expect_err("refused");
    assert_eq!(again.kind(), ErrorKind::ConnectionRefused);
    kept.write_all(b"still here").expect("the flow goes on");
    let mut heard = [0; 10];
    far_end.read_exact(&mut heard).expect("the bytes");
    assert_eq!(&heard, b"still here");

    fs::write(&file, "otherwise = 'no'").expect("write the rules");
    client.signal(Signal::SIGHUP);
    client.wait_line("rules.toml:1:13: 'no' is none of");
    assert!(connect(&lab, PROXY, PORT).is_err(), "the rules stay as they were");
}

#[test]
fn quic_and_ipv6_are_told_to_fall_back_at_once() {
    if !need::met(&[]) {
        return;
    }
    let lab = Lab::new();
    let _proxy = proxy::start(&lab, Kind::Ours);
    let (_client, _) = up(&lab, "", &["--quic", "auto", "--ipv6", "off"]);
    let quic = lab.client.run(|| {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.connect(address(SERVERS[0], 443))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.send(b"quic")?;
        socket.recv(&mut [0; 8])
    });
    assert_eq!(quic.expect_err("blocked").kind(), ErrorKind::ConnectionRefused);
    let _far = lab.server.listen_blocking(PORT);
    fails(&lab, address(SERVERS[1], PORT), Errno::ENETUNREACH, "off");
    assert!(connect(&lab, SERVERS[0], PORT).is_ok(), "IPv4 stays");
}

const OWNERS: &str = "[[rule]]\nuser = 4321\nverdict = 'reject'\n\
                      [[rule]]\nmark = 77\nverdict = 'reject'\n\
                      [[rule]]\nto = '198.51.100.0/24'\nverdict = 'proxy'\n\
                      [[rule]]\nverdict = 'drop'";

/// curl's exit code for a connection that is refused.
const CURL_REFUSED: i32 = 7;

#[test]
fn users_and_marks_are_told_apart() {
    if !need::met(&[Need::Program("curl"), Need::Program("setpriv")]) {
        return;
    }
    let lab = Lab::new();
    lab.serve_web();
    lab.serve_datagrams();
    let _proxy = proxy::start(&lab, Kind::Ours);
    let (_client, _) = up(&lab, OWNERS, &[]);
    let curl = |user: &str| {
        let mut command = lab.client.command("setpriv");
        command.args([
            "--reuid",
            user,
            "--clear-groups",
            "curl",
            "--silent",
            "--output",
            "/dev/null",
        ]);
        command.args(["--max-time", "20", &format!("http://{}/", SERVERS[0])]);
        command.status().expect("run curl").code()
    };
    assert_eq!(curl("4321"), Some(CURL_REFUSED));
    assert_eq!(curl("4322"), Some(0));

    let ask = |mark: Option<u32>| {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        mark.map_or(Ok(()), |mark| SockRef::from(&socket).set_mark(mark))?;
        socket.connect(address(SERVERS[0], 7))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.send(b"anyone?")?;
        socket.recv(&mut [0; 8])
    };
    let refused = lab.client.run(|| ask(Some(77))).expect_err("rejected");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(lab.client.run(|| ask(None)).expect("an echo"), 7);
}
