//! What a party saw, in a form that can be compared: everything that a packet on its way keeps, byte by byte, and of what
//! the gateway says itself the part that both gateways must agree in.

use super::{
    build,
    edit::{self, Tuple},
    world::{Family, Party},
};
use crate::packet::{
    check::{self, View},
    proto,
};

/// Something that a party saw.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    /// Who.
    pub by: Party,
    /// What.
    pub what: What,
}

/// A packet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// Passed on by the gateway: from the IP header to the end of the datagram.
    Passed(Vec<u8>),
    /// Said by the gateway. What it draws at random (identification, TCP's numbers) is zero.
    Said(Vec<u8>),
    /// An ICMP error by the gateway: from, to, type and code, MTU, and what it is about.
    Error(String, String, u8, u8, u16, Option<String>),
}

/// The time to live of what the gateway says itself.
const OWN_TTL: u8 = 64;

impl Seen {
    /// Reads a frame; `None` of what hosts say to each other about themselves (ARP, neighbour discovery, multicast
    /// membership), and of reassembly that timed out: fragments that netfilter waits for are passed on by netctl.
    #[must_use]
    pub fn read(by: Party, frame: &[u8]) -> Option<Self> {
        const IGMP: u8 = 2;
        let view = View::read(frame)?;
        let at = |offset: usize| frame.get(view.transport + offset).copied().unwrap_or(0);
        match (view.proto, at(0)) {
            (IGMP, _) | (proto::ICMPV6, 130..=137 | 143) => return None,
            (proto::ICMP, 11) | (proto::ICMPV6, 3) if at(1) == 1 && edit::ttl(frame) == OWN_TTL => {
                return None;
            }
            _ => {}
        }
        let mut datagram = frame.get(..view.end).unwrap_or(frame).to_vec();
        if edit::ttl(frame) != OWN_TTL {
            return Some(Self { by, what: What::Passed(datagram.split_off(14)) });
        }
        if edit::is_error(frame, &view) {
            let quote = edit::quote(frame, &view).map(|quote| format!("{:?}", Tuple::of(&quote.view)));
            let mtu = u16::from_be_bytes([at(6), at(7)]);
            let (from, to) = (view.src.ip().to_string(), view.dst.ip().to_string());
            return Some(Self { by, what: What::Error(from, to, at(0), at(1), mtu, quote) });
        }
        if view.src.is_ipv4() {
            datagram[15] = 0;
            datagram[18..22].fill(0);
            datagram[24..26].fill(0);
        } else {
            datagram[15..18].fill(0);
        }
        if view.proto == proto::TCP {
            datagram.truncate(view.transport + 20);
            datagram[view.transport + 4..view.transport + 12].fill(0);
            datagram[view.transport + 14..view.transport + 20].fill(0);
        }
        Some(Self { by, what: What::Said(datagram.split_off(14)) })
    }

    /// Takes out what cutting a datagram up changes: its identification, and whether it may be cut.
    pub fn forget_identity(&mut self) {
        let mut frame = self.frame();
        if let What::Passed(datagram) = &mut self.what
            && datagram[0] >> 4 == 4
        {
            frame[18..22].fill(0);
            build::fix_header_checksum(&mut frame);
            *datagram = frame.split_off(14);
        }
    }

    /// The packet again, where it was passed on.
    #[must_use]
    pub fn passed(&self) -> Option<Vec<u8>> {
        matches!(self.what, What::Passed(_)).then(|| self.frame())
    }

    /// The packet again; nothing where no more is known of it than that it reports an error.
    #[must_use]
    pub fn frame(&self) -> Vec<u8> {
        let (What::Passed(datagram) | What::Said(datagram)) = &self.what else { return Vec::new() };
        let ethertype = if datagram[0] >> 4 == 4 { [0x08, 0x00] } else { [0x86, 0xdd] };
        [&[0; 12][..], &ethertype, datagram].concat()
    }
}

/// What is wrong with a frame whatever it answers to: a private source outside, in the packet or in what it quotes
/// (invariant I1), or a checksum, where `checked`, that was right on the way in (invariant I2).
#[must_use]
pub fn violation(by: Party, frame: &[u8], checked: bool) -> Option<String> {
    let view = View::read(frame)?;
    if matches!(view.proto, proto::ICMPV6) && matches!(frame.get(view.transport), Some(130..=137 | 143)) {
        return None;
    }
    if by == Party::Inet && frame[6..12] == by.gateway_mac() {
        if Family::is_private(view.src.ip()) {
            return Some(format!("{} is seen outside as a source", view.src.ip()));
        }
        if let Some(quote) = edit::quote(frame, &view)
            && Family::is_private(quote.view.dst.ip())
        {
            return Some(format!("{} is seen outside in a quote", quote.view.dst.ip()));
        }
    }
    if checked && view.checksum_field().is_some() {
        return check::checksums(frame).err();
    }
    None
}
