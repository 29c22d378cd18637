//! What becomes of the apps' DNS.
#![expect(clippy::doc_markdown, reason = "doc comments here are the help, which is no Markdown")]

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use ipnet::IpNet;
use pseudotcp_dns::fake::{self, FakePool};
use pseudotcp_dns::proto::rr::Name;
use pseudotcp_masque::Transport;
use pseudotcp_pipeline::dns::Ipv6Answers;
use pseudotcp_pipeline::{Dns, KnownName, Names, dns};
use pseudotcp_resolver::{Config, Resolver, Server};
use tracing::warn;

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

/// The DNS stage, and where its fake addresses are kept between runs.
pub(super) struct Stage {
    pub(super) dns: Dns,
    fake_file: Option<PathBuf>,
}

impl Stage {
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

/// Puts the DNS stage in front of a transport, where one is wanted. A task of the current runtime
/// asks the servers.
pub(super) fn stage(
    args: &DnsArgs,
    has_ipv6: bool,
    names: &KnownNames,
    inner: Arc<dyn Transport>,
) -> Result<(Arc<dyn Transport>, Option<Stage>)> {
    if args.mode == Mode::Pass {
        return Ok((inner, None));
    }
    let resolver = Resolver::new(config(args)?, &inner).context("setting DNS up")?;
    let resolve = move |query| {
        let resolver = resolver.clone();
        Box::pin(async move { resolver.resolve(query).await }) as _
    };
    let (dns, service) = Dns::new(stage_config(args, has_ipv6)?, inner, resolve);
    tokio::spawn(service);
    if let Some(path) = &args.fake_file {
        // There is none before the first run.
        dns.restore(&fs::read_to_string(path).unwrap_or_default());
    }
    // There is one stage in a run, so nothing can be there.
    let _ = names.0.set(dns.clone());
    let stage = Stage { dns: dns.clone(), fake_file: args.fake_file.clone() };
    Ok((Arc::new(dns), Some(stage)))
}

fn stage_config(args: &DnsArgs, has_ipv6: bool) -> Result<dns::Config> {
    let mut interceptor = pseudotcp_dns::Config::default();
    if args.mode == Mode::Fake {
        interceptor = interceptor.fake_names(FAKE_NAMES);
    }
    for suffix in suffixes(&args.split) {
        let suffix =
            Name::from_utf8(suffix).with_context(|| format!("{suffix} is no domain name"))?;
        interceptor = interceptor.private_suffix(suffix);
    }
    let ipv6 = match args.ipv6 {
        Ipv6::Auto if has_ipv6 => Ipv6Answers::Auto,
        Ipv6::Keep => Ipv6Answers::Keep,
        Ipv6::Auto | Ipv6::Filter => Ipv6Answers::Filter,
    };
    Ok(dns::Config::default().interceptor(interceptor).ipv6(ipv6))
}

fn config(args: &DnsArgs) -> Result<Config> {
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
}
