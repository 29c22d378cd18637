//! The small network in which every test runs.
//!
//! ```text
//!   client ──────────── proxy ──────────── server
//!   10.80.1.2        .1.1   .2.1          10.80.2.2
//!   fd80:1::2       1::1     2::1         fd80:2::2
//! ```
//!
//! The client has no route to the server's network: only through a TUN and the proxy.

use std::future::Future;
use std::net::{TcpListener, UdpSocket};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::runtime::Runtime;

use super::certificate::Certificate;
use super::netns::Namespace;
use crate::targets;

/// The proxy, as the client sees it.
pub(crate) const PROXY_V4: &str = "10.80.1.1";
/// The server, as the proxy sees it.
pub(crate) const SERVER_V4: &str = "10.80.2.2";
/// The same over IPv6.
pub(crate) const SERVER_V6: &str = "fd80:2::2";
/// The server's addresses of both families.
pub(crate) const SERVERS: [&str; 2] = [SERVER_V4, SERVER_V6];

/// The networks behind the proxy.
pub(crate) const ROUTES: [&str; 2] = ["10.80.0.0/16", "fd80::/16"];

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
        let certificate = Certificate::new(&folder.path, &[PROXY_V4, SERVER_V4, SERVER_V6]);
        let [client, proxy, server] = ["client", "proxy", "server"].map(Namespace::new);
        Namespace::link(
            (&client, "outside", &["10.80.1.2/24", "fd80:1::2/64"]),
            (&proxy, "client", &["10.80.1.1/24", "fd80:1::1/64"]),
        );
        Namespace::link(
            (&proxy, "server", &["10.80.2.1/24", "fd80:2::1/64"]),
            (&server, "proxy", &["10.80.2.2/24", "fd80:2::2/64"]),
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

    /// Starts a target that answers after the client's end of stream, at port 9.
    pub(crate) fn serve_half_close(&self) {
        let listener = self.server.listen(9);
        self.spawn(async { targets::half_close::serve(from_std(listener)).await });
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
