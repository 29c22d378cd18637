//! What the operator says by signals.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The exit code when a second signal cuts the clean-up short.
const CUT_SHORT: i32 = 1;

/// The signals that the program listens to.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    show: Signal,
    reload: Signal,
}

/// A wish of the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// SIGINT or SIGTERM: end.
    Stop,
    /// SIGUSR1: show the counters.
    Show,
    /// SIGHUP: read the files again.
    Reload,
}

impl Signals {
    /// Takes the signals over from their default actions.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            show: signal(SignalKind::user_defined1())?,
            reload: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next wish.
    pub(crate) async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.interrupt.recv() => Wish::Stop,
            _ = self.terminate.recv() => Wish::Stop,
            _ = self.show.recv() => Wish::Show,
            _ = self.reload.recv() => Wish::Reload,
        }
    }

    /// Waits until the operator wants the end.
    pub(crate) async fn stop(&mut self) {
        while self.next().await != Wish::Stop {}
    }

    /// From now on, one more wish to end ends the program at once.
    pub(crate) fn exit_at_next_stop(mut self) {
        tokio::spawn(async move {
            self.stop().await;
            std::process::exit(CUT_SHORT);
        });
    }
}
