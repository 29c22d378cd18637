//! Glue: packet ports and transports as Sink and Stream pipeline stages.
#![forbid(unsafe_code)]
