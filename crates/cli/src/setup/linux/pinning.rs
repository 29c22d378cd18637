//! Ways to addresses that the proxy's name did not have at the start.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// How many addresses wait for their ways at the most; who dials waits with more.
const WAITING: usize = 16;

/// How long a dial waits for its way at the most.
const PATIENCE: Duration = Duration::from_secs(1);

/// An address that is about to be dialled, and whom to tell that its way is pinned.
pub(crate) type Request = (IpAddr, oneshot::Sender<()>);

/// Asks whoever keeps the routes for ways to addresses. Clones ask the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pinning(Arc<OnceLock<mpsc::Sender<Request>>>);

impl Pinning {
    /// Has the way to an address pinned; at once, while nobody keeps the routes.
    pub(crate) async fn pin(self, address: IpAddr) {
        let Some(keeper) = self.0.get() else { return };
        let (tell, pinned) = oneshot::channel();
        let asked = async {
            if keeper.send((address, tell)).await.is_ok() {
                let _or_the_keeper_is_gone = pinned.await;
            }
        };
        let _or_too_late = timeout(PATIENCE, asked).await;
    }

    /// What is asked from now on.
    pub(crate) fn requests(&self) -> mpsc::Receiver<Request> {
        let (keeper, requests) = mpsc::channel(WAITING);
        let _only_once = self.0.set(keeper);
        requests
    }
}
