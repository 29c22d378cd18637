//! Rules of [`DatagramTunnel`]s.

use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::task::noop_waker_ref;
use futures::{FutureExt, SinkExt, StreamExt};
use tokio::time::{sleep, timeout};

use super::{Fixture, Outcome, QUIET, Report, Role, ensure, open_udp, pattern};
use crate::{DatagramTunnel, Source, TunnelError};

/// The most bytes of a UDP payload over IPv4.
const MAX_IPV4_PAYLOAD: usize = 65_507;

/// How often a datagram is sent where the queues of hosts may still be full of a flood.
const TRIES: usize = 50;

pub(super) async fn run(report: &mut Report<'_>) {
    report.check(Role::UdpEcho, "datagrams of every size arrive whole", sizes).await;
    report.check(Role::UdpEcho, "datagrams sent together stay apart", batch).await;
    report.check(Role::UdpEcho, "a datagram too large is dropped whole", too_large).await;
    report.check(Role::UdpEcho, "a flood drops datagrams and never blocks", flood).await;
    report.check(Role::UdpRefuse, "a refused datagram ends the flow as Unreachable", refused).await;
}

async fn sizes(fixture: &dyn Fixture) -> Outcome {
    let mut tunnel = open_udp(fixture, Role::UdpEcho).await?;
    let largest = tunnel.max_datagram_size().min(MAX_IPV4_PAYLOAD);
    for size in [0, 1, 63, 64, 1_200, 1_400, 16_384, largest] {
        if size <= largest {
            let datagram = pattern(size);
            tunnel.send(datagram.clone()).await?;
            ensure(receive(&mut tunnel).await? == datagram, &format!("{size} bytes differ"))?;
        }
    }
    Ok(())
}

async fn batch(fixture: &dyn Fixture) -> Outcome {
    let mut tunnel = open_udp(fixture, Role::UdpEcho).await?;
    for size in 0..32 {
        tunnel.feed(pattern(size * 40)).await?;
    }
    tunnel.flush().await?;
    for size in 0..32 {
        ensure(receive(&mut tunnel).await? == pattern(size * 40), "order or contents differ")?;
    }
    Ok(())
}

async fn too_large(fixture: &dyn Fixture) -> Outcome {
    let mut tunnel = open_udp(fixture, Role::UdpEcho).await?;
    tunnel.send(pattern(tunnel.max_datagram_size() + 1)).await?;
    tunnel.send(Bytes::from_static(b"after")).await?;
    ensure(receive(&mut tunnel).await? == "after", "a part of it arrived")
}

async fn flood(fixture: &dyn Fixture) -> Outcome {
    let mut tunnel = open_udp(fixture, Role::UdpEcho).await?;
    let datagram = pattern(1_000);
    for _ in 0..10_000 {
        if poll_ready(&mut tunnel)? {
            tunnel.start_send_unpin(datagram.clone())?;
        }
        // RULE: a flush that cannot finish is not waited for.
        tunnel.flush().now_or_never().transpose()?;
    }
    // RULE: nobody has read the echoes, yet the sink takes datagrams again in time.
    let again = timeout(Duration::from_secs(10), async {
        while !poll_ready(&mut tunnel)? {
            sleep(Duration::from_millis(5)).await;
        }
        Ok::<_, TunnelError>(())
    });
    again.await.map_err(|_| "the sink stayed Pending")??;
    // RULE: what arrives is whole, and when the flood is over the flow is as it was before.
    for _ in 0..TRIES {
        tunnel.send(Bytes::from_static(b"after")).await?;
        while let Ok(echo) = timeout(QUIET, tunnel.next()).await {
            match echo.ok_or("the echo ended")?? {
                echo if echo == "after" => return Ok(()),
                echo => ensure(echo == datagram, "an echo differs")?,
            }
        }
    }
    Err("the flow did not recover".into())
}

async fn refused(fixture: &dyn Fixture) -> Outcome {
    let mut tunnel = open_udp(fixture, Role::UdpRefuse).await?;
    tunnel.send(Bytes::from_static(b"anybody there?")).await?;
    match tunnel.next().await {
        Some(Err(TunnelError::Unreachable)) => Ok(()),
        other => Err(format!("the refusal arrived as {other:?}").into()),
    }
}

async fn receive(tunnel: &mut DatagramTunnel) -> Result<Bytes, Source> {
    let next = timeout(Duration::from_secs(5), tunnel.next()).await;
    Ok(next.map_err(|_| "a datagram was lost")?.ok_or("the flow ended")??)
}

fn poll_ready(tunnel: &mut DatagramTunnel) -> Result<bool, TunnelError> {
    match tunnel.poll_ready_unpin(&mut Context::from_waker(noop_waker_ref())) {
        Poll::Ready(ready) => ready.map(|()| true),
        Poll::Pending => Ok(false),
    }
}
