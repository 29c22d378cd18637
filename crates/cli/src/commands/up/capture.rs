//! A capture file of everything that passes the device.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use pseudotcp_packet::Packet;
use pseudotcp_pipeline::Direction;
use pseudotcp_tun::pcapng;
use tracing::error;

use crate::clock;

/// A capture in progress, or none. Clones write to the same file.
#[derive(Clone, Debug)]
pub(super) struct Capture(Option<Arc<Mutex<Progress>>>);

/// The file, until an error ends the capture.
type Progress = Option<pcapng::Writer<BufWriter<File>>>;

impl Capture {
    /// Starts a capture where a file is named.
    pub(super) fn start(path: Option<&Path>) -> Result<Self> {
        let open = |path: &Path| {
            let file =
                File::create(path).and_then(|file| pcapng::Writer::new(BufWriter::new(file)));
            let file = file.with_context(|| format!("creating the capture {}", path.display()))?;
            Ok(Arc::new(Mutex::new(Some(file))))
        };
        path.map(open).transpose().map(Self)
    }

    /// Writes a packet. An error ends the capture, not the traffic.
    pub(super) fn observe(&self, direction: Direction, packet: &Packet) {
        let Some(progress) = &self.0 else { return };
        let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(writer) = &mut *progress else { return };
        let direction = match direction {
            Direction::Out => pcapng::Direction::Outbound,
            Direction::In => pcapng::Direction::Inbound,
        };
        if let Err(error) = writer.write(clock::since_epoch(), direction, packet) {
            error!(%error, "the capture ends here");
            *progress = None;
        }
    }
}
