//! A proxy on loopback, a plain HTTP/2 client for it, and targets.
#![allow(dead_code, reason = "each test file uses its part")]

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::ext::Protocol;
use h2::{Reason, RecvStream, SendStream};
use http::{Method, Request, Response, StatusCode};
use pseudotcp_proxy::{Config, Handle, Server, Stats};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// No test waits longer than this for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for something that must come.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("this takes too long")
}

/// Waits until a condition holds that others bring about.
pub(crate) async fn until(mut condition: impl FnMut() -> bool) {
    soon(async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

pub(crate) fn config() -> Config {
    Config::self_signed(["localhost"]).unwrap()
}

pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    pub(crate) stats: Arc<Stats>,
    pub(crate) stop: Option<oneshot::Sender<()>>,
    pub(crate) serving: JoinHandle<()>,
    pub(crate) handle: Handle,
    pub(crate) certificate: CertificateDer<'static>,
}

impl Proxy {
    pub(crate) async fn start(config: Config) -> Self {
        Self::start_as(config, |server| server).await
    }

    /// A proxy that `change` has made ready.
    pub(crate) async fn start_as(config: Config, change: impl FnOnce(Server) -> Server) -> Self {
        let certificate = CertificateDer::from(config.certificate_der().to_vec());
        let server = Server::bind(config, "127.0.0.1:0".parse().unwrap()).await.unwrap();
        let server = change(server);
        let (address, stats, handle) = (server.local_addr(), server.stats(), server.handle());
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(server.serve(async { drop(stopped.await) }));
        Self { address, stats, stop: Some(stop), serving, handle, certificate }
    }

    pub(crate) async fn tls(&self, protocols: &[&[u8]]) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let socket = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, socket).await
    }

    pub(crate) async fn http1(&self) -> Http1 {
        Http1 { io: soon(self.tls(&[b"http/1.1"])).await.unwrap() }
    }

    pub(crate) async fn client(&self) -> Client {
        let io = soon(self.tls(&[b"h2"])).await.unwrap();
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(1 << 20).initial_connection_window_size(16 << 20);
        builder.max_frame_size(1 << 20);
        let (requests, connection) = soon(builder.handshake::<_, Bytes>(io)).await.unwrap();
        let driver = tokio::spawn(async { drop(connection.await) });
        Client { requests, driver }
    }
}

/// A client that speaks HTTP/1.1.
pub(crate) struct Http1 {
    pub(crate) io: TlsStream<TcpStream>,
}

impl Http1 {
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        soon(self.io.write_all(bytes)).await.unwrap();
        soon(self.io.flush()).await.unwrap();
    }

    /// The next head of an answer, and not a byte more.
    pub(crate) async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(soon(self.io.read_u8()).await.expect("a whole head"));
        }
        String::from_utf8(head).unwrap()
    }

    /// Sends a request and hears the head of its answer.
    pub(crate) async fn ask(&mut self, request: &str) -> String {
        self.write(request.as_bytes()).await;
        self.head().await
    }

    pub(crate) async fn read_exact(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        soon(self.io.read_exact(&mut bytes)).await.unwrap();
        bytes
    }

    /// Everything up to the end; an error where TLS did not say it.
    pub(crate) async fn read_to_end(&mut self) -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        soon(self.io.read_to_end(&mut bytes)).await.map(|_| bytes)
    }
}

#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) requests: SendRequest<Bytes>,
    pub(crate) driver: JoinHandle<()>,
}

impl Client {
    pub(crate) async fn request(&mut self, request: Request<()>) -> Answer {
        poll_fn(|cx| self.requests.poll_ready(cx)).await.unwrap();
        let (response, send) = self.requests.send_request(request, false).unwrap();
        let (head, receive) = soon(response).await.unwrap().into_parts();
        Answer { head: Response::from_parts(head, ()), tunnel: Tunnel { send, receive } }
    }

    /// CONNECT, whatever comes of it.
    pub(crate) async fn connect(&mut self, authority: impl ToString) -> Answer {
        self.request(Request::connect(authority.to_string()).body(()).unwrap()).await
    }

    /// CONNECT that must succeed.
    pub(crate) async fn tunnel(&mut self, target: SocketAddr) -> Tunnel {
        self.connect(target).await.open()
    }

    /// Extended CONNECT, whatever comes of it.
    pub(crate) async fn extended(&mut self, protocol: &'static str, path: &str) -> Answer {
        // RFC 8441 §3: not before the proxy's SETTINGS have come.
        until(|| self.requests.is_extended_connect_protocol_enabled()).await;
        let request = Request::builder()
            .method(Method::CONNECT)
            .uri(format!("https://localhost{path}"))
            .extension(Protocol::from_static(protocol))
            .header("capsule-protocol", "?1");
        self.request(request.body(()).unwrap()).await
    }

    /// connect-tcp to a host as it stands in the path.
    pub(crate) async fn connect_tcp(&mut self, host: &str, port: u16) -> Answer {
        self.extended("connect-tcp", &format!("/.well-known/masque/tcp/{host}/{port}/")).await
    }

    /// connect-udp to a host as it stands in the path.
    pub(crate) async fn connect_udp(&mut self, host: &str, port: u16) -> Answer {
        self.extended("connect-udp", &format!("/.well-known/masque/udp/{host}/{port}/")).await
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: Response<()>,
    pub(crate) tunnel: Tunnel,
}

impl Answer {
    pub(crate) fn open(self) -> Tunnel {
        assert_eq!(self.head.status(), StatusCode::OK, "{:?}", self.head);
        self.tunnel
    }

    /// The status and the Proxy-Status of a refusal, which has no body.
    pub(crate) async fn refusal(mut self) -> (u16, String) {
        assert_eq!(soon(self.tunnel.read_to_end()).await.unwrap(), b"");
        let cause = self.head.headers().get("proxy-status").expect("a cause");
        (self.head.status().as_u16(), cause.to_str().unwrap().to_owned())
    }
}

#[derive(Debug)]
pub(crate) struct Tunnel {
    pub(crate) send: SendStream<Bytes>,
    pub(crate) receive: RecvStream,
}

impl Tunnel {
    /// Sends all of it, as the proxy's windows allow.
    pub(crate) async fn write(&mut self, mut data: Bytes) -> Result<(), h2::Error> {
        while !data.is_empty() {
            self.send.reserve_capacity(data.len().min(64 * 1024));
            let capacity = match poll_fn(|cx| self.send.poll_capacity(cx)).await {
                Some(capacity) => capacity?,
                None => return Err(Reason::STREAM_CLOSED.into()),
            };
            self.send.send_data(data.split_to(capacity.min(data.len())), false)?;
        }
        Ok(())
    }

    pub(crate) async fn write_static(&mut self, data: &'static [u8]) {
        soon(self.write(Bytes::from_static(data))).await.unwrap();
    }

    pub(crate) fn finish(&mut self) {
        self.send.send_data(Bytes::new(), true).unwrap();
    }

    /// The next DATA; `None` at the end of the stream.
    pub(crate) async fn read(&mut self) -> Option<Result<Bytes, h2::Error>> {
        let data = self.receive.data().await?;
        if let Ok(data) = &data {
            self.receive.flow_control().release_capacity(data.len()).unwrap();
        }
        Some(data)
    }

    pub(crate) async fn read_exact(&mut self, length: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while all.len() < length {
            all.extend(soon(self.read()).await.expect("more to come").unwrap());
        }
        assert_eq!(all.len(), length);
        all
    }

    pub(crate) async fn read_to_end(&mut self) -> Result<Vec<u8>, h2::Error> {
        let mut all = Vec::new();
        while let Some(data) = self.read().await {
            all.extend(data?);
        }
        Ok(all)
    }

    /// The code of the `RST_STREAM` that ends the stream; what comes before it is passed over.
    pub(crate) async fn reset_reason(&mut self) -> Option<Reason> {
        soon(self.read_to_end()).await.expect_err("a reset").reason()
    }
}

/// A TCP target that hands out what connects to it.
pub(crate) async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A TCP target that sends back what it hears, and ends when its peer does.
pub(crate) async fn echo(address: &str) -> SocketAddr {
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = socket.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    address
}

/// A port where nobody listens.
pub(crate) async fn closed_port() -> SocketAddr {
    listen().await.1
}

/// Bytes that show every shift and every gap.
#[expect(clippy::cast_possible_truncation, reason = "taken modulo 256")]
pub(crate) fn pattern(length: usize) -> Bytes {
    (0..length).map(|i| ((i * 31 + i / 251) % 256) as u8).collect()
}
