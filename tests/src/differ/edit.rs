//! Changes addresses and ports of whole frames, checksums following by the difference alone (RFC 1624): what was right
//! stays right and what was wrong stays as wrong. Used to build packets, to rename ports and as the model's NAT; no code
//! is shared with the NATs under test.

use std::net::{IpAddr, SocketAddr};

use crate::packet::{check::View, proto};

/// A packet's ends, ports or the ICMP identifier included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// The protocol after all extension headers.
    pub proto: u8,
    /// From where.
    pub src: SocketAddr,
    /// To where.
    pub dst: SocketAddr,
}

impl Tuple {
    /// That of a packet read.
    #[must_use]
    pub fn of(view: &View) -> Self {
        Self { proto: view.proto, src: view.src, dst: view.dst }
    }

    /// That of an answer.
    #[must_use]
    pub fn reversed(self) -> Self {
        Self { src: self.dst, dst: self.src, ..self }
    }
}

/// The IP packet that an ICMP error quotes.
pub struct Quote {
    /// Where the quote starts in the frame.
    pub at: usize,
    /// The quoted packet, offsets as if it were a frame of its own.
    pub view: View,
}

/// Whether a packet is an ICMP error: it quotes another.
#[must_use]
pub fn is_error(frame: &[u8], view: &View) -> bool {
    matches!(
        (view.is_fragment, view.proto, frame.get(view.transport)),
        (false, proto::ICMP, Some(3..=5 | 11 | 12)) | (false, proto::ICMPV6, Some(1..=4))
    )
}

/// What an ICMP error quotes; `None` if the packet is none, or the quote is too short to name a flow.
#[must_use]
pub fn quote(frame: &[u8], view: &View) -> Option<Quote> {
    if !is_error(frame, view) {
        return None;
    }
    let at = view.transport + 8;
    let mut alone = frame[..14].to_vec();
    alone.extend(frame.get(at..)?);
    let view = View::read(&alone)?;
    // Ports, or an identifier: the eight bytes that RFC 792 promises.
    (!view.is_fragment && alone.len() >= view.transport + 8).then_some(Quote { at, view })
}

/// Gives the packet another tuple.
pub fn retuple(frame: &mut [u8], to: Tuple) {
    if let Some(view) = View::read(frame) {
        set_tuple(frame, 0, &view, to);
    }
}

/// Gives the packet that an ICMP error quotes another tuple.
pub fn retuple_quote(frame: &mut [u8], to: Tuple) {
    let Some(view) = View::read(frame) else { return };
    let Some(quote) = quote(frame, &view) else { return };
    let difference = set_tuple(frame, quote.at - 14, &quote.view, to);
    update(frame, view.transport + 2, difference, false);
}

/// One hop further.
pub fn decrement_ttl(frame: &mut [u8]) {
    if frame[12] == 0x08 {
        let ttl = frame[22] - 1;
        let difference = put(frame, 22, &[ttl, frame[23]]);
        update(frame, 24, difference, false);
    } else {
        frame[21] -= 1;
    }
}

/// What is left of its time.
#[must_use]
pub fn ttl(frame: &[u8]) -> u8 {
    if frame[12] == 0x08 { frame[22] } else { frame[21] }
}

/// Sets the ends of the packet that `view` reads, `shift` bytes into the frame. Returns by how much the sum of its bytes
/// has changed.
fn set_tuple(frame: &mut [u8], shift: usize, view: &View, to: Tuple) -> u32 {
    let is_v4 = view.src.is_ipv4();
    let (src_at, dst_at) = if is_v4 { (26, 30) } else { (22, 38) };
    let addresses = add(
        put(frame, shift + src_at, &octets(to.src.ip())),
        put(frame, shift + dst_at, &octets(to.dst.ip())),
    );
    let mut all = addresses;
    if is_v4 {
        all = add(all, update(frame, shift + 24, addresses, false));
    }
    let at = shift + view.transport;
    let ports = match view.proto {
        _ if view.is_fragment => return all,
        proto::TCP | proto::UDP => add(
            put(frame, at, &to.src.port().to_be_bytes()),
            put(frame, at + 2, &to.dst.port().to_be_bytes()),
        ),
        proto::ICMP | proto::ICMPV6 => match frame.get(at) {
            Some(8 | 128) => put(frame, at + 4, &to.src.port().to_be_bytes()),
            Some(0 | 129) => put(frame, at + 4, &to.dst.port().to_be_bytes()),
            _ => 0,
        },
        _ => 0,
    };
    all = add(all, ports);
    let covered = if view.proto == proto::ICMP { ports } else { add(addresses, ports) };
    let Some(field) = view.checksum_field() else { return all };
    add(all, update(frame, shift + field, covered, view.proto == proto::UDP))
}

/// Overwrites bytes, and returns the change of their sum. Bytes behind the frame's end do not exist.
fn put(frame: &mut [u8], at: usize, new: &[u8]) -> u32 {
    let Some(old) = frame.get_mut(at..at + new.len()) else { return 0 };
    let words =
        |bytes: &[u8]| -> u32 { bytes.chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum() };
    let not_old: Vec<u8> = old.iter().map(|byte| !byte).collect();
    old.copy_from_slice(new);
    add(words(&not_old), words(new))
}

/// Makes a checksum follow a change of what it covers; its own change of the sum. UDP's zero means "none" (RFC 768).
fn update(frame: &mut [u8], field: usize, difference: u32, is_udp: bool) -> u32 {
    let Some(&[high, low]) = frame.get(field..field + 2) else { return 0 };
    let old = u16::from_be_bytes([high, low]);
    if difference == 0 || (is_udp && old == 0) {
        return 0;
    }
    let new = !(add(u32::from(!old), difference) as u16);
    let new = if is_udp && new == 0 { 0xffff } else { new };
    put(frame, field, &new.to_be_bytes())
}

/// One's complement addition of 16-bit sums.
fn add(a: u32, b: u32) -> u32 {
    let mut sum = a + b;
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Packet, icmp, ping, tcp, udp};

    /// Packets of one flow as its client sends them, and as they are outside.
    fn pairs() -> Vec<(Packet, Packet)> {
        let v4 = [("10.0.0.11", 5000), ("203.0.113.1", 61000), ("203.0.113.2", 80)];
        let v6 = [("fd00:1::11", 5000), ("2001:db8::1", 61000), ("2001:db8::2", 80)];
        let each = |[inside, outside, server]: [(&'static str, u16); 3]| {
            [
                (tcp(inside, server), tcp(outside, server)),
                (udp(inside, server), udp(outside, server)),
                (ping(inside, (server.0, 0)), ping(outside, (server.0, 0))),
            ]
        };
        [v4, v6].into_iter().flat_map(each).collect()
    }

    #[test]
    fn a_packet_with_another_tuple_is_the_packet_that_would_have_been_built() {
        for (inside, outside) in pairs() {
            let mut frame = inside.frame();
            retuple(&mut frame, Tuple::of(&View::read(&outside.frame()).unwrap()));
            assert_eq!(frame, outside.frame());
        }
    }

    #[test]
    fn a_quote_with_another_tuple_is_the_quote_that_would_have_been_built() {
        for (inside, outside) in pairs() {
            let view = View::read(&inside.frame()).unwrap();
            let shortest = view.transport - 14 + 8;
            for length in [shortest, inside.frame().len() - 14] {
                let error = |quoted: &Packet| {
                    let (router, kind) =
                        if view.src.is_ipv4() { ("198.51.100.7", 3) } else { ("2001:db8:64::7", 1) };
                    icmp(router, (outside.src.ip(), 0), kind, 1, &quoted.frame()[14..14 + length]).frame()
                };
                let mut frame = error(&inside);
                retuple_quote(&mut frame, Tuple::of(&View::read(&outside.frame()).unwrap()));
                assert_eq!(frame, error(&outside));
            }
        }
    }
}
