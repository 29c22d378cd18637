//! From the command line to a MASQUE client.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use pseudotcp_masque::Target;
use pseudotcp_masque_h2::{Auth, Client, Config, ConfigError, Proxies};
use tokio::net::lookup_host;

use super::args::UpArgs;
use super::proxy_args::{CredentialArgs, ProxyArgs, TrustArgs};
use crate::congestion::CongestionControl;
use crate::failure::usage;
use crate::secret::Secret;
use crate::setup::linux::Pinning;

/// The environment variables that stand for `--token` and `--basic`.
const TOKEN_VARIABLE: &str = "PSEUDOTCP_TOKEN";
const BASIC_VARIABLE: &str = "PSEUDOTCP_BASIC";

/// The proxies, once for each shard, and the addresses of those that this machine itself reaches.
pub(super) async fn configure(
    args: &UpArgs,
    shards: u8,
    pinning: &Pinning,
) -> Result<(Vec<Proxies>, Vec<IpAddr>)> {
    let last = args.proxy.hops.len() - 1;
    let mut addresses = Vec::new();
    let mut reached: Vec<Option<Proxies>> = vec![None; shards.into()];
    for (hop, urls) in args.proxy.hops.iter().enumerate() {
        let mut configs = Vec::new();
        for url in urls.split(',') {
            let config = configure_one(args, url, hop, pinning)?.one_of(shards);
            configs.push(match hop {
                0 => reach(config, url, args, &mut addresses).await?,
                _ => config,
            });
        }
        let weights = if hop == last { &args.proxy.spread[..] } else { &[] };
        for proxies in &mut reached {
            *proxies = Some(next_hop(proxies.as_ref(), &configs, weights)?);
        }
    }
    let proxies: Option<Vec<_>> = reached.into_iter().collect();
    Ok((proxies.ok_or_else(|| usage("--proxy is missing"))?, addresses))
}

/// One proxy, as far as it does not matter how it is reached.
fn configure_one(args: &UpArgs, url: &str, hop: usize, pinning: &Pinning) -> Result<Config> {
    let count = args.proxy.hops.len();
    let config = Config::new(url).map_err(wrong)?;
    let config = config.max_connections(args.proxy.max_connections.get());
    let config = trust(config, &args.trust, hop, count)?;
    let config = authorize(config, &args.credentials, hop, count)?;
    let config = if hop + 1 == count { speak(config, &args.proxy)? } else { config };
    let pinning = pinning.clone();
    Ok(config.before_dial(move |address| pinning.clone().pin(address)))
}

/// The proxies of a hop, reached through those of the one before.
fn next_hop(before: Option<&Proxies>, configs: &[Config], weights: &[u32]) -> Result<Proxies> {
    let client = |config: &Config| {
        let config = config.clone();
        Client::new(match before {
            Some(before) => config.through(Arc::new(before.clone())),
            None => config,
        })
    };
    let clients = configs.iter().map(client).collect::<Result<_, _>>().map_err(wrong)?;
    choose(clients, weights)
}

/// The first client that works, or all of them by weight.
fn choose(clients: Vec<Client>, weights: &[u32]) -> Result<Proxies> {
    if weights.is_empty() {
        return Ok(Proxies::ordered(clients));
    }
    if weights.len() != clients.len() {
        return Err(usage("--spread must give one weight for each URL of the last --proxy"));
    }
    Ok(Proxies::weighted(clients.into_iter().zip(weights.iter().copied())))
}

/// How a proxy is reached that no other one leads to.
async fn reach(
    config: Config,
    url: &str,
    args: &UpArgs,
    addresses: &mut Vec<IpAddr>,
) -> Result<Config> {
    let found = resolve(url).await?;
    let config = config.addresses(found.iter().copied());
    addresses.extend(found);
    let config = args.mark.into_iter().fold(config, Config::mark);
    let congestion = args.congestion_control.iter().map(CongestionControl::name);
    let config = congestion.fold(config, Config::congestion_control);
    Ok(args.proxy.bind_device.iter().fold(config, |config, name| config.device(name)))
}

/// How the last hop is spoken with.
fn speak(config: Config, args: &ProxyArgs) -> Result<Config> {
    let config = config
        .tcp_dialect(args.tcp_dialect.into())
        .udp_dialect(args.udp_dialect.into())
        .half_close(args.half_close.into());
    let config = if args.early_datagrams { config.early_datagrams() } else { config };
    let config = match &args.udp_template {
        Some(template) => config.udp_template(template).map_err(wrong)?,
        None => config,
    };
    let config = match &args.server_name {
        Some(name) => config.server_name(name).map_err(wrong)?,
        None => config,
    };
    if args.low_latency.is_empty() {
        return Ok(config);
    }
    let hosts = args.low_latency.clone();
    Ok(config.low_latency(move |target| {
        hosts.iter().any(|host| Target::host(host, target.port()) == *target)
    }))
}

/// What an option says of one hop: what is given once holds for all.
fn of_hop<'a, T>(values: &'a [T], hop: usize, hops: usize, option: &str) -> Result<Option<&'a T>> {
    match values.len() {
        0 => Ok(None),
        1 => Ok(values.first()),
        count if count == hops => Ok(values.get(hop)),
        _ => Err(usage(format!("{option} must be given once, or once for each --proxy"))),
    }
}

/// What the configuration refuses, the command line has got wrong.
fn wrong(error: ConfigError) -> anyhow::Error {
    usage(format!("{:#}", anyhow::Error::from(error)))
}

fn trust(config: Config, args: &TrustArgs, hop: usize, hops: usize) -> Result<Config> {
    let config = if args.log_keys { config.log_keys() } else { config };
    if args.insecure {
        return Ok(config.insecure());
    }
    if let Some(path) = of_hop(&args.pin, hop, hops, "--pin")? {
        return config.pin(&read(path)?).map_err(wrong);
    }
    if let Some(hash) = of_hop(&args.pin_key, hop, hops, "--pin-key")? {
        return config.pin_key(hash).map_err(wrong);
    }
    match of_hop(&args.ca, hop, hops, "--ca")? {
        Some(path) => config.extra_ca(&read(path)?).map_err(wrong),
        None => Ok(config),
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("reading {}", path.display()))
}

fn authorize(config: Config, args: &CredentialArgs, hop: usize, hops: usize) -> Result<Config> {
    let config = match credentials(args, hop, hops)? {
        Some(auth) => config.auth(&auth).map_err(wrong)?,
        None => config,
    };
    let config = match (&args.client_cert, &args.client_key) {
        (Some(chain), Some(key)) => {
            config.client_certificate(&read(chain)?, &read(key)?).map_err(wrong)?
        }
        _ => config,
    };
    args.headers.iter().try_fold(config, |config, header| {
        let Some((name, value)) = header.split(':') else {
            return Err(usage("--header must read 'NAME: VALUE'"));
        };
        config.header(name.trim(), value.trim()).map_err(wrong)
    })
}

/// The credentials of the command line, or else of the environment.
fn credentials(args: &CredentialArgs, hop: usize, hops: usize) -> Result<Option<Auth>> {
    if let Some(token) = of_hop(&args.token, hop, hops, "--token")? {
        return Ok(Some(bearer(token)));
    }
    if let Some(path) = of_hop(&args.token_file, hop, hops, "--token-file")? {
        return Ok(Some(bearer(&Secret::read(path)?)));
    }
    if let Some(pair) = of_hop(&args.basic, hop, hops, "--basic")? {
        return basic(pair).map(Some);
    }
    if let Some(token) = Secret::from_env(TOKEN_VARIABLE) {
        return Ok(Some(bearer(&token)));
    }
    Secret::from_env(BASIC_VARIABLE).map(|pair| basic(&pair)).transpose()
}

fn bearer(token: &Secret) -> Auth {
    Auth::Bearer(token.reveal().to_owned())
}

fn basic(pair: &Secret) -> Result<Auth> {
    let (user, password) =
        pair.split(':').ok_or_else(|| usage("--basic must read USER:PASSWORD"))?;
    Ok(Auth::Basic { user: user.to_owned(), password: password.to_owned() })
}

/// The addresses of the proxies that this machine itself reaches, where no name has to be looked up
/// for them.
pub(super) fn literal_addresses(args: &UpArgs) -> Option<Vec<IpAddr>> {
    let urls = args.proxy.hops.first()?.split(',');
    urls.map(|url| host(url).ok()?.parse().ok()).collect()
}

/// The host of a proxy's URL, without brackets.
fn host(proxy: &str) -> Result<String> {
    let uri: http::Uri =
        proxy.parse().map_err(|_| usage("--proxy must read https://HOST[:PORT]"))?;
    Ok(uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned())
}

/// Looks the proxy's name up once, before any route is set: later on, the look-up itself might need
/// the proxy.
async fn resolve(proxy: &str) -> Result<Vec<IpAddr>> {
    let host = host(proxy)?;
    let found = lookup_host((host.as_str(), 0)).await;
    let found = found.with_context(|| format!("looking up the proxy's name {host}"))?;
    let mut addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
    addresses.dedup();
    if addresses.is_empty() {
        bail!("the proxy's name {host} has no address");
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        text.parse().unwrap()
    }

    fn config() -> Config {
        Config::new("https://192.0.2.1").unwrap()
    }

    #[test]
    fn malformed_secrets_are_usage_errors_that_do_not_repeat_them() {
        let header = CredentialArgs { headers: vec![secret("hunter2")], ..Default::default() };
        let value = CredentialArgs { headers: vec![secret("x: hunter2\n1")], ..Default::default() };
        let basic = CredentialArgs { basic: vec![secret("hunter2")], ..Default::default() };
        let token = CredentialArgs { token: vec![secret("hunter2\r\n1")], ..Default::default() };
        for args in [header, value, basic, token] {
            let error = authorize(config(), &args, 0, 1).unwrap_err();
            assert!(error.is::<crate::failure::Usage>());
            assert!(!format!("{error:?} {error:#}").contains("hunter2"), "{error:?}");
            assert!(!format!("{args:?}").contains("hunter2"));
        }
    }

    #[tokio::test]
    async fn literals_need_no_look_up() {
        let addresses = resolve("https://[2001:db8::1]:8443").await.unwrap();
        assert_eq!(addresses, ["2001:db8::1".parse::<IpAddr>().unwrap()]);
        assert_eq!(resolve("https://192.0.2.1").await.unwrap().len(), 1);
    }

    #[test]
    fn options_belong_to_all_hops_or_to_one_each() {
        let of = |values: &[u8], hop, hops| {
            of_hop(values, hop, hops, "--pin").map(Option::<&u8>::copied).ok()
        };
        assert_eq!(of(&[], 1, 2), Some(None));
        assert_eq!(of(&[7], 1, 2), Some(Some(7)));
        assert_eq!(of(&[7, 8], 1, 2), Some(Some(8)));
        assert_eq!(of(&[7, 8], 1, 3), None);
    }

    #[test]
    fn missing_files_are_named() {
        let args = TrustArgs { pin: vec!["/nowhere/pin.pem".into()], ..Default::default() };
        let error = format!("{:#}", trust(config(), &args, 0, 1).unwrap_err());
        assert!(error.contains("/nowhere/pin.pem"), "{error}");
    }
}
