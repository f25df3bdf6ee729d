//! The packet that is followed, in words and in bytes. Pure.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use netctl_ebpf::{flow::FlowKey, proto};
use serde::{Serialize, Serializer};

use crate::{
    model::Protocol,
    nat::ebpf::maps::wire,
    ping::icmp::checksum,
    single::nat::{Proto, Tuple},
};

/// What a packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum What {
    /// What opens a TCP connection.
    Tcp,
    /// A UDP datagram.
    Udp,
    /// An ICMP echo request.
    Echo,
}

impl What {
    /// Whose sockets take it.
    pub(super) fn protocol(self) -> Option<Protocol> {
        match self {
            Self::Tcp => Some(Protocol::Tcp),
            Self::Udp => Some(Protocol::Udp),
            Self::Echo => None,
        }
    }

    /// Its number, in packets of IPv4 or of IPv6.
    const fn number(self, ipv4: bool) -> u8 {
        match self {
            Self::Tcp => proto::TCP,
            Self::Udp => proto::UDP,
            Self::Echo if ipv4 => proto::ICMP,
            Self::Echo => proto::ICMPV6,
        }
    }
}

/// A packet, or the answer to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Packet {
    /// What it is, or answers.
    pub what: What,
    /// Its source; the port of who asks for an echo is the identifier.
    pub from: SocketAddr,
    /// Its destination, likewise.
    pub to: SocketAddr,
    /// Whether it is the answer.
    pub is_answer: bool,
}

/// Stands for an address that is still to be chosen.
pub(super) fn unspecified(family_of: IpAddr) -> IpAddr {
    match family_of {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// `struct ethhdr`.
const ETHERNET: usize = 14;
const HOPS: u8 = 64;

impl Packet {
    /// What comes back.
    #[must_use]
    pub fn answer(&self) -> Self {
        Self { from: self.to, to: self.from, is_answer: !self.is_answer, ..*self }
    }

    /// `192.168.15.2:80/tcp`, `192.168.15.2` of an echo request.
    #[must_use]
    pub fn destination(&self) -> String {
        match self.what.protocol() {
            Some(protocol) => format!("{}/{protocol}", self.to),
            None => self.to.ip().to_string(),
        }
    }

    /// An end of it, as `192.168.15.2:80`; `-` where it has none yet.
    pub(super) fn end(&self, end: SocketAddr) -> String {
        if end.ip().is_unspecified() {
            return "-".to_owned();
        }
        if self.what == What::Echo { end.ip().to_string() } else { end.to_string() }
    }

    /// Its tuple as tables of flows have it.
    pub(super) fn key(&self) -> FlowKey {
        FlowKey {
            src: wire(self.from.ip()),
            dst: wire(self.to.ip()),
            src_port: self.from.port().to_be_bytes(),
            dst_port: self.to.port().to_be_bytes(),
            proto: self.what.number(self.to.is_ipv4()),
            _pad: [0; 3],
        }
    }

    /// Its bytes, as they come to who has this MAC address. Its size is not theirs.
    pub(super) fn frame(&self, to_mac: [u8; 6]) -> Vec<u8> {
        let ipv4 = self.to.is_ipv4();
        let transport = self.transport();
        let mut frame = to_mac.to_vec();
        frame.extend([2, 0, 0, 0, 0, 0]);
        frame.extend(if ipv4 { [0x08, 0x00] } else { [0x86, 0xdd] });
        let (header, length) = (frame.len(), transport.len() as u16);
        if ipv4 {
            frame.extend([0x45, 0]);
            frame.extend((20 + length).to_be_bytes());
            frame.extend([0, 0, 0x40, 0, HOPS, self.what.number(true), 0, 0]); // DF
        } else {
            frame.extend([0x60, 0, 0, 0]);
            frame.extend(length.to_be_bytes());
            frame.extend([self.what.number(false), HOPS]);
        }
        frame.extend(self.addresses());
        if ipv4 {
            let sum = checksum(&frame[header..]);
            frame[header + 10..header + 12].copy_from_slice(&sum);
        }
        frame.extend(transport);
        frame
    }

    fn addresses(&self) -> Vec<u8> {
        let octets = |address: IpAddr| match address {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        [octets(self.from.ip()), octets(self.to.ip())].concat()
    }

    /// What follows the IP header, its checksum right.
    fn transport(&self) -> Vec<u8> {
        let [from, to] = [self.from, self.to].map(|end| end.port().to_be_bytes());
        let ipv4 = self.to.is_ipv4();
        let (mut bytes, sum_at) = match self.what {
            What::Tcp => {
                let flags = if self.is_answer { 0x12 } else { 0x02 };
                let rest = [0, 0, 0, 1, 0, 0, 0, self.is_answer.into(), 0x50, flags, 0xff, 0xff, 0, 0, 0, 0];
                ([&from[..], &to, &rest].concat(), 16)
            }
            What::Udp => ([&from[..], &to, &[0, 8, 0, 0]].concat(), 6),
            What::Echo => {
                let kind = match (ipv4, self.is_answer) {
                    (true, false) => 8,
                    (true, true) => 0,
                    (false, false) => 128,
                    (false, true) => 129,
                };
                let id = if self.is_answer { to } else { from };
                ([&[kind, 0, 0, 0][..], &id, &[0, 1]].concat(), 2)
            }
        };
        let number = self.what.number(ipv4);
        let mut covered = if proto::has_pseudo_header(number) { self.addresses() } else { Vec::new() };
        if !covered.is_empty() {
            covered.extend([0, number]);
            covered.extend((bytes.len() as u16).to_be_bytes());
        }
        covered.extend(&bytes);
        let sum = checksum(&covered);
        bytes[sum_at..sum_at + 2].copy_from_slice(&sum);
        bytes
    }

    /// The same packet, as a program has left its bytes; `None` if they are no longer such a packet's.
    pub(super) fn read(&self, frame: &[u8]) -> Option<Self> {
        let (at, size) = if self.to.is_ipv4() { (ETHERNET + 12, 4) } else { (ETHERNET + 8, 16) };
        let address = |at: usize| match frame.get(at..at + size)? {
            v4 if size == 4 => <[u8; 4]>::try_from(v4).ok().map(IpAddr::from),
            v6 => <[u8; 16]>::try_from(v6).ok().map(IpAddr::from),
        };
        let number = |at: usize| frame.get(at..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes));
        let after = at + 2 * size;
        let ports = match (self.what, self.is_answer) {
            (What::Echo, false) => (number(after + 4)?, 0),
            (What::Echo, true) => (0, number(after + 4)?),
            _ => (number(after)?, number(after + 2)?),
        };
        let from = SocketAddr::new(address(at)?, ports.0);
        Some(Self { from, to: SocketAddr::new(address(at + size)?, ports.1), ..*self })
    }
}

impl fmt::Display for Packet {
    /// `192.168.15.1:40000 -> 203.0.113.2:80`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", self.end(self.from), self.end(self.to))
    }
}

#[derive(Serialize)]
struct Document {
    protocol: Proto,
    #[serde(flatten)]
    tuple: Tuple,
}

impl Serialize for Packet {
    /// As `nat flows` has a tuple, with its protocol.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let key = self.key();
        // The identifier is that of who asked.
        let mut tuple = Tuple::from(&if self.is_answer { key.reversed() } else { key });
        if self.is_answer {
            std::mem::swap(&mut tuple.source, &mut tuple.destination);
            std::mem::swap(&mut tuple.source_port, &mut tuple.destination_port);
        }
        Document { protocol: Proto(key.proto), tuple }.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packets() -> impl Iterator<Item = Packet> {
        let ends = [("192.168.15.1", "203.0.113.2"), ("fd15::1", "2001:db8:113::2")];
        ends.into_iter().flat_map(|(from, to)| {
            [(What::Tcp, 80), (What::Udp, 53), (What::Echo, 0)].into_iter().flat_map(move |(what, port)| {
                let end = |text: &str, port| SocketAddr::new(text.parse().unwrap(), port);
                let packet = Packet { what, from: end(from, 40_000), to: end(to, port), is_answer: false };
                [packet, packet.answer()]
            })
        })
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        for packet in packets() {
            let frame = packet.frame([2, 0, 0, 0, 0, 9]);
            assert_eq!(packet.read(&frame), Some(packet));
            assert_eq!(packet.read(&frame[..25]), None, "cut short");
        }
    }

    #[test]
    fn checksums_are_right() {
        for packet in packets() {
            let bytes = packet.transport();
            let number = packet.what.number(packet.to.is_ipv4());
            let mut covered = packet.addresses();
            covered.extend([0, number]);
            covered.extend((bytes.len() as u16).to_be_bytes());
            if number == proto::ICMP {
                covered.clear();
            }
            covered.extend(bytes);
            assert_eq!(checksum(&covered), [0, 0], "{packet}");
        }
    }

    #[test]
    fn a_packet_is_said_in_words() {
        let said: Vec<_> = packets().map(|packet| format!("{packet}, {}", packet.destination())).collect();
        assert_eq!(said[0], "192.168.15.1:40000 -> 203.0.113.2:80, 203.0.113.2:80/tcp");
        assert_eq!(said[4], "192.168.15.1 -> 203.0.113.2, 203.0.113.2");
        assert_eq!(said[7], "[2001:db8:113::2]:80 -> [fd15::1]:40000, [fd15::1]:40000/tcp");
    }
}
