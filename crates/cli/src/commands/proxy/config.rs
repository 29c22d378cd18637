//! From the options to the proxy's configuration; what stands in files is read again on demand.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use pseudotcp_proxy::{Config, ConfigError};

use super::args::{CredentialArgs, LimitArgs, ProxyArgs};
use crate::congestion::CongestionControl;
use crate::failure::usage;
use crate::secret::Secret;

/// The environment variables that stand for `--token` and `--basic`.
const TOKEN_VARIABLE: &str = "PSEUDOTCP_PROXY_TOKEN";
const BASIC_VARIABLE: &str = "PSEUDOTCP_PROXY_BASIC";

/// The file name that means standard input.
const STDIN: &str = "-";

/// What does not change while the program runs: all but the content of files.
pub(super) struct Fixed<'a> {
    args: &'a ProxyArgs,
    /// The certificate that was made for this run.
    self_signed: Option<Config>,
    /// What came by standard input, which cannot be read again.
    basic: Vec<Secret>,
    tokens: Vec<Secret>,
}

impl<'a> Fixed<'a> {
    pub(super) fn new(args: &'a ProxyArgs) -> Result<Self> {
        let names = ["localhost".to_owned(), args.listen.ip().to_string()];
        let self_signed = args.self_signed.then(|| Config::self_signed(names));
        let CredentialArgs { basic_file, token_file, .. } = &args.credentials;
        let stdin = |path: &Path| path.as_os_str() == STDIN;
        Ok(Self {
            args,
            self_signed: self_signed.transpose().context("making a certificate")?,
            basic: read_secrets(basic_file.as_deref().filter(|path| stdin(path)))?,
            tokens: read_secrets(token_file.as_deref().filter(|path| stdin(path)))?,
        })
    }

    /// The configuration as the files have it now.
    pub(super) fn read(&self) -> Result<Config> {
        let config = limit(self.accept(self.identity()?)?, &self.args.limits);
        let congestion = self.args.congestion_control.iter().map(CongestionControl::name);
        let config = congestion.fold(config, Config::congestion_control);
        let config = self.args.allow.iter().cloned().fold(config, Config::allow);
        Ok(self.args.deny.iter().cloned().fold(config, Config::deny))
    }

    fn identity(&self) -> Result<Config> {
        match (&self.self_signed, &self.args.cert, &self.args.key) {
            (Some(config), ..) => Ok(config.clone()),
            (None, Some(cert), Some(key)) => {
                let (chain, key_pem) = (read(cert)?, read(key)?);
                Config::from_pem(&chain, &key_pem)
                    .with_context(|| format!("using {} and {}", cert.display(), key.display()))
            }
            _ => Err(usage("--cert and --key, or --self-signed, are needed")),
        }
    }

    /// Adds what clients may show. Basic pairs and tokens come from arguments, files and environment.
    fn accept(&self, config: Config) -> Result<Config> {
        let CredentialArgs { basic, basic_file, token, token_file } = &self.args.credentials;
        let file = |path: &'a Option<_>| path.as_deref().filter(|path: &&Path| *path != STDIN);
        let tokens = [token, &self.tokens].into_iter().flatten().cloned();
        let tokens = tokens.chain(read_secrets(file(token_file))?);
        let pairs = [basic, &self.basic].into_iter().flatten().cloned();
        let pairs = pairs.chain(read_secrets(file(basic_file))?);
        let config = tokens
            .chain(Secret::from_env(TOKEN_VARIABLE))
            .try_fold(config, |config, token| config.bearer(token.reveal()))
            .map_err(|error| wrong(&error))?;
        pairs.chain(Secret::from_env(BASIC_VARIABLE)).try_fold(config, |config, pair| {
            let (user, password) =
                pair.split(':').ok_or_else(|| usage("a user must read USER:PASSWORD"))?;
            config.basic(user, password).map_err(|error| wrong(&error))
        })
    }
}

fn limit(config: Config, limits: &LimitArgs) -> Config {
    config
        .max_connections(limits.max_connections)
        .max_connections_per_client(limits.max_connections)
        .max_tunnels(limits.max_tunnels)
        .max_tunnels_per_client(limits.max_tunnels_per_client.unwrap_or(limits.max_tunnels))
        .connect_timeout(Duration::from_secs(limits.connect_timeout))
        .tcp_idle_timeout(Duration::from_secs(limits.tcp_idle))
        .udp_idle_timeout(Duration::from_secs(limits.udp_idle))
        .drain_timeout(Duration::from_secs(limits.drain))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("reading {}", path.display()))
}

fn read_secrets(path: Option<&Path>) -> Result<Vec<Secret>> {
    path.map(Secret::read_lines).transpose().map(Option::unwrap_or_default)
}

fn wrong(error: &ConfigError) -> anyhow::Error {
    usage(error.to_string())
}
