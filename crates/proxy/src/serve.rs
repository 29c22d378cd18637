use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, info, warn};

use crate::auth::Auth;
use crate::config::Config;
use crate::limits::Limits;
use crate::policy::AddressPolicy;
use crate::session;
use crate::stats::Stats;
use crate::tasks::Tasks;
use crate::template::Templates;

/// How long to wait when the system has no file descriptor for another client.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The most names that are resolved at once; each takes a thread of the runtime's blocking pool.
const MAX_LOOKUPS: usize = 64;

/// A proxy that listens.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    local_addr: SocketAddr,
    acceptor: Acceptor,
    shared: Arc<Shared>,
}

/// What all sessions and tunnels of a server have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) auth: Auth,
    pub(crate) policy: AddressPolicy,
    pub(crate) limits: Limits,
    pub(crate) templates: Templates,
    pub(crate) stats: Arc<Stats>,
    pub(crate) tasks: Tasks,
    /// Connections that may still come.
    connections: Arc<Semaphore>,
    /// Tunnels that may still be opened.
    pub(crate) tunnels: Arc<Semaphore>,
    /// Names that may be resolved besides those that are.
    pub(crate) lookups: Semaphore,
    /// Bytes that wait for stalled targets.
    pub(crate) held: Arc<AtomicUsize>,
}

/// How many clients wait to be accepted: as many as come back at once after a restart.
const BACKLOG: i32 = 1_024;

impl Server {
    /// Listens at an address; port 0 takes a free one.
    pub async fn bind(config: Config, address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        SockRef::from(&listener).listen(BACKLOG)?;
        let local_addr = listener.local_addr()?;
        let acceptor = Acceptor(TlsAcceptor::from(config.identity.tls()));
        let shared = Arc::new(Shared::new(config, local_addr));
        Ok(Self { listener, local_addr, acceptor, shared })
    }

    /// Where the proxy listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The live counters; they may be read while the server serves and after.
    pub fn stats(&self) -> Arc<Stats> {
        Arc::clone(&self.shared.stats)
    }

    /// Serves clients until `shutdown` is ready; then takes no more, says GOAWAY to those it has,
    /// and waits for their tunnels no longer than
    /// [`drain_timeout`](Config::drain_timeout). Dropping the future cuts everything at once.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) {
        let cut = CutOnDrop(Arc::clone(&self.shared));
        let (drain, draining) = watch::channel(false);
        self.accept_until(shutdown, draining).await;
        info!("draining");
        drain.send_replace(true);
        let _ = timeout(cut.0.limits.drain, cut.0.tasks.ended()).await;
        cut.0.tasks.abort_all();
        cut.0.tasks.ended().await;
    }

    async fn accept_until(
        self,
        shutdown: impl Future<Output = ()>,
        draining: watch::Receiver<bool>,
    ) {
        let mut shutdown = pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => return,
                accepted = self.listener.accept() => match accepted {
                    Ok((socket, peer)) => self.admit(socket, peer, draining.clone()),
                    Err(error) => {
                        warn!(%error, "cannot accept clients");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
    }

    fn admit(&self, socket: TcpStream, peer: SocketAddr, draining: watch::Receiver<bool>) {
        let Ok(permit) = Arc::clone(&self.shared.connections).try_acquire_owned() else {
            self.shared.stats.connections_turned_away.add(1);
            warn!(client = %peer, "too many connections");
            return;
        };
        self.shared.stats.connections.add(1);
        let (shared, acceptor) = (Arc::clone(&self.shared), self.acceptor.0.clone());
        self.shared.tasks.spawn(async move {
            match session::run(shared, acceptor, socket, peer, draining).await {
                Ok(()) => debug!(client = %peer, "connection closed"),
                Err(error) => debug!(client = %peer, %error, "connection lost"),
            }
            drop(permit);
        });
    }
}

impl Shared {
    fn new(config: Config, local_addr: SocketAddr) -> Self {
        let mut policy = config.policy;
        if config.deny_private.unwrap_or(!local_addr.ip().is_loopback()) {
            policy.deny_private();
        }
        Self {
            auth: config.auth,
            policy,
            templates: config.templates,
            stats: Arc::default(),
            tasks: Tasks::default(),
            connections: Arc::new(Semaphore::new(permits(config.limits.connections))),
            tunnels: Arc::new(Semaphore::new(permits(config.limits.tunnels))),
            lookups: Semaphore::new(MAX_LOOKUPS),
            held: Arc::default(),
            limits: config.limits,
        }
    }
}

/// Ends every task when the serving future is dropped.
struct CutOnDrop(Arc<Shared>);

impl Drop for CutOnDrop {
    fn drop(&mut self) {
        self.0.tasks.abort_all();
    }
}

/// The TLS side of the listener; its configuration holds the key and prints nothing.
struct Acceptor(TlsAcceptor);

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Acceptor").finish_non_exhaustive()
    }
}

/// A number of permits that a semaphore can hold.
fn permits(wanted: usize) -> usize {
    wanted.min(Semaphore::MAX_PERMITS)
}
