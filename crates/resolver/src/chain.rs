use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use pseudotcp_dns::upstream::is_failure;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::debug;

use crate::error::ExchangeError;
use crate::health::{Health, order};
use crate::upstream::Upstream;

/// The most that one server is waited for. Clients give up after four or five seconds.
const TIMEOUT: Duration = Duration::from_millis(3_500);

/// Servers that are asked in their order, each one with its health.
pub(crate) struct Chain {
    servers: Vec<Link>,
}

struct Link {
    name: String,
    upstream: Box<dyn Upstream>,
    health: Mutex<Health>,
}

impl Chain {
    pub(crate) fn new(servers: impl IntoIterator<Item = (String, Box<dyn Upstream>)>) -> Self {
        let link = |(name, upstream)| Link { name, upstream, health: Mutex::default() };
        Self { servers: servers.into_iter().map(link).collect() }
    }

    /// The first good answer. A server that fails is followed by the next at once; one that takes
    /// longer than usual is joined by it.
    pub(crate) async fn resolve(&self, query: &Bytes) -> Result<Bytes, ExchangeError> {
        let healths: Vec<Health> = self.servers.iter().map(|link| *link.health()).collect();
        let order = order(Instant::now().into_std(), &healths);
        let mut rest = order.into_iter().filter_map(|index| self.servers.get(index)).peekable();
        let mut race = Race::default();
        let mut next_at = Instant::now();
        loop {
            tokio::select! {
                biased;
                Some((number, outcome)) = race.asked.next() => match outcome {
                    Ok(answer) if !is_failure(&answer) => {
                        race.won_by(number);
                        return Ok(answer);
                    }
                    outcome => {
                        race.lost_by(number, outcome);
                        next_at = Instant::now();
                    }
                },
                () = sleep_until(next_at), if rest.peek().is_some() => {
                    if let Some(link) = rest.next() {
                        next_at = Instant::now() + link.health().patience();
                        race.start(link, query);
                    }
                }
                else => return race.last.unwrap_or(Err(ExchangeError::NoAnswer)),
            }
        }
    }
}

type Outcome = Result<Bytes, ExchangeError>;

/// The servers that have been asked one question.
#[derive(Default)]
struct Race<'a> {
    asked: FuturesUnordered<BoxFuture<'a, (usize, Outcome)>>,
    /// In the order in which they were asked; those that have answered are gone.
    running: Vec<Option<&'a Link>>,
    /// The best of the bad outcomes.
    last: Option<Outcome>,
}

impl<'a> Race<'a> {
    fn start(&mut self, link: &'a Link, query: &'a Bytes) {
        let number = self.running.len();
        self.running.push(Some(link));
        self.asked.push(link.ask(query).map(move |outcome| (number, outcome)).boxed());
    }

    /// Those that were asked earlier and say nothing have been overtaken.
    fn won_by(&self, number: usize) {
        for slow in self.running.iter().take(number).flatten() {
            slow.fail(&ExchangeError::TimedOut);
        }
    }

    fn lost_by(&mut self, number: usize, outcome: Outcome) {
        if let Some(running) = self.running.get_mut(number) {
            *running = None;
        }
        // A failure that a server tells is worth more than one of ours.
        if !matches!(self.last, Some(Ok(_))) {
            self.last = Some(outcome);
        }
    }
}

impl Link {
    async fn ask(&self, query: &Bytes) -> Outcome {
        let start = Instant::now();
        let outcome = timeout(TIMEOUT, self.upstream.exchange(query)).await;
        let outcome = outcome.unwrap_or(Err(ExchangeError::TimedOut));
        match &outcome {
            Ok(answer) if is_failure(answer) => {}
            Ok(_) => self.health().succeeded(start.elapsed()),
            Err(error) => self.fail(error),
        }
        outcome
    }

    fn fail(&self, error: &ExchangeError) {
        debug!(server = self.name, %error, "no answer");
        self.health().failed(Instant::now().into_std());
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use async_trait::async_trait;

    use super::*;

    const FAILURE: u8 = 2;

    /// A server that answers after a time, in its own way, or never.
    #[derive(Clone, Default)]
    struct Fake {
        after: Option<Duration>,
        code: u8,
        is_gone: bool,
        asked: Arc<AtomicUsize>,
    }

    impl Fake {
        fn answering(millis: u64) -> Self {
            Self { after: Some(Duration::from_millis(millis)), ..Self::default() }
        }

        fn asked(&self) -> usize {
            self.asked.load(Relaxed)
        }
    }

    #[async_trait]
    impl Upstream for Fake {
        async fn exchange(&self, _: &Bytes) -> Result<Bytes, ExchangeError> {
            self.asked.fetch_add(1, Relaxed);
            match self.after {
                None => std::future::pending().await,
                Some(after) => tokio::time::sleep(after).await,
            }
            if self.is_gone {
                return Err(ExchangeError::NoAnswer);
            }
            Ok(Bytes::copy_from_slice(&[0, 0, 0x81, self.code, 0, 0, 0, 0, 0, 0, 0, 0]))
        }
    }

    fn chain<const N: usize>(servers: [&Fake; N]) -> Chain {
        let link = |server: &Fake| (String::new(), Box::new(server.clone()) as Box<dyn Upstream>);
        Chain::new(servers.map(link))
    }

    /// How many milliseconds an answer takes; nothing where there is none.
    async fn took(chain: &Chain) -> Option<u128> {
        let start = Instant::now();
        let outcome = chain.resolve(&Bytes::new()).await;
        outcome.is_ok_and(|answer| !is_failure(&answer)).then(|| start.elapsed().as_millis())
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_server_is_asked_and_no_other() {
        let (first, second) = (Fake::answering(20), Fake::answering(1));
        let chain = chain([&first, &second]);
        for _ in 0..3 {
            assert_eq!(took(&chain).await, Some(20));
        }
        assert_eq!((first.asked(), second.asked()), (3, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn d34_a_silent_server_is_joined_and_then_passed_over() {
        let (first, second) = (Fake::default(), Fake::answering(20));
        let chain = chain([&first, &second]);
        assert_eq!(took(&chain).await, Some(220));
        assert_eq!(took(&chain).await, Some(20), "it was overtaken");
        assert_eq!(first.asked(), 1);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(took(&chain).await.is_some());
        assert_eq!(first.asked(), 2, "after its pause it is tried again");
    }

    #[tokio::test(start_paused = true)]
    async fn d34_a_server_that_fails_is_followed_at_once() {
        let gone = Fake { is_gone: true, ..Fake::answering(5) };
        let failing = Fake { code: FAILURE, ..Fake::answering(5) };
        let good = Fake::answering(5);
        assert_eq!(took(&chain([&gone, &failing, &good])).await, Some(15));
        assert_eq!(took(&chain([&gone, &gone])).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_that_a_server_tells_is_passed_on() {
        let gone = Fake { is_gone: true, ..Fake::answering(5) };
        let failing = Fake { code: FAILURE, ..Fake::answering(5) };
        let answer = chain([&failing, &gone]).resolve(&Bytes::new()).await.unwrap();
        assert!(is_failure(&answer));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_first_server_may_still_win() {
        let (first, second) = (Fake::answering(250), Fake::answering(3_000));
        let chain = chain([&first, &second]);
        assert_eq!(took(&chain).await, Some(250));
        assert_eq!((first.asked(), second.asked()), (1, 1));
    }
}
