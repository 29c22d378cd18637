//! Sans-IO UDP flow demultiplexer with bounded queues and idle expiry.
#![forbid(unsafe_code)]
