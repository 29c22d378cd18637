//! What the tests stand on: namespaces, processes, and the small network that they form.

pub(crate) mod bare;
pub(crate) mod certificate;
pub(crate) mod client;
pub(crate) mod clock;
pub(crate) mod curl;
pub(crate) mod delayed;
pub(crate) mod dns_message;
pub(crate) mod failure;
pub(crate) mod flow;
pub(crate) mod lab;
pub(crate) mod named;
pub(crate) mod need;
pub(crate) mod netns;
pub(crate) mod pattern;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod recorder;
pub(crate) mod resolved;
