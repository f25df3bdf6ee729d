//! A flow in the words of people: protocol, state, kind, tuple. Pure.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

use netctl_ebpf::{
    addr::{self, Addr},
    flow::{FlowKey, kind},
    proto, tcp,
};
use serde::{Serialize, Serializer};

use crate::nat::ebpf::maps::Flow;

/// An IP protocol, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Proto(pub u8);

impl Proto {
    const NAMED: [(u8, &'static str); 4] =
        [(proto::TCP, "tcp"), (proto::UDP, "udp"), (proto::ICMP, "icmp"), (proto::ICMPV6, "icmpv6")];

    /// The protocol of that name or number.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        let named = Self::NAMED.iter().find(|(_, name)| *name == word).map(|(number, _)| *number);
        named.or_else(|| word.parse().ok()).map(Self)
    }

    fn has_ports(self) -> bool {
        matches!(self.0, proto::TCP | proto::UDP)
    }

    fn has_id(self) -> bool {
        matches!(self.0, proto::ICMP | proto::ICMPV6)
    }
}

impl fmt::Display for Proto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::NAMED.iter().find(|(number, _)| *number == self.0) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}

impl Serialize for Proto {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// How far a flow has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// TCP, not answered yet, or the answer not acknowledged.
    Opening,
    /// TCP, acknowledged by both sides and not closed; also when one side has nothing more to say.
    Established,
    /// TCP, closed by both sides or reset.
    Closing,
    /// Others, not answered yet.
    Unanswered,
    /// Others, answered.
    Answered,
}

impl State {
    /// All of them with their words.
    pub const ALL: [(Self, &'static str); 5] = [
        (Self::Opening, "opening"),
        (Self::Established, "established"),
        (Self::Closing, "closing"),
        (Self::Unanswered, "unanswered"),
        (Self::Answered, "answered"),
    ];

    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        word(&Self::ALL, self)
    }

    /// The state of a flow, as its lifetime has it.
    pub(super) fn of(flow: &Flow) -> Self {
        let (back, answered) = (&flow.back, flow.back.packets != 0);
        match flow.original.proto {
            proto::TCP if tcp::is_closed(flow.there.tcp_seen, back.tcp_seen) => Self::Closing,
            proto::TCP if tcp::is_established(flow.there.tcp_seen, answered) => Self::Established,
            proto::TCP => Self::Opening,
            _ if answered => Self::Answered,
            _ => Self::Unanswered,
        }
    }
}

/// Why a flow exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// From inside to outside, by a masquerade rule.
    Masquerade,
    /// From outside to inside, by a forward.
    Forward,
    /// From inside to inside by the gateway's outside address, by a forward.
    Hairpin,
    /// From outside straight to an inside address, as `routed` has it; not translated.
    Routed,
    /// The gateway's own, moved out of the way of a client's flow.
    Own,
    /// From outside to an endpoint-independent mapping.
    Inbound,
}

impl Kind {
    /// All of them with their words.
    pub const ALL: [(Self, &'static str); 6] = [
        (Self::Masquerade, "masquerade"),
        (Self::Forward, "forward"),
        (Self::Hairpin, "hairpin"),
        (Self::Routed, "routed"),
        (Self::Own, "own"),
        (Self::Inbound, "inbound"),
    ];

    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        word(&Self::ALL, self)
    }

    /// The kind of a flow, as the table numbers it.
    pub(crate) const fn of(number: u8) -> Self {
        match number {
            kind::FORWARD => Self::Forward,
            kind::HAIRPIN | kind::HAIRPIN_SOURCE => Self::Hairpin,
            kind::ROUTED => Self::Routed,
            kind::OWN => Self::Own,
            kind::INBOUND => Self::Inbound,
            _ => Self::Masquerade,
        }
    }
}

fn word<T: Copy + PartialEq>(all: &[(T, &'static str)], it: T) -> &'static str {
    all.iter().find(|(other, _)| *other == it).map_or("", |(_, word)| word)
}

/// The two directions of a flow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Both {
    /// That of the first packet.
    pub original: u64,
    /// That of the answers.
    pub reply: u64,
}

impl From<[u64; 2]> for Both {
    fn from([original, reply]: [u64; 2]) -> Self {
        Self { original, reply }
    }
}

/// Who talks to whom. What the protocol does not have is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Tuple {
    /// Source address.
    pub source: IpAddr,
    /// Source port, of TCP and UDP.
    pub source_port: Option<u16>,
    /// Destination address.
    pub destination: IpAddr,
    /// Destination port, of TCP and UDP.
    pub destination_port: Option<u16>,
    /// Identifier of an ICMP query.
    pub id: Option<u16>,
}

impl From<&FlowKey> for Tuple {
    fn from(key: &FlowKey) -> Self {
        let proto = Proto(key.proto);
        let port = |port| proto.has_ports().then(|| u16::from_be_bytes(port));
        Self {
            source: ip(&key.src),
            source_port: port(key.src_port),
            destination: ip(&key.dst),
            destination_port: port(key.dst_port),
            id: proto.has_id().then(|| u16::from_be_bytes(key.src_port)),
        }
    }
}

impl fmt::Display for Tuple {
    /// `192.168.15.1:4321 -> 203.0.113.2:80`, `[fd15::1]:4321 -> [2001:db8::2]:80`, `192.168.15.1 -> 203.0.113.2 id 7`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        endpoint(self.source, self.source_port, f)?;
        f.write_str(" -> ")?;
        endpoint(self.destination, self.destination_port, f)?;
        self.id.map_or(Ok(()), |id| write!(f, " id {id}"))
    }
}

fn endpoint(address: IpAddr, port: Option<u16>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match port {
        Some(port) => write!(f, "{}", SocketAddr::new(address, port)),
        None => write!(f, "{address}"),
    }
}

/// An address of the table.
fn ip(wire: &Addr) -> IpAddr {
    if addr::is_v4(wire) { IpAddr::from(addr::to_v4(wire)) } else { IpAddr::V6(Ipv6Addr::from(*wire)) }
}

#[cfg(test)]
mod tests {
    use netctl_ebpf::{flow::Half, tcp::flag};

    use super::*;

    fn key(proto: u8) -> FlowKey {
        FlowKey {
            src: addr::from_v4([192, 168, 15, 1]),
            dst: addr::from_v4([203, 0, 113, 2]),
            src_port: 4321_u16.to_be_bytes(),
            dst_port: 80_u16.to_be_bytes(),
            proto,
            _pad: [0; 3],
        }
    }

    #[test]
    fn a_tuple_reads_as_its_protocol_has_it() {
        assert_eq!(Tuple::from(&key(proto::TCP)).to_string(), "192.168.15.1:4321 -> 203.0.113.2:80");
        assert_eq!(Tuple::from(&key(proto::ICMP)).to_string(), "192.168.15.1 -> 203.0.113.2 id 4321");
        assert_eq!(Tuple::from(&key(47)).to_string(), "192.168.15.1 -> 203.0.113.2");
        let mut v6 = key(proto::UDP);
        v6.src = "fd15::1".parse::<Ipv6Addr>().unwrap().octets();
        v6.dst = "2001:db8::2".parse::<Ipv6Addr>().unwrap().octets();
        assert_eq!(Tuple::from(&v6).to_string(), "[fd15::1]:4321 -> [2001:db8::2]:80");
    }

    #[test]
    fn a_state_is_what_the_lifetime_goes_by() {
        let state = |proto, packets, there, back| {
            let half = |tcp_seen, packets| Half { tcp_seen, packets, ..Half::default() };
            let (original, translated) = (key(proto), key(proto));
            State::of(&Flow { original, translated, there: half(there, 1), back: half(back, packets) })
        };
        assert_eq!(state(proto::TCP, 0, flag::SYN, 0), State::Opening);
        assert_eq!(state(proto::TCP, 1, flag::SYN, flag::SYN), State::Opening);
        assert_eq!(state(proto::TCP, 1, flag::SYN | flag::ACK, flag::SYN), State::Established);
        assert_eq!(state(proto::TCP, 9, flag::ACK | flag::FIN, flag::SYN), State::Established);
        assert_eq!(state(proto::TCP, 9, flag::ACK | flag::FIN, flag::SYN | flag::FIN), State::Closing);
        assert_eq!(state(proto::TCP, 1, flag::SYN, flag::RST), State::Closing);
        assert_eq!(state(proto::UDP, 0, 0, 0), State::Unanswered);
        assert_eq!(state(proto::ICMP, 1, 0, 0), State::Answered);
    }

    #[test]
    fn words_find_their_way_back() {
        for (number, word) in [(6, "tcp"), (58, "icmpv6"), (47, "47")] {
            assert_eq!((Proto::of(word), Proto(number).to_string().as_str()), (Some(Proto(number)), word));
        }
        assert_eq!(Proto::of("tpc"), None);
        assert_eq!((State::Closing.as_str(), Kind::Own.as_str()), ("closing", "own"));
    }
}
