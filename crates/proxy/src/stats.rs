use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::request::Protocol;

/// One label and its value.
type Label = [(&'static str, &'static str); 1];

/// Live counters of a [`Server`](crate::Server); reading them costs nothing to the tunnels.
/// [`MetricsServer`](crate::MetricsServer) shows them to Prometheus.
#[derive(Debug, Default)]
pub struct Stats {
    pub(crate) connections: Counter,
    pub(crate) connections_turned_away: Counter,
    pub(crate) handshakes_failed: Counter,
    tunnels: Family<Label, Counter>,
    open_tunnels: Gauge,
    requests_refused: Counter,
    refusals: Family<Label, Counter>,
    pub(crate) bytes_to_targets: Counter,
    pub(crate) bytes_from_targets: Counter,
    pub(crate) datagrams_dropped: Counter,
}

/// Counts its tunnel as open until it is dropped, however that comes about.
pub(crate) struct OpenTunnel(Gauge);

impl Drop for OpenTunnel {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Stats {
    pub(crate) fn opened(&self, protocol: Protocol) -> OpenTunnel {
        self.tunnels.get_or_create(&[("protocol", protocol.name())]).inc();
        self.open_tunnels.inc();
        OpenTunnel(self.open_tunnels.clone())
    }

    pub(crate) fn refused(&self, error: &'static str) {
        self.requests_refused.inc();
        self.refusals.get_or_create(&[("error", error)]).inc();
    }

    /// Client connections that were accepted.
    pub fn connections(&self) -> u64 {
        self.connections.get()
    }

    /// Client connections that were closed at once because there were too many.
    pub fn connections_turned_away(&self) -> u64 {
        self.connections_turned_away.get()
    }

    /// Client connections that ended in the TLS or HTTP/2 handshake.
    pub fn handshakes_failed(&self) -> u64 {
        self.handshakes_failed.get()
    }

    /// TCP tunnels that were opened.
    pub fn tcp_tunnels(&self) -> u64 {
        self.tunnels_where(|protocol| !protocol.is_udp())
    }

    /// UDP tunnels that were opened.
    pub fn udp_tunnels(&self) -> u64 {
        self.tunnels_where(Protocol::is_udp)
    }

    /// Tunnels of both kinds that are open just now.
    pub fn open_tunnels(&self) -> u64 {
        u64::try_from(self.open_tunnels.get()).unwrap_or(0)
    }

    /// Requests that were answered with an error status.
    pub fn requests_refused(&self) -> u64 {
        self.requests_refused.get()
    }

    /// Payload bytes that were handed to targets, TCP and UDP.
    pub fn bytes_to_targets(&self) -> u64 {
        self.bytes_to_targets.get()
    }

    /// Payload bytes that were received from targets, TCP and UDP.
    pub fn bytes_from_targets(&self) -> u64 {
        self.bytes_from_targets.get()
    }

    /// Datagrams that the proxy's own network would not take.
    pub fn datagrams_dropped(&self) -> u64 {
        self.datagrams_dropped.get()
    }

    fn tunnels_where(&self, counts: impl Fn(Protocol) -> bool) -> u64 {
        let protocols = Protocol::ALL.into_iter().filter(|protocol| counts(*protocol));
        let labels = protocols.map(|protocol| [("protocol", protocol.name())]);
        labels.filter_map(|label| self.tunnels.get(&label).map(|counter| counter.get())).sum()
    }

    /// All of them under the names that Prometheus knows them by.
    pub(crate) fn registry(&self) -> Registry {
        let mut registry = Registry::with_prefix("pseudotcp_proxy");
        registry.register("tunnels", "Tunnels opened", self.tunnels.clone());
        registry.register("open_tunnels", "Tunnels open now", self.open_tunnels.clone());
        registry.register("refusals", "Requests refused, by cause", self.refusals.clone());
        for (name, help, counter) in [
            ("connections", "Client connections accepted", &self.connections),
            (
                "connections_turned_away",
                "Client connections closed because there were too many",
                &self.connections_turned_away,
            ),
            ("handshakes_failed", "TLS or HTTP/2 handshakes failed", &self.handshakes_failed),
            ("bytes_to_targets", "Payload bytes handed to targets", &self.bytes_to_targets),
            ("bytes_from_targets", "Payload bytes from targets", &self.bytes_from_targets),
            (
                "datagrams_dropped",
                "Datagrams that the network of the proxy would not take",
                &self.datagrams_dropped,
            ),
        ] {
            registry.register(name, help, counter.clone());
        }
        registry
    }
}
