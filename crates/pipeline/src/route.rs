use std::sync::Arc;

use async_trait::async_trait;
use pseudotcp_masque::{ByteTunnel, DatagramTunnel, OpenError, OpenRequest, Target, Transport};
use pseudotcp_packet::{Protocol, Unreachable};
use pseudotcp_policy::{RejectKind, Verdict};

use crate::{Judge, clock};

/// A transport that sends each flow through the proxy or past it, as a policy says.
///
/// What the policy rejects or drops seldom comes here, as [`Guard`](crate::Guard) answers it by the
/// packet; but a name may be known here alone. Then a rejection fails the open with the cause that
/// has the same answer, and a drop lets it wait until its deadline.
///
/// From the proxy's answers the policy learns whether it has IPv6.
pub struct Route {
    judge: Judge,
    proxy: Arc<dyn Transport>,
    direct: Arc<dyn Transport>,
    rejects: bool,
}

impl Route {
    /// Sends flows of apps through `proxy` or `direct`.
    pub fn new(judge: Judge, proxy: Arc<dyn Transport>, direct: Arc<dyn Transport>) -> Self {
        Self { judge, proxy, direct, rejects: true }
    }

    /// The same way for flows of the program itself, such as those to DNS servers. What a policy
    /// rejects it rejects for apps; these go through the proxy then.
    #[must_use]
    pub fn for_own_flows(&self) -> Self {
        Self {
            judge: self.judge.clone(),
            proxy: Arc::clone(&self.proxy),
            direct: Arc::clone(&self.direct),
            rejects: false,
        }
    }

    async fn choose(&self, protocol: Protocol, request: &OpenRequest) -> Result<Way, OpenError> {
        match self.judge.decide_target(protocol, request.source, &request.target) {
            Verdict::Direct => Ok(Way::Direct),
            Verdict::Proxy => Ok(Way::Proxy),
            _ if !self.rejects => Ok(Way::Proxy),
            Verdict::Reject(kind) => Err(cause(kind)),
            Verdict::Drop => Err(silence(request).await),
        }
    }

    /// Takes note of what the proxy answered.
    fn hear<T>(&self, target: &Target, answer: Result<T, OpenError>) -> Result<T, OpenError> {
        if let Target::Address(address) = target {
            self.judge.ipv6().hear(clock::now(), *address, answer.as_ref().err());
        }
        answer
    }
}

/// The ways that flows may go.
enum Way {
    Proxy,
    Direct,
}

/// The cause whose answer is that of a rejection.
fn cause(kind: RejectKind) -> OpenError {
    match kind {
        RejectKind::Unreachable(Unreachable::Host) => OpenError::Unreachable(None),
        RejectKind::Unreachable(Unreachable::Network) => OpenError::NoIpv6(None),
        RejectKind::Unreachable(Unreachable::HostProhibited | Unreachable::Prohibited) => {
            OpenError::Denied(None)
        }
        RejectKind::Unreachable(Unreachable::Port | Unreachable::Protocol) | RejectKind::Closed => {
            OpenError::Refused(None)
        }
    }
}

async fn silence(request: &OpenRequest) -> OpenError {
    match request.deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
    OpenError::TimedOut(None)
}

#[async_trait]
impl Transport for Route {
    async fn open_tcp(&self, request: OpenRequest) -> Result<ByteTunnel, OpenError> {
        match self.choose(Protocol::Tcp, &request).await? {
            Way::Direct => self.direct.open_tcp(request).await,
            Way::Proxy => {
                let target = request.target.clone();
                let answer = self.proxy.open_tcp(request).await;
                self.hear(&target, answer)
            }
        }
    }

    async fn open_udp(&self, request: OpenRequest) -> Result<DatagramTunnel, OpenError> {
        match self.choose(Protocol::Udp, &request).await? {
            Way::Direct => self.direct.open_udp(request).await,
            Way::Proxy => {
                let target = request.target.clone();
                let answer = self.proxy.open_udp(request).await;
                self.hear(&target, answer)
            }
        }
    }
}
