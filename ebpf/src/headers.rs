//! Headers to a tuple, offsets and lengths (RFC 791, RFC 8200, RFC 9293, RFC 768, RFC 792, RFC 4443). One reader for every
//! hook: whether the kernel copies a packet's bytes or they are read where they lie, the same is made of them. Reads only.

use crate::{addr, csum, flow::FlowKey, proto, reason::DropReason, words::join};

/// How long an Ethernet header is.
pub const ETH_HLEN: u32 = 14;

/// A packet from its Ethernet header on. Frames begin at an even address (`NET_IP_ALIGN` in include/linux/skbuff.h), and so
/// does every header, so they are read 16 bits at a time.
pub trait Bytes {
    /// `N` words from an even offset on, as they lie in memory; `None` where it cannot be read so far.
    fn words<const N: usize>(&self, off: u32) -> Option<[u16; N]>;

    /// How long all of it is, in bytes.
    fn length(&self) -> u32;
}

/// What the programs need to know of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Its tuple; ports are zero where [`Transport::refusal`] is set.
    pub key: FlowKey,
    /// Where the IP header starts.
    pub l3_off: u32,
    /// How long the IP headers and what they are for should be; no longer than the IP header where that does not say.
    pub l3_len: u32,
    /// Type of service or traffic class.
    pub class: u8,
    /// Time to live or hop limit.
    pub ttl: u8,
    /// Whether there are neither options nor extension headers, and an IPv4 header's checksum is right.
    pub is_plain: bool,
    /// Which part of a datagram it is.
    pub fragment: Fragment,
    /// The transport header.
    pub transport: Transport,
}

/// Which part of a datagram a packet is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fragment {
    /// The datagram's identification, as the wire has it; 0 of a whole one of IPv6.
    pub id: u32,
    /// Where the part belongs, in units of eight bytes.
    pub offset: u16,
    /// Not the whole datagram.
    pub is_part: bool,
}

impl Fragment {
    /// The part that the transport header is in, with others to come.
    #[inline(always)]
    #[must_use]
    pub const fn is_first(self) -> bool {
        self.is_part && self.offset == 0
    }

    /// A part that the transport header is not in.
    #[inline(always)]
    #[must_use]
    pub const fn is_later(self) -> bool {
        self.offset != 0
    }
}

/// The header whose ports are translated.
///
/// All plain fields, each always written: an enum's unused bytes would be copied from registers that were never set,
/// which the verifier refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transport {
    /// Where it starts.
    pub off: u32,
    /// How long it and its payload should be; 0 where the IP header does not say.
    pub len: u32,
    /// How long it is itself, of TCP and UDP.
    pub header_len: u32,
    /// TCP's flags; 0 for others.
    pub tcp_flags: u8,
    /// An ICMP query that asks, rather than one that answers.
    pub is_request: bool,
    /// An ICMP error, which quotes the packet that it is about.
    pub is_error: bool,
    /// Why there is nothing to translate.
    pub refusal: Option<DropReason>,
}

impl Transport {
    #[inline(always)]
    const fn at(off: u32, len: u32) -> Self {
        Self { off, len, header_len: 0, tcp_flags: 0, is_request: false, is_error: false, refusal: None }
    }

    /// Whether the packet can be translated.
    ///
    /// # Errors
    /// Why it cannot.
    #[inline(always)]
    pub const fn check(&self) -> Result<(), DropReason> {
        match self.refusal {
            Some(reason) => Err(reason),
            None => Ok(()),
        }
    }
}

impl Packet {
    /// Reads all headers; false if it is no packet that the IP layer would take.
    #[inline(always)]
    pub fn read(&mut self, bytes: &impl Bytes, is_v4: bool) -> bool {
        if !self.read_ip(bytes, is_v4, ETH_HLEN) {
            return false;
        }
        if !is_v4 {
            self.step_over_extensions(bytes);
        }
        let read =
            if self.fragment.is_later() { Err(DropReason::Fragment) } else { self.read_transport(bytes) };
        self.transport.refusal = read.err();
        true
    }

    /// Reads the headers of plain TCP or UDP, all of it there and in one piece; `None` of anything else, which
    /// [`Packet::read`] may make something of.
    #[inline(always)]
    pub fn of_plain(bytes: &impl Bytes, is_v4: bool) -> Option<Self> {
        // Each family by itself: where the next header is is then a number that the compiler knows.
        if is_v4 {
            Self::of_plain_ip(bytes, ipv4(bytes, ETH_HLEN)?, IPV4_HLEN)
        } else {
            Self::of_plain_ip(bytes, ipv6(bytes, ETH_HLEN)?, IPV6_HLEN)
        }
    }

    #[inline(always)]
    fn of_plain_ip(bytes: &impl Bytes, ip: Ip, header_len: u32) -> Option<Self> {
        if !ip.is_plain
            || ip.fragment.is_part
            || ETH_HLEN + header_len + ip.len > bytes.length()
            || !matches!(ip.proto, proto::TCP | proto::UDP)
        {
            return None;
        }
        let mut packet = Self::behind(Ip { header_len, ..ip }, ETH_HLEN);
        packet.read_transport(bytes).ok()?;
        // What the header does not say is no length to go by.
        (packet.transport.header_len <= packet.transport.len).then_some(packet)
    }

    /// Reads the headers that an ICMP error quotes, as far as a NAT needs them: the first eight bytes behind the IP header
    /// may be all there is (RFC 792). False if they are no packet of the error's own family with ports.
    #[inline(always)]
    pub fn read_quote(&mut self, bytes: &impl Bytes, error: &Self) -> bool {
        let is_v4 = addr::is_v4(&error.key.src);
        if !self.read_ip(bytes, is_v4, error.transport.off + ICMP_HLEN) {
            return false;
        }
        if !is_v4 {
            self.step_over_extensions(bytes);
        }
        // What the error's own datagram holds of it: behind that may be padding.
        let end = match error.transport.len {
            0 => bytes.length(),
            len => error.transport.off + len,
        };
        self.transport.len = end.saturating_sub(self.transport.off);
        if self.fragment.is_later() || self.transport.len < 8 {
            return false;
        }
        let Some([first, second, id, _]) = bytes.words::<4>(self.transport.off) else { return false };
        match self.key.proto {
            proto::TCP | proto::UDP | proto::SCTP => self.set_ports(first, second),
            proto if proto == (if is_v4 { proto::ICMP } else { proto::ICMPV6 }) => {
                let [kind, _] = first.to_ne_bytes();
                let Some(is_request) = is_icmp_request(proto, kind) else { return false };
                self.set_identifier(is_request, id);
            }
            proto::DCCP | proto::UDP_LITE | proto::ICMP | proto::ICMPV6 => return false,
            _ => {}
        }
        true
    }

    /// How long its frame is without what follows the datagram: what makes it as long as Ethernet wants it, which the IP
    /// layer cuts off. `length` is the frame's.
    #[inline(always)]
    #[must_use]
    pub const fn length_of_frame(&self, length: u32) -> u32 {
        let said = ETH_HLEN + self.l3_len;
        if self.transport.len == 0 || said > length { length } else { said }
    }

    #[inline(always)]
    fn read_ip(&mut self, bytes: &impl Bytes, is_v4: bool, l3_off: u32) -> bool {
        let read = if is_v4 { ipv4(bytes, l3_off) } else { ipv6(bytes, l3_off) };
        let Some(ip) = read else { return false };
        *self = Self::behind(ip, l3_off);
        true
    }

    #[inline(always)]
    fn behind(ip: Ip, l3_off: u32) -> Self {
        Self {
            key: FlowKey::between(ip.src, ip.dst, ip.proto),
            l3_off,
            l3_len: ip.header_len + ip.len,
            class: ip.class,
            ttl: ip.ttl,
            is_plain: ip.is_plain,
            fragment: ip.fragment,
            transport: Transport::at(l3_off + ip.header_len, ip.len),
        }
    }

    #[inline(always)]
    fn step_over_extensions(&mut self, bytes: &impl Bytes) {
        let Self { key, transport, fragment, .. } = self;
        for _ in 0..MAX_EXTENSIONS {
            if !matches!(key.proto, HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION) {
                break;
            }
            let Some([first, second, id @ ..]) = bytes.words::<4>(transport.off) else { break };
            let ([next, extension_len], [_, segments_left]) = (first.to_ne_bytes(), second.to_ne_bytes());
            // Its destination is not yet the last one: what would come back from there knows nothing of the flow.
            if key.proto == ROUTING && segments_left != 0 {
                break;
            }
            let mut length = (u32::from(extension_len) + 1) * 8;
            if key.proto == FRAGMENT {
                // Offset and "more" bit; an atomic fragment has neither (RFC 6946).
                let place = u16::from_be(second);
                *fragment = Fragment { id: both(id), offset: place >> 3, is_part: place & 0xfff9 != 0 };
                length = 8;
            }
            key.proto = next;
            transport.off += length;
            transport.len = transport.len.saturating_sub(length);
            // What is behind it in a later part is not the next header, but the middle of something.
            if fragment.is_later() {
                break;
            }
        }
    }

    #[inline(always)]
    fn read_transport(&mut self, bytes: &impl Bytes) -> Result<(), DropReason> {
        let Transport { off, len, .. } = self.transport;
        match self.key.proto {
            proto::TCP => {
                let header = words::<7>(bytes, off)?;
                let [data_off, tcp_flags] = header[6].to_ne_bytes();
                let header_len = u32::from(data_off >> 4) * 4;
                // A complete header, within what the IP header promises and what is really there.
                if header_len < 20 || off + header_len > bytes.length() || (len != 0 && header_len > len) {
                    return Err(DropReason::Malformed);
                }
                self.set_ports(header[0], header[1]);
                self.transport.header_len = header_len;
                self.transport.tcp_flags = tcp_flags;
            }
            proto::UDP => {
                let header = words::<4>(bytes, off)?;
                let length = u32::from(u16::from_be(header[2]));
                // 0 is a jumbogram or a large packet in the making (RFC 2675); else it must fit, but for a part's.
                let room = if len == 0 || self.fragment.is_part { u32::MAX } else { len };
                if length != 0 && (length < UDP_HLEN || length > room) {
                    return Err(DropReason::Malformed);
                }
                self.set_ports(header[0], header[1]);
                self.transport.header_len = UDP_HLEN;
            }
            proto::ICMP | proto::ICMPV6 if (self.key.proto == proto::ICMP) == addr::is_v4(&self.key.src) => {
                let [first, _, id, _] = words::<4>(bytes, off)?;
                let [kind, _] = first.to_ne_bytes();
                self.transport.is_error = is_icmp_error(self.key.proto, kind);
                let is_request = is_icmp_request(self.key.proto, kind).ok_or(DropReason::Icmp)?;
                self.set_identifier(is_request, id);
            }
            proto::SCTP => {
                let header = words::<6>(bytes, off)?;
                self.set_ports(header[0], header[1]);
            }
            // Checksums that cover the addresses, in places of their own; ICMP of the other family; source routes.
            proto::DCCP | proto::UDP_LITE | proto::ICMP | proto::ICMPV6 | ROUTING => {
                return Err(DropReason::Protocol);
            }
            // More of them than are stepped over, or cut short.
            HOP_BY_HOP | FRAGMENT | DESTINATION => return Err(DropReason::Malformed),
            _ => {}
        }
        Ok(())
    }

    #[inline(always)]
    fn set_ports(&mut self, source: u16, destination: u16) {
        self.key.src_port = source.to_ne_bytes();
        self.key.dst_port = destination.to_ne_bytes();
    }

    #[inline(always)]
    fn set_identifier(&mut self, is_request: bool, id: u16) {
        self.transport.is_request = is_request;
        if is_request {
            self.key.src_port = id.to_ne_bytes();
        } else {
            self.key.dst_port = id.to_ne_bytes();
        }
    }
}

/// What an IP header says.
#[derive(Clone, Copy)]
struct Ip {
    src: [u64; 2],
    dst: [u64; 2],
    proto: u8,
    class: u8,
    ttl: u8,
    is_plain: bool,
    /// How long it is with its options.
    header_len: u32,
    /// How long what it is for should be; large (GSO) packets may say 0.
    len: u32,
    fragment: Fragment,
}

const IPV4_HLEN: u32 = 20;
const IPV6_HLEN: u32 = 40;
const UDP_HLEN: u32 = 8;
/// Bytes of an ICMP error before the packet that it quotes.
const ICMP_HLEN: u32 = 8;

#[inline(always)]
fn ipv4(bytes: &impl Bytes, l3_off: u32) -> Option<Ip> {
    let header = bytes.words::<10>(l3_off)?;
    let [version, class] = header[0].to_ne_bytes();
    let [ttl, proto] = header[4].to_ne_bytes();
    let header_len = u32::from(version & 0x0f) * 4;
    if version >> 4 != 4 || header_len < IPV4_HLEN {
        return None; // The IP layer drops it.
    }
    let mut sum = 0;
    for word in header {
        sum += u32::from(word);
    }
    let place = u16::from_be(header[3]);
    Some(Ip {
        src: mapped([header[6], header[7]]),
        dst: mapped([header[8], header[9]]),
        proto,
        class,
        ttl,
        is_plain: header_len == IPV4_HLEN && csum::is_complete(sum),
        header_len,
        len: u32::from(u16::from_be(header[1])).saturating_sub(header_len),
        fragment: Fragment { id: header[2].into(), offset: place & 0x1fff, is_part: place & 0x3fff != 0 },
    })
}

#[inline(always)]
fn ipv6(bytes: &impl Bytes, l3_off: u32) -> Option<Ip> {
    let [first, _, len, next, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = bytes.words::<20>(l3_off)?;
    let (first, [proto, ttl]) = (u16::from_be(first), next.to_ne_bytes());
    if first >> 12 != 6 {
        return None;
    }
    Some(Ip {
        src: [join([a, b, c, d]), join([e, f, g, h])],
        dst: [join([i, j, k, l]), join([m, n, o, p])],
        proto,
        class: (first >> 4) as u8,
        ttl,
        is_plain: true,
        header_len: IPV6_HLEN,
        len: u16::from_be(len).into(),
        fragment: Fragment { id: 0, offset: 0, is_part: false },
    })
}

/// The IPv4-mapped form of two words.
#[inline(always)]
const fn mapped([high, low]: [u16; 2]) -> [u64; 2] {
    [0, join([0, 0xffff, high, low])]
}

#[inline(always)]
const fn both([high, low]: [u16; 2]) -> u32 {
    let ([a, b], [c, d]) = (high.to_ne_bytes(), low.to_ne_bytes());
    u32::from_ne_bytes([a, b, c, d])
}

#[inline(always)]
fn words<const N: usize>(bytes: &impl Bytes, off: u32) -> Result<[u16; N], DropReason> {
    bytes.words(off).ok_or(DropReason::Malformed)
}

// IPv6 extension headers.
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;

/// At most this many extension headers are stepped over; more are taken for an attack.
const MAX_EXTENSIONS: u32 = 8;

/// Destination unreachable, source quench, time exceeded, parameter problem (RFC 792); the errors of RFC 4443. A redirect
/// is none: it is for the one who sent the packet on, and nobody behind a NAT is to be told by others where to send.
#[inline(always)]
const fn is_icmp_error(proto: u8, kind: u8) -> bool {
    if proto == proto::ICMP { matches!(kind, 3 | 4 | 11 | 12) } else { matches!(kind, 1..=4) }
}

/// Whether an ICMP query (echo, timestamp, information, address mask: RFC 792, RFC 950) asks or answers; `None` if it is
/// no query.
#[inline(always)]
const fn is_icmp_request(proto: u8, kind: u8) -> Option<bool> {
    match (proto, kind) {
        (proto::ICMP, 8 | 13 | 15 | 17) | (proto::ICMPV6, 128) => Some(true),
        (proto::ICMP, 0 | 14 | 16 | 18) | (proto::ICMPV6, 129) => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
