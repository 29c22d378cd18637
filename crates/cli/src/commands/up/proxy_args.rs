//! The options that are about the proxies.
#![expect(clippy::doc_markdown, reason = "doc comments here are the help, which is no Markdown")]

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use pseudotcp_masque_h2::{HalfClose, TcpDialect, UdpDialect};

use crate::secret::Secret;

/// Which proxies, and how to speak with them.
#[derive(Debug, Args)]
pub(crate) struct ProxyArgs {
    /// The MASQUE proxy, https://HOST or https://HOST:PORT. Given several times: hops, the first one
    /// nearest; each is reached through the one before it. Several URLs with commas between them are
    /// alternatives: the first one that works.
    #[arg(long = "proxy", value_name = "URL[,URL]", required = true)]
    pub(crate) hops: Vec<String>,

    /// Spread the flows over the alternatives of the last hop in this ratio, for instance 3,1.
    #[arg(long, value_name = "WEIGHTS", value_delimiter = ',')]
    pub(crate) spread: Vec<u32>,

    /// The name that the certificate of the last hop must bear, where it is not the URL's host.
    #[arg(long, value_name = "NAME")]
    pub(crate) server_name: Option<String>,

    /// How TCP flows are asked for: connect, connect-tcp, or auto: what the proxy knows.
    #[arg(long, value_name = "HOW", default_value = "auto")]
    pub(crate) tcp_dialect: ByTcp,

    /// How UDP flows are asked for: rfc9298, draft03 (CONNECT-UDP, as older relays speak it), or
    /// auto: what the proxy knows.
    #[arg(long, value_name = "HOW", default_value = "auto")]
    pub(crate) udp_dialect: ByUdp,

    /// The URI template of connect-udp at the last hop, with {target_host} and {target_port}.
    #[arg(long, value_name = "TEMPLATE")]
    pub(crate) udp_template: Option<String>,

    /// Send the datagrams of UDP flows before the proxy has answered: saves a round trip to it, but if the
    /// proxy refuses, they are lost and apps hear less exactly why.
    #[arg(long)]
    pub(crate) early_datagrams: bool,

    /// What becomes of an app's end of stream while the server still sends: forward it at once, defer
    /// it until the server has ended too, or auto: defer for proxies that would end both ways.
    #[arg(long, value_name = "HOW", default_value = "auto")]
    pub(crate) half_close: Half,

    /// Give flows to this host connections with few other flows; may be given several times.
    #[arg(long, value_name = "HOST")]
    pub(crate) low_latency: Vec<String>,

    /// The most connections to each proxy at once. Another one is made when those that are there carry
    /// 1,000 flows each, or as many as the proxy allows. The shards share them.
    #[arg(long, value_name = "N", default_value = "256")]
    pub(crate) max_connections: NonZeroUsize,

    /// Reach the first hop through this network interface only (SO_BINDTODEVICE).
    #[arg(long, value_name = "NAME")]
    pub(crate) bind_device: Option<String>,
}

/// `--tcp-dialect`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ByTcp {
    Auto,
    Connect,
    ConnectTcp,
}

impl From<ByTcp> for TcpDialect {
    fn from(dialect: ByTcp) -> Self {
        match dialect {
            ByTcp::Auto => Self::Auto,
            ByTcp::Connect => Self::Connect,
            ByTcp::ConnectTcp => Self::ConnectTcp,
        }
    }
}

/// `--udp-dialect`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ByUdp {
    Auto,
    Rfc9298,
    Draft03,
}

impl From<ByUdp> for UdpDialect {
    fn from(dialect: ByUdp) -> Self {
        match dialect {
            ByUdp::Auto => Self::Auto,
            ByUdp::Rfc9298 => Self::Rfc9298,
            ByUdp::Draft03 => Self::Draft03,
        }
    }
}

/// `--half-close`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Half {
    Auto,
    Forward,
    Defer,
}

impl From<Half> for HalfClose {
    fn from(wanted: Half) -> Self {
        match wanted {
            Half::Auto => Self::Auto,
            Half::Forward => Self::Forward,
            Half::Defer => Self::Defer,
        }
    }
}

/// What the program shows the proxies. What is given several times belongs to the hops, in their
/// order; what is given once, to all.
#[derive(Debug, Default, Args)]
pub(crate) struct CredentialArgs {
    /// Authenticate with this bearer token; once for all hops, or once for each. Other users of the
    /// machine can see it in the list of processes: --token-file or PSEUDOTCP_TOKEN in the
    /// environment are better.
    #[arg(long, value_name = "TOKEN")]
    pub(crate) token: Vec<Secret>,

    /// Authenticate with this bearer token, the content of a file ("-": standard input); once for all
    /// hops, or once for each.
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Vec<PathBuf>,

    /// Authenticate with a user name and a password, once for all hops, or once for each;
    /// PSEUDOTCP_BASIC in the environment is better.
    #[arg(long, value_name = "USER:PASSWORD")]
    pub(crate) basic: Vec<Secret>,

    /// Send this header with every request, to every hop; may be given several times.
    #[arg(long = "header", value_name = "NAME: VALUE")]
    pub(crate) headers: Vec<Secret>,

    /// Show the certificate in this PEM file where a proxy asks for one.
    #[arg(long, value_name = "FILE", requires = "client_key")]
    pub(crate) client_cert: Option<PathBuf>,

    /// The key (PEM) of the certificate that is shown.
    #[arg(long, value_name = "FILE", requires = "client_cert")]
    pub(crate) client_key: Option<PathBuf>,
}

/// How a proxy's certificate is judged; without these, by the system's authorities.
#[derive(Debug, Default, Args)]
pub(crate) struct TrustArgs {
    /// Trust exactly the certificate in this PEM file, and no authority; once for all hops, or once
    /// for each.
    #[arg(long, value_name = "FILE")]
    pub(crate) pin: Vec<PathBuf>,

    /// Trust whoever holds the key with this SHA-256 of its public half (SPKI, in base64 or
    /// hexadecimal), and no authority; once for all hops, or once for each.
    #[arg(long, value_name = "SHA256")]
    pub(crate) pin_key: Vec<String>,

    /// Trust the authorities in this PEM file beside the system's; once for all hops, or once for
    /// each.
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Vec<PathBuf>,

    /// Trust any certificate. For tests only: whoever sits between reads and changes everything.
    #[arg(long)]
    pub(crate) insecure: bool,

    /// Write the secrets of TLS to the file that SSLKEYLOGFILE in the environment names. For
    /// debugging: whoever has it can read everything.
    #[arg(long)]
    pub(crate) log_keys: bool,
}
