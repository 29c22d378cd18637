//! `pseudotcp policy explain`: which rule decides.

use std::net::IpAddr;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use pseudotcp_masque::Target;
use pseudotcp_packet::{Protocol, Scope, Unreachable};
use pseudotcp_policy::{Decision, Limit, Owner, ProxyState, Question, RejectKind, Verdict};

use crate::failure::usage;
use crate::output;
use crate::policy::{DnsPlan, Loaded, PolicyArgs};

/// A flow to ask about.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// Where the flow goes: an address or a name, and a port; with --icmp without a port.
    #[arg(value_name = "DEST:PORT")]
    destination: String,

    /// The address of the app.
    #[arg(long, value_name = "IP")]
    source: Option<IpAddr>,

    /// Ask about UDP instead of TCP.
    #[arg(long, conflicts_with = "icmp")]
    udp: bool,

    /// Ask about a ping.
    #[arg(long)]
    icmp: bool,

    /// The name by which the app knows the address.
    #[arg(long)]
    name: Option<String>,

    /// The number of the user whose process opens the flow.
    #[arg(long, value_name = "N")]
    uid: Option<u32>,

    /// The mark of the app's socket.
    #[arg(long, value_name = "N")]
    mark: Option<u32>,

    /// Suppose that the proxy has shown to have no IPv6.
    #[arg(long)]
    proxy_lacks_ipv6: bool,

    #[command(flatten)]
    policy: PolicyArgs,
}

/// Prints the verdict, and in a line of its own where it comes from.
pub(super) fn run(args: &ExplainArgs) -> Result<ExitCode> {
    let (loaded, target) = (args.policy.load(&DnsPlan::default())?, args.target()?);
    let proxy = ProxyState { over_quic: false, lacks_ipv6: args.proxy_lacks_ipv6 };
    let decision = loaded.policy.decide(args.question(&target), proxy);
    let (verdict, origin) = match built_in(&target).filter(|_| passes(decision.verdict)) {
        Some((verdict, why)) => (verdict, format!("built in: {why}")),
        None => (decision.verdict, origin(&decision, &loaded)),
    };
    output::print(&format!("{}\n{origin}\n", in_words(verdict)));
    Ok(ExitCode::SUCCESS)
}

fn passes(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Proxy | Verdict::Direct)
}

/// What the stack does to packets for some addresses, whatever a rule says.
fn built_in(target: &Target) -> Option<(Verdict, &'static str)> {
    let Target::Address(address) = target else { return None };
    match Scope::of(address.ip()) {
        Scope::Host => None,
        Scope::LinkLocal => {
            let host = Verdict::Reject(RejectKind::Unreachable(Unreachable::Host));
            Some((host, "a neighbour's address means another host at the proxy"))
        }
        _ => Some((Verdict::Drop, "the address is not that of one host elsewhere")),
    }
}

impl ExplainArgs {
    fn target(&self) -> Result<Target> {
        let text = &self.destination;
        if self.icmp
            && let Ok(ip) = text.trim_matches(['[', ']']).parse::<IpAddr>()
        {
            return Ok(Target::Address((ip, 0).into()));
        }
        let wrong = |_| usage(format!("{text} is no destination; write ADDRESS:PORT or NAME:PORT"));
        text.parse().map_err(wrong)
    }

    fn question<'a>(&'a self, target: &'a Target) -> Question<'a> {
        let mut question = Question::new(self.protocol(target));
        question = self.source.into_iter().fold(question, Question::source);
        question = match target {
            Target::Address(address) => question.destination(address.ip()),
            Target::Host { name, .. } => question.name(name),
        };
        if !self.icmp {
            question = question.port(target.port());
        }
        question = self.name.iter().fold(question, |question, name| question.name(name));
        question.owner(Owner { uid: self.uid, mark: self.mark })
    }

    fn protocol(&self, target: &Target) -> Protocol {
        match (self.icmp, self.udp) {
            (true, _) if target.is_ipv6() => Protocol::Icmpv6,
            (true, _) => Protocol::Icmp,
            (_, true) => Protocol::Udp,
            _ => Protocol::Tcp,
        }
    }
}

/// The verdict in words of the rules.
fn in_words(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Proxy => "proxy",
        Verdict::Direct => "direct",
        Verdict::Drop => "drop",
        Verdict::Reject(RejectKind::Closed) => "reject, closed",
        Verdict::Reject(RejectKind::Unreachable(kind)) => match kind {
            Unreachable::Network => "reject, net-unreachable",
            Unreachable::Host => "reject, host-unreachable",
            Unreachable::Port => "reject, port-unreachable",
            Unreachable::Protocol => "reject, protocol-unreachable",
            Unreachable::HostProhibited => "reject, host-prohibited",
            Unreachable::Prohibited => "reject, prohibited",
        },
    }
}

/// Where the verdict comes from.
fn origin(decision: &Decision, loaded: &Loaded) -> String {
    let place = decision.rule.and_then(|rule| loaded.places.get(rule));
    let rule = place.map_or_else(|| "no rule matches".to_owned(), ToString::to_string);
    match decision.limit {
        None => rule,
        Some(Limit::Quic) => format!("{rule}; but QUIC through the proxy is blocked"),
        Some(Limit::Ipv6) => format!("{rule}; but there is no IPv6 through the proxy"),
    }
}
