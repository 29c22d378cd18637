//! Rules of [`ByteTunnel`]s.

use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures::future::poll_fn;
use futures::task::noop_waker_ref;
use futures::{SinkExt, Stream, StreamExt};
use tokio::time::{sleep, timeout};

use super::{Fixture, FlowEnd, Outcome, QUIET, Report, Role, ensure, open_tcp, pattern, reply};
use crate::{AbortCode, ByteTunnel, MAX_CHUNK, Source, TunnelError};

pub(super) async fn run(report: &mut Report<'_>) {
    report
        .check(Role::Echo, "bytes arrive in order, both ways, each way with its waker", echo)
        .await;
    report.check(Role::ReplyAtEnd, "close ends our direction only", half_close).await;
    report.check(Role::EndFirst, "the target's end leaves our direction open", end_first).await;
    report.check(Role::Witness, "close delivers what was sent before", close_delivers).await;
    report.check(Role::Echo, "poll_ready is Ready while the slot is empty", slot_empty).await;
    report.check(Role::Stall, "a target that does not read fills a bounded space", bounded).await;
    report.check(Role::Source, "a flow that nobody reads fills a bounded space", unread).await;
    report.check(Role::Source, "stalled flows do not disturb their neighbour", neighbour).await;
    report.check(Role::Reset, "a reset is an error, final for both directions", reset).await;
    report.check(Role::Witness, "abort resets the flow at the target", abort).await;
    report.check(Role::Witness, "dropping an open tunnel resets it at the target", dropped).await;
}

async fn echo(fixture: &dyn Fixture) -> Outcome {
    let sent = pattern(1 << 20);
    let (mut sink, stream) = open_tcp(fixture, Role::Echo).await?.split();
    // A task of its own, so that reader and writer have wakers of their own.
    let reader = tokio::spawn(read_to_end(stream));
    for chunk in cut(sent.clone(), &[1, 1_400, 16_384, 40_000, MAX_CHUNK]) {
        sink.send(chunk).await?;
    }
    sink.close().await?;
    ensure(reader.await?? == sent, "the echo differs")
}

async fn half_close(fixture: &dyn Fixture) -> Outcome {
    let mut tunnel = open_tcp(fixture, Role::ReplyAtEnd).await?;
    tunnel.send(Bytes::from_static(b"question")).await?;
    tunnel.close().await?;
    ensure(read_to_end(tunnel).await? == reply(), "the reply after our end differs")
}

async fn end_first(fixture: &dyn Fixture) -> Outcome {
    let mut tunnel = open_tcp(fixture, Role::EndFirst).await?;
    ensure(read_to_end(&mut tunnel).await? == reply(), "the reply differs")?;
    for chunk in cut(pattern(1 << 20), &[MAX_CHUNK]) {
        tunnel.send(chunk).await?;
    }
    Ok(tunnel.close().await?)
}

async fn close_delivers(fixture: &dyn Fixture) -> Outcome {
    let mut tunnel = open_tcp(fixture, Role::Witness).await?;
    for chunk in cut(pattern(300_000), &[MAX_CHUNK]) {
        tunnel.feed(chunk).await?;
    }
    tunnel.close().await?;
    ensure(read_to_end(tunnel).await?.is_empty(), "bytes came out of nowhere")?;
    expect_end(fixture, FlowEnd { received: 300_000, clean: true }).await
}

async fn slot_empty(fixture: &dyn Fixture) -> Outcome {
    let mut tunnel = open_tcp(fixture, Role::Echo).await?;
    for _ in 0..8 {
        // RULE: asking neither reserves nor takes anything, so the answer stays.
        for _ in 0..100 {
            ensure(poll_ready(&mut tunnel)?, "Pending with an empty slot")?;
        }
        tunnel.start_send_unpin(pattern(MAX_CHUNK))?;
        poll_fn(|cx| tunnel.poll_flush_unpin(cx)).await?;
        tunnel.next().await.ok_or("the echo ended")??;
    }
    Ok(())
}

async fn bounded(fixture: &dyn Fixture) -> Outcome {
    let mut tunnel = open_tcp(fixture, Role::Stall).await?;
    fill(&mut tunnel, fixture.buffer_limit()).await?;
    for _ in 0..100 {
        ensure(!poll_ready(&mut tunnel)?, "poll_ready is Ready with a full slot")?;
        let flush = tunnel.poll_flush_unpin(&mut Context::from_waker(noop_waker_ref()));
        ensure(flush.is_pending(), "poll_flush is Ready with a full slot")?;
        tokio::task::yield_now().await;
    }
    Ok(())
}

async fn unread(fixture: &dyn Fixture) -> Outcome {
    let before = fixture.source_sent();
    let mut tunnel = open_tcp(fixture, Role::Source).await?;
    tunnel.next().await.ok_or("the source ended")??;
    let mut sent = before;
    loop {
        sleep(QUIET).await;
        match fixture.source_sent() {
            still if still == sent => return Ok(()),
            more => sent = more,
        }
        ensure(sent - before <= fixture.buffer_limit(), "it took more than the limit")?;
    }
}

async fn neighbour(fixture: &dyn Fixture) -> Outcome {
    let mut unread = open_tcp(fixture, Role::Source).await?;
    unread.next().await.ok_or("the source ended")??;
    let mut unsent = open_tcp(fixture, Role::Stall).await?;
    fill(&mut unsent, fixture.buffer_limit()).await?;
    echo(fixture).await?;
    let mut received = 0;
    while received < 4 << 20 {
        received += unread.next().await.ok_or("the source ended")??.len();
    }
    Ok(())
}

async fn reset(fixture: &dyn Fixture) -> Outcome {
    let mut tunnel = open_tcp(fixture, Role::Reset).await?;
    // A transport quick enough may tell it already here.
    let end = match tunnel.send(Bytes::from_static(b"x")).await {
        Ok(()) => tunnel.next().await,
        Err(error) => Some(Err(error)),
    };
    if !matches!(end, Some(Err(TunnelError::Reset))) {
        return Err(format!("the reset arrived as {end:?}").into());
    }
    ensure(poll_fn(|cx| tunnel.poll_ready_unpin(cx)).await.is_err(), "the sink outlived the reset")
}

async fn abort(fixture: &dyn Fixture) -> Outcome {
    let mut tunnel = witnessed_flow(fixture).await?;
    tunnel.abort(AbortCode::ConnectError);
    expect_end(fixture, FlowEnd { received: 1, clean: false }).await?;
    ensure(poll_fn(|cx| tunnel.poll_ready_unpin(cx)).await.is_err(), "the sink outlived the abort")
}

async fn dropped(fixture: &dyn Fixture) -> Outcome {
    drop(witnessed_flow(fixture).await?);
    expect_end(fixture, FlowEnd { received: 1, clean: false }).await
}

/// A flow whose target has certainly seen one byte: it has echoed nothing, so the byte's arrival is
/// awaited by a quiet time.
async fn witnessed_flow(fixture: &dyn Fixture) -> Result<ByteTunnel, Source> {
    let mut tunnel = open_tcp(fixture, Role::Witness).await?;
    tunnel.send(Bytes::from_static(b"x")).await?;
    match timeout(QUIET, tunnel.next()).await {
        Ok(early) => Err(format!("the witness spoke: {early:?}").into()),
        Err(_) => Ok(tunnel),
    }
}

async fn expect_end(fixture: &dyn Fixture, expected: FlowEnd) -> Outcome {
    let end = fixture.witnessed_end().await;
    ensure(end == expected, &format!("the target saw {end:?}, not {expected:?}"))
}

/// Sends until nothing moves any more.
async fn fill(tunnel: &mut ByteTunnel, limit: u64) -> Outcome {
    let chunk = pattern(MAX_CHUNK);
    let mut sent = 0;
    while let Ok(ready) = timeout(QUIET, poll_fn(|cx| tunnel.poll_ready_unpin(cx))).await {
        ready?;
        ensure(sent < limit, "an unread flow took more than the limit")?;
        tunnel.start_send_unpin(chunk.clone())?;
        sent += chunk.len() as u64;
    }
    Ok(())
}

fn poll_ready(tunnel: &mut ByteTunnel) -> Result<bool, TunnelError> {
    match tunnel.poll_ready_unpin(&mut Context::from_waker(noop_waker_ref())) {
        Poll::Ready(ready) => ready.map(|()| true),
        Poll::Pending => Ok(false),
    }
}

async fn read_to_end(
    mut stream: impl Stream<Item = Result<Bytes, TunnelError>> + Unpin,
) -> Result<Bytes, TunnelError> {
    let mut received = BytesMut::new();
    while let Some(chunk) = stream.next().await {
        received.extend_from_slice(&chunk?);
    }
    Ok(received.freeze())
}

/// Cuts `bytes` into chunks of the given sizes, over and over.
fn cut(mut bytes: Bytes, sizes: &[usize]) -> impl Iterator<Item = Bytes> {
    let mut sizes = sizes.iter().cycle();
    std::iter::from_fn(move || {
        let size = bytes.len().min(*sizes.next()?);
        (size > 0).then(|| bytes.split_to(size))
    })
}
