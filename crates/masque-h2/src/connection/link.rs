//! What a connection's driver, its flows and the pool know of each other.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use futures::task::AtomicWaker;
use pseudotcp_masque::cork::FrameLimit;
use tokio::sync::watch;
use tokio::time::Instant;

use super::driver::Ending;
use super::windows::Gauge;

/// How many flows a connection carries where the peer sets no limit.
const UNLIMITED: usize = 1 << 20;

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// The peer's SETTINGS have not come yet.
    Starting,
    /// Flows can be opened.
    Open,
    /// The peer takes no new flows (GOAWAY); those that run go on.
    Draining,
    /// It is over.
    Closed,
}

/// A flow, as the driver sees it.
pub(crate) trait Drain: Send + Sync {
    /// Moves what has arrived into the flow's own queue.
    fn drain(self: Arc<Self>);

    /// Since when the owner has taken nothing, if there is something to take.
    fn stalled_since(&self) -> Option<Instant>;

    /// Ends the flow and frees what it holds.
    fn give_up(&self);
}

/// Who keeps the connections.
pub(crate) trait Owner: Send + Sync {
    /// There may be room for more flows.
    fn room(&self);

    /// The connection's last flow has ended.
    fn idle(&self, link: &Link);

    /// The connection began to leave a probe unanswered, or answers again.
    fn doubted(&self, link: &Link);

    /// A flow was given up, since its owner took nothing and others had no room left.
    fn gave_up(&self, link: &Link);

    /// The connection takes no new flows, or is over.
    fn left(&self, link: &Link);
}

/// The shared part of one connection.
pub(crate) struct Link {
    pub(crate) id: u64,
    /// The proxy's end; unknown behind a hop.
    pub(crate) address: Option<SocketAddr>,
    phase: watch::Sender<Phase>,
    /// Flows open, how many the peer allows, and how many we ask for at the most.
    active: AtomicUsize,
    limit: AtomicUsize,
    cap: usize,
    /// Bytes received that no flow's owner has taken yet, and how many there can be.
    held: AtomicUsize,
    window: AtomicUsize,
    pub(crate) gauge: Gauge,
    /// How long a frame may be that a flow sends now.
    pub(crate) frames: FrameLimit,
    /// Whether small windows would harm flows at this proxy.
    large: AtomicBool,
    flows: Mutex<HashMap<u32, Weak<dyn Drain>>>,
    extended_connect: AtomicBool,
    doubted: AtomicBool,
    probe: AtomicBool,
    owner: Weak<dyn Owner>,
    ending: OnceLock<Arc<Ending>>,
    woken: Mutex<Vec<Arc<dyn Drain>>>,
    driving: AtomicBool,
    condemned: AtomicBool,
    released: AtomicBool,
    pub(crate) driver: AtomicWaker,
}

impl Link {
    pub(crate) fn new(
        id: u64,
        address: Option<SocketAddr>,
        cap: usize,
        frames: FrameLimit,
        owner: Weak<dyn Owner>,
    ) -> Arc<Self> {
        Arc::new(Self {
            id,
            address,
            phase: watch::Sender::new(Phase::Starting),
            active: AtomicUsize::new(0),
            limit: AtomicUsize::new(0),
            cap,
            held: AtomicUsize::new(0),
            window: AtomicUsize::new(0),
            gauge: Gauge::default(),
            frames,
            large: AtomicBool::new(false),
            flows: Mutex::default(),
            extended_connect: AtomicBool::new(false),
            doubted: AtomicBool::new(false),
            probe: AtomicBool::new(false),
            owner,
            ending: OnceLock::new(),
            woken: Mutex::new(Vec::new()),
            driving: AtomicBool::new(false),
            condemned: AtomicBool::new(false),
            released: AtomicBool::new(false),
            driver: AtomicWaker::new(),
        })
    }

    pub(crate) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    pub(crate) fn watch_phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Goes on to `phase`; phases never go back.
    pub(crate) fn enter(&self, phase: Phase) {
        let news = self.phase.send_if_modified(|current| {
            let news = *current < phase;
            *current = if news { phase } else { *current };
            news
        });
        if news
            && phase >= Phase::Draining
            && let Some(owner) = self.owner.upgrade()
        {
            owner.left(self);
        }
    }

    /// Says why the driver ended, before it is dropped.
    pub(crate) fn end(&self, ending: Ending) {
        let _first = self.ending.set(Arc::new(ending));
    }

    /// Why the driver ended.
    pub(crate) fn ending(&self) -> Arc<Ending> {
        self.ending.get().map_or_else(|| Arc::new(Ending::Condemned), Arc::clone)
    }

    /// What the peer's SETTINGS say.
    pub(crate) fn publish(&self, limit: usize, extended_connect: bool) {
        self.extended_connect.store(extended_connect, Ordering::Relaxed);
        if self.limit.swap(limit, Ordering::Relaxed) < limit {
            self.room();
        }
    }

    pub(crate) fn extended_connect(&self) -> bool {
        self.extended_connect.load(Ordering::Relaxed)
    }

    /// How many flows we open at the most: never the peer's last slot, where there is another.
    pub(crate) fn usable(&self) -> usize {
        let limit = self.limit.load(Ordering::Relaxed);
        limit.saturating_sub(1).max(limit.min(1)).min(self.cap).min(UNLIMITED)
    }

    /// How many more flows we may open now.
    pub(crate) fn free(&self) -> usize {
        self.usable().saturating_sub(self.active())
    }

    pub(crate) fn active(&self) -> usize {
        self.active.load(Ordering::Relaxed)
    }

    /// Takes one of the peer's streams, if one is free.
    pub(crate) fn admit(self: &Arc<Self>) -> Option<Permit> {
        let usable = self.usable();
        let grow = |active| (active < usable).then_some(active + 1);
        let open = self.phase() == Phase::Open;
        (open && self.active.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grow).is_ok())
            .then(|| Permit(Arc::clone(self)))
    }

    fn room(&self) {
        if let Some(owner) = self.owner.upgrade() {
            owner.room();
        }
    }

    /// Bytes received that no flow's owner has taken yet.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Counts bytes that wait for a flow's owner.
    pub(crate) fn hold(&self, bytes: usize) {
        self.held.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Takes bytes off the count of those that wait.
    pub(crate) fn let_go(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Whether flows that nobody reads hold so much of the window that others would be slow.
    pub(crate) fn is_clogged(&self) -> bool {
        self.held() > self.window.load(Ordering::Relaxed) / 2
    }

    /// Says how many bytes the connection's window is for.
    pub(crate) fn set_window(&self, bytes: u32) {
        self.window.store(bytes as usize, Ordering::Relaxed);
    }

    /// Has the driver make the windows as large as can be had.
    pub(crate) fn want_large_windows(&self) {
        if !self.large.swap(true, Ordering::Relaxed) {
            self.driver.wake();
        }
    }

    /// Whether the windows shall be as large as can be had.
    pub(crate) fn wants_large_windows(&self) -> bool {
        self.large.load(Ordering::Relaxed)
    }

    /// Makes a flow known to the driver, by the number of its stream.
    pub(crate) fn register(&self, stream: u32, flow: Weak<dyn Drain>) {
        self.flows().insert(stream, flow);
    }

    /// Takes a flow off again.
    pub(crate) fn forget(&self, stream: u32) {
        self.flows().remove(&stream);
    }

    /// All flows.
    pub(crate) fn all_flows(&self) -> Vec<Arc<dyn Drain>> {
        self.flows().values().filter_map(Weak::upgrade).collect()
    }

    fn flows(&self) -> MutexGuard<'_, HashMap<u32, Weak<dyn Drain>>> {
        self.flows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A flow was given up.
    pub(crate) fn gave_up(&self) {
        if let Some(owner) = self.owner.upgrade() {
            owner.gave_up(self);
        }
    }

    /// Has the driver probe at once whether the peer still answers; until it does, the connection is
    /// in doubt.
    pub(crate) fn probe(&self) {
        self.doubted.store(true, Ordering::Relaxed);
        self.probe.store(true, Ordering::Relaxed);
        self.driver.wake();
    }

    /// Whether a probe is wanted; asked once for each.
    pub(crate) fn take_probe(&self) -> bool {
        self.probe.load(Ordering::Relaxed) && self.probe.swap(false, Ordering::Relaxed)
    }

    /// Says whether the peer leaves a probe unanswered.
    pub(crate) fn doubt(&self, doubted: bool) {
        if self.doubted.load(Ordering::Relaxed) != doubted {
            self.doubted.store(doubted, Ordering::Relaxed);
            if let Some(owner) = self.owner.upgrade() {
                owner.doubted(self);
            }
        }
    }

    /// Whether the peer leaves a probe unanswered.
    pub(crate) fn is_doubted(&self) -> bool {
        self.doubted.load(Ordering::Relaxed)
    }

    /// Has the driver give the connection up.
    pub(crate) fn condemn(&self) {
        self.condemned.store(true, Ordering::Relaxed);
        self.driver.wake();
    }

    pub(crate) fn is_condemned(&self) -> bool {
        self.condemned.load(Ordering::Relaxed)
    }

    /// Lets the connection close once its last flow has ended: nobody will open another.
    pub(crate) fn release(&self) {
        self.released.store(true, Ordering::Relaxed);
        self.driver.wake();
    }

    pub(crate) fn is_released(&self) -> bool {
        self.released.load(Ordering::Relaxed)
    }

    /// Puts a stream on the list of those to drain.
    pub(crate) fn wake(&self, stream: Arc<dyn Drain>) {
        self.woken().push(stream);
        if !self.driving.load(Ordering::SeqCst) {
            self.driver.wake();
        }
    }

    /// Before the driver polls: it needs no waking until [`drain_woken`](Self::drain_woken).
    pub(crate) fn begin_poll(&self) {
        self.driving.store(true, Ordering::SeqCst);
    }

    /// Drains every stream that was woken; `batch` is room to do it in, kept from poll to poll.
    pub(crate) fn drain_woken(&self, batch: &mut Vec<Arc<dyn Drain>>) {
        loop {
            std::mem::swap(batch, &mut *self.woken());
            batch.drain(..).for_each(Drain::drain);
            self.driving.store(false, Ordering::SeqCst);
            if self.woken().is_empty() {
                return;
            }
            self.driving.store(true, Ordering::SeqCst);
        }
    }

    fn woken(&self) -> MutexGuard<'_, Vec<Arc<dyn Drain>>> {
        self.woken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of the peer's streams, taken until dropped.
pub(crate) struct Permit(Arc<Link>);

impl Permit {
    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.0
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let last = self.0.active.fetch_sub(1, Ordering::Relaxed) == 1;
        if let Some(owner) = self.0.owner.upgrade() {
            owner.room();
            if last {
                owner.idle(&self.0);
            }
        }
    }
}
