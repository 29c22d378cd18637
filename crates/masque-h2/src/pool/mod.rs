//! The connections: as few as carry the flows, made when wanted, replaced when lost.

use std::hash::{BuildHasher, Hasher, RandomState};
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

use crate::connection::{Link, Owner, Permit, Phase};
use crate::dial::{DialError, Dialer, Dialled};
use crate::state::{Counters, State, count};
use crate::{Config, ConfigError};

/// The pause after the first failed dial; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The longest pause: a proxy that returns serves those who wait within a second.
const LONGEST_PAUSE: Duration = Duration::from_millis(800);

/// How long the verdict holds that the proxy is not what it should be.
const VERDICT: Duration = Duration::from_secs(1);

/// How often a lost connection is dialled while no flow waits for it.
const UNWANTED_DIALS: u32 = 10;

/// How many connections are dialled at once at the most.
const PARALLEL_DIALS: usize = 4;

/// Room for one flow on a connection.
pub(crate) struct Slot {
    pub(crate) send: SendRequest<Bytes>,
    pub(crate) permit: Permit,
}

/// All connections of a client.
pub(crate) struct Pool {
    me: Weak<Self>,
    dialer: Dialer,
    pub(crate) counters: Arc<Counters>,
    pub(crate) state: watch::Sender<State>,
    /// Flows that wait for room, and how to wake them.
    waiting: AtomicUsize,
    changed: Notify,
    shelf: Mutex<Shelf>,
}

#[derive(Default)]
struct Shelf {
    connections: Vec<Dialled>,
    dialling: usize,
    failure: Option<Failure>,
    address: Option<SocketAddr>,
}

/// Why the last dial failed.
struct Failure {
    cause: Arc<DialError>,
    /// Until then nobody tries again.
    until: Instant,
}

impl Failure {
    fn error(&self) -> OpenError {
        let source = Box::new(Arc::clone(&self.cause));
        if self.cause.is_protocol() {
            OpenError::Protocol(source)
        } else {
            OpenError::ProxyGone(Some(source))
        }
    }
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
            waiting: AtomicUsize::new(0),
            changed: Notify::new(),
            shelf: Mutex::default(),
        }))
    }

    pub(crate) fn config(&self) -> &Config {
        &self.dialer.config
    }

    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.shelf().address
    }

    /// Room for a flow on a connection other than `avoided`; waits for one until `deadline`.
    pub(crate) async fn acquire(
        &self,
        avoided: Option<u64>,
        deadline: Instant,
    ) -> Result<Slot, OpenError> {
        if let Some(slot) = self.find(avoided) {
            return Ok(slot);
        }
        let _waiting = Waiting::new(&self.waiting);
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Some(slot) = self.find(avoided) {
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

    fn find(&self, avoided: Option<u64>) -> Option<Slot> {
        let shelf = self.shelf();
        let mut allowed = shelf.connections.iter().filter(|c| Some(c.link.id) != avoided);
        allowed.find_map(|c| Some(Slot { permit: c.link.admit()?, send: c.send.clone() }))
    }

    /// Sees to it that connections are dialled for those who wait.
    fn want_connection(&self) -> Result<(), OpenError> {
        let mut shelf = self.shelf();
        if shelf.dialling == 0
            && let Some(failure) = &shelf.failure
            && failure.until > Instant::now()
        {
            return Err(failure.error());
        }
        let room_each = shelf.connections.first().map_or(usize::MAX, |c| c.link.limit()).max(1);
        let wanted = self.waiting.load(Ordering::Relaxed).div_ceil(room_each).min(PARALLEL_DIALS);
        while shelf.dialling < wanted
            && shelf.connections.len() + shelf.dialling < self.config().max_connections
        {
            self.start_dialling(&mut shelf);
        }
        Ok(())
    }

    fn start_dialling(&self, shelf: &mut Shelf) {
        shelf.dialling += 1;
        self.publish(shelf);
        tokio::spawn(keep_dialling(Weak::clone(&self.me)));
    }

    /// Takes the result of a dial; tells how long to pause before the next, if there shall be one.
    fn settle(&self, dialled: Result<Dialled, DialError>, dials: u32) -> Option<Duration> {
        let mut shelf = self.shelf();
        let pause = match dialled {
            Ok(connection) => {
                self.add(&mut shelf, connection);
                None
            }
            Err(error) => self.fail(&mut shelf, error, dials),
        };
        if pause.is_none() {
            shelf.dialling -= 1;
            self.changed.notify_waiters();
        }
        self.publish(&shelf);
        pause
    }

    fn add(&self, shelf: &mut Shelf, connection: Dialled) {
        count(&self.counters.connections_opened, 1);
        let address = connection.link.address;
        tracing::info!(%address, "connected to the proxy");
        shelf.address = Some(address);
        shelf.failure = None;
        shelf.connections.push(connection);
        // One that ended meanwhile was not on the shelf to be taken off.
        shelf.connections.retain(|c| c.link.phase() == Phase::Open);
    }

    fn fail(&self, shelf: &mut Shelf, error: DialError, dials: u32) -> Option<Duration> {
        count(&self.counters.dials_failed, 1);
        if shelf.failure.is_none() {
            tracing::warn!(%error, "cannot reach the proxy");
        } else {
            tracing::debug!(%error, "still cannot reach the proxy");
        }
        let lasting = error.is_lasting();
        let until = Instant::now() + if lasting { VERDICT } else { Duration::ZERO };
        shelf.failure = Some(Failure { cause: Arc::new(error), until });
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
        let before = shelf.address.is_some();
        let state = match &shelf.failure {
            _ if !shelf.connections.is_empty() => State::Connected,
            _ if shelf.dialling > 0 && before => State::Reconnecting,
            _ if shelf.dialling > 0 => State::Connecting,
            Some(failure) => State::Failed { cause: failure.cause.to_string() },
            None => State::Idle,
        };
        self.state.send_if_modified(|current| {
            let news = *current != state;
            *current = state;
            news
        });
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf {
    /// Why no room was found in time.
    fn nothing_free(&self) -> OpenError {
        match &self.failure {
            _ if !self.connections.is_empty() => OpenError::Overloaded { retry_after: None },
            Some(failure) => failure.error(),
            None => OpenError::ProxyGone(None),
        }
    }

    /// Whether there is no connection, and one dial at the most.
    fn is_alone(&self) -> bool {
        self.connections.is_empty() && self.dialling <= 1
    }
}

impl Owner for Pool {
    fn room(&self) {
        if self.is_wanted() {
            self.changed.notify_one();
        }
    }

    fn left(&self, link: &Link) {
        let busy = link.active() > 0;
        if link.phase() == Phase::Closed && busy {
            count(&self.counters.connections_lost, 1);
            tracing::warn!(address = %link.address, cause = %link.ending(), "connection lost");
        }
        let mut shelf = self.shelf();
        let before = shelf.connections.len();
        shelf.connections.retain(|c| c.link.id != link.id);
        let last = shelf.connections.len() < before && shelf.connections.is_empty();
        if last && shelf.dialling == 0 && (busy || self.is_wanted()) {
            self.start_dialling(&mut shelf);
        }
        self.publish(&shelf);
    }
}

/// Dials until there is a connection, or nobody wants one any more. No lock is held meanwhile.
async fn keep_dialling(pool: Weak<Pool>) {
    let mut dials = 0;
    loop {
        let Some(live) = pool.upgrade() else { return };
        let owner: Weak<dyn Owner> = Weak::<Pool>::clone(&pool);
        let dialled = live.dialer.dial(owner).await;
        dials += 1;
        let Some(pause) = live.settle(dialled, dials) else { return };
        drop(live);
        sleep(pause).await;
        if pool.upgrade().is_none_or(|live| !live.goes_on()) {
            return;
        }
    }
}

/// The pause after so many failed dials: growing, and between a half and the whole at random, so
/// that clients do not return all at once.
fn pause_after(dials: u32) -> Duration {
    let whole = FIRST_PAUSE.saturating_mul(1 << dials.saturating_sub(1).min(10)).min(LONGEST_PAUSE);
    let [random, ..] = RandomState::new().build_hasher().finish().to_le_bytes();
    whole / 2 + whole / 2 * u32::from(random) / u32::from(u8::MAX)
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
