//! Addresses of an interface, by netlink (rtnetlink(7)).

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use socket2::SockRef;

/// Room for the largest answer or notification.
const ANSWER_LEN: usize = 8_192;

/// The multicast group of changes to the IPv6 routes (`RTNLGRP_IPV6_ROUTE`).
const IPV6_ROUTES: u32 = 11;

/// How long the kernel may take to finish an IPv6 address before it is left to itself.
const PATIENCE: Duration = Duration::from_secs(1);

/// Adds addresses to the interface with this index, and waits until packets to them are taken.
pub(crate) fn add(interface: u32, addresses: &[IpNet]) -> io::Result<()> {
    for address in addresses {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind(&SocketAddr::new(0, 0))?;
        SockRef::from(&socket).set_read_timeout(Some(PATIENCE))?;
        socket.add_membership(IPV6_ROUTES)?;
        socket.send_to(&request(interface, *address), &SocketAddr::new(0, 0), 0)?;
        await_address(&socket, *address)?;
    }
    Ok(())
}

fn request(interface: u32, address: IpNet) -> Vec<u8> {
    let mut body = AddressMessage::default();
    body.header.family = match address {
        IpNet::V4(_) => AddressFamily::Inet,
        IpNet::V6(_) => AddressFamily::Inet6,
    };
    body.header.prefix_len = address.prefix_len();
    body.header.index = interface;
    // RFC 4862 §5.4: there is no link on which a duplicate could be.
    body.header.flags = AddressHeaderFlags::Nodad;
    let addr = address.addr();
    body.attributes = vec![AddressAttribute::Local(addr), AddressAttribute::Address(addr)];
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
    let payload = NetlinkPayload::from(RouteNetlinkMessage::NewAddress(body));
    let mut message = NetlinkMessage::new(header, payload);
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

/// Waits for the answer, and for an IPv6 address also for the route by which packets to it are
/// taken: the kernel adds that one later, in the background.
fn await_address(socket: &Socket, address: IpNet) -> io::Result<()> {
    let (mut granted, mut routed) = (false, matches!(address, IpNet::V4(_)));
    while !(granted && routed) {
        let answer = match receive(socket) {
            Err(error) if granted && error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            answer => answer?,
        };
        match answer {
            NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
            NetlinkPayload::Error(_) => granted = true,
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(route)) => {
                routed |= is_local_route(&route, address.addr());
            }
            _ => {}
        }
    }
    Ok(())
}

fn receive(socket: &Socket) -> io::Result<NetlinkPayload<RouteNetlinkMessage>> {
    let mut answer = Vec::with_capacity(ANSWER_LEN);
    socket.recv(&mut answer, 0)?;
    let message = NetlinkMessage::deserialize(&answer).map_err(io::Error::other)?;
    Ok(message.payload)
}

fn is_local_route(route: &RouteMessage, address: IpAddr) -> bool {
    let is_destination = |attribute: &RouteAttribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet6(destination)) => *destination == address,
        _ => false,
    };
    route.header.kind == RouteType::Local && route.attributes.iter().any(is_destination)
}
