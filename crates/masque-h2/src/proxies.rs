//! Several proxies behind one transport.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::select_all;
use pseudotcp_masque::{ByteTunnel, DatagramTunnel, OpenError, OpenRequest, Transport};
use tokio::time::Instant;

use crate::pool::between_half_and_whole;
use crate::{Client, State, Stats};

/// How long one proxy may take to become ready before the next one is tried.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long a proxy that failed is left alone; it doubles with each failure.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest that a proxy is left alone.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// A list of proxies, of which each flow takes one that works. Clones share everything.
///
/// A proxy that cannot be reached is left alone for a while, which grows with each failure and is
/// random in part. Then the next flow has it probed in the background; once it answers new flows go
/// there again. Flows that are open stay where they are. Nothing happens while nobody opens a flow.
#[derive(Clone)]
pub struct Proxies(Arc<Members>);

struct Members {
    members: Vec<Member>,
    weighted: bool,
}

struct Member {
    client: Client,
    weight: u32,
    /// Flows sent here since the members last changed.
    share: AtomicU64,
    health: Mutex<Health>,
}

#[derive(Clone, Copy, Debug)]
enum Health {
    Up,
    Down { until: Instant, failures: u32, probing: bool },
}

impl Proxies {
    /// The first of `clients` that works, always.
    ///
    /// # Panics
    /// Without any client.
    pub fn ordered(clients: impl IntoIterator<Item = Client>) -> Self {
        Self::new(clients.into_iter().map(|client| (client, 1)).collect(), false)
    }

    /// Spreads flows over those that work in the ratio of their weights; zero counts as one.
    ///
    /// # Panics
    /// Without any client.
    pub fn weighted(clients: impl IntoIterator<Item = (Client, u32)>) -> Self {
        Self::new(clients.into_iter().collect(), true)
    }

    fn new(clients: Vec<(Client, u32)>, weighted: bool) -> Self {
        assert!(!clients.is_empty(), "no proxies");
        let members = clients.into_iter().map(|(client, weight)| Member {
            client,
            weight: weight.max(1),
            share: AtomicU64::new(0),
            health: Mutex::new(Health::Up),
        });
        Self(Arc::new(Members { members: members.collect(), weighted }))
    }

    /// The clients, in their order.
    pub fn clients(&self) -> impl Iterator<Item = &Client> {
        self.0.members.iter().map(|member| &member.client)
    }

    /// Waits until flows can be opened through any of the proxies.
    ///
    /// # Errors
    /// As [`Client::ready`]; the error is that of the last proxy tried.
    pub async fn ready(&self, deadline: std::time::Instant) -> Result<(), OpenError> {
        let ready = self.clients().map(|client| Box::pin(client.ready(deadline)));
        let mut waiting: Vec<_> = ready.collect();
        loop {
            let (outcome, _, rest) = select_all(waiting).await;
            if outcome.is_ok() || rest.is_empty() {
                return outcome;
            }
            waiting = rest;
        }
    }

    /// How the proxies stand: as the first one that takes flows does, but degraded where that is not
    /// the preferred one; as the first one of all where none does.
    pub fn state(&self) -> State {
        let states: Vec<State> = self.clients().map(|c| c.state().borrow().clone()).collect();
        let works = |state: &State| matches!(state, State::Connected | State::Degraded { .. });
        match states.iter().position(works) {
            Some(at) if at > 0 && !self.0.weighted && self.0.members[0].is_down() => {
                let cause = format!("the preferred proxy is {}", states[0]);
                State::Degraded { cause }
            }
            Some(at) => states[at].clone(),
            None => states[0].clone(),
        }
    }

    /// Returns when the state of any proxy has changed.
    pub async fn state_changed(&self) {
        let mut watched: Vec<_> = self.clients().map(Client::state).collect();
        let changes = watched.iter_mut().map(|state| Box::pin(state.changed()));
        let _changed = select_all(changes).await;
    }

    /// As [`Client::network_changed`], for all; every proxy is taken for a working one again.
    pub fn network_changed(&self) {
        for member in &self.0.members {
            member.recover();
            member.client.network_changed();
        }
    }

    /// The counters of all together.
    pub fn stats(&self) -> Stats {
        self.clients().map(Client::stats).sum()
    }
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clients()).finish()
    }
}

impl Members {
    /// The members to try, the best first; those that are down come last. Has those probed whose time
    /// has come.
    fn candidates(self: &Arc<Self>) -> Vec<usize> {
        let (mut up, down): (Vec<_>, Vec<_>) =
            (0..self.members.len()).partition(|&at| !self.members[at].is_down());
        for &at in &down {
            if !up.is_empty() && self.members[at].begin_probe() {
                tokio::spawn(probe(Arc::clone(self), at));
            }
        }
        if self.weighted {
            up.sort_by_key(|&at| self.members[at].load());
        }
        up.extend(down);
        up
    }

    /// Shares are counted anew, so that who returns is not flooded.
    fn membership_changed(&self) {
        for member in &self.members {
            member.share.store(0, Ordering::Relaxed);
        }
    }

    async fn open<T, F>(
        self: &Arc<Self>,
        request: &OpenRequest,
        open: impl Fn(Client, OpenRequest) -> F,
    ) -> Result<T, OpenError>
    where
        F: Future<Output = Result<T, OpenError>>,
    {
        if let [only] = &self.members[..] {
            return open(only.client.clone(), request.clone()).await;
        }
        let mut failure = OpenError::ProxyGone(None);
        for at in self.candidates() {
            let member = &self.members[at];
            let limit = Instant::now() + PATIENCE;
            let limit = request.deadline.map_or(limit, |deadline| limit.min(deadline.into()));
            if let Err(error) = member.client.reachable(limit).await {
                self.went_down(at);
                failure = error;
                continue;
            }
            self.came_up(at);
            let opened = tokio::select! {
                biased;
                opened = open(member.client.clone(), request.clone()) => opened,
                error = member.client.gone() => Err(error),
            };
            failure = match opened {
                Ok(tunnel) => {
                    member.share.fetch_add(1, Ordering::Relaxed);
                    return Ok(tunnel);
                }
                Err(error @ OpenError::ProxyGone(_)) => {
                    self.went_down(at);
                    error
                }
                // Nothing has reached the target: another proxy may be asked.
                Err(error @ OpenError::Overloaded { .. }) => error,
                Err(error) => return Err(error),
            };
        }
        Err(failure)
    }

    fn came_up(&self, at: usize) {
        if self.members[at].recover() {
            self.membership_changed();
        }
    }

    fn went_down(&self, at: usize) {
        if self.members[at].fail() {
            self.membership_changed();
        }
    }
}

impl Member {
    fn is_down(&self) -> bool {
        matches!(*self.health(), Health::Down { .. })
    }

    /// How many flows it has had, for its weight.
    fn load(&self) -> u64 {
        (self.share.load(Ordering::Relaxed) << 16) / u64::from(self.weight)
    }

    /// Tells whether it was down.
    fn recover(&self) -> bool {
        matches!(std::mem::replace(&mut *self.health(), Health::Up), Health::Down { .. })
    }

    /// Tells whether it was up.
    fn fail(&self) -> bool {
        let mut health = self.health();
        let (was_up, failures) = match *health {
            Health::Up => (true, 0),
            Health::Down { failures, .. } => (false, failures),
        };
        let pause = FIRST_PAUSE.saturating_mul(1 << failures.min(10)).min(LONGEST_PAUSE);
        let until = Instant::now() + between_half_and_whole(pause);
        *health = Health::Down { until, failures: failures + 1, probing: false };
        was_up
    }

    /// Whether it shall be probed now; true once for each pause.
    fn begin_probe(&self) -> bool {
        match &mut *self.health() {
            Health::Down { until, probing, .. } if !*probing && *until <= Instant::now() => {
                *probing = true;
                true
            }
            _ => false,
        }
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn probe(members: Arc<Members>, at: usize) {
    match members.members[at].client.reachable(Instant::now() + PATIENCE).await {
        Ok(()) => members.came_up(at),
        Err(_) => members.went_down(at),
    }
}

#[async_trait]
impl Transport for Proxies {
    async fn open_tcp(&self, request: OpenRequest) -> Result<ByteTunnel, OpenError> {
        self.0.open(&request, async |client, request| client.open_tcp(request).await).await
    }

    async fn open_udp(&self, request: OpenRequest) -> Result<DatagramTunnel, OpenError> {
        self.0.open(&request, async |client, request| client.open_udp(request).await).await
    }
}
