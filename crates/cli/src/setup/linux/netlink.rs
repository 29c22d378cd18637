//! Links, addresses, routes and rules of the calling thread's network namespace.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures::TryStreamExt;
use ipnet::IpNet;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::AddressHeaderFlags;
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteScope, RouteType,
};
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage};
use rtnetlink::{Handle, LinkUnspec, RouteMessageBuilder};

use super::Way;
use super::plan::{Applies, Known, MAIN_TABLE, Route, Rule, Step, Via};

/// The metric of routes that count where there is no other: above what anything else chooses.
const LAST_RESORT: u32 = u32::MAX - 1;

/// A netlink socket. It stays in the network namespace in which it was made.
pub(crate) struct Netlink(Handle);

impl Netlink {
    /// Opens the socket; a task of the current runtime serves it.
    pub(crate) fn connect() -> io::Result<Self> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        Ok(Self(handle))
    }

    /// The index of the link called `name`.
    pub(crate) async fn link(&self, name: &str) -> io::Result<u32> {
        let mut links = self.0.link().get().match_name(name.to_owned()).execute();
        let link = links.try_next().await.map_err(error)?;
        Ok(link.ok_or(io::ErrorKind::NotFound)?.header.index)
    }

    /// Brings a link up.
    pub(crate) async fn set_up(&self, link: u32) -> io::Result<()> {
        let message = LinkUnspec::new_with_index(link).up().build();
        self.0.link().change(message).execute().await.map_err(error)
    }

    /// Gives a link an address. An IPv6 address is usable at once: there is nobody on such a link to
    /// hold the same one.
    pub(crate) async fn add_address(&self, link: u32, address: IpNet) -> io::Result<()> {
        let mut request = self.0.address().add(link, address.addr(), address.prefix_len());
        if address.addr().is_ipv6() {
            request.message_mut().header.flags = AddressHeaderFlags::Nodad;
        }
        request.execute().await.map_err(error)
    }

    /// Routes a network into a link, in the main table.
    pub(crate) async fn add_route(&self, link: u32, network: IpNet) -> io::Result<()> {
        let via = Via::Link(link, None);
        self.set(&Step::Route(Route { network, table: MAIN_TABLE, via })).await
    }

    /// Sets a route or a rule; `AlreadyExists` where it is there.
    pub(crate) async fn set(&self, step: &Step) -> io::Result<()> {
        match step {
            Step::Route(route) => self.0.route().add(route_message(route)).execute().await,
            Step::Rule(rule) => {
                let mut request = self.0.rule().add();
                *request.message_mut() = rule_message(rule);
                request.execute().await
            }
        }
        .map_err(error)
    }

    /// Takes a route or a rule back; one that is gone already is fine.
    pub(crate) async fn unset(&self, step: &Step) -> io::Result<()> {
        let outcome = match step {
            Step::Route(route) => self.0.route().del(route_message(route)).execute().await,
            Step::Rule(rule) => self.0.rule().del(rule_message(rule)).execute().await,
        };
        match outcome.map_err(error) {
            Err(error) if is_gone(&error) => Ok(()),
            outcome => outcome,
        }
    }

    /// The unicast routes of the main table.
    pub(crate) async fn routes(&self) -> io::Result<Vec<Known>> {
        let v4 = RouteMessageBuilder::<Ipv4Addr>::new().build();
        let v6 = RouteMessageBuilder::<Ipv6Addr>::new().build();
        let mut routes = Vec::new();
        for family in [v4, v6] {
            let mut messages = Box::pin(self.0.route().get(family).execute());
            while let Some(message) = messages.try_next().await.map_err(error)? {
                routes.extend(read_route(&message));
            }
        }
        Ok(routes)
    }

    /// The way that packets to an address take, with this mark where one is given.
    pub(crate) async fn way(&self, address: IpAddr, mark: Option<u32>) -> io::Result<Way> {
        let host = Route { network: address.into(), table: 0, via: Via::Link(0, None) };
        let mut request = route_message(&host);
        request.attributes.retain(|attribute| matches!(attribute, RouteAttribute::Destination(_)));
        request.attributes.extend(mark.map(RouteAttribute::Mark));
        let mut answers = Box::pin(self.0.route().get(request).execute());
        let answer = answers.try_next().await.map_err(error)?.ok_or(io::ErrorKind::NotFound)?;
        read_way(address, &answer).ok_or_else(|| io::ErrorKind::NetworkUnreachable.into())
    }
}

fn read_way(address: IpAddr, message: &RouteMessage) -> Option<Way> {
    let (link, gateway) = read_hop(message)?;
    Some(Way { address, link, gateway, is_local: message.header.kind == RouteType::Local })
}

fn read_route(message: &RouteMessage) -> Option<Known> {
    let header = &message.header;
    if header.kind != RouteType::Unicast || u32::from(header.table) != MAIN_TABLE {
        return None;
    }
    let (link, gateway) = read_hop(message)?;
    let any: IpAddr = match header.address_family {
        AddressFamily::Inet => Ipv4Addr::UNSPECIFIED.into(),
        AddressFamily::Inet6 => Ipv6Addr::UNSPECIFIED.into(),
        _ => return None,
    };
    let (mut destination, mut metric) = (any, 0);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => destination = read_address(address)?,
            RouteAttribute::Priority(priority) => metric = *priority,
            _ => {}
        }
    }
    let network = IpNet::new(destination, header.destination_prefix_length).ok()?;
    Some(Known { network, link, gateway, metric })
}

/// The interface that packets leave by, and the gateway that they go to.
fn read_hop(message: &RouteMessage) -> Option<(u32, Option<IpAddr>)> {
    let link = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(link) => Some(*link),
        _ => None,
    })?;
    let gateway = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(address) => read_address(address),
        _ => None,
    });
    Some((link, gateway))
}

fn read_address(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some(IpAddr::V4(*v4)),
        RouteAddress::Inet6(v6) => Some(IpAddr::V6(*v6)),
        _ => None,
    }
}

fn route_message(route: &Route) -> RouteMessage {
    let mut message = match route.network {
        IpNet::V4(network) => RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(network.network(), network.prefix_len())
            .table_id(route.table)
            .build(),
        IpNet::V6(network) => RouteMessageBuilder::<Ipv6Addr>::new()
            .destination_prefix(network.network(), network.prefix_len())
            .table_id(route.table)
            .build(),
    };
    let (link, gateway) = match route.via {
        Via::Link(link, gateway) => (link, gateway),
        Via::Nowhere => {
            message.header.kind = RouteType::Unreachable;
            message.attributes.push(RouteAttribute::Priority(LAST_RESORT));
            return message;
        }
    };
    message.attributes.push(RouteAttribute::Oif(link));
    match gateway {
        Some(IpAddr::V4(v4)) => message.attributes.push(RouteAttribute::Gateway(v4.into())),
        Some(IpAddr::V6(v6)) => message.attributes.push(RouteAttribute::Gateway(v6.into())),
        None if matches!(route.network, IpNet::V4(_)) => message.header.scope = RouteScope::Link,
        None => {}
    }
    message
}

fn rule_message(rule: &Rule) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = if rule.is_ipv6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
    message.header.action = RuleAction::ToTable;
    message.attributes.push(RuleAttribute::Table(rule.table));
    message.attributes.push(RuleAttribute::Priority(rule.priority));
    match rule.applies {
        Applies::Unmarked(mark) => {
            message.header.flags = RuleFlags::Invert;
            message.attributes.push(RuleAttribute::FwMark(mark));
        }
        Applies::UnlessDefault => message.attributes.push(RuleAttribute::SuppressPrefixLen(0)),
    }
    message
}

/// Whether an error says that what shall be taken back went by itself, as the routes of an
/// interface do when it goes down.
fn is_gone(error: &io::Error) -> bool {
    const NO_SUCH_PROCESS: i32 = nix::errno::Errno::ESRCH as i32;
    const NO_SUCH_DEVICE: i32 = nix::errno::Errno::ENODEV as i32;
    error.kind() == io::ErrorKind::NotFound
        || matches!(error.raw_os_error(), Some(NO_SUCH_PROCESS | NO_SUCH_DEVICE))
}

fn error(error: rtnetlink::Error) -> io::Error {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io(),
        other => io::Error::other(other),
    }
}
