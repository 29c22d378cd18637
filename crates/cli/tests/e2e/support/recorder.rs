//! The last packets of a data path, kept for the case that the test fails.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use pseudotcp_packet::Packet;
use pseudotcp_pipeline::Direction;
use pseudotcp_tun::pcapng::{self, Writer};

use super::clock;

/// The most packets kept; each may keep a buffer of 64 KiB alive.
const REMEMBERED: usize = 1_000;

/// Remembers packets; a clone is another handle to the same memory.
#[derive(Clone)]
pub(crate) struct Recorder {
    began: Instant,
    packets: Arc<Mutex<VecDeque<(Instant, Direction, Packet)>>>,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        Self { began: clock::now(), packets: Arc::default() }
    }

    /// One more packet.
    pub(crate) fn note(&self, direction: Direction, packet: &Packet) {
        let mut packets = self.packets.lock().unwrap_or_else(PoisonError::into_inner);
        if packets.len() == REMEMBERED {
            packets.pop_front();
        }
        packets.push_back((clock::now(), direction, packet.clone()));
    }

    /// Writes what is remembered as a pcapng file, named after the test.
    pub(crate) fn write(&self) -> io::Result<PathBuf> {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("world").replace("::", "-");
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.pcapng"));
        let mut writer = Writer::new(BufWriter::new(File::create(&path)?))?;
        let packets = self.packets.lock().unwrap_or_else(PoisonError::into_inner);
        for (at, direction, packet) in packets.iter() {
            let direction = match direction {
                Direction::Out => pcapng::Direction::Outbound,
                Direction::In => pcapng::Direction::Inbound,
            };
            writer.write(*at - self.began, direction, packet)?;
        }
        writer.flush()?;
        Ok(path)
    }
}

#[test]
fn what_is_noted_can_be_read_again() {
    let recorder = Recorder::new();
    let datagram = pseudotcp_packet::build::datagram(
        ([10, 0, 0, 1], 1_000).into(),
        ([10, 0, 0, 2], 2_000).into(),
        bytes::Bytes::from_static(b"payload"),
        None,
    );
    recorder.note(Direction::Out, &datagram.expect("a datagram"));
    let path = recorder.write().expect("a file");
    let capture = std::fs::read(&path).expect("the capture");
    std::fs::remove_file(path).expect("remove it");
    assert!(capture.starts_with(&[0x0a, 0x0d, 0x0d, 0x0a]), "{capture:?}");
    assert!(capture.windows(7).any(|window| window == b"payload"), "{capture:?}");
}
