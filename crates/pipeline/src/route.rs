use std::sync::Arc;

use async_trait::async_trait;
use pseudotcp_masque::{ByteTunnel, DatagramTunnel, OpenError, OpenRequest, Target, Transport};
use pseudotcp_policy::CidrSet;

/// A transport that chooses between two: the proxy, and the direct way for listed networks.
///
/// Only addresses are matched. A host name goes to the proxy, which alone knows its address.
pub struct Route {
    proxy: Arc<dyn Transport>,
    direct: Arc<dyn Transport>,
    direct_networks: CidrSet,
}

impl Route {
    /// Sends flows to `direct_networks` through `direct` and all others through `proxy`.
    pub fn new(
        proxy: Arc<dyn Transport>,
        direct: Arc<dyn Transport>,
        direct_networks: CidrSet,
    ) -> Self {
        Self { proxy, direct, direct_networks }
    }

    fn choose(&self, target: &Target) -> &Arc<dyn Transport> {
        match target {
            Target::Address(address) if self.direct_networks.contains(address.ip()) => &self.direct,
            _ => &self.proxy,
        }
    }
}

#[async_trait]
impl Transport for Route {
    async fn open_tcp(&self, request: OpenRequest) -> Result<ByteTunnel, OpenError> {
        self.choose(&request.target).open_tcp(request).await
    }

    async fn open_udp(&self, request: OpenRequest) -> Result<DatagramTunnel, OpenError> {
        self.choose(&request.target).open_udp(request).await
    }
}
