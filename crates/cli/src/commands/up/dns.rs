//! What becomes of the apps' DNS.
#![expect(clippy::doc_markdown, reason = "doc comments here are the help, which is no Markdown")]

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use ipnet::IpNet;
use pseudotcp_dns::UpstreamQuery;
use pseudotcp_dns::fake::{self, FakePool};
use pseudotcp_dns::proto::rr::Name;
use pseudotcp_masque::Transport;
use pseudotcp_pipeline::dns::{Interception, Ipv6Answers};
use pseudotcp_pipeline::{Dns, Judge, KnownName, Names, dns};
use pseudotcp_resolver::{Config, Resolver, Server};
use tracing::warn;

use super::args::UpArgs;
use super::device;

/// Where servers listen that are named by their address alone.
const PORT: u16 = 53;

/// Who is asked unless servers are named: a public resolver that says it keeps no logs of who asked.
/// The last two also refuse names that are known for malware.
const DEFAULT_SERVERS: [&str; 4] = [
    "https://1.1.1.1/dns-query",
    "https://1.0.0.1/dns-query",
    "https://1.1.1.2/dns-query",
    "https://1.0.0.2/dns-query",
];

/// How many names have fake addresses at once.
const FAKE_NAMES: u32 = 65_536;

/// The options of DNS.
#[derive(Debug, Args)]
pub(crate) struct DnsArgs {
    /// What becomes of questions to port 53, whatever server they are sent to. "resolve": they are
    /// answered from memory, or by --dns-server through the proxy. "fake": addresses of 198.18.0.0/15
    /// and fd6b:9c3e:51d7::/96 stand for names, which the proxy resolves. "pass": nothing, they go
    /// through the proxy as any other flow.
    #[arg(id = "dns", long = "dns", value_name = "MODE", value_enum, default_value_t = Mode::Resolve)]
    mode: Mode,

    /// Ask this server, through the proxy: https://HOST/PATH (DNS over HTTPS; by GET where {?dns}
    /// follows), tls://HOST (DNS over TLS), or IP (plain DNS). @IP,IP at the end says where the host
    /// is, so that nobody has to look it up. May be given several times: later ones are asked when
    /// earlier ones fail or take long [default: https://1.1.1.1/dns-query, then 1.0.0.1, 1.1.1.2 and
    /// 1.0.0.2]
    #[arg(id = "dns-server", long = "dns-server", value_name = "SERVER")]
    servers: Vec<Server>,

    /// Ask this server for the names at and below SUFFIX, and no other; may be given several times.
    /// It is reached as other flows are: past the proxy where --direct covers it.
    #[arg(id = "dns-split", long = "dns-split", value_name = "SUFFIX=SERVER")]
    split: Vec<Split>,

    /// Do not answer questions to DNS servers in this network: they go through the proxy, or past it,
    /// as any other flow; may be given several times.
    #[arg(id = "dns-pass", long = "dns-pass", value_name = "CIDR")]
    left_alone: Vec<IpNet>,

    /// Send questions to DNS servers in this network to the server at ADDR instead, as they are; may be
    /// given several times.
    #[arg(id = "dns-redirect", long = "dns-redirect", value_name = "CIDR=ADDR")]
    redirected: Vec<Redirect>,

    /// Leave the list of DNS servers of this machine as it is. Otherwise it leads into the TUN while
    /// the program runs, where networks are routed there: in systemd-resolved where that runs, else in
    /// /etc/resolv.conf.
    #[arg(long)]
    no_host_dns: bool,

    /// Trust the authorities in this PEM file beside the system's, for servers by HTTPS or TLS.
    #[arg(id = "dns-ca", long = "dns-ca", value_name = "FILE")]
    extra_ca: Option<PathBuf>,

    /// Whether apps are told IPv6 addresses: auto means while the interface and the proxy have IPv6.
    #[arg(id = "dns-ipv6", long = "dns-ipv6", value_name = "WHEN", value_enum, default_value_t = Ipv6::Auto)]
    ipv6: Ipv6,

    /// Keep the fake addresses of names in this file from one run to the next.
    #[arg(id = "dns-fake-file", long = "dns-fake-file", value_name = "FILE")]
    fake_file: Option<PathBuf>,
}

/// What becomes of questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    Resolve,
    Fake,
    Pass,
}

/// When apps are told IPv6 addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Ipv6 {
    Auto,
    Keep,
    Filter,
}

/// The server for the names below a suffix.
#[derive(Clone, Debug)]
struct Split {
    suffix: String,
    server: Server,
}

impl FromStr for Split {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (suffix, server) = text.split_once('=').ok_or("must read SUFFIX=SERVER")?;
        let server = server.parse().map_err(|error| format!("{error}"))?;
        Ok(Self { suffix: suffix.to_owned(), server })
    }
}

/// The server that stands in for those of a network.
#[derive(Clone, Copy, Debug)]
struct Redirect {
    network: IpNet,
    server: SocketAddr,
}

impl FromStr for Redirect {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "must read CIDR=IP or CIDR=IP:PORT";
        let (network, server) = text.split_once('=').ok_or(FORM)?;
        let ip = server.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, PORT));
        let server = ip.or_else(|_| server.parse()).map_err(|_| FORM)?;
        Ok(Self { network: network.parse().map_err(|_| FORM)?, server })
    }
}

/// What the DNS stage stands on.
pub(super) struct Footing {
    /// Whether apps can reach the interface by IPv6.
    pub(super) has_ipv6: bool,
    /// The addresses at which this machine asks us.
    pub(super) own: Vec<IpAddr>,
    /// Who knows which names are reached past the proxy.
    pub(super) judge: Judge,
    /// The servers that this machine asks without us, for those names.
    pub(super) system: Vec<IpAddr>,
    /// The ways of apps' flows and of our own, and the way past the proxy.
    pub(super) apps: Arc<dyn Transport>,
    pub(super) ours: Arc<dyn Transport>,
    pub(super) direct: Arc<dyn Transport>,
}

/// The DNS stage, and where its fake addresses are kept between runs.
pub(super) struct Stage {
    pub(super) dns: Dns,
    fake_file: Option<PathBuf>,
}

impl Stage {
    /// The stage in front of the way of a shard's flows.
    pub(super) fn before(&self, way: Arc<dyn Transport>) -> Arc<dyn Transport> {
        Arc::new(self.dns.before(way))
    }

    /// Keeps the fake addresses for the next run, where that is wanted.
    pub(super) fn save(&self) {
        if let Some(path) = &self.fake_file
            && let Err(error) = fs::write(path, self.dns.fake_names())
        {
            warn!(%error, file = %path.display(), "cannot keep the fake addresses");
        }
    }
}

/// The names that the DNS stage knows, for a policy that is made before it.
#[derive(Clone, Default)]
pub(super) struct KnownNames(Arc<OnceLock<Dns>>);

impl Names for KnownNames {
    fn name(&self, address: IpAddr) -> Option<KnownName> {
        let name = self.0.get()?.name_of(address)?;
        Some(KnownName { name, is_stand_in: FakePool::contains(address) })
    }
}

/// The networks that have to enter the TUN for the sake of DNS.
pub(super) fn networks(args: &DnsArgs, has_ipv6: bool) -> Vec<IpNet> {
    match args.mode {
        Mode::Fake => fake::networks().filter(|net| has_ipv6 || net.addr().is_ipv4()).collect(),
        Mode::Resolve | Mode::Pass => Vec::new(),
    }
}

/// Whether questions are answered here.
pub(super) fn intercepts(args: &DnsArgs) -> bool {
    args.mode != Mode::Pass
}

/// The servers for this machine to ask, where its DNS shall lead into the TUN.
pub(super) fn host_servers(args: &UpArgs) -> Vec<IpAddr> {
    let is_wanted = match args.dns.mode {
        Mode::Resolve => !args.routes.is_empty(),
        Mode::Fake => true,
        Mode::Pass => false,
    };
    if !is_wanted || args.dns.no_host_dns {
        return Vec::new();
    }
    device::neighbours(&args.device)
}

/// Puts the DNS stage in front of the way of apps' flows, where one is wanted. A task of the current
/// runtime asks the servers.
pub(super) fn stage(args: &DnsArgs, names: &KnownNames, footing: Footing) -> Result<Option<Stage>> {
    if !intercepts(args) {
        return Ok(None);
    }
    let suffixes = SuffixSet::new(&args.split)?;
    let is_direct = direct_names(suffixes.clone(), &footing);
    let config = stage_config(args, suffixes, is_direct.clone(), &footing);
    let resolver =
        Resolver::new(resolver_config(args)?, &footing.ours).context("setting DNS up")?;
    let servers = footing.system.iter().map(|ip| SocketAddr::new(*ip, PORT).into());
    let system = Resolver::new(Config::new(servers), &footing.direct).context("setting DNS up")?;
    let resolve = move |query: UpstreamQuery| {
        let asked = if is_direct(&query.name) { &system } else { &resolver };
        let asked = asked.clone();
        Box::pin(async move { asked.resolve(query).await }) as _
    };
    let (dns, service) = Dns::new(config, footing.apps, resolve);
    tokio::spawn(service);
    if let Some(path) = &args.fake_file {
        // There is none before the first run.
        dns.restore(&fs::read_to_string(path).unwrap_or_default());
    }
    // There is one stage in a run, so nothing can be there.
    let _ = names.0.set(dns.clone());
    Ok(Some(Stage { dns, fake_file: args.fake_file.clone() }))
}

/// Tells which names this machine's own servers are asked for: those that the policy sends past the
/// proxy, as far as there are such servers and no other is named.
fn direct_names(
    suffixes: SuffixSet,
    footing: &Footing,
) -> impl Fn(&Name) -> bool + Clone + Send + Sync + use<> {
    let (judge, has_servers) = (footing.judge.clone(), !footing.system.is_empty());
    move |name| has_servers && !suffixes.contains(name) && judge.sends_direct(&name.to_ascii())
}

fn stage_config(
    args: &DnsArgs,
    suffixes: SuffixSet,
    is_direct: impl Fn(&Name) -> bool + Send + Sync + 'static,
    footing: &Footing,
) -> dns::Config {
    let mut interceptor = pseudotcp_dns::Config::default()
        .private_names(move |name| suffixes.contains(name) || is_direct(name));
    if args.mode == Mode::Fake {
        interceptor = interceptor.fake_names(FAKE_NAMES);
    }
    let ipv6 = match args.ipv6 {
        Ipv6::Auto if footing.has_ipv6 => Ipv6Answers::Auto,
        Ipv6::Keep => Ipv6Answers::Keep,
        Ipv6::Auto | Ipv6::Filter => Ipv6Answers::Filter,
    };
    let own = footing.own.iter().map(|ip| (IpNet::from(*ip), Interception::Answer));
    let alone = args.left_alone.iter().map(|net| (*net, Interception::LeaveAlone));
    let redirected =
        args.redirected.iter().map(|to| (to.network, Interception::Redirect(to.server)));
    let config = dns::Config::default().interceptor(interceptor).ipv6(ipv6);
    own.chain(alone)
        .chain(redirected)
        .fold(config, |config, (network, interception)| config.servers(network, interception))
}

fn resolver_config(args: &DnsArgs) -> Result<Config> {
    let servers = if args.servers.is_empty() {
        DEFAULT_SERVERS.iter().filter_map(|server| server.parse().ok()).collect()
    } else {
        args.servers.clone()
    };
    let mut config = Config::new(servers);
    for suffix in suffixes(&args.split) {
        let below = args.split.iter().filter(|split| split.suffix == suffix);
        config = config.suffix(suffix, below.map(|split| split.server.clone()));
    }
    if let Some(path) = &args.extra_ca {
        let pem = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        config = config.extra_ca(&pem);
    }
    Ok(config)
}

/// The names that have a server of their own.
#[derive(Clone)]
struct SuffixSet(Arc<[Name]>);

impl SuffixSet {
    fn new(split: &[Split]) -> Result<Self> {
        let name = |suffix: &str| {
            let name = Name::from_utf8(suffix);
            name.with_context(|| format!("{suffix} is no domain name"))
        };
        let names: Result<_> = suffixes(split).into_iter().map(name).collect();
        Ok(Self(names?))
    }

    fn contains(&self, name: &Name) -> bool {
        self.0.iter().any(|suffix| suffix.zone_of(name))
    }
}

/// Every suffix once.
fn suffixes(split: &[Split]) -> Vec<&str> {
    let mut suffixes: Vec<&str> = split.iter().map(|split| split.suffix.as_str()).collect();
    suffixes.sort_unstable();
    suffixes.dedup();
    suffixes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_servers_are_servers() {
        assert!(DEFAULT_SERVERS.iter().all(|server| server.parse::<Server>().is_ok()));
    }

    #[test]
    fn a_split_names_a_suffix_and_a_server() {
        let split: Split = "corp.example=10.0.0.53".parse().unwrap();
        assert_eq!(
            (split.suffix.as_str(), split.server),
            ("corp.example", "10.0.0.53".parse().unwrap())
        );
        assert!("corp.example".parse::<Split>().is_err());
        assert!("corp.example=nobody".parse::<Split>().is_err());
    }

    #[test]
    fn a_redirect_names_a_network_and_an_address() {
        let server = |text: &str| text.parse::<Redirect>().map(|to| to.server.to_string());
        assert_eq!(server("0.0.0.0/0=192.0.2.53").as_deref(), Ok("192.0.2.53:53"));
        assert_eq!(server("::/0=[2001:db8::53]:5353").as_deref(), Ok("[2001:db8::53]:5353"));
        for text in ["192.0.2.53", "0.0.0.0/0=dns.example", "192.0.2=192.0.2.53"] {
            assert!(server(text).is_err(), "{text}");
        }
    }
}
