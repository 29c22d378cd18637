//! The program from outside, without root: its help, errors, exit codes and signals.
#![forbid(unsafe_code)]

mod errors;
mod help;
mod policy;
mod service;
mod signals;
mod support;
mod tun_fd;
