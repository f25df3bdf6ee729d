//! Reads frames and recomputes their checksums. Knows nothing of how they were made.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::proto;

/// Where things are in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// Source; of an ICMP query, the port is the identifier if this side asks.
    pub src: SocketAddr,
    /// Destination, likewise.
    pub dst: SocketAddr,
    /// The protocol after all extension headers.
    pub proto: u8,
    /// Where the transport header starts.
    pub transport: usize,
    /// Where the datagram ends; Ethernet padding may follow.
    pub end: usize,
    /// Not a whole datagram.
    pub is_fragment: bool,
}

impl View {
    /// Reads a frame; `None` unless it is an IP packet whose headers are all there.
    #[must_use]
    pub fn read(frame: &[u8]) -> Option<Self> {
        let mut view = match frame.get(12..14)? {
            [0x08, 0x00] => ipv4(frame)?,
            [0x86, 0xdd] => ipv6(frame)?,
            _ => return None,
        };
        if view.is_fragment {
            return Some(view);
        }
        let at = |offset: usize| Some(u16::from_be_bytes(frame.get(offset..offset + 2)?.try_into().ok()?));
        match view.proto {
            proto::TCP | proto::UDP => {
                view.src.set_port(at(view.transport)?);
                view.dst.set_port(at(view.transport + 2)?);
            }
            proto::ICMP | proto::ICMPV6 => match frame.get(view.transport)? {
                8 | 128 => view.src.set_port(at(view.transport + 4)?),
                0 | 129 => view.dst.set_port(at(view.transport + 4)?),
                _ => {}
            },
            _ => {}
        }
        Some(view)
    }

    /// Where the transport's checksum is, if it has one.
    #[must_use]
    pub fn checksum_field(&self) -> Option<usize> {
        match self.proto {
            _ if self.is_fragment => None,
            proto::TCP => Some(self.transport + 16),
            proto::UDP => Some(self.transport + 6),
            proto::ICMP | proto::ICMPV6 => Some(self.transport + 2),
            _ => None,
        }
    }
}

fn ipv4(frame: &[u8]) -> Option<View> {
    let header = frame.get(14..34)?;
    let address = |offset: usize| Ipv4Addr::from(<[u8; 4]>::try_from(&header[offset..offset + 4]).unwrap());
    Some(View {
        src: (address(12), 0).into(),
        dst: (address(16), 0).into(),
        proto: header[9],
        transport: 14 + usize::from(header[0] & 0x0f) * 4,
        end: 14 + usize::from(u16::from_be_bytes([header[2], header[3]])),
        is_fragment: u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0,
    })
}

fn ipv6(frame: &[u8]) -> Option<View> {
    let header = frame.get(14..54)?;
    let address = |offset: usize| Ipv6Addr::from(<[u8; 16]>::try_from(&header[offset..offset + 16]).unwrap());
    let mut view = View {
        src: (address(8), 0).into(),
        dst: (address(24), 0).into(),
        proto: header[6],
        transport: 54,
        end: 54 + usize::from(u16::from_be_bytes([header[4], header[5]])),
        is_fragment: false,
    };
    while matches!(view.proto, proto::HOP_BY_HOP | proto::ROUTING | proto::FRAGMENT | proto::DESTINATION) {
        let extension = frame.get(view.transport..view.transport + 8)?;
        let length = if view.proto == proto::FRAGMENT {
            view.is_fragment |= u16::from_be_bytes([extension[2], extension[3]]) & 0xfff9 != 0;
            8
        } else {
            (usize::from(extension[1]) + 1) * 8
        };
        view.proto = extension[0];
        view.transport += length;
        if view.is_fragment {
            break;
        }
    }
    Some(view)
}

/// An end of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Where it comes from.
    Src,
    /// Where it goes to.
    Dst,
}

/// `frame` with another source or destination, and its checksums as they were.
#[must_use]
pub fn with(frame: &[u8], side: Side, endpoint: SocketAddr) -> Vec<u8> {
    let view = View::read(frame).expect("only IP packets have endpoints");
    let mut frame = frame.to_vec();
    let mut put = |offset: usize, bytes: &[u8]| frame[offset..offset + bytes.len()].copy_from_slice(bytes);
    let address = octets(endpoint.ip());
    let first = if view.src.is_ipv4() { 14 + 12 } else { 14 + 8 };
    put(if side == Side::Src { first } else { first + address.len() }, &address);
    match (view.proto, side) {
        (proto::TCP | proto::UDP, Side::Src) => put(view.transport, &endpoint.port().to_be_bytes()),
        (proto::TCP | proto::UDP, Side::Dst) => put(view.transport + 2, &endpoint.port().to_be_bytes()),
        (proto::ICMP | proto::ICMPV6, _) => {
            let asks = matches!(frame[view.transport], 8 | 128);
            if asks == (side == Side::Src) {
                let id = endpoint.port().to_be_bytes();
                frame[view.transport + 4..view.transport + 6].copy_from_slice(&id);
            }
        }
        _ => {}
    }
    frame
}

/// Recomputes every checksum of a frame.
///
/// # Errors
/// Which one is wrong, or that the frame cannot be read.
pub fn checksums(frame: &[u8]) -> Result<View, String> {
    let view = View::read(frame).ok_or("no whole IP packet")?;
    if view.src.is_ipv4() {
        let header_end = 14 + usize::from(frame[14] & 0x0f) * 4;
        if sum(&[frame.get(14..header_end).ok_or("IPv4 header cut short")?]) != 0 {
            return Err("wrong IPv4 header checksum".into());
        }
    }
    let Some(field) = view.checksum_field() else { return Ok(view) };
    let segment = frame.get(view.transport..view.end).ok_or("datagram cut short")?;
    let written = frame.get(field..field + 2).ok_or("transport header cut short")?;
    if view.proto == proto::UDP && written == [0, 0] {
        return if view.src.is_ipv4() { Ok(view) } else { Err("IPv6 UDP without a checksum".into()) };
    }
    match transport_sum(view.src.ip(), view.dst.ip(), view.proto, segment) {
        0 => Ok(view),
        off => Err(format!("checksum of protocol {} is off by {off:#06x}", view.proto)),
    }
}

/// Makes every checksum of a frame right, as far as it can be read.
pub fn repair(frame: &mut [u8]) {
    let Some(view) = View::read(frame) else { return };
    let mut put = |field: usize, sum: fn(&View, &[u8]) -> Option<u16>| {
        let Some(bytes) = frame.get_mut(field..field + 2) else { return };
        bytes.fill(0);
        if let Some(sum) = sum(&view, frame) {
            frame[field..field + 2].copy_from_slice(&sum.to_be_bytes());
        }
    };
    if view.src.is_ipv4() {
        put(24, |_, frame| Some(sum(&[frame.get(14..14 + usize::from(frame[14] & 0x0f) * 4)?])));
    }
    if let Some(field) = view.checksum_field() {
        put(field, |view, frame| {
            let segment = frame.get(view.transport..view.end)?;
            let sum = transport_sum(view.src.ip(), view.dst.ip(), view.proto, segment);
            Some(if view.proto == proto::UDP && sum == 0 { 0xffff } else { sum })
        });
    }
}

/// `frame` with the checksums that address translation changes made zero: the rest is what it must not touch.
#[must_use]
pub fn without_checksums(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let Some(view) = View::read(&frame) else { return frame };
    let ip_field = view.src.is_ipv4().then_some(24);
    for field in ip_field.into_iter().chain(view.checksum_field()) {
        if let Some(bytes) = frame.get_mut(field..field + 2) {
            bytes.fill(0);
        }
    }
    frame
}

/// The Internet checksum over a transport segment and its pseudo-header, which ICMP for IPv4 has none of.
pub(super) fn transport_sum(src: IpAddr, dst: IpAddr, protocol: u8, segment: &[u8]) -> u16 {
    if protocol == proto::ICMP {
        return sum(&[segment]);
    }
    let length = u32::try_from(segment.len()).unwrap().to_be_bytes();
    let (src, dst) = (octets(src), octets(dst));
    sum(&[&src, &dst, &length, &[0, 0, 0, protocol], segment])
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// Makes the checksum of an IPv4 header without options right again; of anything else it changes nothing.
pub fn fill_header_checksum(frame: &mut [u8]) {
    if frame[12..15] == [0x08, 0x00, 0x45] {
        frame[24..26].fill(0);
        let checksum = sum(&[&frame[14..34]]);
        frame[24..26].copy_from_slice(&checksum.to_be_bytes());
    }
}

/// The Internet checksum (RFC 1071) of several parts, each but the last of even length.
#[must_use]
pub fn sum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let mut sum: u64 = words.map(|w| u64::from(u16::from_be_bytes([w[0], *w.get(1).unwrap_or(&0)]))).sum();
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
