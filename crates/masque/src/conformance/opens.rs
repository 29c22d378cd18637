//! Rules of opening.

use std::time::Duration;

use futures::future::{join, join_all};
use futures::{FutureExt, SinkExt, StreamExt};
use tokio::time::Instant;

use super::{Fixture, Outcome, QUIET, Report, Role, ensure, open_tcp, request};
use crate::OpenError;

pub(super) async fn run(report: &mut Report<'_>) {
    report.check(Role::Refuse, "a refused open says Refused", refused).await;
    report.check(Role::Echo, "many opens run at once", at_once).await;
    report.check(Role::Silent, "a waiting open holds up no other", waits_alone).await;
    report.check(Role::Silent, "an open ends by its deadline with TimedOut", deadline).await;
    report.check(Role::Silent, "a dropped open harms nobody", dropped).await;
}

async fn refused(fixture: &dyn Fixture) -> Outcome {
    match fixture.transport().open_tcp(request(fixture, Role::Refuse)?).await {
        Err(OpenError::Refused(_)) => Ok(()),
        Err(other) => Err(format!("the cause was {other:?}").into()),
        Ok(_) => Err("the open succeeded".into()),
    }
}

async fn at_once(fixture: &dyn Fixture) -> Outcome {
    let flows = (0..64_u8).map(|id| async move {
        let mut tunnel = open_tcp(fixture, Role::Echo).await?;
        tunnel.send(vec![id].into()).await?;
        let echo = tunnel.next().await.ok_or("the echo ended")??;
        ensure(*echo == [id], "a flow received another flow's bytes")
    });
    join_all(flows).await.into_iter().collect()
}

async fn waits_alone(fixture: &dyn Fixture) -> Outcome {
    let transport = fixture.transport();
    let mut waiting = transport.open_tcp(request(fixture, Role::Silent)?);
    ensure((&mut waiting).now_or_never().is_none(), "a silent target answered")?;
    let echo = open_tcp(fixture, Role::Echo).map(|opened| opened.map(drop));
    let patience = tokio::time::sleep(QUIET);
    let (opened, ()) = join(echo, patience).await;
    ensure((&mut waiting).now_or_never().is_none(), "the waiting open ended early")?;
    opened
}

async fn deadline(fixture: &dyn Fixture) -> Outcome {
    let deadline = Instant::now() + QUIET;
    let request = request(fixture, Role::Silent)?.with_deadline(deadline.into_std());
    match fixture.transport().open_tcp(request).await {
        Err(OpenError::TimedOut(_)) => {}
        Err(other) => return Err(format!("the cause was {other:?}").into()),
        Ok(_) => return Err("a silent target answered".into()),
    }
    let late = Instant::now().saturating_duration_since(deadline);
    ensure(late < Duration::from_secs(2), "the open outlived its deadline by seconds")
}

async fn dropped(fixture: &dyn Fixture) -> Outcome {
    for _ in 0..16 {
        let open = fixture.transport().open_tcp(request(fixture, Role::Silent)?).now_or_never();
        ensure(open.is_none(), "a silent target answered")?;
    }
    open_tcp(fixture, Role::Echo).await.map(drop)
}
