//! From the command line to a MASQUE client.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use pseudotcp_masque_h2::{Auth, Config, ConfigError};
use tokio::net::lookup_host;

use super::args::{CredentialArgs, TrustArgs, UpArgs};
use crate::failure::usage;
use crate::secret::Secret;

/// The environment variables that stand for `--token` and `--basic`.
const TOKEN_VARIABLE: &str = "PSEUDOTCP_TOKEN";
const BASIC_VARIABLE: &str = "PSEUDOTCP_BASIC";

/// The client's configuration, and the addresses of the proxy.
pub(super) async fn configure(args: &UpArgs) -> Result<(Config, Vec<IpAddr>)> {
    let config = Config::new(&args.proxy).map_err(wrong)?;
    let config = trust(config, &args.trust)?;
    let config = authorize(config, &args.credentials)?;
    let addresses = resolve(&args.proxy).await?;
    let config = config.addresses(addresses.iter().copied());
    let config = args.mark.into_iter().fold(config, Config::mark);
    Ok((config, addresses))
}

/// What the configuration refuses, the command line has got wrong.
fn wrong(error: ConfigError) -> anyhow::Error {
    usage(format!("{:#}", anyhow::Error::from(error)))
}

fn trust(config: Config, args: &TrustArgs) -> Result<Config> {
    if args.insecure {
        return Ok(config.insecure());
    }
    if let Some(path) = &args.pin {
        return config.pin(&read(path)?).map_err(wrong);
    }
    match &args.ca {
        Some(path) => config.extra_ca(&read(path)?).map_err(wrong),
        None => Ok(config),
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("reading {}", path.display()))
}

fn authorize(config: Config, args: &CredentialArgs) -> Result<Config> {
    let config = match credentials(args)? {
        Some(auth) => config.auth(&auth).map_err(wrong)?,
        None => config,
    };
    args.headers.iter().try_fold(config, |config, header| {
        let Some((name, value)) = header.split(':') else {
            return Err(usage("--header must read 'NAME: VALUE'"));
        };
        config.header(name.trim(), value.trim()).map_err(wrong)
    })
}

/// The credentials of the command line, or else of the environment.
fn credentials(args: &CredentialArgs) -> Result<Option<Auth>> {
    if let Some(token) = &args.token {
        return Ok(Some(bearer(token)));
    }
    if let Some(path) = &args.token_file {
        return Ok(Some(bearer(&Secret::read(path)?)));
    }
    if let Some(pair) = &args.basic {
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

/// Looks the proxy's name up once, before any route is set: later on, the look-up itself might need
/// the proxy.
async fn resolve(proxy: &str) -> Result<Vec<IpAddr>> {
    let uri: http::Uri =
        proxy.parse().map_err(|_| usage("--proxy must read https://HOST[:PORT]"))?;
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
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
        let basic = CredentialArgs { basic: Some(secret("hunter2")), ..Default::default() };
        let token = CredentialArgs { token: Some(secret("hunter2\r\n1")), ..Default::default() };
        for args in [header, value, basic, token] {
            let error = authorize(config(), &args).unwrap_err();
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
    fn missing_files_are_named() {
        let args = TrustArgs { pin: Some("/nowhere/pin.pem".into()), ..Default::default() };
        let error = format!("{:#}", trust(config(), &args).unwrap_err());
        assert!(error.contains("/nowhere/pin.pem"), "{error}");
    }
}
