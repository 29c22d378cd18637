//! DNS over HTTPS (RFC 8484) over HTTP/2.

use std::io;
use std::sync::{Arc, Mutex as Lock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use h2::RecvStream;
use h2::client::SendRequest;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE};
use http::{Request, Response, StatusCode};
use pseudotcp_dns::upstream::{self, Endpoint, MEDIA_TYPE};
use rustls::ClientConfig;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::error::ExchangeError;
use crate::tls;
use crate::upstream::{Upstream, Way};

/// How long a connection may take to make.
const DIAL: Duration = Duration::from_secs(3);

/// A connection that has let a question wait for this long, and said nothing since, is lost.
const SILENCE: Duration = Duration::from_secs(2);

/// The longest DNS message (RFC 1035 §4.2.2).
const MAX_MESSAGE: usize = 65_535;

/// A server that is asked by HTTP, through one warm connection.
pub(crate) struct Doh {
    way: Way,
    endpoint: Endpoint,
    by_get: bool,
    tls: Arc<ClientConfig>,
    connection: Mutex<Option<Arc<Connection>>>,
}

impl Doh {
    pub(crate) fn new(way: Way, endpoint: Endpoint, by_get: bool, tls: &Arc<ClientConfig>) -> Self {
        let tls = tls::with_protocol(tls, tls::H2);
        Self { way, endpoint, by_get, tls, connection: Mutex::default() }
    }

    /// The connection, a new one where it was lost; and whether it is new.
    async fn connection(&self) -> Result<(Arc<Connection>, bool), ExchangeError> {
        let mut slot = self.connection.lock().await;
        if let Some(connection) = &*slot
            && connection.is_alive()
        {
            return Ok((Arc::clone(connection), false));
        }
        *slot = None;
        let stream = tls::connect(&self.way, &self.tls, Instant::now() + DIAL).await?;
        let (send, connection) = h2::client::handshake(stream).await.map_err(lost)?;
        let driver = tokio::spawn(async { drop(connection.await) });
        let connection = Arc::new(Connection { send, driver, waiting_since: Lock::default() });
        *slot = Some(Arc::clone(&connection));
        Ok((connection, true))
    }

    fn request(&self, query: &Bytes) -> Result<(Request<()>, Bytes), ExchangeError> {
        let query = upstream::padded(query);
        let asked =
            if self.by_get { self.endpoint.get(&query) } else { self.endpoint.post(query.clone()) };
        let uri = format!("https://{}{}", self.endpoint.authority(), asked.path);
        let mut request = Request::builder().uri(uri).header(ACCEPT, MEDIA_TYPE);
        if asked.body.is_empty() {
            request = request.method("GET");
        } else {
            request = request.method("POST").header(CONTENT_TYPE, MEDIA_TYPE);
            request = request.header(CONTENT_LENGTH, asked.body.len());
        }
        let request = request.body(()).map_err(|error| ExchangeError::Http(error.into()))?;
        Ok((request, asked.body))
    }
}

#[async_trait]
impl Upstream for Doh {
    async fn exchange(&self, query: &Bytes) -> Result<Bytes, ExchangeError> {
        let (request, body) = self.request(query)?;
        let (connection, is_new) = self.connection().await?;
        match connection.exchange(request.clone(), body.clone()).await {
            // The server may have closed the connection just now, as servers do.
            Err(ExchangeError::Connection(_)) if !is_new => {
                let (connection, _) = self.connection().await?;
                connection.exchange(request, body).await
            }
            outcome => outcome,
        }
    }
}

/// An HTTP/2 connection and the task that drives it.
struct Connection {
    send: SendRequest<Bytes>,
    driver: JoinHandle<()>,
    /// When the oldest question was asked since the server last said anything.
    waiting_since: Lock<Option<Instant>>,
}

impl Connection {
    fn is_alive(&self) -> bool {
        let since = *self.waiting_since.lock().unwrap_or_else(PoisonError::into_inner);
        !self.driver.is_finished() && since.is_none_or(|since| since.elapsed() < SILENCE)
    }

    fn asked(&self) {
        let mut since = self.waiting_since.lock().unwrap_or_else(PoisonError::into_inner);
        since.get_or_insert_with(Instant::now);
    }

    fn heard(&self) {
        *self.waiting_since.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    async fn exchange(&self, request: Request<()>, body: Bytes) -> Result<Bytes, ExchangeError> {
        let mut send = self.send.clone().ready().await.map_err(lost)?;
        let (response, mut stream) = send.send_request(request, body.is_empty()).map_err(lost)?;
        if !body.is_empty() {
            stream.send_data(body, true).map_err(lost)?;
        }
        self.asked();
        let response = response.await.map_err(lost)?;
        self.heard();
        read(response).await
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

fn lost(error: h2::Error) -> ExchangeError {
    ExchangeError::Connection(error.into_io().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into()))
}

/// The DNS message in a response.
async fn read(response: Response<RecvStream>) -> Result<Bytes, ExchangeError> {
    let is_message = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == MEDIA_TYPE);
    if response.status() != StatusCode::OK || !is_message {
        let what = format!("status {}", response.status().as_u16());
        return Err(ExchangeError::Http(what.into()));
    }
    let mut body = response.into_body();
    let mut message = BytesMut::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk.map_err(lost)?;
        if message.len() + chunk.len() > MAX_MESSAGE {
            return Err(ExchangeError::Http("an answer of more than 65,535 bytes".into()));
        }
        message.extend_from_slice(&chunk);
        body.flow_control().release_capacity(chunk.len()).map_err(lost)?;
    }
    Ok(message.freeze())
}
