//! HTTP/2 on a fresh connection, up to the proxy's SETTINGS.

use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use h2::client::SendRequest;
use pseudotcp_masque::cork::{Corked, MAX_FRAME};

use super::{BoxIo, DialError, Io};
use crate::Config;
use crate::connection::{Driver, Link, Liveness, Meter, Metered, Owner, Phase, Windows};
use crate::state::Counters;

/// How much is written at once at the most, and may wait in user space: 256 KiB.
const CORK: usize = 256 * 1024;

/// The bytes of a flow that HTTP/2 takes before they have left: 256 KiB.
const SEND_BUFFER: usize = 256 * 1024;

/// What small DATA frames may cost before HTTP/2 gives up a connection. Its own default ends a
/// connection after a burst of about a hundred; this bounds a hostile proxy to about 80 MB.
const DATA_FRAME_BUDGET: usize = 64 << 20;

/// How many streams that this side has reset are remembered, so that what is still under way for
/// them is no error.
const RESET_STREAMS: usize = 1024;

/// The most bytes of a response's header fields.
const HEADER_LIST: u32 = 64 * 1024;

/// A connection that takes flows. Dropped, it closes with its last flow.
pub(crate) struct Connection {
    pub(crate) link: Arc<Link>,
    pub(crate) send: SendRequest<Bytes>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.link.release();
    }
}

/// Starts the driver and waits for the proxy's SETTINGS, which tell how many flows it takes.
pub(super) async fn speak(
    config: &Config,
    counters: &Arc<Counters>,
    (id, address): (u64, Option<SocketAddr>),
    io: impl Io + 'static,
    windows: Windows,
    owner: Weak<dyn Owner>,
) -> Result<Connection, DialError> {
    let meter = Meter::new(Arc::clone(counters));
    let io: BoxIo = Box::new(io);
    let (wire, cork) = Corked::new(Metered::new(io, Arc::clone(&meter)), CORK);
    let (send, connection) = builder(&windows).handshake(wire).await?;
    let liveness = Liveness::new(config.ping_after, config.ping_timeout);
    let frames = cork.frame_limit();
    let link = Link::new(id, address, config.flows_per_connection, frames, owner);
    let unfinished = Unfinished(Some(Arc::clone(&link)));
    let care = (liveness, windows);
    let driver = Driver::new(connection, cork, send.clone(), meter, care, link.clone());
    tokio::spawn(driver);
    let mut phase = link.watch_phase();
    let agreed = phase.wait_for(|phase| *phase != Phase::Starting).await;
    if agreed.is_ok_and(|phase| *phase == Phase::Open) {
        unfinished.succeed();
        return Ok(Connection { link, send });
    }
    Err(DialError::Ended(link.ending()))
}

fn builder(windows: &Windows) -> h2::client::Builder {
    let mut builder = h2::client::Builder::new();
    builder
        .enable_push(false)
        .initial_max_send_streams(0)
        .max_frame_size(MAX_FRAME)
        .initial_window_size(windows.stream())
        .initial_connection_window_size(windows.connection())
        .max_send_buffer_size(SEND_BUFFER)
        .data_frame_budget(DATA_FRAME_BUDGET)
        .max_header_list_size(HEADER_LIST)
        .max_concurrent_reset_streams(RESET_STREAMS)
        .max_local_error_reset_streams(None);
    builder
}

/// Gives a connection up that nobody waited for to the end.
struct Unfinished(Option<Arc<Link>>);

impl Unfinished {
    fn succeed(mut self) {
        self.0 = None;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(link) = &self.0 {
            link.condemn();
        }
    }
}
