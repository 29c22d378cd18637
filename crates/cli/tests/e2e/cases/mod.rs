//! The tests, by what they show.

mod apps;
mod bulk;
mod conformance;
mod connect_only;
mod crowd;
mod demo;
mod errors;
mod kernels;
mod lifecycle;
mod network;
mod outage;
mod policy;
mod tunnels;
