//! The small network in which every test runs.
//!
//! ```text
//!   client ──────────────── proxy ──────────────── server
//!   192.0.2.2        192.0.2.1  198.51.100.1       198.51.100.2
//!   2001:db8:1::2           1::1  2::1             2001:db8:2::2
//! ```
//!
//! The client has no route to the server's network: only through a TUN and the proxy. The addresses
//! are those of documentation (RFC 5737, RFC 3849), which no proxy takes for private ones.

use std::future::Future;
use std::net::{TcpListener, UdpSocket};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::runtime::Runtime;

use super::certificate::Certificate;
use super::netns::Namespace;
use crate::targets;

/// The proxy, as the client sees it.
pub(crate) const PROXY: &str = "192.0.2.1";
/// The server over IPv4 and over IPv6.
pub(crate) const SERVERS: [&str; 2] = ["198.51.100.2", "2001:db8:2::2"];
/// Hosts to which the proxy has no route, or after [`Lab::cut_off`] one that says so.
pub(crate) const ELSEWHERE: [&str; 2] = ["203.0.113.3", "2001:db8:3::3"];
/// Private hosts, to which our proxy denies the way.
pub(crate) const PRIVATE: [&str; 2] = ["10.80.4.4", "fd80:4::4"];

/// The networks behind the proxy.
pub(crate) const ROUTES: [&str; 6] = [
    "198.51.100.0/24",
    "2001:db8:2::/64",
    "203.0.113.0/24",
    "2001:db8:3::/64",
    "10.80.4.0/24",
    "fd80:4::/64",
];

/// Three namespaces in a row, and the targets in the last.
pub(crate) struct Lab {
    pub(crate) client: Namespace,
    pub(crate) proxy: Namespace,
    pub(crate) server: Namespace,
    pub(crate) certificate: Certificate,
    folder: Folder,
    targets: Option<Runtime>,
}

impl Lab {
    /// A fresh network; nothing runs in it yet.
    pub(crate) fn new() -> Self {
        let folder = Folder::new();
        let certificate =
            Certificate::new(&folder.path, &[PROXY, SERVERS[0], SERVERS[1], "dns.test"]);
        let [client, proxy, server] = ["client", "proxy", "server"].map(Namespace::new);
        Namespace::link(
            (&client, "outside", &["192.0.2.2/24", "2001:db8:1::2/64"]),
            (&proxy, "client", &["192.0.2.1/24", "2001:db8:1::1/64"]),
        );
        Namespace::link(
            (&proxy, "server", &["198.51.100.1/24", "2001:db8:2::1/64"]),
            (&server, "proxy", &["198.51.100.2/24", "2001:db8:2::2/64"]),
        );
        let targets =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let targets = Some(targets.expect("a runtime"));
        Self { client, proxy, server, certificate, folder, targets }
    }

    /// A file in the lab's own folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path.join(name)
    }

    /// Starts the web targets: HTTP/1.1 at port 80, HTTPS with HTTP/2 inside at port 443.
    pub(crate) fn serve_web(&self) {
        let http = self.server.listen(80);
        self.spawn(async { targets::http::serve(from_std(http)).await });
        let https = self.server.listen(443);
        let tls = self.certificate.server.clone();
        self.spawn(async { targets::https::serve(from_std(https), tls).await });
    }

    /// Starts the datagram targets: echo at port 7, DNS at port 53.
    pub(crate) fn serve_datagrams(&self) {
        let (echo, dns) = (self.server.bind(7), self.server.bind(53));
        self.spawn(async { targets::udp::echo(udp_from_std(echo)).await });
        self.spawn(async { targets::udp::dns(udp_from_std(dns)).await });
    }

    /// Starts a target that sends back what it hears, at port 7.
    pub(crate) fn serve_echo(&self) {
        let listener = self.server.listen(7);
        self.spawn(async { targets::echo::serve(from_std(listener)).await });
    }

    /// Starts a target that answers after the client's end of stream, at port 9.
    pub(crate) fn serve_half_close(&self) {
        let listener = self.server.listen(9);
        self.spawn(async { targets::half_close::serve(from_std(listener)).await });
    }

    /// Makes the hosts [`ELSEWHERE`] unreachable for the proxy.
    pub(crate) fn cut_off(&self) {
        self.proxy.ip("-4 route add unreachable 203.0.113.0/24");
        self.proxy.ip("-6 route add unreachable 2001:db8:3::/64");
    }

    /// Runs something beside the test, until the lab is dropped.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.targets.as_ref().expect("alive").spawn(work);
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Some(targets) = self.targets.take() {
            targets.shutdown_background();
        }
    }
}

/// Hands a listener to the runtime that we are in.
pub(crate) fn from_std(listener: TcpListener) -> tokio::net::TcpListener {
    tokio::net::TcpListener::from_std(listener).expect("a non-blocking listener")
}

fn udp_from_std(socket: UdpSocket) -> tokio::net::UdpSocket {
    tokio::net::UdpSocket::from_std(socket).expect("a non-blocking socket")
}

/// A folder of our own, removed at the end.
struct Folder {
    path: PathBuf,
}

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("e2e-{}-{number}", std::process::id());
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&path).expect("make a folder");
        Self { path }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}
