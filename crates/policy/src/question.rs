use std::net::{IpAddr, SocketAddr};

use pseudotcp_packet::{FlowKey, Protocol};

/// An IP version, as a rule may ask for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IpVersion {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl IpVersion {
    /// The version of an address.
    pub const fn of(address: IpAddr) -> Self {
        if address.is_ipv6() { Self::V6 } else { Self::V4 }
    }
}

/// Who opened a flow, as far as the platform tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The numeric id of the user whose process holds the socket.
    pub uid: Option<u32>,
    /// The mark of the socket (`SO_MARK`).
    pub mark: Option<u32>,
}

/// A flow, as it is put to the rules: everything that is known about it.
///
/// What is unknown matches no condition: a rule that asks for a port does not match a ping, and one
/// that asks for a user does not match a flow whose owner nobody could tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question<'a> {
    pub(crate) protocol: Protocol,
    pub(crate) version: Option<IpVersion>,
    pub(crate) source: Option<IpAddr>,
    pub(crate) destination: Option<IpAddr>,
    pub(crate) port: Option<u16>,
    pub(crate) name: Option<&'a str>,
    pub(crate) owner: Owner,
}

impl<'a> Question<'a> {
    /// A flow of which the protocol alone is known.
    pub const fn new(protocol: Protocol) -> Self {
        Self {
            protocol,
            version: None,
            source: None,
            destination: None,
            port: None,
            name: None,
            owner: Owner { uid: None, mark: None },
        }
    }

    /// Adds the address of the app.
    #[must_use]
    pub const fn source(mut self, source: IpAddr) -> Self {
        self.source = Some(source);
        self.version = Some(IpVersion::of(source));
        self
    }

    /// Adds the address of the destination.
    #[must_use]
    pub const fn destination(mut self, destination: IpAddr) -> Self {
        self.destination = Some(destination);
        self.version = Some(IpVersion::of(destination));
        self
    }

    /// Adds the port of the destination.
    #[must_use]
    pub const fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Adds the name by which the app knows the destination: ASCII, with or without a final dot.
    #[must_use]
    pub const fn name(mut self, name: &'a str) -> Self {
        self.name = Some(name);
        self
    }

    /// Takes the address of the destination out again: it only stood for the name.
    #[must_use]
    pub const fn without_address(mut self) -> Self {
        self.destination = None;
        self
    }

    /// Adds who opened the flow.
    #[must_use]
    pub const fn owner(mut self, owner: Owner) -> Self {
        self.owner = owner;
        self
    }
}

/// The question that a packet puts.
impl From<FlowKey> for Question<'_> {
    fn from(flow: FlowKey) -> Self {
        let (source, destination): (SocketAddr, SocketAddr) = (flow.source(), flow.destination());
        Self::new(flow.protocol())
            .source(source.ip())
            .destination(destination.ip())
            .port(destination.port())
    }
}
