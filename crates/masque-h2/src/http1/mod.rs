//! HTTP/1.1: one flow on each connection, where the proxy offers nothing better.

mod exchange;
mod head;

pub(crate) use exchange::{ExchangeError, Http1, Place, exchange};
pub use head::{HeadError, ResponseHead};
