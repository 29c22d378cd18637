//! What the apps talk to, in the server's namespace.

pub(crate) mod echo;
pub(crate) mod half_close;
pub(crate) mod http;
pub(crate) mod https;
mod route;
pub(crate) mod scripted;
pub(crate) mod transfer;
pub(crate) mod udp;
