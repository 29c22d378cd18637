use std::convert::Infallible;
use std::fmt;
use std::future::pending;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::time::sleep;
use tracing::{debug, warn};

use super::dns::{self, HostDns, Looks};
use super::journal::{Entry, Journal};
use super::plan::{Step, Via, Wanted, pins, steps, way_beside};
use super::{Netlink, Pinning, Watch, Way};

/// When the kernel's routes are asked for again, where that has failed.
const PAUSE: Duration = Duration::from_mins(1);

/// To how many addresses of the proxy ways are pinned at the most.
const MOST_ADDRESSES: usize = 256;

/// What the program has set on this machine, so that it can be taken back.
pub(crate) struct HostSetup {
    netlink: Netlink,
    journal: Journal,
    dns: Option<HostDns>,
    wanted: Option<Wanted>,
    /// The proxy's addresses that are not this machine's own, and what keeps the way to them.
    addresses: Vec<IpAddr>,
    pins: Vec<Step>,
}

impl HostSetup {
    /// Takes over what a killed run has left; nothing else is set yet.
    pub(crate) fn new() -> Result<Self> {
        let netlink = Netlink::connect().context("opening a netlink socket")?;
        let journal = Journal::open().context("reading what a killed run has left")?;
        let (addresses, pins) = (Vec::new(), Vec::new());
        Ok(Self { netlink, journal, dns: None, wanted: None, addresses, pins })
    }

    /// Whether nothing is set.
    pub(crate) fn is_empty(&self) -> bool {
        self.journal.is_empty()
    }

    /// The process ids of other runs in this network namespace.
    pub(crate) fn others(&self) -> &[String] {
        self.journal.others()
    }

    /// Whether packets with this mark, if any, have a way to all of these addresses.
    pub(crate) async fn reaches(&self, addresses: &[IpAddr], mark: Option<u32>) -> bool {
        for address in addresses {
            if self.netlink.way(*address, mark).await.is_err() {
                return false;
            }
        }
        true
    }

    /// The ways that packets to these addresses take now; an address without one is left out.
    pub(crate) async fn ways(&self, addresses: &[IpAddr]) -> Vec<Way> {
        let mut ways = Vec::new();
        for address in addresses {
            match self.netlink.way(*address, None).await {
                Ok(way) => ways.push(way),
                Err(error) => debug!(%address, %error, "no way to the proxy's address"),
            }
        }
        ways
    }

    /// The index of the interface called `name`.
    pub(crate) async fn link(&self, name: &str) -> Result<u32> {
        self.netlink.link(name).await.with_context(|| format!("finding the interface {name}"))
    }

    /// Sets what is wanted. What was set before an error still has to be taken back.
    pub(crate) async fn apply(&mut self, wanted: Wanted) -> Result<()> {
        for step in steps(&wanted) {
            match self.netlink.set(&step).await {
                Ok(()) => self.journal.add(Entry::Step(step)),
                Err(error)
                    if error.kind() == io::ErrorKind::AlreadyExists && !enters(&step, &wanted) =>
                {
                    let is_ours = self.journal.has(&step);
                    debug!(%step, is_ours, "is there already");
                }
                Err(error) => return Err(error).with_context(|| format!("setting {step}")),
            }
        }
        let foreign = wanted.ways.iter().filter(|way| !way.is_local);
        self.addresses = foreign.map(|way| way.address).collect();
        self.pins = pins(&wanted);
        self.wanted = Some(wanted);
        Ok(())
    }

    /// Makes `servers`, which are behind the link, those that this machine asks.
    pub(crate) async fn set_dns(&mut self, link: u32, servers: Vec<IpAddr>) -> Result<()> {
        let dns = HostDns::set(link, servers, &mut self.journal).await;
        self.dns = Some(dns.context("setting this machine's DNS (--no-host-dns leaves it alone)")?);
        Ok(())
    }

    /// Sees to it that everything stays as it was set, whatever others do, and that the way to every
    /// address of the proxy is pinned before it is dialled; without end. `moved` is called when the way to
    /// the proxy is another one, or was lost for a moment.
    pub(crate) async fn keep(
        &mut self,
        mut watch: Watch,
        pinning: &Pinning,
        moved: impl Fn(),
    ) -> Infallible {
        let mut requests = pinning.requests();
        let mut looks = Looks::begin();
        loop {
            tokio::select! {
                () = doubt(self.dns.as_mut(), looks) => self.renew_dns(&mut looks).await,
                Some((address, done)) = requests.recv() => {
                    self.lead_past(address).await;
                    let _or_nobody_waits = done.send(());
                }
                changed = watch.changed() => match changed.and(self.follow().await) {
                    Ok(true) => moved(),
                    Ok(false) => {}
                    Err(error) => {
                        warn!(%error, "cannot follow the kernel's routes");
                        sleep(PAUSE).await;
                    }
                }
            }
        }
    }

    /// Keeps packets to an address that the proxy has now out of the TUN.
    async fn lead_past(&mut self, address: IpAddr) {
        let is_known = self.addresses.contains(&address) || self.addresses.len() >= MOST_ADDRESSES;
        if is_known || self.netlink.way(address, None).await.is_ok_and(|way| way.is_local) {
            return;
        }
        self.addresses.push(address);
        if let Err(error) = self.follow().await {
            warn!(%address, %error, "the way to the proxy cannot be pinned");
        }
    }

    /// Sees to it that the machine's DNS leads to us.
    async fn renew_dns(&mut self, looks: &mut Looks) {
        let Some(dns) = &self.dns else { return };
        match dns.renew(&mut self.journal).await {
            Ok(false) => looks.found_in_place(),
            Ok(true) => {
                warn!("somebody changed this machine's DNS; it was set again");
                looks.found_changed();
            }
            Err(error) => {
                warn!("this machine's DNS cannot be set again: {error:#}");
                looks.found_broken();
            }
        }
    }

    /// Pins the ways to the proxy anew, after routes have changed: the kernel forgets a route with its
    /// link, and another network has another gateway. Tells whether any way has changed, or was lost
    /// for a moment.
    async fn follow(&mut self) -> io::Result<bool> {
        let Some(before) = &self.wanted else { return Ok(false) };
        let known = self.netlink.routes().await?;
        let way = |address: &IpAddr| way_beside(&known, before.tun, &self.pins, *address);
        let ways = self.addresses.iter().filter_map(way).collect();
        let now = Wanted { ways, ..before.clone() };
        let changed = now.ways != before.ways;
        let mut pinned = false;
        for pin in pins(&now) {
            pinned |= self.pin_anew(pin).await;
        }
        self.wanted = Some(now);
        Ok(changed || pinned)
    }

    /// Tells whether the pin was missing. One without a successor stays: it may still lead somewhere,
    /// and without it packets would enter the TUN.
    async fn pin_anew(&mut self, pin: Step) -> bool {
        if let Some(at) = self.pins.iter().position(|other| replaces(&pin, other)) {
            let other = self.pins.swap_remove(at);
            if let Err(error) = self.netlink.unset(&other).await {
                debug!(pin = %other, %error, "cannot take back");
            }
        }
        match self.netlink.set(&pin).await {
            Ok(()) => {
                if !self.journal.has(&pin) {
                    self.journal.add(Entry::Step(pin.clone()));
                }
                if !self.pins.contains(&pin) {
                    self.pins.push(pin);
                }
                true
            }
            Err(error) => {
                if error.kind() != io::ErrorKind::AlreadyExists {
                    debug!(%pin, %error, "cannot pin");
                }
                false
            }
        }
    }

    /// The DNS servers that this machine asks without us.
    pub(crate) fn servers_without_us(&self) -> Vec<IpAddr> {
        dns::servers_without_us(&self.journal)
    }

    /// Takes back what was set, the last thing first. What resists stays in the journal; says whether
    /// nothing does.
    pub(crate) async fn take_back(&mut self) -> bool {
        self.dns = None;
        let mut kept = Vec::new();
        while let Some(entry) = self.journal.pop() {
            if let Err(error) = self.undo(&entry).await {
                warn!("cannot take {entry} back: {error:#}");
                kept.push(entry);
            }
        }
        kept.into_iter().rev().for_each(|entry| self.journal.add(entry));
        self.journal.is_empty()
    }

    async fn undo(&self, entry: &Entry) -> Result<()> {
        match entry {
            Entry::Step(step) => Ok(self.netlink.unset(step).await?),
            Entry::Dns(former) => dns::restore(former),
        }
    }
}

/// Waits until the machine's DNS is to be looked at; without end where it does not lead to us.
async fn doubt(dns: Option<&mut HostDns>, looks: Looks) {
    match dns {
        Some(dns) => dns.doubt(looks).await,
        None => pending().await,
    }
}

/// Whether a step leads into the TUN: such a route by another interface must not be mistaken for it.
fn enters(step: &Step, wanted: &Wanted) -> bool {
    matches!(step, Step::Route(route) if route.via == Via::Link(wanted.tun, None))
}

/// Whether a pin leads to the same address as another one, in another way.
fn replaces(pin: &Step, other: &Step) -> bool {
    matches!((pin, other), (Step::Route(pin), Step::Route(other))
        if pin.network == other.network && pin != other)
}

/// As a person would name it.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Step(step) => step.fmt(f),
            Self::Dns(_) => f.write_str("the machine's DNS"),
        }
    }
}

/// As a person would name it.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Route(route) => write!(f, "the route to {}", route.network),
            Self::Rule(rule) if rule.is_ipv6 => write!(f, "the IPv6 rule {}", rule.priority),
            Self::Rule(rule) => write!(f, "the IPv4 rule {}", rule.priority),
        }
    }
}
