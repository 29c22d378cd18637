//! A capture file of everything that passes the device.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use anyhow::{Context as _, Result};
use pseudotcp_packet::Packet;
use pseudotcp_pipeline::Direction;
use pseudotcp_tun::pcapng;
use tracing::error;

use crate::clock;

/// A capture in progress, or none.
#[derive(Debug)]
pub(super) struct Capture(Option<pcapng::Writer<BufWriter<File>>>);

impl Capture {
    /// Starts a capture where a file is named.
    pub(super) fn start(path: Option<&Path>) -> Result<Self> {
        let open = |path: &Path| {
            let file =
                File::create(path).and_then(|file| pcapng::Writer::new(BufWriter::new(file)));
            file.with_context(|| format!("creating the capture {}", path.display()))
        };
        path.map(open).transpose().map(Self)
    }

    /// Writes a packet. An error ends the capture, not the traffic.
    pub(super) fn observe(&mut self, direction: Direction, packet: &Packet) {
        let Some(writer) = &mut self.0 else { return };
        let direction = match direction {
            Direction::Out => pcapng::Direction::Outbound,
            Direction::In => pcapng::Direction::Inbound,
        };
        if let Err(error) = writer.write(clock::since_epoch(), direction, packet) {
            error!(%error, "the capture ends here");
            self.0 = None;
        }
    }
}
