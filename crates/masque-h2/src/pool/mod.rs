//! The connections: as few as carry the flows, made when wanted, replaced when lost.

mod redial;
mod shelf;

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use pseudotcp_masque::OpenError;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout_at};

pub(crate) use self::redial::between_half_and_whole;
use self::redial::{keep_dialling, pause_after};
use self::shelf::{Failure, Shelf};
use crate::connection::{Link, Owner, Permit, Phase};
use crate::dial::{DialError, Dialer, Dialled};
use crate::http1::Http1;
use crate::request::Memory;
use crate::state::{Counters, State, Stats, count};
use crate::{Config, ConfigError};

/// How long the verdict holds that the proxy is not what it should be.
const VERDICT: Duration = Duration::from_secs(1);

/// How long nobody dials ahead after a dial has failed while other connections work.
const AHEAD_AGAIN: Duration = Duration::from_secs(5);

/// How long a connection beyond the first stays open without a flow.
const LINGER: Duration = Duration::from_secs(15);

/// How often a lost connection is dialled while no flow waits for it.
const UNWANTED_DIALS: u32 = 16;

/// How many connections are dialled at once at the most.
const PARALLEL_DIALS: usize = 4;

/// How many connections of HTTP/1.1, which carry one flow each, are dialled at once at the most.
const PARALLEL_HTTP1_DIALS: usize = 16;

/// Room for one flow.
pub(crate) enum Slot {
    /// A stream of a connection.
    Http2(Http2Slot),
    /// A whole connection.
    Http1(Http1),
}

/// Room for one flow on a connection of HTTP/2.
pub(crate) struct Http2Slot {
    pub(crate) send: SendRequest<Bytes>,
    pub(crate) permit: Permit,
}

impl Slot {
    /// The connection, where it carries other flows too.
    pub(crate) fn id(&self) -> Option<u64> {
        match self {
            Self::Http2(slot) => Some(slot.permit.link().id),
            Self::Http1(_) => None,
        }
    }
}

/// What a flow asks of its connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    /// Not this one, on which it has failed.
    pub(crate) avoided: Option<u64>,
    /// One with few other flows.
    pub(crate) low_latency: bool,
}

/// All connections of a client.
pub(crate) struct Pool {
    me: Weak<Self>,
    dialer: Dialer,
    pub(crate) counters: Arc<Counters>,
    pub(crate) state: watch::Sender<State>,
    pub(crate) memory: Memory,
    /// Flows that wait for room, and how to wake them.
    waiting: AtomicUsize,
    changed: Notify,
    /// The network has changed: whoever dials begins anew.
    network: Notify,
    shelf: Mutex<Shelf>,
}

impl Pool {
    pub(crate) fn new(config: Config) -> Result<Arc<Self>, ConfigError> {
        let counters = Arc::new(Counters::default());
        let dialer = Dialer::new(config, Arc::clone(&counters))?;
        Ok(Arc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            dialer,
            counters,
            state: watch::Sender::new(State::Idle),
            memory: Memory::default(),
            waiting: AtomicUsize::new(0),
            changed: Notify::new(),
            network: Notify::new(),
            shelf: Mutex::default(),
        }))
    }

    pub(crate) fn config(&self) -> &Config {
        &self.dialer.config
    }

    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.shelf().address
    }

    pub(crate) fn stats(&self) -> Stats {
        self.counters.read(self.dialer.windows.budget.used())
    }

    /// Room for a flow; waits for it until `deadline`.
    pub(crate) async fn acquire(&self, wish: Wish, deadline: Instant) -> Result<Slot, OpenError> {
        if let Some(slot) = self.find(wish) {
            return Ok(slot);
        }
        let _waiting = Waiting::new(&self.waiting);
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Some(slot) = self.find(wish) {
                // There may be room for the next who waits, too.
                self.room();
                return Ok(slot);
            }
            self.want_connection()?;
            if timeout_at(deadline, changed).await.is_err() {
                return Err(self.shelf().nothing_free());
            }
        }
    }

    /// Waits until there is room for a flow, and takes none.
    pub(crate) async fn ready(&self, deadline: Instant) -> Result<(), OpenError> {
        let _waiting = Waiting::new(&self.waiting);
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if self.shelf().has_room() {
                return Ok(());
            }
            self.want_connection()?;
            if timeout_at(deadline, changed).await.is_err() {
                return Err(self.shelf().nothing_free());
            }
        }
    }

    /// The same, but a dial that fails is not waited out: the first failure ends it.
    pub(crate) async fn reachable(&self, deadline: Instant) -> Result<(), OpenError> {
        let failed = || self.counters.dials_failed.load(Ordering::Relaxed);
        let before = failed();
        let waited_out = self.ready(deadline);
        let fails = async {
            loop {
                let mut changed = pin!(self.changed.notified());
                changed.as_mut().enable();
                if failed() > before {
                    return self.shelf().nothing_free();
                }
                changed.await;
            }
        };
        tokio::select! {
            biased;
            outcome = waited_out => outcome,
            error = fails => Err(error),
        }
    }

    /// Waits until a dial has failed while there was no connection; then no open can succeed soon.
    pub(crate) async fn gone(&self) -> OpenError {
        let failed = || self.counters.dials_failed.load(Ordering::Relaxed);
        let mut before = failed();
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            let now = failed();
            if now > before && self.shelf().is_empty() {
                return self.shelf().nothing_free();
            }
            before = now;
            changed.await;
        }
    }

    fn find(&self, wish: Wish) -> Option<Slot> {
        let mut shelf = self.shelf();
        if let Some(slot) = shelf.take_http1() {
            // The next flow finds one warm.
            if shelf.warm.is_empty()
                && shelf.dialling == 0
                && shelf.may_grow(self.config().max_connections)
            {
                self.start_dialling(&mut shelf);
            }
            return Some(Slot::Http1(slot));
        }
        let may_grow = shelf.may_grow(self.config().max_connections);
        let slot = shelf.take(wish, may_grow)?;
        if may_grow && shelf.dialling == 0 && shelf.runs_short() {
            self.start_dialling(&mut shelf);
        }
        Some(slot)
    }

    /// Sees to it that connections are dialled for those who wait.
    fn want_connection(&self) -> Result<(), OpenError> {
        let mut shelf = self.shelf();
        if shelf.dialling == 0
            && let Some(failure) = &shelf.failure
            && failure.until > Instant::now()
            && shelf.connections.is_empty()
        {
            return Err(failure.error());
        }
        let room_each = shelf.room_each().unwrap_or(usize::MAX).max(1);
        let most = if shelf.http1 { PARALLEL_HTTP1_DIALS } else { PARALLEL_DIALS };
        let wanted = self.waiting.load(Ordering::Relaxed).div_ceil(room_each).min(most);
        while shelf.dialling < wanted && shelf.count() < self.config().max_connections {
            self.start_dialling(&mut shelf);
        }
        Ok(())
    }

    fn start_dialling(&self, shelf: &mut Shelf) {
        shelf.dialling += 1;
        self.publish(shelf);
        tokio::spawn(keep_dialling(Weak::clone(&self.me)));
    }

    /// The network has changed: what is open is probed at once, and dials begin anew. A connection
    /// takes new flows again when it answers; until then they have a fresh one.
    pub(crate) fn network_changed(&self) {
        let mut shelf = self.shelf();
        shelf.failure = None;
        shelf.warm.clear();
        self.memory.forget();
        let links = shelf.links();
        for link in &links {
            link.probe();
        }
        if shelf.dialling == 0 && (!links.is_empty() || self.is_wanted()) {
            self.start_dialling(&mut shelf);
        }
        self.publish(&shelf);
        drop(shelf);
        self.network.notify_waiters();
    }

    /// Takes the result of a dial; tells how long to pause before the next, if there shall be one.
    fn settle(&self, dialled: Result<Dialled, DialError>, dials: u32) -> Option<Duration> {
        let mut shelf = self.shelf();
        let pause = match dialled {
            Ok(dialled) => {
                count(&self.counters.connections_opened, 1);
                self.add(&mut shelf, dialled);
                None
            }
            Err(error) => self.fail(&mut shelf, error, dials),
        };
        if pause.is_none() {
            shelf.dialling -= 1;
        }
        self.publish(&shelf);
        drop(shelf);
        self.changed.notify_waiters();
        pause
    }

    fn add(&self, shelf: &mut Shelf, dialled: Dialled) {
        match dialled {
            Dialled::Http2(connection) => {
                tracing::info!(
                    proxy = self.name(connection.link.address),
                    "connected to the proxy"
                );
                shelf.add(connection);
            }
            Dialled::Http1(io, address) => {
                tracing::debug!(proxy = self.name(address), "connected to the proxy by HTTP/1.1");
                let owner: Weak<dyn Owner> = Weak::<Self>::clone(&self.me);
                shelf.add_http1(io, address, owner);
            }
        }
    }

    fn fail(&self, shelf: &mut Shelf, error: DialError, dials: u32) -> Option<Duration> {
        count(&self.counters.dials_failed, 1);
        if shelf.failure.is_none() {
            tracing::warn!(%error, "cannot reach the proxy");
        } else {
            tracing::debug!(%error, "still cannot reach the proxy");
        }
        let lasting = error.is_lasting();
        let hold = match (shelf.connections.is_empty(), lasting) {
            (false, _) => AHEAD_AGAIN,
            (true, true) => VERDICT,
            (true, false) => Duration::ZERO,
        };
        shelf.failure = Some(Failure::new(error, hold));
        let wanted = self.is_wanted() || (dials < UNWANTED_DIALS && shelf.is_alone());
        (wanted && !lasting).then(|| pause_after(dials))
    }

    fn is_wanted(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Whether the next dial is still wanted after a pause.
    fn goes_on(&self) -> bool {
        let mut shelf = self.shelf();
        let goes_on = self.is_wanted() || shelf.connections.is_empty();
        if !goes_on {
            shelf.dialling -= 1;
            self.publish(&shelf);
        }
        goes_on
    }

    fn publish(&self, shelf: &Shelf) {
        let state = shelf.state();
        self.state.send_if_modified(|current| {
            let news = *current != state;
            *current = state;
            news
        });
    }

    /// The proxy, as the log names it.
    fn name(&self, address: Option<SocketAddr>) -> String {
        address.map_or_else(|| self.config().authority(), |address| address.to_string())
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Owner for Pool {
    fn room(&self) {
        if self.is_wanted() {
            self.changed.notify_one();
        }
    }

    fn idle(&self, _: &Link) {
        let mut shelf = self.shelf();
        if !shelf.tidying && shelf.has_needless() {
            shelf.tidying = true;
            tokio::spawn(close_needless(Weak::clone(&self.me)));
        }
    }

    fn doubted(&self, link: &Link) {
        self.publish(&self.shelf());
        if !link.is_doubted() {
            self.changed.notify_waiters();
            self.idle(link);
        }
    }

    fn gave_up(&self, link: &Link) {
        count(&self.counters.flows_given_up, 1);
        let proxy = self.name(link.address);
        tracing::warn!(proxy, "a flow that nobody reads was reset: others had no room left");
    }

    fn left(&self, link: &Link) {
        let busy = link.active() > 0;
        if link.phase() == Phase::Closed && busy {
            count(&self.counters.connections_lost, 1);
            let cause = link.ending();
            tracing::warn!(proxy = self.name(link.address), %cause, "connection lost");
        }
        let mut shelf = self.shelf();
        let last = shelf.remove(link);
        if last && shelf.dialling == 0 && (busy || self.is_wanted()) {
            self.start_dialling(&mut shelf);
        }
        self.publish(&shelf);
    }
}

/// After a while, closes the connections that have become needless: flows come and go in bursts.
async fn close_needless(pool: Weak<Pool>) {
    sleep(LINGER).await;
    let Some(pool) = pool.upgrade() else { return };
    let mut shelf = pool.shelf();
    shelf.tidying = false;
    let needless = shelf.take_needless();
    drop(shelf);
    // Let go outside the lock: it tells the drivers.
    drop(needless);
}

/// Counts one flow that waits.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
