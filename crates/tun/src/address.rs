//! Addresses of an interface, by netlink (rtnetlink(7)).

use std::io;

use ipnet::IpNet;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

/// Room for the kernel's answer, which repeats the request.
const ANSWER_LEN: usize = 4_096;

/// Adds addresses to the interface with this index.
pub(crate) fn add(interface: u32, addresses: &[IpNet]) -> io::Result<()> {
    if addresses.is_empty() {
        return Ok(());
    }
    let socket = Socket::new(NETLINK_ROUTE)?;
    socket.connect(&SocketAddr::new(0, 0))?;
    addresses.iter().try_for_each(|address| {
        socket.send(&request(interface, *address), 0)?;
        let mut answer = Vec::with_capacity(ANSWER_LEN);
        socket.recv(&mut answer, 0)?;
        read_answer(&answer)
    })
}

fn request(interface: u32, address: IpNet) -> Vec<u8> {
    let mut body = AddressMessage::default();
    body.header.family = match address {
        IpNet::V4(_) => AddressFamily::Inet,
        IpNet::V6(_) => AddressFamily::Inet6,
    };
    body.header.prefix_len = address.prefix_len();
    body.header.index = interface;
    // RFC 4862 §5.4: duplicates are not looked for where there is no link to share; without this
    // an IPv6 address is not usable for its first milliseconds.
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

fn read_answer(answer: &[u8]) -> io::Result<()> {
    let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(answer);
    match message.map_err(io::Error::other)?.payload {
        NetlinkPayload::Error(error) if error.code.is_some() => Err(error.to_io()),
        NetlinkPayload::Error(_) => Ok(()),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}
