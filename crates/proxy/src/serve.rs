use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpListener;
use tokio::runtime;
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, info, warn};

use crate::auth::Auth;
use crate::clients::Clients;
use crate::config::Config;
use crate::identity::Identity;
use crate::limits::Limits;
use crate::places::Places;
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
    shared: Arc<Shared>,
    places: Places,
}

/// What all sessions and tunnels of a server have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    /// What is shown to clients, and what they must show; both may change while the server runs.
    identity: watch::Sender<Identity>,
    pub(crate) auth: watch::Sender<Auth>,
    pub(crate) policy: AddressPolicy,
    pub(crate) limits: Limits,
    pub(crate) templates: Templates,
    pub(crate) stats: Arc<Stats>,
    pub(crate) tasks: Tasks,
    /// Connections that may still come.
    connections: Arc<Semaphore>,
    clients_connections: Arc<Clients>,
    /// Tunnels that may still be opened.
    pub(crate) tunnels: Arc<Semaphore>,
    pub(crate) clients_tunnels: Arc<Clients>,
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
        // Accepted sockets inherit it.
        #[cfg(target_os = "linux")]
        if let Some(name) = &config.congestion_control {
            SockRef::from(&listener).set_tcp_congestion(name.as_bytes())?;
        }
        let local_addr = listener.local_addr()?;
        let shared = Arc::new(Shared::new(config, local_addr));
        Ok(Self { listener, local_addr, shared, places: Places::here() })
    }

    /// Serves connections in these runtimes, each with its tunnels in the one that has the fewest; by
    /// default all in the one that listens. With a thread for each runtime no byte crosses threads,
    /// which costs less than a runtime of several threads and scales with the connections.
    ///
    /// The runtimes need I/O and time enabled, and must run until [`serve`](Self::serve) has
    /// returned. Without any it stays at the default.
    #[must_use]
    pub fn spread_over(mut self, runtimes: impl IntoIterator<Item = runtime::Handle>) -> Self {
        let places = Places::of(runtimes);
        if !places.is_empty() {
            self.places = places;
        }
        self
    }

    /// Where the proxy listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The live counters; they may be read while the server serves and after.
    pub fn stats(&self) -> Arc<Stats> {
        Arc::clone(&self.shared.stats)
    }

    /// What changes the server while it serves.
    pub fn handle(&self) -> Handle {
        Handle(Arc::clone(&self.shared))
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
                accepted = self.accept() => match accepted {
                    Ok((socket, peer)) => self.admit(socket, peer, draining.clone()),
                    Err(error) => {
                        warn!(%error, "cannot accept clients");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
    }

    /// The next client, bound to no runtime yet.
    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (socket, peer) = self.listener.accept().await?;
        Ok((socket.into_std()?, peer))
    }

    fn admit(&self, socket: TcpStream, peer: SocketAddr, draining: watch::Receiver<bool>) {
        let shared = Arc::clone(&self.shared);
        let permit = Arc::clone(&shared.connections).try_acquire_owned().ok();
        let Some(permit) = permit.zip(shared.clients_connections.take(peer.ip())) else {
            shared.stats.connections_turned_away.inc();
            warn!(client = %peer, "too many connections");
            return;
        };
        shared.stats.connections.inc();
        let acceptor = TlsAcceptor::from(shared.identity.borrow().tls());
        let Some((runtime, seat)) = self.places.take() else { return };
        self.shared.tasks.spawn_on(runtime, async move {
            match session::run(shared, acceptor, socket, peer, draining).await {
                Ok(()) => debug!(client = %peer, "connection closed"),
                Err(error) => debug!(client = %peer, %error, "connection lost"),
            }
            drop((permit, seat));
        });
    }
}

/// Changes a running [`Server`].
#[derive(Clone, Debug)]
pub struct Handle(Arc<Shared>);

impl Handle {
    /// Takes certificate, key and credentials over from `config`, and nothing else of it. New
    /// connections see the new certificate, and every further request must show one of the new
    /// credentials; open connections and tunnels go on.
    pub fn reload(&self, config: Config) {
        self.0.identity.send_replace(config.identity);
        self.0.auth.send_replace(config.auth);
    }
}

impl Shared {
    fn new(config: Config, local_addr: SocketAddr) -> Self {
        let mut policy = config.policy;
        if config.deny_private.unwrap_or(!local_addr.ip().is_loopback()) {
            policy.deny_private();
        }
        Self {
            identity: watch::Sender::new(config.identity),
            auth: watch::Sender::new(config.auth),
            policy,
            templates: config.templates,
            stats: Arc::default(),
            tasks: Tasks::default(),
            connections: Arc::new(Semaphore::new(permits(config.limits.connections))),
            clients_connections: Clients::new(config.limits.connections_per_client),
            tunnels: Arc::new(Semaphore::new(permits(config.limits.tunnels))),
            clients_tunnels: Clients::new(config.limits.tunnels_per_client),
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

/// A number of permits that a semaphore can hold.
fn permits(wanted: usize) -> usize {
    wanted.min(Semaphore::MAX_PERMITS)
}
