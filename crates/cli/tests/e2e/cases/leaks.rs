//! What leaves the machine while the program is there.

use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::lab::{ELSEWHERE, Lab, PROXY, SERVERS};
use crate::support::need::{self, Need};
use crate::support::process::Process;
use crate::support::proxy::{self, Kind};
use crate::support::{client, dns_message, named};

/// All packets of the outer link but those from and to the proxy, and those by which the kernel finds
/// its neighbours.
struct Capture(Process);

impl Capture {
    fn start(lab: &Lab) -> Self {
        let mut tcpdump = lab.client.command("tcpdump");
        // ICMPv6 from 133 to 137 is neighbour discovery.
        let strangers = format!(
            "not host {PROXY} and not arp and not src net fe80::/10 and not dst net fe80::/10 \
             and not src host :: and not (icmp6 and ip6[40] >= 133 and ip6[40] <= 137)"
        );
        tcpdump.args(["-n", "-l", "--immediate-mode", "-i", "outside", &strangers]);
        let tcpdump = Process::start("tcpdump", tcpdump);
        tcpdump.wait_line("listening on");
        Self(tcpdump)
    }

    fn packets(&self) -> Vec<String> {
        self.0.lines().into_iter().filter(|line| line.contains(" IP")).collect()
    }
}

/// Apps that never stop trying: questions, datagrams and connections, over both IP versions.
#[derive(Default)]
struct Load {
    rounds: Mutex<usize>,
    one_more: Condvar,
    is_over: AtomicBool,
}

impl Load {
    /// Runs in the namespace of the current thread until it [ends](Self::end).
    fn run(&self) {
        let any = ["0.0.0.0:0", "[::]:0"].map(|any| UdpSocket::bind(any).expect("bind"));
        for socket in &any {
            socket.set_read_timeout(Some(Duration::from_millis(5))).expect("a limit");
        }
        while !self.is_over.load(Ordering::Relaxed) {
            let round = *self.rounds.lock().expect("not poisoned");
            let question = dns_message::question(&format!("n{round}.example"));
            for (socket, (elsewhere, server)) in any.iter().zip(ELSEWHERE.into_iter().zip(SERVERS))
            {
                let [elsewhere, server] = [elsewhere, server].map(|ip| ip.parse().expect("an IP"));
                exchange(socket, &question, elsewhere, server);
            }
            *self.rounds.lock().expect("not poisoned") += 1;
            self.one_more.notify_all();
        }
    }

    /// Waits until all of it has been tried some more times.
    fn go_on(&self) {
        let rounds = self.rounds.lock().expect("not poisoned");
        let target = *rounds + 10;
        drop(self.one_more.wait_while(rounds, |rounds| *rounds < target).expect("not poisoned"));
    }

    fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

/// Ends a load, come what may.
struct Ending<'a>(&'a Load);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// What fails now is tried again in the next round.
fn exchange(socket: &UdpSocket, question: &[u8], elsewhere: IpAddr, server: IpAddr) {
    let _ = socket.send_to(question, SocketAddr::new(elsewhere, 53));
    let _ = socket.send_to(b"datagram", SocketAddr::new(server, 7));
    let _ = socket.recv(&mut [0; 512]);
    let limit = Duration::from_millis(20);
    let _ = TcpStream::connect_timeout(&SocketAddr::new(server, 80), limit);
    let _ = TcpStream::connect_timeout(&SocketAddr::new(elsewhere, 53), limit);
}

fn ask(lab: &Lab, server: &str, name: &str) -> String {
    let mut kdig = lab.client.command("kdig");
    let output = kdig.arg(format!("@{server}")).args(["+retry=0", "+time=6", name, "A"]).output();
    String::from_utf8_lossy(&output.expect("run kdig").stdout).into_owned()
}

/// Through start, load, the proxy's death and return, a crash and a clean end, with a default route
/// past the proxy that would carry everything. A question without the program shows that the
/// capture would have seen one.
#[test]
fn d37_nothing_leaves_but_to_the_proxy() {
    let programs = ["named", "kdig", "tcpdump"].map(Need::Program);
    if !need::met(&programs) {
        return;
    }
    let lab = Lab::new();
    lab.client.ip("route add default via 192.0.2.1");
    lab.client.ip("-6 route add default via 2001:db8:1::1");
    lab.client.resolve_by(ELSEWHERE[0]);
    lab.serve_web();
    let _named = named::start(&lab, named::FIRST);
    let capture = Capture::start(&lab);
    let load = Load::default();
    thread::scope(|scope| live(&lab, &load, scope));
    assert_eq!(capture.packets(), [""; 0], "what leaked");

    ask(&lab, "203.0.113.99", "leak.example");
    capture.0.wait_line("203.0.113.99.53");
}

/// The program's life, from its start to its end, under load.
fn live<'scope>(lab: &'scope Lab, load: &'scope Load, scope: &'scope thread::Scope<'scope, '_>) {
    let ca = lab.certificate.chain.display().to_string();
    let server = "https://198.51.100.2:8440/dns-query";
    let arguments =
        ["--dns-ca", &ca, "--dns-server", server, "--route", "0.0.0.0/0", "--route", "::/0"];

    let _ending = Ending(load);
    let proxy = proxy::start(lab, Kind::Ours);
    let mut client = client::up(lab, &arguments);
    let apps = scope.spawn(move || {
        lab.client.enter();
        load.run();
    });
    load.go_on();
    for server in ELSEWHERE {
        assert!(ask(lab, server, "www.example").contains(SERVERS[0]));
    }
    drop(proxy);
    assert!(ask(lab, ELSEWHERE[0], "two.example").contains("SERVFAIL"));
    load.go_on();
    let _proxy = proxy::start(lab, Kind::Ours);
    assert!(ask(lab, ELSEWHERE[0], "three.example").contains("three.example"));
    load.go_on();
    let web = SocketAddr::new(SERVERS[0].parse().expect("an address"), 80);
    let mut open = lab.client.run(|| TcpStream::connect(web)).expect("a connection");

    client.signal(Signal::SIGKILL);
    client.wait(Duration::from_secs(5));
    // What the kernel repeats now has nowhere to go.
    open.write_all(b"GET /bytes/1 HTTP/1.1\r\n").expect("write to the kernel");
    load.go_on();
    let mut client = client::up(lab, &arguments);
    load.go_on();
    assert!(ask(lab, ELSEWHERE[1], "one.example").contains(SERVERS[0]));

    // What apps do without the program is their own business.
    load.end();
    apps.join().expect("the load");
    client.signal(Signal::SIGTERM);
    client.wait(Duration::from_secs(5));
}
