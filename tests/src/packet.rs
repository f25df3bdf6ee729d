//! Packets from a few words: `tcp("192.168.15.1:4321", "203.0.113.2:80").syn()`.
//!
//! A [`Packet`] is what a test means, [`Packet::frame`] its bytes, every checksum right. What has to be wrong is made
//! wrong in the bytes. [`check`] reads frames back, on its own account.

pub mod check;
pub mod parts;
mod wire;

use std::net::{IpAddr, SocketAddr};

/// TCP flags (RFC 9293 section 3.1).
pub mod flag {
    /// No more data from sender.
    pub const FIN: u8 = 0x01;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset the connection.
    pub const RST: u8 = 0x04;
    /// Push.
    pub const PSH: u8 = 0x08;
    /// The acknowledgement number is valid.
    pub const ACK: u8 = 0x10;
}

/// IP protocol numbers (IANA).
pub mod proto {
    /// ICMP for IPv4.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// Generic routing encapsulation, which has no ports.
    pub const GRE: u8 = 47;
    /// ICMP for IPv6.
    pub const ICMPV6: u8 = 58;
    /// IPv6 hop-by-hop options.
    pub const HOP_BY_HOP: u8 = 0;
    /// IPv6 routing header.
    pub const ROUTING: u8 = 43;
    /// IPv6 fragment header.
    pub const FRAGMENT: u8 = 44;
    /// IPv6 destination options.
    pub const DESTINATION: u8 = 60;
}

/// Whom the frames of [`Packet`] come from unless told otherwise.
pub const SENDER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
/// Whom they go to.
pub const GATEWAY_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// An address and a port, in any of the ways that a test writes them. The port of an ICMP query is its identifier, on
/// the side that asks.
pub trait Endpoint {
    /// As one value.
    fn endpoint(self) -> SocketAddr;
}

impl Endpoint for SocketAddr {
    fn endpoint(self) -> SocketAddr {
        self
    }
}

impl Endpoint for &str {
    /// `ADDRESS:PORT`, or `ADDRESS` alone for port 0.
    fn endpoint(self) -> SocketAddr {
        let alone = |_| self.parse::<IpAddr>().map(|address| SocketAddr::new(address, 0));
        self.parse().or_else(alone).unwrap_or_else(|_| panic!("`{self}` is no endpoint"))
    }
}

impl Endpoint for (&str, u16) {
    fn endpoint(self) -> SocketAddr {
        (self.0.parse::<IpAddr>().unwrap_or_else(|_| panic!("`{}` is no address", self.0)), self.1).endpoint()
    }
}

impl Endpoint for (IpAddr, u16) {
    fn endpoint(self) -> SocketAddr {
        self.into()
    }
}

/// What follows the IP header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Tcp {
        /// Of [`flag`].
        flags: u8,
        /// A multiple of four bytes.
        options: Vec<u8>,
    },
    /// UDP.
    Udp {
        /// Whether it has a checksum, which IPv4 leaves to the sender.
        checksum: bool,
    },
    /// An ICMP echo request; the source's port is the identifier.
    EchoRequest,
    /// An ICMP echo reply; the destination's port is the identifier.
    EchoReply,
    /// Another ICMP message, its checksum put in; the payload follows these eight bytes.
    Icmp([u8; 8]),
    /// Another protocol; the payload is all of it.
    Other(u8),
}

/// A packet as a test means it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Where it comes from.
    pub src: SocketAddr,
    /// Where it goes to.
    pub dst: SocketAddr,
    /// What follows the IP header.
    pub transport: Transport,
    /// What follows that.
    pub payload: Vec<u8>,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// IPv4 options, a multiple of four bytes.
    pub options: Vec<u8>,
    /// IPv6 extension headers: number and bytes, the first of which (the next header's number) is put in.
    pub extensions: Vec<(u8, Vec<u8>)>,
    /// Of a fragment: its offset in units of eight bytes, and whether more follow.
    pub fragment: Option<(u16, bool)>,
    /// The frame's destination.
    pub to_mac: [u8; 6],
}

fn packet(src: impl Endpoint, dst: impl Endpoint, transport: Transport) -> Packet {
    let (src, dst) = (src.endpoint(), dst.endpoint());
    assert_eq!(src.is_ipv4(), dst.is_ipv4(), "{src} and {dst} are of two families");
    Packet {
        src,
        dst,
        transport,
        payload: b"What a test says".to_vec(),
        ttl: 63,
        options: Vec::new(),
        extensions: Vec::new(),
        fragment: None,
        to_mac: GATEWAY_MAC,
    }
}

/// A TCP segment in the middle of a connection.
pub fn tcp(src: impl Endpoint, dst: impl Endpoint) -> Packet {
    packet(src, dst, Transport::Tcp { flags: flag::ACK | flag::PSH, options: Vec::new() })
}

/// A UDP datagram.
pub fn udp(src: impl Endpoint, dst: impl Endpoint) -> Packet {
    packet(src, dst, Transport::Udp { checksum: true })
}

/// An ICMP echo request, its identifier as `src`'s port.
pub fn ping(src: impl Endpoint, dst: impl Endpoint) -> Packet {
    packet(src, dst, Transport::EchoRequest)
}

/// Another ICMP message: type, code, and what follows the first eight bytes.
pub fn icmp(src: impl Endpoint, dst: impl Endpoint, kind: u8, code: u8, payload: &[u8]) -> Packet {
    packet(src, dst, Transport::Icmp([kind, code, 0, 0, 0, 7, 0, 1])).payload(payload)
}

/// A packet of a protocol that has no ports.
pub fn other(protocol: u8, src: impl Endpoint, dst: impl Endpoint) -> Packet {
    packet(src, dst, Transport::Other(protocol))
}

impl Packet {
    /// Sets TCP's flags.
    #[must_use]
    pub fn flags(mut self, flags: u8) -> Self {
        let options = if flags & flag::SYN == 0 { Vec::new() } else { vec![2, 4, 5, 0xb4] };
        self.transport = Transport::Tcp { flags, options };
        self
    }

    /// The first segment of a connection, with a maximum segment size.
    #[must_use]
    pub fn syn(self) -> Self {
        self.flags(flag::SYN).payload(b"")
    }

    /// The last segment of one side.
    #[must_use]
    pub fn fin(self) -> Self {
        self.flags(flag::FIN | flag::ACK)
    }

    /// A reset.
    #[must_use]
    pub fn rst(self) -> Self {
        self.flags(flag::RST | flag::ACK).payload(b"")
    }

    /// Sets the payload.
    #[must_use]
    pub fn payload(mut self, payload: &[u8]) -> Self {
        self.payload = payload.to_vec();
        self
    }

    /// UDP without a checksum.
    #[must_use]
    pub fn without_checksum(mut self) -> Self {
        self.transport = Transport::Udp { checksum: false };
        self
    }

    /// Adds an IPv6 extension header of `number`; `bytes` are a multiple of eight.
    #[must_use]
    pub fn extension(mut self, number: u8, bytes: &[u8]) -> Self {
        self.extensions.push((number, bytes.to_vec()));
        self
    }

    /// Makes it a fragment.
    #[must_use]
    pub fn fragment(mut self, offset: u16, more: bool) -> Self {
        self.fragment = Some((offset, more));
        self
    }

    /// From another source.
    #[must_use]
    pub fn from(mut self, src: impl Endpoint) -> Self {
        self.src = src.endpoint();
        self
    }

    /// To another destination.
    #[must_use]
    pub fn to(mut self, dst: impl Endpoint) -> Self {
        self.dst = dst.endpoint();
        self
    }

    /// What the other side says to this: SYN-ACK to a SYN, a reply to an echo request, else the like.
    #[must_use]
    pub fn answer(&self) -> Self {
        let mut answer = Self { src: self.dst, dst: self.src, ..self.clone() };
        answer.transport = match &self.transport {
            Transport::EchoRequest => Transport::EchoReply,
            Transport::EchoReply => Transport::EchoRequest,
            Transport::Tcp { flags, options } if flags & flag::SYN != 0 => {
                Transport::Tcp { flags: flag::SYN | flag::ACK, options: options.clone() }
            }
            other => other.clone(),
        };
        answer
    }

    /// Its bytes, from the Ethernet header on.
    #[must_use]
    pub fn frame(&self) -> Vec<u8> {
        wire::frame(self)
    }
}
