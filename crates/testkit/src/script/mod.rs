//! Packet scripts: a conversation as text, one line for each packet, command or event, in virtual
//! time. The notation is that of packetdrill, the commands are those of an interposer.
//!
//! ```text
//!   0     < S 0:0(0) win 65535 <mss 1460>      the app sends
//!   +0    event opening
//!   +0.1  accept                               what the far side does
//!   +0    > S. 0:0(0) ack 1 <mss 1460>         must come, now
//!   +0    < . 1:1(0) ack 1
//!   +0    write 1000
//!   +0    > P. 1:1001(1000) ack 1
//!   +0.2  > P. 1:1001(1000) ack 1              must come 0.2 s later, and nothing before
//! ```
//!
//! [`run`] plays a script against a [`Subject`]. What comes out and no line expects fails the
//! script, and so does an event; payload is a known stream and is checked byte by byte.

mod action;
mod compare;
mod connection;
mod notation;
mod options;
mod runner;
mod wire;

use std::fmt;
use std::time::Instant;

use bytes::Bytes;
use pseudotcp_packet::FlowKey;

use crate::world::Node;
pub use runner::run;

/// What a script is played against: an interposer between the script's app and a far side that the
/// script's commands play.
///
/// Packets and timers are those of [`Node`]. A flow is named by its five-tuple with the app as the
/// source.
pub trait Subject: Node {
    /// A word `key=value` of a `config` line; all of them come before anything else.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    fn configure(&mut self, key: &str, value: &str) -> Result<(), String>;

    /// A command of the script: `accept`, `refuse …`, `finish`, `reset`, or whatever else the
    /// subject knows.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    fn command(&mut self, now: Instant, flow: &FlowKey, words: &[&str]) -> Result<(), String>;

    /// The far side sends.
    fn write(&mut self, now: Instant, flow: &FlowKey, data: Bytes);

    /// The far side takes one piece of at most `max` bytes of what the app sent.
    fn read(&mut self, now: Instant, flow: &FlowKey, max: usize) -> Option<Bytes>;

    /// The next event, in words. `opening` is the one that means a new flow.
    fn poll_event(&mut self) -> Option<(FlowKey, String)>;

    /// What `name` is at present, for lines like `expect state ESTABLISHED`.
    fn query(&mut self, now: Instant, flow: &FlowKey, name: &str) -> Option<String>;
}

/// Why a script failed, and where.
#[derive(Debug)]
pub struct ScriptError {
    file: String,
    line: usize,
    message: String,
    /// What was sent and received before.
    trace: Vec<String>,
}

impl std::error::Error for ScriptError {}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}:{}: {}", self.file, self.line, self.message)?;
        for line in &self.trace {
            writeln!(f, "    | {line}")?;
        }
        Ok(())
    }
}
