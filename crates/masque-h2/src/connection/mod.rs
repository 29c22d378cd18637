//! One HTTP/2 connection: its driver task, and what the flows and the pool know of it.

mod budget;
mod driver;
mod inbound;
mod link;
mod liveness;
mod meter;
mod pinger;
mod relief;
mod round;
mod windows;

pub(crate) use budget::Budget;
pub(crate) use driver::{Driver, Ending};
pub(crate) use inbound::{Fault, Inbound, Queue};
pub(crate) use link::{Link, Owner, Permit, Phase};
pub(crate) use liveness::Liveness;
pub(crate) use meter::{Meter, Metered};
pub(crate) use windows::{Limits, Windows};
