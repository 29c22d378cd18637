//! Who opened a flow, as the kernel tells: `sock_diag(7)`.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;
use netlink_packet_core::{NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP, IPPROTO_UDP};
use netlink_packet_sock_diag::inet::nlas::Nla;
use netlink_packet_sock_diag::inet::{
    ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags,
};
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use nix::libc::MSG_DONTWAIT;
use pseudotcp_packet::Protocol;
use pseudotcp_pipeline::Owners;
use pseudotcp_policy::Owner;

use crate::clock;

/// How long an owner is remembered. A port that changes hands sooner than this keeps its old owner
/// so long; a busy datagram flow costs one question in this time.
const REMEMBERED: Duration = Duration::from_secs(1);

/// How many owners are remembered.
const CAPACITY: NonZeroUsize = NonZeroUsize::new(4_096).unwrap();

/// No socket in particular, by its cookie.
const ANY_COOKIE: [u8; 8] = [0xff; 8];

/// Octets of the longest answer.
const MAX_ANSWER: usize = 4_096;

/// Asks the kernel for the owners of sockets in the network namespace of this process.
pub(crate) struct SockDiag(Mutex<State>);

struct State {
    socket: Socket,
    sequence: u32,
    known: LruCache<(Protocol, SocketAddr), Known>,
}

#[derive(Clone, Copy)]
struct Known {
    owner: Option<Owner>,
    until: Instant,
}

impl SockDiag {
    /// Opens the socket for questions.
    pub(crate) fn new() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
        socket.bind_auto()?;
        socket.connect(&netlink_sys::SocketAddr::new(0, 0))?;
        Ok(Self(Mutex::new(State { socket, sequence: 0, known: LruCache::new(CAPACITY) })))
    }
}

impl Owners for SockDiag {
    fn owner(
        &self,
        protocol: Protocol,
        source: SocketAddr,
        destination: Option<SocketAddr>,
    ) -> Option<Owner> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, key) = (clock::deadline(Duration::ZERO), (protocol, source));
        if let Some(known) = state.known.get(&key)
            && (now < known.until || destination.is_none())
        {
            return known.owner;
        }
        let owner = state.ask(protocol, source, destination?);
        state.known.put(key, Known { owner, until: now + REMEMBERED });
        owner
    }
}

impl State {
    /// Puts one question. The kernel has answered when the question is sent, so nothing waits here.
    fn ask(
        &mut self,
        protocol: Protocol,
        source: SocketAddr,
        destination: SocketAddr,
    ) -> Option<Owner> {
        self.sequence = self.sequence.wrapping_add(1);
        let request = request(protocol, source, destination)?;
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0).ok()?;
        self.read_answer()
    }

    fn read_answer(&mut self) -> Option<Owner> {
        let mut bytes = [0; MAX_ANSWER];
        loop {
            let len = self.socket.recv(&mut &mut bytes[..], MSG_DONTWAIT).ok()?;
            let message = NetlinkMessage::<SockDiagMessage>::deserialize(bytes.get(..len)?).ok()?;
            // What is left of an earlier question is of no interest.
            if message.header.sequence_number == self.sequence {
                return owner(&message.payload);
            }
        }
    }
}

fn request(protocol: Protocol, source: SocketAddr, destination: SocketAddr) -> Option<InetRequest> {
    let (protocol, from, to) = match protocol {
        Protocol::Tcp => (IPPROTO_TCP, source, destination),
        // Datagram sockets are looked up as for a packet that arrives: the far end comes first.
        Protocol::Udp => (IPPROTO_UDP, destination, source),
        _ => return None,
    };
    Some(InetRequest {
        family: if source.is_ipv6() { AF_INET6 } else { AF_INET },
        protocol,
        extensions: ExtensionFlags::empty(),
        states: StateFlags::all(),
        socket_id: SocketId {
            source_port: from.port(),
            destination_port: to.port(),
            source_address: from.ip(),
            destination_address: to.ip(),
            interface_id: 0,
            cookie: ANY_COOKIE,
        },
    })
}

fn owner(payload: &NetlinkPayload<SockDiagMessage>) -> Option<Owner> {
    let NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(answer)) = payload else {
        return None;
    };
    let InetResponse { header, nlas } = &**answer;
    // The mark is told to those only who could set it.
    let mark =
        nlas.iter().find_map(|nla| if let Nla::Mark(mark) = nla { Some(*mark) } else { None });
    Some(Owner { uid: Some(header.uid), mark })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;

    fn own_uid() -> u32 {
        nix::unistd::geteuid().as_raw()
    }

    #[test]
    fn the_owner_of_each_kind_of_socket_is_found() {
        let owners = SockDiag::new().unwrap();
        let uid =
            |protocol, source, to| owners.owner(protocol, source, Some(to)).and_then(|o| o.uid);
        for any in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(any) else { continue };
            let app = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let ends = (app.local_addr().unwrap(), app.peer_addr().unwrap());
            assert_eq!(uid(Protocol::Tcp, ends.0, ends.1), Some(own_uid()), "{any}");
            let socket = UdpSocket::bind(any).unwrap();
            assert_eq!(
                uid(Protocol::Udp, socket.local_addr().unwrap(), ends.1),
                Some(own_uid()),
                "{any}"
            );
            let connected = UdpSocket::bind(any).unwrap();
            connected.connect(ends.1).unwrap();
            assert_eq!(
                uid(Protocol::Udp, connected.local_addr().unwrap(), ends.1),
                Some(own_uid()),
                "{any}"
            );
        }
    }

    #[test]
    fn nobody_owns_what_is_not_there_and_what_is_known_needs_no_destination() {
        let owners = SockDiag::new().unwrap();
        let nobody = "192.0.2.1:9".parse().unwrap();
        assert_eq!(owners.owner(Protocol::Tcp, nobody, Some(nobody)), None);
        assert_eq!(owners.owner(Protocol::Icmp, nobody, Some(nobody)), None);
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let source = socket.local_addr().unwrap();
        assert_eq!(owners.owner(Protocol::Udp, source, None), None);
        let known = owners.owner(Protocol::Udp, source, Some(nobody));
        assert_eq!(known.and_then(|owner| owner.uid), Some(own_uid()));
        assert_eq!(owners.owner(Protocol::Udp, source, None), known);
    }
}
