//! A proxy whose every move is scripted.

pub(crate) mod link;
pub(crate) mod raw;

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use base64::Engine as _;
use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use h2::server::{Builder, Connection, SendResponse};
use h2::{RecvStream, SendStream};
use http::{Request, Response};
use pseudotcp_masque::io::IoTunnel;
use pseudotcp_masque::{ByteTunnel, DatagramTunnel, OpenError, OpenRequest, Target, Transport};
use pseudotcp_masque_h2::{Client, Config};
use rcgen::CertifiedKey;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};
use sha2::Digest as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use self::link::Link;

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// What a connection is made of: a socket, or a pipe in memory.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

pub(crate) type Tls = TlsStream<Box<dyn Wire>>;
pub(crate) type Playing = Pin<Box<dyn Future<Output = ()> + Send>>;
type Play = Arc<dyn Fn(Tls) -> Playing + Send + Sync>;

/// Key and certificate of a proxy.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) pem: String,
    pub(crate) key_pem: String,
    certificate: CertificateDer<'static>,
    server: Arc<ServerConfig>,
}

impl Identity {
    pub(crate) fn new(alpn: &[&[u8]]) -> Self {
        Self::with_chain(alpn, &[])
    }

    /// A fresh identity that shows another's certificate behind its own.
    pub(crate) fn with_chain_behind(alpn: &[&[u8]], other: &Self) -> Self {
        Self::with_chain(alpn, std::slice::from_ref(&other.certificate))
    }

    fn with_chain(alpn: &[&[u8]], behind: &[CertificateDer<'static>]) -> Self {
        Self::make(alpn, behind, WebPkiClientVerifier::no_client_auth())
    }

    /// An identity that asks clients for the certificate of `client`.
    pub(crate) fn asking_for(client: &Self) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(client.certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        Self::make(&[b"h2"], &[], verifier.build().unwrap())
    }

    /// The SHA-256 of the public key's `SubjectPublicKeyInfo`.
    pub(crate) fn key_hash(&self) -> String {
        let parsed = rustls::server::ParsedCertificate::try_from(&self.certificate).unwrap();
        let hash = sha2::Sha256::digest(parsed.subject_public_key_info());
        base64::engine::general_purpose::STANDARD.encode(hash)
    }

    fn make(
        alpn: &[&[u8]],
        behind: &[CertificateDer<'static>],
        client_verifier: Arc<dyn ClientCertVerifier>,
    ) -> Self {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(names).unwrap();
        let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
        let key_pem = signing_key.serialize_pem();
        let certificate = cert.der().clone();
        let chain = [std::slice::from_ref(&certificate), behind].concat();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(client_verifier)
            .with_single_cert(chain, key)
            .unwrap();
        server.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Self { pem: cert.pem(), key_pem, certificate, server: Arc::new(server) }
    }
}

/// A listening proxy; what it accepts is handed to a script. Dropping it kills its connections.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    pub(crate) identity: Identity,
    pub(crate) accepted: Arc<AtomicUsize>,
    tasks: Tasks,
    /// The only way to a proxy in memory.
    pipes: Option<Arc<dyn Transport>>,
}

type Tasks = Arc<Mutex<Vec<JoinHandle<()>>>>;

/// How many bytes a pipe in memory holds.
const PIPE: usize = 1 << 20;

/// Leads every TCP flow to a proxy in memory.
struct Pipes {
    link: Option<Link>,
    acceptor: TlsAcceptor,
    play: Play,
    accepted: Arc<AtomicUsize>,
    tasks: Tasks,
}

#[async_trait]
impl Transport for Pipes {
    async fn open_tcp(&self, _: OpenRequest) -> Result<ByteTunnel, OpenError> {
        let (near, far) = tokio::io::duplex(PIPE);
        self.accepted.fetch_add(1, Ordering::SeqCst);
        let playing = tokio::spawn(accept_tls(self.acceptor.clone(), far, Arc::clone(&self.play)));
        self.tasks.lock().unwrap().push(playing);
        let near = if let Some(link) = self.link { link.lead_to(near) } else { near };
        Ok(Box::new(IoTunnel::new(near, Bytes::new())))
    }

    async fn open_udp(&self, _: OpenRequest) -> Result<DatagramTunnel, OpenError> {
        Err(OpenError::Denied(None))
    }
}

async fn accept_tls(acceptor: TlsAcceptor, wire: impl Wire + 'static, play: Play) {
    let wire: Box<dyn Wire> = Box::new(wire);
    if let Ok(tls) = acceptor.accept(wire).await {
        play(tls).await;
    }
}

impl Proxy {
    /// Plays `play` with each TLS connection, without any socket: tests may run in virtual time.
    pub(crate) fn in_memory<F>(play: impl Fn(Tls) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::behind(None, play)
    }

    /// The same, at the end of a link.
    pub(crate) fn behind<F>(
        link: Option<Link>,
        play: impl Fn(Tls) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let identity = Identity::new(&[b"h2"]);
        let (accepted, tasks) = (Arc::default(), Tasks::default());
        let pipes = Pipes {
            link,
            acceptor: TlsAcceptor::from(Arc::clone(&identity.server)),
            play: Arc::new(move |tls| Box::pin(play(tls))),
            accepted: Arc::clone(&accepted),
            tasks: Arc::clone(&tasks),
        };
        let address = SocketAddr::from(([127, 0, 0, 1], 443));
        Self { address, identity, accepted, tasks, pipes: Some(Arc::new(pipes)) }
    }

    /// Plays `play` with each TLS connection.
    pub(crate) async fn start<F>(play: impl Fn(Tls) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        Self::start_at(any_port, Identity::new(&[b"h2"]), play).await
    }

    pub(crate) async fn start_at<F>(
        address: SocketAddr,
        identity: Identity,
        play: impl Fn(Tls) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (accepted, tasks) = (Arc::default(), Tasks::default());
        let proxy = Self { address, identity, accepted, tasks, pipes: None };
        let play: Play = Arc::new(move |tls| Box::pin(play(tls)));
        let acceptor = TlsAcceptor::from(Arc::clone(&proxy.identity.server));
        let (accepted, tasks) = (Arc::clone(&proxy.accepted), Arc::clone(&proxy.tasks));
        let listening = tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                accepted.fetch_add(1, Ordering::SeqCst);
                tcp.set_nodelay(true).unwrap();
                let playing = tokio::spawn(accept_tls(acceptor.clone(), tcp, Arc::clone(&play)));
                tasks.lock().unwrap().push(playing);
            }
        });
        proxy.tasks.lock().unwrap().push(listening);
        proxy
    }

    /// A proxy that speaks HTTP/2 properly and answers each request by `answer`.
    pub(crate) async fn answering<F>(
        answer: impl Fn(Request<RecvStream>, SendResponse<Bytes>) -> F + Clone + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::start(move |tls| serve(tls, builder(), answer.clone())).await
    }

    /// A client's configuration that trusts this proxy and no other.
    pub(crate) fn config(&self) -> Config {
        let config = self.bare_config().pin(self.identity.pem.as_bytes()).unwrap();
        self.pipes.iter().cloned().fold(config, Config::through)
    }

    /// A configuration that names this proxy, and trusts the platform's authorities.
    pub(crate) fn bare_config(&self) -> Config {
        Config::new(&format!("https://{}", self.address)).unwrap()
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.config()).unwrap()
    }

    pub(crate) fn connections(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// How many connections are being played with.
    pub(crate) fn playing(&self) -> usize {
        self.tasks.lock().unwrap().iter().filter(|task| !task.is_finished()).count()
    }

    /// Ends the connections, and goes on listening.
    pub(crate) async fn cut(&self) {
        let listening = usize::from(self.pipes.is_none());
        let tasks: Vec<_> = {
            let mut tasks = self.tasks.lock().unwrap();
            let at = listening.min(tasks.len());
            tasks.drain(at..).collect()
        };
        for task in &tasks {
            task.abort();
        }
        for task in tasks {
            let _aborted = task.await;
        }
    }

    /// Ends all tasks and waits until their sockets are closed.
    pub(crate) async fn kill(self) -> (SocketAddr, Identity) {
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap());
        for task in &tasks {
            task.abort();
        }
        for task in tasks {
            let _aborted = task.await;
        }
        (self.address, self.identity.clone())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        for task in self.tasks.lock().unwrap().drain(..) {
            task.abort();
        }
    }
}

/// The settings of a well-behaved proxy.
pub(crate) fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .enable_connect_protocol()
        .initial_window_size(1 << 20)
        .initial_connection_window_size(16 << 20)
        .data_frame_budget(64 << 20);
    builder
}

/// As [`builder`], with so many streams at once.
pub(crate) fn streams(limit: u32) -> Builder {
    let mut builder = builder();
    builder.max_concurrent_streams(limit);
    builder
}

/// Speaks HTTP/2 to its end, each request in a task of its own.
pub(crate) async fn serve<F>(
    tls: Tls,
    builder: Builder,
    answer: impl Fn(Request<RecvStream>, SendResponse<Bytes>) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let Ok(connection) = builder.handshake(tls).await else { return };
    serve_connection(connection, answer).await;
}

pub(crate) async fn serve_connection<F>(
    mut connection: Connection<Tls, Bytes>,
    answer: impl Fn(Request<RecvStream>, SendResponse<Bytes>) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let mut streams = tokio::task::JoinSet::new();
    while let Some(Ok((request, respond))) = connection.accept().await {
        streams.spawn(answer(request, respond));
    }
}

/// 200, and the stream goes on.
pub(crate) fn accept(respond: &mut SendResponse<Bytes>) -> SendStream<Bytes> {
    respond.send_response(Response::new(()), false).unwrap()
}

/// A bare status.
pub(crate) fn refuse(mut respond: SendResponse<Bytes>, status: u16, headers: &[(&str, &str)]) {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    let mut body = respond.send_response(response.body(()).unwrap(), false).unwrap();
    let _gone = body.send_data(Bytes::from_static(b"<html>an error page</html>"), true);
}

/// Answers requests of HTTP/1.1, each on its own connection, with this head; then echoes.
pub(crate) async fn http1(mut tls: Tls, heads: Arc<AtomicUsize>, answer: &'static str) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match tls.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    heads.fetch_add(1, Ordering::SeqCst);
    tls.write_all(answer.as_bytes()).await.unwrap();
    let (mut read, mut write) = tokio::io::split(tls);
    let _ended = tokio::io::copy(&mut read, &mut write).await;
    let _ended = write.shutdown().await;
}

/// Accepts and sends back what comes, to the end.
pub(crate) async fn echo(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    let mut send = accept(&mut respond);
    let mut recv = request.into_body();
    while let Some(Ok(chunk)) = recv.data().await {
        let _released = recv.flow_control().release_capacity(chunk.len());
        if !send_all(&mut send, chunk).await {
            return;
        }
    }
    let _gone = send.send_data(Bytes::new(), true);
}

/// Sends as the peer has room; false when the stream is gone.
pub(crate) async fn send_all(send: &mut SendStream<Bytes>, mut data: Bytes) -> bool {
    while !data.is_empty() {
        send.reserve_capacity(data.len());
        let Some(Ok(room)) = poll_fn(|cx| send.poll_capacity(cx)).await else { return false };
        let part = data.split_to(room.min(data.len()));
        if send.send_data(part, false).is_err() {
            return false;
        }
    }
    true
}

pub(crate) fn deadline() -> Instant {
    (tokio::time::Instant::now() + PATIENCE).into_std()
}

/// A request for a flow to a target that only the script knows.
pub(crate) fn request(name: &str) -> OpenRequest {
    OpenRequest::new(Target::host(name, 443)).with_deadline(deadline())
}

pub(crate) async fn open(client: &Client, name: &str) -> Result<ByteTunnel, OpenError> {
    client.open_tcp(request(name)).await
}

/// What comes of `future` within [`PATIENCE`].
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("nothing came of it in time")
}

/// Sends something through an echo and hears it again.
pub(crate) async fn works(tunnel: &mut ByteTunnel) {
    soon(tunnel.send(Bytes::from_static(b"ping"))).await.unwrap();
    assert_eq!(soon(tunnel.next()).await.unwrap().unwrap(), "ping");
}
