//! systemd-resolved, told by D-Bus: org.freedesktop.resolve1(5).

use std::fs;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::timeout;
use tracing::{debug, warn};
use zbus::connection::Builder;
use zbus::fdo::DBusProxy;

use zbus::{Connection, OwnedObjectPath, proxy};

/// Numbers of address families, as the kernel has them (`AF_INET`, `AF_INET6`).
const V4: i32 = 2;
const V6: i32 = 10;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// All names: the root, for routing only and not for completing short names.
const ALL_NAMES: (&str, bool) = (".", true);

#[proxy(
    interface = "org.freedesktop.resolve1.Manager",
    default_service = "org.freedesktop.resolve1",
    default_path = "/org/freedesktop/resolve1"
)]
trait Manager {
    #[zbus(name = "SetLinkDNS")]
    fn set_link_dns(&self, link: i32, servers: &[(i32, Vec<u8>)]) -> zbus::Result<()>;
    fn set_link_domains(&self, link: i32, domains: &[(&str, bool)]) -> zbus::Result<()>;
    fn set_link_default_route(&self, link: i32, enable: bool) -> zbus::Result<()>;
    #[zbus(name = "SetLinkDNSOverTLS")]
    fn set_link_dns_over_tls(&self, link: i32, mode: &str) -> zbus::Result<()>;
    #[zbus(name = "SetLinkDNSSEC")]
    fn set_link_dnssec(&self, link: i32, mode: &str) -> zbus::Result<()>;
    fn flush_caches(&self) -> zbus::Result<()>;
    fn get_link(&self, link: i32) -> zbus::Result<OwnedObjectPath>;
}

#[proxy(interface = "org.freedesktop.resolve1.Link", default_service = "org.freedesktop.resolve1")]
trait Link {
    #[zbus(property(emits_changed_signal = "false"), name = "DNS")]
    fn dns(&self) -> zbus::Result<Vec<(i32, Vec<u8>)>>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn domains(&self) -> zbus::Result<Vec<(String, bool)>>;
}

/// What systemd-resolved knows of one link. It forgets all of it with the link.
pub(crate) struct Resolved {
    connection: Connection,
    link: i32,
}

impl Resolved {
    /// Finds systemd-resolved; nothing where it does not run in our network namespace.
    pub(crate) async fn connect(link: u32) -> Option<Self> {
        match timeout(PATIENCE, Self::find(link)).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => {
                debug!(%error, "no systemd-resolved");
                None
            }
            Err(_) => {
                warn!("the system's D-Bus does not answer; systemd-resolved is not told");
                None
            }
        }
    }

    async fn find(link: u32) -> zbus::Result<Option<Self>> {
        let connection = Builder::system().method_timeout(PATIENCE).build().await?;
        let bus = DBusProxy::new(&connection).await?;
        let name = "org.freedesktop.resolve1".try_into()?;
        let process = bus.get_connection_unix_process_id(name).await?;
        // The bus may reach further than the network; there the link's number is another's.
        let namespace = |process: String| fs::read_link(format!("/proc/{process}/ns/net"));
        let (theirs, ours) = (namespace(process.to_string())?, namespace("self".to_owned())?);
        let link = i32::try_from(link).ok().filter(|_| theirs == ours);
        Ok(link.map(|link| Self { connection, link }))
    }

    /// Makes `servers` those that are asked for all names, in clear: they are inside this machine.
    pub(crate) async fn set(&self, servers: &[IpAddr]) -> zbus::Result<()> {
        let manager = ManagerProxy::new(&self.connection).await?;
        manager.set_link_dns(self.link, &wire(servers)).await?;
        manager.set_link_domains(self.link, &[ALL_NAMES]).await?;
        manager.set_link_default_route(self.link, true).await?;
        manager.set_link_dns_over_tls(self.link, "no").await?;
        manager.set_link_dnssec(self.link, "no").await?;
        manager.flush_caches().await
    }

    /// Whether that is so.
    pub(crate) async fn has(&self, servers: &[IpAddr]) -> bool {
        self.read().await.is_ok_and(|(found, domains)| {
            found == wire(servers)
                && domains.iter().any(|(name, is_route)| (name.as_str(), *is_route) == ALL_NAMES)
        })
    }

    async fn read(&self) -> zbus::Result<(Vec<(i32, Vec<u8>)>, Vec<(String, bool)>)> {
        let path = ManagerProxy::new(&self.connection).await?.get_link(self.link).await?;
        let link = LinkProxy::builder(&self.connection).path(path).build().await?;
        Ok((link.dns().await?, link.domains().await?))
    }
}

/// Addresses as the interface wants them.
fn wire(servers: &[IpAddr]) -> Vec<(i32, Vec<u8>)> {
    let wire = |server: &IpAddr| match server {
        IpAddr::V4(v4) => (V4, v4.octets().to_vec()),
        IpAddr::V6(v6) => (V6, v6.octets().to_vec()),
    };
    servers.iter().map(wire).collect()
}
