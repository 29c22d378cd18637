//! Setting up the host, and taking it back.

pub(crate) mod linux;
