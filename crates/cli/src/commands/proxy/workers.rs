//! The threads that serve clients.

use std::io;
use std::thread;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::watch;

/// A thread with a runtime of its own for each core of the machine; they end when this is dropped.
pub(super) struct Workers {
    runtimes: Vec<Handle>,
    _run: watch::Sender<()>,
}

impl Workers {
    pub(super) fn start() -> io::Result<Self> {
        let (run, over) = watch::channel(());
        let runtimes = (0..thread::available_parallelism()?.get())
            .map(|number| start_one(number, over.clone()))
            .collect::<io::Result<_>>()?;
        Ok(Self { runtimes, _run: run })
    }

    pub(super) fn runtimes(&self) -> Vec<Handle> {
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
pub(super) fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}
