//! `pseudotcp proxy`: serves as a small MASQUE proxy.
#![expect(clippy::doc_markdown, reason = "doc comments here are the help, which is no Markdown")]

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{ArgGroup, Args};
use ipnet::IpNet;
use pseudotcp_proxy::{Config, ConfigError, Server, Stats};

use crate::failure::usage;
use crate::logging::Logging;
use crate::output;
use crate::secret::Secret;
use crate::signals::{Signals, Wish};

/// The environment variables that stand for `--token` and `--basic`.
const TOKEN_VARIABLE: &str = "PSEUDOTCP_PROXY_TOKEN";
const BASIC_VARIABLE: &str = "PSEUDOTCP_PROXY_BASIC";

/// The options of `pseudotcp proxy`.
#[derive(Debug, Args)]
#[command(
    group(ArgGroup::new("identity").args(["cert", "self_signed"]).required(true).multiple(false)),
    after_help = AFTER_HELP
)]
pub(crate) struct ProxyArgs {
    /// Listen at this address; port 0 takes a free one.
    #[arg(long, value_name = "IP:PORT")]
    listen: SocketAddr,

    /// Show the certificate chain in this PEM file, the end entity first.
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,

    /// The private key of the certificate, PEM.
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,

    /// Make a fresh key and certificate for the address listened at; see --print-pin.
    #[arg(long)]
    self_signed: bool,

    /// Print the certificate in PEM on standard output, for `pseudotcp up --pin`.
    #[arg(long)]
    print_pin: bool,

    /// Accept this user and password; may be given several times. PSEUDOTCP_PROXY_BASIC in the
    /// environment is better: arguments are visible to other users of the machine.
    #[arg(long, value_name = "USER:PASSWORD")]
    basic: Vec<Secret>,

    /// Accept this bearer token; --token-file or PSEUDOTCP_PROXY_TOKEN in the environment is better.
    #[arg(long, value_name = "TOKEN")]
    token: Vec<Secret>,

    /// Accept the bearer token that is the content of this file ("-": standard input).
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// Allow targets in this network, even private ones; may be given several times. Private,
    /// link-local and loopback targets are denied unless the proxy listens on loopback only.
    #[arg(long, value_name = "CIDR")]
    allow: Vec<IpNet>,

    /// Deny targets in this network; may be given several times.
    #[arg(long, value_name = "CIDR")]
    deny: Vec<IpNet>,

    #[command(flatten)]
    logging: Logging,
}

const AFTER_HELP: &str = "\
Without any user or token the proxy serves everybody who reaches it.

Signals: SIGUSR1 shows the counters; SIGINT and SIGTERM let open tunnels go on for up to 10 s and
end the program; a second one ends it at once.

Exit codes: 0 ended as asked, 1 failed, 2 wrong usage.";

/// Serves until told to stop.
pub(crate) fn run(args: &ProxyArgs) -> Result<ExitCode> {
    args.logging.start();
    let config = configure(args)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(serve(args, config));
    runtime.shutdown_background();
    outcome.map(|()| ExitCode::SUCCESS)
}

async fn serve(args: &ProxyArgs, config: Config) -> Result<()> {
    let mut signals = Signals::new().context("listening to signals")?;
    let pin = args.print_pin.then(|| pem(config.certificate_der()));
    let server = Server::bind(config, args.listen).await.map_err(|error| explain(args, error))?;
    output::print(&pin.unwrap_or_default());
    output::say(&format!("listening on https://{}", server.local_addr()));
    let stats = server.stats();
    let stopped = async {
        while signals.next().await != Wish::Stop {
            show(&stats);
        }
        signals.exit_at_next_stop();
    };
    server.serve(stopped).await;
    show(&stats);
    Ok(())
}

fn configure(args: &ProxyArgs) -> Result<Config> {
    let config = identity(args)?;
    let config = accept(args, config)?;
    let config = args.allow.iter().fold(config, |config, network| config.allow(*network));
    Ok(args.deny.iter().fold(config, |config, network| config.deny(*network)))
}

fn identity(args: &ProxyArgs) -> Result<Config> {
    match (&args.cert, &args.key) {
        (Some(cert), Some(key)) => {
            let (chain, key_pem) = (read(cert)?, read(key)?);
            Config::from_pem(&chain, &key_pem)
                .with_context(|| format!("using {} and {}", cert.display(), key.display()))
        }
        _ => Config::self_signed(["localhost".to_owned(), args.listen.ip().to_string()])
            .context("making a certificate"),
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("reading {}", path.display()))
}

/// Adds what clients may show. Basic pairs and tokens come from arguments, file and environment.
fn accept(args: &ProxyArgs, config: Config) -> Result<Config> {
    let file = args.token_file.as_deref().map(Secret::read).transpose()?;
    let tokens = args.token.iter().cloned().chain(file).chain(Secret::from_env(TOKEN_VARIABLE));
    let mut pairs = args.basic.iter().cloned().chain(Secret::from_env(BASIC_VARIABLE));
    let config = tokens.into_iter().try_fold(config, |config, token| config.bearer(token.reveal()));
    pairs.try_fold(config.map_err(|error| wrong(&error))?, |config, pair| {
        let (user, password) =
            pair.split(':').ok_or_else(|| usage("--basic must read USER:PASSWORD"))?;
        config.basic(user, password).map_err(|error| wrong(&error))
    })
}

fn wrong(error: &ConfigError) -> anyhow::Error {
    usage(error.to_string())
}

fn explain(args: &ProxyArgs, error: io::Error) -> anyhow::Error {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => "the port is in use",
        io::ErrorKind::PermissionDenied => "ports below 1024 need CAP_NET_BIND_SERVICE",
        io::ErrorKind::AddrNotAvailable => "the address is not this machine's",
        _ => "it is not possible",
    };
    anyhow::Error::from(error).context(format!("listening on {}: {advice}", args.listen))
}

/// RFC 7468: base64 in lines of 64 characters between its marks.
fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

fn show(stats: &Stats) {
    output::show(&format!(
        "proxy   {} flows now, {} TCP, {} UDP, {} refused, {} bytes up, {} bytes down, \
         {} clients, {} handshakes failed\n",
        stats.open_tunnels(),
        stats.tcp_tunnels(),
        stats.udp_tunnels(),
        stats.requests_refused(),
        stats.bytes_to_targets(),
        stats.bytes_from_targets(),
        stats.connections(),
        stats.handshakes_failed(),
    ));
}
