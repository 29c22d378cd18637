//! Log lines on standard error.
#![expect(clippy::doc_markdown, reason = "doc comments here are the help, which is no Markdown")]

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::Directive;

/// The environment variable that overrules `-v`, in the syntax of `tracing-subscriber`.
const VARIABLE: &str = "PSEUDOTCP_LOG";

/// What happens to every flow, without the chatter of the libraries underneath.
const FLOWS: &str = "info,pseudotcp=debug,pseudotcp_masque_h2=debug,pseudotcp_pipeline=debug,\
                     pseudotcp_proxy=debug";

/// How much is logged, and how.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Logging {
    /// Log more: -v for what happens to connections, -vv for every flow, -vvv for every frame.
    /// PSEUDOTCP_LOG=FILTER in the environment says it in more detail.
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,

    /// Log and count in JSON, one object a line.
    #[arg(long)]
    pub(crate) json_log: bool,
}

impl Logging {
    /// Starts logging.
    pub(crate) fn start(&self) {
        self.start_with(None);
    }

    /// Starts logging, with what a directive adds.
    pub(crate) fn start_with(&self, directive: Option<Directive>) {
        let filter = EnvFilter::try_from_env(VARIABLE).unwrap_or_else(|_| self.filter().into());
        let filter = directive.into_iter().fold(filter, EnvFilter::add_directive);
        let logger = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(io::stderr)
            .with_ansi(io::stderr().is_terminal())
            .with_target(false);
        if self.json_log {
            logger.json().init();
        } else {
            logger.init();
        }
    }

    fn filter(&self) -> &'static str {
        match self.verbose {
            0 => "warn",
            1 => "info",
            2 => FLOWS,
            _ => "debug",
        }
    }
}
