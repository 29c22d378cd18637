//! The tests, by what they show.

mod apps;
mod bulk;
mod conformance;
mod connect_only;
mod crowd;
mod demo;
mod dns;
mod errors;
mod hops;
mod host_dns;
mod kernels;
mod leaks;
mod lifecycle;
mod network;
mod outage;
mod policy;
mod renewal;
mod secrets;
mod shards;
mod tunnels;
