//! How long a client waits, and how much it takes.

use std::time::Duration;

use super::Config;

/// The largest window that HTTP/2 knows (RFC 9113 §6.9.1).
const MAX_WINDOW: u32 = (1 << 31) - 1;

impl Config {
    /// How long one dial may take: name, TCP, TLS and the proxy's SETTINGS together. Default 10 s.
    /// Shorter gives up sooner on a dead network; longer bears with slow ones.
    #[must_use]
    pub fn dial_timeout(mut self, timeout: Duration) -> Self {
        self.dial_timeout = timeout;
        self
    }

    /// How long a flow may take to open where its request has no earlier deadline, waiting for the
    /// connection included. Default 30 s.
    #[must_use]
    pub fn open_timeout(mut self, timeout: Duration) -> Self {
        self.open_timeout = timeout;
        self
    }

    /// When a connection with open flows is probed: `silence` without a byte received (default 3 s)
    /// sends a PING, and `answer` more (default 2 s) without a byte declare it lost. Shorter
    /// notices a dead network sooner, at the price of wake-ups while flows are idle.
    #[must_use]
    pub fn liveness(mut self, silence: Duration, answer: Duration) -> Self {
        self.ping_after = silence;
        self.ping_timeout = answer;
        self
    }

    /// The largest HTTP/2 receive windows in bytes: of each flow (default 24 MiB), and of a
    /// connection with all its flows (default 128 MiB); both are limited to 2³¹ − 1.
    ///
    /// A window bounds what one flow that nobody reads can hold, and the throughput of one that is
    /// read: two thirds of it in a round trip, since HTTP/2's library gives it back by thirds. 24 MiB
    /// fill 1 Gbit/s at 100 ms. Windows begin at 1 MiB for a flow and 4 MiB for a connection,
    /// and grow when they are seen to hold up a flow that is read. The connection's should hold
    /// several flows', so that a few stalled ones do not starve their neighbours.
    ///
    /// Envoy 1.40 resets a flow whose target ends while its window is full, and loses the rest: a
    /// reader slower than the target needs a window as large as the body to be safe from that. So
    /// the windows of a proxy that calls itself Envoy are the largest from its first answer on.
    #[must_use]
    pub fn windows(mut self, stream: u32, connection: u32) -> Self {
        self.stream_window = stream.min(MAX_WINDOW);
        self.connection_window = connection.min(MAX_WINDOW);
        self
    }

    /// What the windows of all connections may come to, in bytes: as much as the proxies can make
    /// this side hold at the worst. Default 256 MiB.
    ///
    /// When it is used up windows no longer grow. Where flows that nobody reads then hold nearly all
    /// of a connection's window, the one that has stalled longest (5 s at least) is reset.
    #[must_use]
    pub fn window_budget(mut self, bytes: u64) -> Self {
        self.window_budget = bytes;
        self
    }

    /// Takes this client's share of what is bounded where `clients` of them (one at least) reach the
    /// same proxy together: of the budget of windows and of the connections, of which it keeps one.
    #[must_use]
    pub fn one_of(self, clients: u8) -> Self {
        let clients = clients.max(1);
        let connections = self.max_connections / usize::from(clients);
        let windows = self.window_budget / u64::from(clients);
        self.window_budget(windows).max_connections(connections)
    }

    /// How many connections the client opens at most when the proxy limits the flows of each.
    /// Default 256; at least 1.
    #[must_use]
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.max_connections = connections.max(1);
        self
    }

    /// How many flows one connection carries at most; default 1,000, at least 1, and never the last
    /// that the proxy allows. With each connection that closes after a crowd its tables go; the last
    /// one keeps what it once needed.
    #[must_use]
    pub fn flows_per_connection(mut self, flows: usize) -> Self {
        self.flows_per_connection = flows.max(1);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_clients_have_together_what_one_has() {
        let whole = Config::new("https://p.example").unwrap();
        let share = whole.window_budget(90 << 20).max_connections(10).one_of(3);
        assert_eq!((share.window_budget, share.max_connections), (30 << 20, 3));
    }
}
