//! The machine's DNS: its list of servers, in whichever of two places it is kept.

mod changes;
mod looks;
mod resolv_conf;
mod resolved;

use std::fs;
use std::future::pending;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context as _, Result};
use tokio::time::sleep_until;
use tracing::{debug, warn};

pub(crate) use self::looks::Looks;
pub(crate) use self::resolv_conf::Former;

use self::changes::Changes;
use self::resolv_conf::ResolvConf;
use self::resolved::Resolved;
use super::journal::{Entry, Journal};

/// Where systemd-resolved tells the servers that it asks, whoever asks it.
const UPLINKS: &str = "/run/systemd/resolve/resolv.conf";

/// The DNS settings of this machine, or of this network namespace, while they lead to us.
pub(crate) struct HostDns {
    servers: Vec<IpAddr>,
    resolved: Option<Resolved>,
    /// None where all that read the file ask systemd-resolved, or where it is not ours to change.
    file: Option<ResolvConf>,
    /// None where the kernel does not tell of changes to the file.
    changes: Option<Changes>,
}

impl HostDns {
    /// Makes `servers`, which are behind the link, those that this machine asks for all names.
    pub(crate) async fn set(
        link: u32,
        servers: Vec<IpAddr>,
        journal: &mut Journal,
    ) -> Result<Self> {
        let resolved = Resolved::connect(link).await;
        let file = ResolvConf::of_the_system();
        let leads_to_resolved = resolved.is_some() && file.names_the_stub();
        let file = if leads_to_resolved { None } else { own(file) };
        let changes = file.as_ref().and_then(|file| watch(file.path()));
        let dns = Self { servers, resolved, file, changes };
        dns.apply(journal).await?;
        Ok(dns)
    }

    /// Waits until it is time for a look: when the file has changed, and from time to time where nobody
    /// tells of changes.
    pub(crate) async fn doubt(&mut self, looks: Looks) {
        sleep_until(looks.not_before).await;
        let untold = self.resolved.is_some() || self.file.is_some() && self.changes.is_none();
        let due = looks.must || untold;
        let changed = async {
            match &mut self.changes {
                Some(changes) => changes.changed().await,
                None => pending().await,
            }
        };
        tokio::select! {
            changed = changed => if let Err(error) = changed {
                warn!(%error, "cannot watch the list of DNS servers");
                self.changes = None;
            },
            () = sleep_until(looks.at), if due => {}
        }
    }

    /// Puts everything back as [`set`](Self::set) made it, where somebody has changed it; says
    /// whether somebody had.
    pub(crate) async fn renew(&self, journal: &mut Journal) -> Result<bool> {
        let in_place = self.is_in_place().await;
        if !in_place {
            self.apply(journal).await?;
        }
        Ok(!in_place)
    }

    async fn apply(&self, journal: &mut Journal) -> Result<()> {
        if let Some(resolved) = &self.resolved {
            resolved.set(&self.servers).await.context("telling systemd-resolved")?;
        }
        if let Some(file) = &self.file {
            let what = || format!("writing {}", file.path().display());
            // Recorded first: it must not get lost.
            if let Some(former) = file.former().with_context(what)? {
                journal.add(Entry::Dns(former));
            }
            file.set(&self.servers).with_context(what)?;
        }
        Ok(())
    }

    async fn is_in_place(&self) -> bool {
        if let Some(resolved) = &self.resolved
            && !resolved.has(&self.servers).await
        {
            return false;
        }
        self.file.as_ref().is_none_or(|file| file.has(&self.servers))
    }
}

/// What tells of changes to a file.
fn watch(path: &Path) -> Option<Changes> {
    let changes = Changes::of(path);
    if let Err(error) = &changes {
        debug!(%error, "no inotify; the file is looked at from time to time");
    }
    changes.ok()
}

/// Puts the list of servers back that was there before us.
pub(crate) fn restore(former: &Former) -> Result<()> {
    let file = ResolvConf::of_the_system();
    file.restore(former).with_context(|| format!("restoring {}", file.path().display()))
}

/// The servers that this machine asks without us: those of the list that was replaced, or else that
/// is there.
pub(crate) fn servers_without_us(journal: &Journal) -> Vec<IpAddr> {
    let file = ResolvConf::of_the_system();
    let text = match (journal.former_dns(), file.former()) {
        (Some(former), Ok(None)) => former.text(),
        _ => file.read(),
    };
    let servers = resolv_conf::servers(&text);
    if servers.iter().any(resolv_conf::is_stub) {
        return resolv_conf::servers(&ResolvConf::at(UPLINKS).read());
    }
    servers
}

/// The file, unless it is that of other network namespaces as well.
fn own(file: ResolvConf) -> Option<ResolvConf> {
    if is_shared(file.path()) {
        warn!(
            file = %file.path().display(),
            "is that of the whole machine, not of this network namespace; its DNS is left as it is"
        );
        return None;
    }
    Some(file)
}

/// Whether we are in another network namespace than the machine's first process, which has the same
/// file. What cannot be found out is not so.
fn is_shared(path: &Path) -> bool {
    let namespace = |process: &str| fs::read_link(format!("/proc/{process}/ns/net"));
    let file = |path: &Path| fs::metadata(path).map(|file| (file.dev(), file.ino()));
    let Ok(first) = namespace("1") else {
        debug!("the machine's own network namespace is not known");
        return false;
    };
    let theirs = Path::new("/proc/1/root").join(path.strip_prefix("/").unwrap_or(path));
    let (ours, theirs) = (file(path), file(&theirs));
    namespace("self").is_ok_and(|own| own != first)
        && matches!((ours, theirs), (Ok(ours), Ok(theirs)) if ours == theirs)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, timeout};

    use super::*;

    /// After how many seconds a list is looked at of which the kernel tells, and nothing happens.
    async fn looked_at_after(looks: Looks) -> Option<u64> {
        let folder = std::env::temp_dir();
        let file = ResolvConf::at(folder.join(format!("pseudotcp-looks-{}", std::process::id())));
        let changes = watch(file.path());
        assert!(changes.is_some(), "inotify");
        let mut dns = HostDns { servers: Vec::new(), resolved: None, file: Some(file), changes };
        let began = Instant::now();
        let doubted = timeout(Duration::from_hours(1), dns.doubt(looks)).await;
        doubted.ok().map(|()| began.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn what_could_not_be_set_is_tried_again_though_nobody_tells() {
        let mut looks = Looks::begin();
        assert_eq!(looked_at_after(looks).await, None);
        looks.found_broken();
        assert_eq!(looked_at_after(looks).await, Some(6));
        looks.found_broken();
        assert_eq!(looked_at_after(looks).await, Some(12));
        looks.found_in_place();
        assert_eq!(looked_at_after(looks).await, None);
    }
}
