//! Worlds that leave a capture of their last packets when they fail.

use std::fs::File;
use std::io::{self, BufWriter};
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};

use pseudotcp_testkit::{End, Node, World};
use pseudotcp_tun::pcapng::{Direction, Writer};

/// A world that writes a pcapng file and prints its path when it is dropped by a panic.
pub(crate) struct Recorded<A: Node, B: Node> {
    world: World<A, B>,
    file: PathBuf,
}

impl<A: Node, B: Node> Recorded<A, B> {
    /// The file is named after the test and the seed.
    pub(crate) fn new(world: World<A, B>, seed: u64) -> Self {
        let thread = std::thread::current();
        let test = thread.name().unwrap_or("world").replace("::", "-");
        let name = format!("{test}-{seed}.pcapng");
        Self { world, file: Path::new(env!("CARGO_TARGET_TMPDIR")).join(name) }
    }

    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    fn write(&self) -> io::Result<()> {
        let mut writer = Writer::new(BufWriter::new(File::create(&self.file)?))?;
        for (at, sender, packet) in self.world.packets() {
            let direction = if sender == End::A { Direction::Outbound } else { Direction::Inbound };
            writer.write(at, direction, packet)?;
        }
        writer.flush()
    }
}

impl<A: Node, B: Node> Deref for Recorded<A, B> {
    type Target = World<A, B>;

    fn deref(&self) -> &Self::Target {
        &self.world
    }
}

impl<A: Node, B: Node> DerefMut for Recorded<A, B> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.world
    }
}

impl<A: Node, B: Node> Drop for Recorded<A, B> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            match self.write() {
                Ok(()) => println!("its packets: {}", self.file.display()),
                Err(error) => println!("no capture: {error}"),
            }
        }
    }
}
