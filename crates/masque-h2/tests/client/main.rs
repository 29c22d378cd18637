//! The client against proxies whose every move is scripted, and against ours.

mod bad_proxies;
mod conformance;
mod connections;
mod dialects;
mod early;
mod flows;
mod hostile;
mod pool;
mod refusals;
mod secrets;
mod several;
mod support;
mod traps;
mod trust;
mod udp;
mod windows;
