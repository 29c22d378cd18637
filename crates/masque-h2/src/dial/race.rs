//! Happy Eyeballs (RFC 8305 §4, §5): addresses raced, both IP versions in turn.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::time::timeout;

/// How long an attempt may take before the next one is started beside it (RFC 8305 §5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Connects to the first address that answers; the others are dropped. `None` without addresses, and
/// the last error where all fail.
pub(super) async fn race<T, E, F>(
    addresses: &[SocketAddr],
    connect: impl Fn(SocketAddr) -> F,
) -> Option<Result<T, E>>
where
    F: Future<Output = Result<T, E>>,
{
    let mut waiting = interleave(addresses).into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut last = None;
    loop {
        attempts.extend(waiting.next().map(&connect));
        // RFC 8305 §5: a failure starts the next attempt at once.
        let ended = if waiting.len() == 0 {
            attempts.next().await
        } else {
            timeout(ATTEMPT_DELAY, attempts.next()).await.unwrap_or(None)
        };
        match ended {
            Some(Ok(connected)) => return Some(Ok(connected)),
            Some(Err(error)) => last = Some(Err(error)),
            None if waiting.len() == 0 => return last,
            None => {}
        }
    }
}

/// RFC 8305 §4: versions in turn, beginning with that of the first address.
fn interleave(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let Some(first) = addresses.first() else { return Vec::new() };
    let (mut same, mut other): (Vec<SocketAddr>, Vec<_>) =
        addresses.iter().rev().copied().partition(|address| address.is_ipv6() == first.is_ipv6());
    let mut ordered = Vec::with_capacity(addresses.len());
    while !(same.is_empty() && other.is_empty()) {
        ordered.extend(same.pop());
        ordered.extend(other.pop());
    }
    ordered
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use tokio::time::{Instant, sleep};

    use super::*;

    fn v6(last: u16) -> SocketAddr {
        ([0x2001, 0xdb8, 0, 0, 0, 0, 0, last], 443).into()
    }

    fn v4(last: u8) -> SocketAddr {
        ([192, 0, 2, last], 443).into()
    }

    #[test]
    fn versions_take_turns() {
        let ordered = interleave(&[v6(1), v6(2), v6(3), v4(1)]);
        assert_eq!(ordered, [v6(1), v4(1), v6(2), v6(3)]);
        assert_eq!(interleave(&[v4(1), v4(2), v6(1)]), [v4(1), v6(1), v4(2)]);
        assert!(interleave(&[]).is_empty());
    }

    /// What wins, when, and when each attempt began, where each address takes so long and ends so.
    async fn outcome(
        plan: &[(SocketAddr, u64, bool)],
    ) -> (Option<Result<SocketAddr, SocketAddr>>, u128, Vec<u128>) {
        let begin = Instant::now();
        let begun = RefCell::new(Vec::new());
        let addresses: Vec<_> = plan.iter().map(|(address, ..)| *address).collect();
        let won = race(&addresses, async |address| {
            begun.borrow_mut().push(begin.elapsed().as_millis());
            let (_, millis, ok) = plan.iter().find(|entry| entry.0 == address).unwrap();
            sleep(Duration::from_millis(*millis)).await;
            if *ok { Ok(address) } else { Err(address) }
        })
        .await;
        (won, begin.elapsed().as_millis(), begun.take())
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_address_costs_one_delay() {
        let (won, took, _) = outcome(&[(v6(1), 100_000, false), (v4(1), 30, true)]).await;
        assert_eq!((won, took), (Some(Ok(v4(1))), 280));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_first_address_may_still_win() {
        let plan = [(v6(1), 300, true), (v4(1), 200, true)];
        assert_eq!(outcome(&plan).await, (Some(Ok(v6(1))), 300, vec![0, 250]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_starts_the_next_at_once_and_the_last_one_is_told() {
        let plan = [(v6(1), 10, false), (v4(1), 10, false), (v6(2), 10, false)];
        assert_eq!(outcome(&plan).await, (Some(Err(v6(2))), 30, vec![0, 10, 20]));
        assert_eq!(outcome(&[]).await.0, None);
    }
}
