//! Threads with a runtime each.

use std::io;
use std::thread;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::watch;

/// Threads with runtimes of their own; they end when this is dropped.
pub(crate) struct Workers {
    runtimes: Vec<Handle>,
    _run: watch::Sender<()>,
}

impl Workers {
    pub(crate) fn start(count: usize) -> io::Result<Self> {
        let (run, over) = watch::channel(());
        let runtimes =
            (0..count).map(|number| start_one(number, over.clone())).collect::<io::Result<_>>()?;
        Ok(Self { runtimes, _run: run })
    }

    pub(crate) fn runtimes(&self) -> Vec<Handle> {
        self.runtimes.clone()
    }
}

fn start_one(number: usize, mut over: watch::Receiver<()>) -> io::Result<Handle> {
    let runtime = runtime()?;
    let handle = runtime.handle().clone();
    let run = move || {
        // Nothing is ever said; it ends with the one who could.
        let _ended = runtime.block_on(over.changed());
        runtime.shutdown_background();
    };
    thread::Builder::new().name(format!("worker {number}")).spawn(run)?;
    Ok(handle)
}

/// A runtime of one thread.
pub(crate) fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}
