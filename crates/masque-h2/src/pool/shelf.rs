//! Which connection carries the next flow.

use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use pseudotcp_masque::OpenError;
use tokio::time::Instant;

use super::{Http2Slot, Slot, Wish};
use crate::connection::{Link, Owner, Phase};
use crate::dial::{BoxIo, Connection, DialError};
use crate::http1::{Http1, Place};
use crate::state::State;

/// How many free slots at the most are kept in hand by dialling ahead.
const SPARE: usize = 20;

/// Flows that want low latency share a connection with fewer others than this.
const QUIET: usize = 5;

/// The connections of a client, and what is known of the dials.
#[derive(Default)]
pub(super) struct Shelf {
    /// Those that take new flows.
    pub(super) connections: Vec<Connection>,
    /// Those that only finish their flows.
    pub(super) draining: Vec<Weak<Link>>,
    /// Connections of HTTP/1.1 that wait for their flow.
    pub(super) warm: Vec<Http1>,
    /// Referred to by each connection of HTTP/1.1.
    http1_count: Arc<()>,
    /// Whether the proxy speaks HTTP/1.1 only, as far as is known.
    pub(super) http1: bool,
    pub(super) dialling: usize,
    /// Whether somebody will close the needless ones.
    pub(super) tidying: bool,
    pub(super) failure: Option<Failure>,
    pub(super) address: Option<SocketAddr>,
    /// Whether there ever was a connection.
    pub(super) was_connected: bool,
}

/// Why the last dial failed.
pub(super) struct Failure {
    pub(super) cause: Arc<DialError>,
    /// Until then nobody tries again without need.
    pub(super) until: Instant,
}

impl Failure {
    pub(super) fn new(cause: DialError, pause: Duration) -> Self {
        Self { cause: Arc::new(cause), until: Instant::now() + pause }
    }

    pub(super) fn error(&self) -> OpenError {
        let source = Box::new(Arc::clone(&self.cause));
        if self.cause.is_protocol() {
            OpenError::Protocol(source)
        } else {
            OpenError::ProxyGone(Some(source))
        }
    }

    fn is_over(&self) -> bool {
        self.until <= Instant::now()
    }
}

impl Shelf {
    /// Room on the least loaded connection that fits. Where no other can be had, `picky` wishes are
    /// not granted.
    pub(super) fn take(&self, wish: Wish, picky: bool) -> Option<Slot> {
        let fits = |c: &&Connection| {
            let (link, active) = (&c.link, c.link.active());
            let quiet = !wish.low_latency || active < QUIET;
            Some(link.id) != wish.avoided
                && !link.is_doubted()
                && link.free() > 0
                && (!picky || (quiet && !link.is_clogged()))
        };
        let best = self.connections.iter().filter(fits).min_by_key(|c| c.link.active())?;
        Some(Slot::Http2(Http2Slot { permit: best.link.admit()?, send: best.send.clone() }))
    }

    /// A connection of HTTP/1.1 that still stands.
    pub(super) fn take_http1(&mut self) -> Option<Http1> {
        while let Some(mut warm) = self.warm.pop() {
            if !warm.is_stale() {
                return Some(warm);
            }
        }
        None
    }

    /// Whether any flow finds room.
    pub(super) fn has_room(&self) -> bool {
        !self.warm.is_empty() || self.free() > 0
    }

    /// All connections, those that are being made included.
    pub(super) fn count(&self) -> usize {
        self.connections.len() + self.dialling + self.http1_count()
    }

    fn http1_count(&self) -> usize {
        Arc::strong_count(&self.http1_count) - 1
    }

    /// Whether another connection may be dialled, though nothing forces us to.
    pub(super) fn may_grow(&self, max_connections: usize) -> bool {
        self.count() < max_connections && self.failure.as_ref().is_none_or(Failure::is_over)
    }

    /// Whether so few slots are free that one more connection should be dialled ahead.
    pub(super) fn runs_short(&self) -> bool {
        self.free() < self.spare()
    }

    /// Whether there is a connection without flows that the others make needless, with room to
    /// spare: else it would soon be dialled again.
    pub(super) fn has_needless(&self) -> bool {
        self.needless().is_some()
    }

    /// Takes all such connections off.
    pub(super) fn take_needless(&mut self) -> Vec<Connection> {
        std::iter::from_fn(|| self.needless().map(|at| self.connections.swap_remove(at))).collect()
    }

    fn needless(&self) -> Option<usize> {
        let needless = |c: &Connection| {
            let others = self.free().saturating_sub(c.link.free());
            c.link.active() == 0 && !c.link.is_doubted() && others > 2 * self.spare()
        };
        self.connections.iter().position(needless).filter(|_| self.connections.len() > 1)
    }

    /// Slots that are free on connections that answer.
    fn free(&self) -> usize {
        let answering = self.connections.iter().filter(|c| !c.link.is_doubted());
        answering.map(|c| c.link.free()).sum()
    }

    /// The free slots to keep in hand: 20, and fewer where a connection has few.
    fn spare(&self) -> usize {
        SPARE.min(self.connections.first().map_or(0, |c| c.link.usable() / 4))
    }

    /// How many flows one connection takes, as far as is known.
    pub(super) fn room_each(&self) -> Option<usize> {
        if self.http1 { Some(1) } else { self.connections.first().map(|c| c.link.usable()) }
    }

    /// Keeps a fresh connection of HTTP/1.1 for its flow.
    pub(super) fn add_http1(
        &mut self,
        io: BoxIo,
        address: Option<SocketAddr>,
        owner: Weak<dyn Owner>,
    ) {
        (self.address, self.was_connected, self.http1) = (address, true, true);
        self.failure = None;
        let place = Place::new(owner, Arc::clone(&self.http1_count));
        self.warm.push(Http1 { io, place });
    }

    /// Puts a fresh connection on the shelf.
    pub(super) fn add(&mut self, connection: Connection) {
        self.address = connection.link.address;
        (self.was_connected, self.http1) = (true, false);
        self.failure = None;
        self.connections.push(connection);
        // One that ended meanwhile was not on the shelf to be taken off.
        self.connections.retain(|c| c.link.phase() == Phase::Open);
    }

    /// Takes a connection off that takes no new flows; tells whether it was the last.
    pub(super) fn remove(&mut self, link: &Link) -> bool {
        self.draining.retain(|l| l.upgrade().is_some_and(|l| l.phase() != Phase::Closed));
        let Some(at) = self.connections.iter().position(|c| c.link.id == link.id) else {
            return false;
        };
        let removed = self.connections.swap_remove(at);
        if link.phase() != Phase::Closed {
            self.draining.push(Arc::downgrade(&removed.link));
        }
        self.connections.is_empty()
    }

    /// Every connection that has not ended.
    pub(super) fn links(&self) -> Vec<Arc<Link>> {
        let open = self.connections.iter().map(|c| Arc::clone(&c.link));
        open.chain(self.draining.iter().filter_map(Weak::upgrade)).collect()
    }

    /// Why no room was found in time.
    pub(super) fn nothing_free(&self) -> OpenError {
        match &self.failure {
            _ if self.connections.iter().any(|c| !c.link.is_doubted()) => OpenError::overloaded(),
            Some(failure) => failure.error(),
            None => OpenError::ProxyGone(None),
        }
    }

    /// Whether there is no connection that any flow could be opened on.
    pub(super) fn is_empty(&self) -> bool {
        self.connections.is_empty() && self.http1_count() == 0
    }

    /// Whether there is no connection, and one dial at the most.
    pub(super) fn is_alone(&self) -> bool {
        self.connections.is_empty() && self.dialling <= 1
    }

    /// What the client tells of itself.
    pub(super) fn state(&self) -> State {
        let answers = self.connections.iter().any(|c| !c.link.is_doubted())
            || (self.http1 && self.failure.is_none() && self.http1_count() > 0);
        match &self.failure {
            Some(failure) if answers => State::Degraded { cause: failure.cause.to_string() },
            None if answers => State::Connected,
            _ if !self.connections.is_empty() => {
                State::Degraded { cause: "the proxy does not answer".to_owned() }
            }
            _ if self.dialling > 0 && self.was_connected => State::Reconnecting,
            _ if self.dialling > 0 => State::Connecting,
            Some(failure) => State::Failed { cause: failure.cause.to_string() },
            None => State::Idle,
        }
    }
}
