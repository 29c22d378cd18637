use std::future::{Future, poll_fn};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::task::JoinSet;

/// Every task of a server: one for each client connection, one for each tunnel. Tunnels outlive
/// their connection where its client has said all it had to say.
#[derive(Debug, Default)]
pub(crate) struct Tasks(Mutex<JoinSet<()>>);

impl Tasks {
    /// In the runtime that this is called in.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.spawn_on(&Handle::current(), task);
    }

    pub(crate) fn spawn_on(
        &self,
        runtime: &Handle,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let mut tasks = self.lock();
        while tasks.try_join_next().is_some() {}
        tasks.spawn_on(task, runtime);
    }

    /// Waits until no task is left.
    pub(crate) async fn ended(&self) {
        while poll_fn(|cx| self.lock().poll_join_next(cx)).await.is_some() {}
    }

    pub(crate) fn abort_all(&self) {
        self.lock().abort_all();
    }

    /// Nothing panics while the lock is held, but a poisoned set would be as good as any.
    fn lock(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
