//! The shards on their threads, and how to reach them.

use std::io;
use std::iter;

use anyhow::{Context as _, Result};
use futures::future::join_all;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::shard::{Shard, Visit};
use crate::workers::Workers;

/// Shards that move packets, each on a thread of its own: the first on that of the current runtime.
pub(super) struct Shards {
    doors: Vec<mpsc::Sender<Visit>>,
    tasks: JoinSet<()>,
    ended: mpsc::Receiver<io::Result<()>>,
    _workers: Workers,
}

impl Shards {
    /// Makes the shards, each within the runtime of its thread, and lets them begin.
    pub(super) fn start<F>(makers: Vec<F>) -> Result<Self>
    where
        F: FnOnce() -> Result<Shard>,
    {
        let workers = Workers::start(makers.len().saturating_sub(1)).context("starting threads")?;
        let threads = iter::once(Handle::current()).chain(workers.runtimes());
        let (tell, ended) = mpsc::channel(1);
        let (mut doors, mut tasks) = (Vec::new(), JoinSet::new());
        for (make, thread) in makers.into_iter().zip(threads) {
            let _within = thread.enter();
            let (door, visits) = mpsc::channel(1);
            tasks.spawn_on(make()?.run(visits, tell.clone()), &thread);
            doors.push(door);
        }
        Ok(Self { doors, tasks, ended, _workers: workers })
    }

    /// Does something with each shard, between two of its packets; what came of it.
    pub(super) async fn visit<T: Send + 'static>(
        &self,
        work: impl Fn(&mut Shard) -> T + Clone + Send + 'static,
    ) -> Vec<T> {
        let visits = self.doors.iter().map(async |door| {
            let (work, (tell, told)) = (work.clone(), oneshot::channel());
            let visit: Visit = Box::new(move |shard| {
                let _nobody_waits = tell.send(work(shard));
            });
            // One that has crashed has nothing to tell.
            let _or_has_crashed = door.send(visit).await;
            told.await.ok()
        });
        join_all(visits).await.into_iter().flatten().collect()
    }

    /// Waits until the first shard has ended, and says why.
    pub(super) async fn ended(&mut self) -> io::Result<()> {
        tokio::select! {
            Some(outcome) = self.ended.recv() => outcome,
            Some(crash) = self.tasks.join_next() => crash.map_err(io::Error::other),
        }
    }

    /// Ends them all; the device closes with the last.
    pub(super) async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}
