use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _};
use inotify::{EventOwned, EventStream, Inotify, WatchMask, Watches};
use tokio::time::sleep;
use tracing::debug;

/// Programs change a file in several steps; after so long they are done.
const BURST: Duration = Duration::from_millis(100);

/// Octets of events that are read at once; one with the longest name fits.
const EVENTS: usize = 1_024;

/// Tells when a file may have changed: inotify(7).
pub(super) struct Changes {
    events: EventStream<[u8; EVENTS]>,
    watches: Watches,
    path: PathBuf,
    /// Whether something has changed that nobody was told of.
    news: bool,
}

impl Changes {
    /// Begins to watch a file, which need not exist, and its folder, which must.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let inotify = Inotify::init()?;
        let mut watches = inotify.watches();
        let folder = path.parent().unwrap_or(Path::new("/"));
        watches.add(folder, WatchMask::CREATE | WatchMask::DELETE | WatchMask::MOVE)?;
        let events = inotify.into_event_stream([0; EVENTS])?;
        let mut changes = Self { events, watches, path: path.to_owned(), news: false };
        changes.watch_file();
        Ok(changes)
    }

    /// Waits until the file was written, replaced or removed. Nothing is lost when this is dropped
    /// meanwhile.
    pub(super) async fn changed(&mut self) -> io::Result<()> {
        while !self.news {
            self.news = self.hear().await?;
        }
        sleep(BURST).await;
        while self.hear().now_or_never().transpose()?.is_some() {}
        // It may be another file by now, which must be watched before anybody reads it.
        self.watch_file();
        self.news = false;
        Ok(())
    }

    /// Takes what the kernel tells next; says whether it concerns the file.
    async fn hear(&mut self) -> io::Result<bool> {
        let event = self.events.next().await.transpose()?;
        event.map(|event| self.concerns(&event)).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// The folder does not tell of a file that is written where it is mounted.
    fn watch_file(&mut self) {
        let written = WatchMask::ATTRIB | WatchMask::CLOSE_WRITE;
        if let Err(error) = self.watches.add(&self.path, written) {
            debug!(%error, file = %self.path.display(), "not watched");
        }
    }

    /// Events of the file itself bear no name.
    fn concerns(&self, event: &EventOwned) -> bool {
        event.name.as_deref().is_none_or(|name: &OsStr| self.path.file_name() == Some(name))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use tokio::time::timeout;

    use super::*;

    /// Whether a change is told of, soon and once.
    async fn hears(changes: &mut Changes) -> bool {
        let told = timeout(Duration::from_secs(5), changes.changed()).await;
        told.is_ok_and(|told| told.is_ok()) && is_silent(changes).await
    }

    /// Whether nothing is heard while the kernel could tell of it.
    async fn is_silent(changes: &mut Changes) -> bool {
        timeout(BURST / 2, changes.changed()).await.is_err() && !changes.news
    }

    #[tokio::test]
    async fn whatever_happens_to_the_file_is_heard_and_nothing_else_is() {
        let folder = std::env::temp_dir().join(format!("pseudotcp-changes-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (file, other) = (folder.join("resolv.conf"), folder.join("other"));
        let mut changes = Changes::of(&file).unwrap();
        for _ in 0..2 {
            fs::write(&file, "created").unwrap();
            assert!(hears(&mut changes).await);
            fs::write(&file, "written").unwrap();
            assert!(hears(&mut changes).await);
            fs::write(&other, "moved here").unwrap();
            fs::rename(&other, &file).unwrap();
            assert!(hears(&mut changes).await);
            fs::write(&file, "the new file was written").unwrap();
            assert!(hears(&mut changes).await);
            fs::remove_file(&file).unwrap();
            assert!(hears(&mut changes).await);
            symlink(&other, &file).unwrap();
            assert!(hears(&mut changes).await);
            fs::remove_file(&file).unwrap();
            assert!(hears(&mut changes).await);
        }
        fs::write(&other, "nobody's business").unwrap();
        assert!(is_silent(&mut changes).await);
        fs::remove_dir_all(&folder).unwrap();
    }
}
