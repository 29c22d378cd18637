use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::rr::Name;

/// Limits and lifetimes of an [`Interceptor`](crate::Interceptor) and its cache.
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) cache_bytes: usize,
    pub(crate) max_ttl: Duration,
    pub(crate) max_negative_ttl: Duration,
    pub(crate) failure_ttl: Duration,
    pub(crate) max_stale: Duration,
    pub(crate) stale_after: Duration,
    pub(crate) max_datagram: u16,
    pub(crate) max_waiting: usize,
    pub(crate) max_waiting_per_source: usize,
    pub(crate) max_rate_per_source: u32,
    pub(crate) timeout: Duration,
    pub(crate) fake_names: Option<u32>,
    pub(crate) private_names: PrivateNames,
}

/// Tells whether a name always is asked upstream.
#[derive(Clone)]
pub(crate) struct PrivateNames(Arc<dyn Fn(&Name) -> bool + Send + Sync>);

impl PrivateNames {
    pub(crate) fn contain(&self, name: &Name) -> bool {
        (self.0)(name)
    }
}

impl fmt::Debug for PrivateNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateNames")
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            cache_bytes: 2 << 20,
            max_ttl: Duration::from_hours(24),
            // RFC 2308 §5: one to three hours have been found to work well.
            max_negative_ttl: Duration::from_hours(1),
            // RFC 9520 §3.2: a second at least.
            failure_ttl: Duration::from_secs(1),
            // RFC 8767 §5: one to three days.
            max_stale: Duration::from_hours(24),
            // RFC 8767 §5: 1.8 seconds, before clients lose patience.
            stale_after: Duration::from_millis(1_800),
            // RFC 9715 §3.2: no fragments on any path.
            max_datagram: 1_232,
            max_waiting: 4_096,
            max_waiting_per_source: 2_048,
            max_rate_per_source: 50_000,
            timeout: Duration::from_secs(4),
            fake_names: None,
            private_names: PrivateNames(Arc::new(|_| false)),
        }
    }
}

impl Config {
    /// How many bytes cached answers may take, bookkeeping included; default 2 MiB, which is some
    /// thousand names. Zero switches the cache off.
    #[must_use]
    pub fn cache_bytes(mut self, bytes: usize) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// How long an answer is kept at most, whatever its TTL; default 24 hours.
    #[must_use]
    pub fn max_ttl(mut self, ttl: Duration) -> Self {
        self.max_ttl = ttl;
        self
    }

    /// How long a negative answer is kept at most (RFC 2308 §5); default 1 hour.
    #[must_use]
    pub fn max_negative_ttl(mut self, ttl: Duration) -> Self {
        self.max_negative_ttl = ttl;
        self
    }

    /// How long a failure to resolve is kept (RFC 9520 §3.2); default 1 s. Longer spares the
    /// upstream, shorter sees its recovery earlier.
    #[must_use]
    pub fn failure_ttl(mut self, ttl: Duration) -> Self {
        self.failure_ttl = ttl;
        self
    }

    /// How long an outlived answer is kept for the time when no resolver answers (RFC 8767);
    /// default 24 hours. Zero switches outlived answers off.
    #[must_use]
    pub fn max_stale(mut self, time: Duration) -> Self {
        self.max_stale = time;
        self
    }

    /// How long a client waits before it gets an outlived answer, where there is one; default 1.8 s.
    #[must_use]
    pub fn stale_after(mut self, time: Duration) -> Self {
        self.stale_after = time;
        self
    }

    /// The largest answer in bytes that goes into a datagram, even if the client can take more;
    /// default 1,232, at least 512. Larger ones are truncated, and asked for again over a stream.
    #[must_use]
    pub fn max_datagram(mut self, bytes: u16) -> Self {
        self.max_datagram = bytes.max(512);
        self
    }

    /// How many questions may wait for an upstream; default 4,096. More are answered SERVFAIL.
    #[must_use]
    pub fn max_waiting(mut self, questions: usize) -> Self {
        self.max_waiting = questions;
        self
    }

    /// How many questions of one address (one /64 of IPv6) may wait for an upstream; default 2,048.
    /// More are answered SERVFAIL.
    #[must_use]
    pub fn max_waiting_per_source(mut self, questions: usize) -> Self {
        self.max_waiting_per_source = questions;
        self
    }

    /// How many questions of one address (one /64 of IPv6) are looked at in a second; default
    /// 50,000. More are dropped: answering a flood makes two of it.
    #[must_use]
    pub fn max_rate_per_source(mut self, questions: u32) -> Self {
        self.max_rate_per_source = questions;
        self
    }

    /// How long an upstream may take; default 4 s, as stub resolvers commonly give up after 5.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Answers questions for addresses from a pool of fake ones, for that many names at once
    /// (131,000 at the most); default: real addresses.
    #[must_use]
    pub fn fake_names(mut self, names: u32) -> Self {
        self.fake_names = Some(names);
        self
    }

    /// Always asks upstream for the names of which this is true: they have a server of their own,
    /// which knows better than any rule for special names, and their addresses are real. It is asked
    /// for each question; default: for none.
    #[must_use]
    pub fn private_names(mut self, is_one: impl Fn(&Name) -> bool + Send + Sync + 'static) -> Self {
        self.private_names = PrivateNames(Arc::new(is_one));
        self
    }
}
