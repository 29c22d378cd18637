//! The proxy, or the way to it, goes away, and traffic flows again without a restart of the client.

mod network;
mod proxy;
mod restart;
