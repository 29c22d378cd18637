//! One HTTP/2 connection: its driver task, and what the flows and the pool know of it.

mod driver;
mod inbound;
mod link;
mod liveness;
mod meter;

pub(crate) use driver::{Driver, Ending};
pub(crate) use inbound::{Fault, Inbound, Queue};
pub(crate) use link::{Link, Owner, Permit, Phase};
pub(crate) use liveness::Liveness;
pub(crate) use meter::{Meter, Metered};
