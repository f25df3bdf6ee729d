//! What can happen in a lab, in words that mean the same on both sides: a step names flows and not the ports that a NAT
//! chose for them. A list of steps is a case; it is kept in a file as it is.

use serde::{Deserialize, Serialize};

use super::world::Party;

/// Names a flow within a case: the step that opened it.
pub type FlowId = u16;

/// One thing that happens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum Step {
    /// A packet from one address to another, whatever is known of them.
    Send {
        /// What later steps call the flow that this may open.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        flow: Option<FlowId>,
        /// Where the packet is put in.
        from: Party,
        /// IPv6.
        #[serde(default, skip_serializing_if = "is_default")]
        v6: bool,
        /// Its source.
        src: (Who, u16),
        /// Its destination.
        dst: (Who, u16),
        /// What it is.
        kind: Kind,
        /// How it looks.
        #[serde(default, skip_serializing_if = "is_default")]
        shape: Shape,
    },
    /// Another packet of a flow, from the end that opened it or back to it.
    Say {
        /// Of which flow.
        flow: FlowId,
        /// Back to the end that opened it.
        #[serde(default, skip_serializing_if = "is_default")]
        back: bool,
        /// TCP's flags.
        #[serde(default, skip_serializing_if = "is_default")]
        flags: u8,
        /// How it looks.
        #[serde(default, skip_serializing_if = "is_default")]
        shape: Shape,
    },
    /// A packet to where a flow's answers go, from somebody else or not quite there.
    Wrong {
        /// Of which flow.
        flow: FlowId,
        /// What is wrong.
        how: Wrong,
        /// TCP's flags.
        #[serde(default, skip_serializing_if = "is_default")]
        flags: u8,
    },
    /// An ICMP error about the last packet of a flow in one direction.
    Error {
        /// Of which flow.
        flow: FlowId,
        /// About the packet that went back to the end that opened it.
        #[serde(default, skip_serializing_if = "is_default")]
        back: bool,
        /// From a router on the way, not from the end that the packet was for.
        #[serde(default, skip_serializing_if = "is_default")]
        router: bool,
        /// Type and code.
        kind: (u8, u8),
        /// How many bytes behind the quoted IP header; all if there are fewer.
        quoted: u16,
        /// What is wrong with it.
        #[serde(default, skip_serializing_if = "is_default")]
        flaw: ErrorFlaw,
    },
    /// A UDP socket of the gateway is bound, connected, and sends.
    Socket {
        /// What later steps call the flow.
        flow: FlowId,
        /// IPv6.
        #[serde(default, skip_serializing_if = "is_default")]
        v6: bool,
        /// Its port.
        port: u16,
        /// Whom it sends to.
        dst: (Who, u16),
    },
    /// A third forward comes or goes.
    Forward {
        /// Whether it is there from now on.
        on: bool,
    },
    /// Both sides forget every flow.
    Flush,
}

impl Step {
    /// The parts that its packet comes in.
    #[must_use]
    pub const fn parts(&self) -> Option<Parts> {
        match self {
            Self::Send { shape, .. } | Self::Say { shape, .. } => shape.parts,
            _ => None,
        }
    }
}

/// An address of [`super::world::Family`], or a special one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "named as the fields of `Family`")]
pub enum Who {
    C1,
    C2,
    Lan,
    Wan,
    Second,
    Server,
    Other,
    Far,
    Router,
    Uncovered,
    /// 127.0.0.1 or ::1.
    Loopback,
    /// 0.0.0.0 or ::.
    Nobody,
    /// A multicast group beyond the link.
    Group,
    /// The inside network's broadcast address; IPv6: all nodes.
    Everybody,
}

/// What a packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// TCP with these flags.
    Tcp(u8),
    /// UDP.
    Udp,
    /// An ICMP echo request; the source port is its identifier.
    Echo,
    /// An ICMP echo reply; the destination port is its identifier.
    EchoReply,
    /// Another ICMP message: type and code; the source port is its identifier.
    Icmp(u8, u8),
    /// Another protocol.
    Protocol(u8),
}

/// How a packet looks beyond what it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Shape {
    /// Bytes of payload.
    pub payload: u16,
    /// Time to live.
    pub ttl: u8,
    /// IPv4's identification.
    pub id: u16,
    /// Whether IPv4 may not fragment it.
    pub whole: bool,
    /// IP options, or extension headers.
    pub extra: Extra,
    /// What is wrong with it.
    pub flaw: Flaw,
    /// Whether it comes in parts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parts: Option<Parts>,
}

/// A datagram in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parts {
    /// Bytes behind the IP header in each but the last; a multiple of eight.
    pub unit: u16,
    /// In what order they come.
    pub order: Order,
    /// Which one does not come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<Lost>,
}

/// A part that is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lost {
    /// The first, which has the ports.
    First,
    /// The last.
    Last,
}

/// An order of parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// From the first to the last.
    Forth,
    /// From the last to the first.
    Back,
    /// The first two change places.
    Swapped,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            payload: 16,
            ttl: 63,
            id: 0xbeef,
            whole: true,
            extra: Extra::None,
            flaw: Flaw::None,
            parts: None,
        }
    }
}

/// IPv4 options, or IPv6 extension headers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Extra {
    /// None.
    #[default]
    None,
    /// No-operations; IPv6: a destination option header.
    Padding,
    /// Router alert (RFC 2113, RFC 2711), in IPv6 within a hop-by-hop header.
    Alert,
    /// Loose source route by way of nobody; IPv6: a routing header that has been used up.
    Route,
    /// As many as there is room for; IPv6: hop-by-hop and destination options.
    Many,
}

/// What is wrong with a packet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Flaw {
    /// Nothing.
    #[default]
    None,
    /// UDP's checksum is zero: none.
    NoChecksum,
    /// The transport's checksum.
    Checksum,
    /// IPv4's header checksum.
    HeaderChecksum,
    /// The length that the UDP or TCP header gives is longer than the packet.
    TooLong,
    /// That length is shorter than the header itself.
    TooShort,
    /// Only so many bytes follow the IP header, which says so.
    Cut(u8),
    /// Bytes follow the packet on the wire.
    Padded,
}

/// What is wrong with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wrong {
    /// From another host.
    Host,
    /// From another port.
    Port,
    /// To the gateway's other address.
    Address,
    /// By the other protocol: UDP for TCP.
    Protocol,
}

/// What is wrong with an ICMP error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorFlaw {
    /// Nothing.
    #[default]
    None,
    /// Not addressed to the quoted packet's sender.
    Destination,
    /// Its checksum.
    Checksum,
    /// The quoted packet's transport checksum.
    QuotedChecksum,
    /// The quoted packet is a later fragment.
    QuotedFragment,
    /// Bytes that RFC 4884 puts behind the quote.
    Extended,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
