//! From steps to frames.

use std::net::{IpAddr, SocketAddr};

use super::{
    edit::{self, Tuple},
    step::{ErrorFlaw, Extra, Flaw, Kind, Shape, Who},
    world::family,
};
use crate::packet::{self, Packet, Transport, check::View, proto};

/// The address that a step means.
#[must_use]
pub fn address(who: Who, v6: bool) -> IpAddr {
    let family = family(v6);
    let special = |v4: &str, v6_text: &str| if v6 { v6_text } else { v4 }.parse().unwrap();
    match who {
        Who::C1 => family.c1,
        Who::C2 => family.c2,
        Who::Lan => family.lan,
        Who::Wan => family.wan,
        Who::Second => family.second,
        Who::Server => family.server,
        Who::Other => family.other,
        Who::Far => family.far,
        Who::Router => family.router,
        Who::Uncovered => family.uncovered,
        Who::Loopback => special("127.0.0.1", "::1"),
        Who::Nobody => special("0.0.0.0", "::"),
        Who::Group => special("239.1.2.3", "ff05::1:3"),
        Who::Everybody => special("10.0.0.255", "ff02::1"),
    }
}

/// A packet between two ends.
#[must_use]
pub fn packet(src: SocketAddr, dst: SocketAddr, kind: Kind, shape: &Shape) -> Vec<u8> {
    let mut packet = match kind {
        Kind::Tcp(flags) => packet::tcp(src, dst).flags(flags),
        Kind::Udp => packet::udp(src, dst),
        Kind::Echo => packet::ping(src, dst),
        Kind::EchoReply => Packet { transport: Transport::EchoReply, ..packet::ping(src, dst) },
        Kind::Icmp(kind, code) => {
            let [high, low] = src.port().to_be_bytes();
            let header = [kind, code, 0, 0, high, low, 0, 1];
            Packet { transport: Transport::Icmp(header), ..packet::ping(src, dst) }
        }
        Kind::Protocol(number) => packet::other(number, src, dst),
    };
    if shape.flaw == Flaw::NoChecksum && kind == Kind::Udp && src.is_ipv4() {
        packet = packet.without_checksum();
    }
    packet.payload = (0..shape.payload).map(|i| (i as u8) ^ (shape.id as u8)).collect();
    if let (Kind::Protocol(proto::GRE), Some(header)) = (kind, packet.payload.get_mut(..4)) {
        header.copy_from_slice(&[0, 0, 0x08, 0]); // RFC 2784: no options, IPv4
    }
    packet.ttl = shape.ttl;
    if src.is_ipv4() {
        packet.options = options(shape.extra);
    } else {
        packet.extensions = extensions(shape.extra);
    }
    let mut frame = packet.frame();
    if src.is_ipv4() {
        let fragment = if shape.whole { 0x4000_u16 } else { 0 };
        frame[18..20].copy_from_slice(&shape.id.to_be_bytes());
        frame[20..22].copy_from_slice(&fragment.to_be_bytes());
        fix_header_checksum(&mut frame);
    }
    spoil(&mut frame, shape.flaw);
    frame
}

fn options(extra: Extra) -> Vec<u8> {
    match extra {
        Extra::None => Vec::new(),
        Extra::Padding => vec![1, 1, 1, 0],
        Extra::Alert => vec![0x94, 4, 0, 0],
        Extra::Route => vec![0x83, 7, 8, 198, 51, 100, 99, 0],
        Extra::Many => vec![1; 40],
    }
}

fn extensions(extra: Extra) -> Vec<(u8, Vec<u8>)> {
    let padding = vec![0, 0, 1, 4, 0, 0, 0, 0];
    match extra {
        Extra::None => Vec::new(),
        Extra::Padding => vec![(proto::DESTINATION, padding)],
        Extra::Alert => vec![(proto::HOP_BY_HOP, vec![0, 0, 5, 2, 0, 0, 1, 0])],
        Extra::Route => vec![(proto::ROUTING, vec![0; 8])],
        Extra::Many => vec![(proto::HOP_BY_HOP, padding.clone()), (proto::DESTINATION, padding)],
    }
}

fn spoil(frame: &mut Vec<u8>, flaw: Flaw) {
    let Some(view) = View::read(frame) else { return };
    let is_v4 = view.src.is_ipv4();
    match flaw {
        Flaw::None | Flaw::NoChecksum => {}
        Flaw::Checksum => {
            if let Some(field) = view.checksum_field() {
                frame[field] ^= 0x55;
            }
        }
        Flaw::HeaderChecksum if is_v4 => frame[24] ^= 0x55,
        Flaw::HeaderChecksum => {}
        Flaw::TooLong | Flaw::TooShort => {
            let is_long = flaw == Flaw::TooLong;
            match view.proto {
                proto::TCP => frame[view.transport + 12] = if is_long { 0xf0 } else { 0x40 },
                proto::UDP => frame[view.transport + 4] = if is_long { 0x7f } else { 0 },
                _ => {}
            }
            if !is_long && view.proto == proto::UDP {
                frame[view.transport + 5] = 7;
            }
        }
        Flaw::Cut(length) => {
            frame.truncate(frame.len().min(view.transport + usize::from(length)));
            set_length(frame);
        }
        Flaw::Padded => frame.extend([0xee; 20]),
    }
}

fn set_length(frame: &mut [u8]) {
    if frame[12] == 0x08 {
        let length = (frame.len() - 14) as u16;
        frame[16..18].copy_from_slice(&length.to_be_bytes());
        fix_header_checksum(frame);
    } else {
        let length = (frame.len() - 54) as u16;
        frame[18..20].copy_from_slice(&length.to_be_bytes());
    }
}

/// Makes the checksum of an IPv4 header right.
pub fn fix_header_checksum(frame: &mut [u8]) {
    let end = 14 + usize::from(frame[14] & 0x0f) * 4;
    frame[24..26].fill(0);
    let sum = packet::check::sum(&[&frame[14..end]]);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
}

/// An ICMP error of `kind` from one address to another about the packet in `about`, of which it quotes the IP headers
/// and `quoted` bytes more.
#[must_use]
pub fn error(
    src: IpAddr,
    dst: IpAddr,
    kind: (u8, u8),
    about: &[u8],
    quoted: u16,
    flaw: ErrorFlaw,
) -> Option<Vec<u8>> {
    let view = View::read(about)?;
    let mut quote = about[14..about.len().min(view.transport + usize::from(quoted))].to_vec();
    match flaw {
        ErrorFlaw::QuotedChecksum => {
            if let Some(byte) = view.checksum_field().and_then(|at| quote.get_mut(at - 14)) {
                *byte ^= 0x55;
            }
        }
        ErrorFlaw::QuotedFragment if src.is_ipv4() => quote[7] |= 4,
        ErrorFlaw::Extended => {
            quote.resize(quote.len().max(128), 0);
            quote.extend([0x20, 0, 0, 0, 0, 8, 1, 1, 0, 0x10, 0x01, 0xff]);
        }
        _ => {}
    }
    let mut packet = packet::icmp((src, 0), (dst, 0), kind.0, kind.1, &quote);
    // The MTU of "fragmentation needed" and "packet too big", which lowers nobody's; elsewhere nothing, or RFC 4884's length.
    packet.transport = Transport::Icmp(match kind {
        (3, 4) | (2, 0) => [kind.0, kind.1, 0, 0, 0, 0, 5, 0xdc],
        _ if flaw == ErrorFlaw::Extended && src.is_ipv4() => [kind.0, kind.1, 0, 0, 0, 32, 0, 0],
        _ if flaw == ErrorFlaw::Extended => [kind.0, kind.1, 0, 0, 16, 0, 0, 0],
        _ => [kind.0, kind.1, 0, 0, 0, 0, 0, 0],
    });
    let mut frame = packet.frame();
    if flaw == ErrorFlaw::Checksum {
        let view = View::read(&frame)?;
        frame[view.transport + 2] ^= 0x55;
    }
    Some(frame)
}

/// The tuple of a frame.
#[must_use]
pub fn tuple(frame: &[u8]) -> Option<Tuple> {
    View::read(frame).as_ref().map(Tuple::of)
}

/// What a packet of the same flow is, from a frame of it, back or on.
#[must_use]
pub fn kind_of(frame: &[u8], flags: u8, back: bool) -> Option<Kind> {
    let view = View::read(frame)?;
    Some(match view.proto {
        proto::TCP => Kind::Tcp(flags),
        proto::UDP => Kind::Udp,
        proto::ICMP | proto::ICMPV6 if edit::is_error(frame, &view) => return None,
        proto::ICMP | proto::ICMPV6 => match (frame.get(view.transport)?, back) {
            (8 | 128, true) => Kind::EchoReply,
            (8 | 128, false) => Kind::Echo,
            (&other, _) => Kind::Icmp(other, 0),
        },
        number => Kind::Protocol(number),
    })
}
