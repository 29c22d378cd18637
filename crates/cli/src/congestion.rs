//! The kernel's congestion control algorithms.

use std::fmt;
use std::fs;
use std::str::FromStr;

use socket2::{Domain, Socket, Type};

/// The algorithms that the kernel has, separated by spaces.
const AVAILABLE: &str = "/proc/sys/net/ipv4/tcp_available_congestion_control";

/// The name of one that this process may use here and now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CongestionControl(String);

impl CongestionControl {
    pub(crate) fn name(&self) -> &str {
        &self.0
    }
}

impl FromStr for CongestionControl {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None);
        let set = socket.and_then(|socket| socket.set_tcp_congestion(name.as_bytes()));
        set.map(|()| Self(name.to_owned())).map_err(|error| explain(&error))
    }
}

fn explain(error: &dyn fmt::Display) -> String {
    let available = fs::read_to_string(AVAILABLE).unwrap_or_default();
    format!("the kernel does not take it: {error}; it has: {}", available.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_kernel_has_is_taken() {
        assert_eq!("reno".parse::<CongestionControl>().unwrap().name(), "reno");
    }

    #[test]
    fn what_the_kernel_has_not_is_refused_with_what_it_has() {
        let error = "no such".parse::<CongestionControl>().unwrap_err();
        assert!(error.contains("reno"), "{error}");
    }
}
