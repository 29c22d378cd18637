//! The counters for Prometheus, at a listener of their own.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use http::{HeaderValue, Method, Request, header::CONTENT_TYPE};
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use crate::Stats;
use crate::head;
use crate::refusal::Refusal;

/// How long one scrape may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The most scrapes at once.
const SCRAPES: usize = 16;

/// How long to wait when the system has no file descriptor for another client.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The format of the answer.
const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// Serves the counters of a [`Server`](crate::Server) at `/metrics`, in the clear and to everybody
/// who reaches it: give it an address that only the monitoring reaches.
///
/// ```
/// # use pseudotcp_proxy::{Config, MetricsServer, Server};
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let server = Server::bind(Config::self_signed(["localhost"])?, "127.0.0.1:0".parse()?).await?;
/// let metrics = MetricsServer::bind(&server.stats(), "127.0.0.1:0".parse()?).await?;
/// println!("http://{}/metrics", metrics.local_addr());
/// tokio::spawn(metrics.serve());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
pub struct MetricsServer {
    listener: TcpListener,
    local_addr: SocketAddr,
    registry: Arc<Registry>,
}

impl MetricsServer {
    /// Listens at an address; port 0 takes a free one.
    pub async fn bind(stats: &Stats, address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let local_addr = listener.local_addr()?;
        Ok(Self { listener, local_addr, registry: Arc::new(stats.registry()) })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Serves until the future is dropped.
    pub async fn serve(self) {
        let (scrapes, mut tasks) = (Arc::new(Semaphore::new(SCRAPES)), JoinSet::new());
        loop {
            while tasks.try_join_next().is_some() {}
            match self.listener.accept().await {
                Ok((socket, _)) => {
                    let Ok(permit) = Arc::clone(&scrapes).try_acquire_owned() else { continue };
                    let registry = Arc::clone(&self.registry);
                    tasks.spawn(async move {
                        if let Ok(Err(error)) = timeout(PATIENCE, answer(socket, &registry)).await {
                            debug!(%error, "a scrape failed");
                        }
                        drop(permit);
                    });
                }
                Err(error) => {
                    warn!(%error, "cannot accept scrapes");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

impl fmt::Debug for MetricsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsServer")
            .field("local_addr", &self.local_addr)
            .finish_non_exhaustive()
    }
}

/// Answers one request; the connection ends with it.
async fn answer(mut socket: TcpStream, registry: &Registry) -> io::Result<()> {
    let mut read = BytesMut::new();
    let answer = loop {
        match head::parse(&read) {
            Ok(Some((head, _))) => break respond(&head.request, registry),
            Ok(None) if socket.read_buf(&mut read).await? == 0 => return Ok(()),
            Ok(None) => {}
            Err(refusal) => break Err(refusal),
        }
    };
    let answer = answer.unwrap_or_else(|refusal| head::refused(&refusal.into_response(), false));
    socket.write_all(answer.as_bytes()).await?;
    socket.shutdown().await
}

fn respond(request: &Request<()>, registry: &Registry) -> Result<String, Refusal> {
    if request.method() != Method::GET {
        return Err(Refusal::method_not_allowed("GET"));
    }
    if request.uri().path() != "/metrics" {
        return Err(Refusal::not_found());
    }
    let mut body = String::new();
    // Writing to a string does not fail.
    let _ = text::encode(&mut body, registry);
    Ok(head::with_body(&[(CONTENT_TYPE, OPEN_METRICS)].into_iter().collect(), &body))
}
