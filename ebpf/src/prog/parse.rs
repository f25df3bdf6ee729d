//! Headers to offsets and a tuple (RFC 791, RFC 8200, RFC 9293, RFC 768, RFC 792, RFC 4443). Reads only.

use aya_ebpf::programs::TcContext;
use netctl_ebpf::{addr, flow::FlowKey, proto, reason::DropReason};

use super::step::step;

/// How long an Ethernet header is.
pub(crate) const ETH_HLEN: u32 = 14;
/// IPv4, as `__sk_buff` has a packet's protocol.
pub(crate) const ETH_P_IP: u32 = 0x0800_u16.to_be() as u32;
/// IPv6, likewise.
pub(crate) const ETH_P_IPV6: u32 = 0x86dd_u16.to_be() as u32;

/// What the programs need to know of a packet.
pub(crate) struct Packet {
    /// Its tuple; ports are zero where [`Transport::refusal`] is set.
    pub(crate) key: FlowKey,
    /// Where the IP header starts.
    pub(crate) l3_off: u32,
    /// Which part of a datagram it is.
    pub(crate) fragment: Fragment,
    /// The transport header.
    pub(crate) transport: Transport,
}

/// Which part of a datagram a packet is.
#[derive(Clone, Copy, Default)]
pub(crate) struct Fragment {
    /// The datagram's identification, as the wire has it; 0 of a whole one.
    pub(crate) id: u32,
    /// Where the part belongs, in units of eight bytes.
    pub(crate) offset: u16,
    /// Not the whole datagram.
    pub(crate) is_part: bool,
}

impl Fragment {
    /// The part that the transport header is in, with others to come.
    #[inline(always)]
    pub(crate) fn is_first(self) -> bool {
        self.is_part && self.offset == 0
    }

    /// A part that the transport header is not in.
    #[inline(always)]
    pub(crate) fn is_later(self) -> bool {
        self.offset != 0
    }
}

/// The header whose ports are translated.
///
/// All plain fields, each always written: an enum's unused bytes would be copied from registers that were never set,
/// which the verifier refuses.
#[derive(Clone, Copy)]
pub(crate) struct Transport {
    /// Where it starts.
    pub(crate) off: u32,
    /// How long it and its payload should be; 0 where the IP header does not say.
    pub(crate) len: u32,
    /// TCP's flags; 0 for others.
    pub(crate) tcp_flags: u8,
    /// An ICMP query that asks, rather than one that answers.
    pub(crate) is_request: bool,
    /// An ICMP error, which quotes the packet that it is about.
    pub(crate) is_error: bool,
    /// Why there is nothing to translate.
    pub(crate) refusal: Option<DropReason>,
}

impl Transport {
    #[inline(always)]
    fn at(off: u32, len: u32) -> Self {
        Self { off, len, tcp_flags: 0, is_request: false, is_error: false, refusal: None }
    }

    /// Whether the packet can be translated.
    #[inline(always)]
    pub(crate) fn check(&self) -> Result<(), DropReason> {
        match self.refusal {
            Some(reason) => Err(reason),
            None => Ok(()),
        }
    }
}

step! {
    /// Reads the headers of the packet; false if it is no IP packet that the gateway's IP layer would see.
    parse as parse_packet(ctx, work) -> bool {
        // SAFETY: the context is valid for the whole run of the program.
        work.ifindex = unsafe { (*ctx.skb.skb).ifindex };
        read(ctx, &mut work.packet)
    }
}

#[inline(always)]
fn read(ctx: &TcContext, packet: &mut Packet) -> bool {
    // SAFETY: the context is valid for the whole run of the program.
    let (protocol, vlan) = unsafe { ((*ctx.skb.skb).protocol, (*ctx.skb.skb).vlan_present) };
    if vlan != 0 {
        return false;
    }
    packet.key = FlowKey::default();
    packet.l3_off = ETH_HLEN;
    let datagram = match protocol {
        ETH_P_IP => ipv4(ctx, &mut packet.key, ETH_HLEN),
        ETH_P_IPV6 => ipv6(ctx, &mut packet.key, ETH_HLEN),
        _ => None,
    };
    let Some(datagram) = datagram else { return false };
    packet.fragment = datagram.fragment;
    packet.transport = Transport::at(datagram.off, datagram.len);
    let read = if packet.fragment.is_later() { Err(DropReason::Fragment) } else { ports(ctx, packet) };
    packet.transport.refusal = read.err();
    true
}

/// What an IP header says of its payload.
struct Datagram {
    /// Where the payload starts.
    off: u32,
    /// How long it should be; large (GSO) packets may say 0.
    len: u32,
    /// Which part of the datagram it is.
    fragment: Fragment,
}

#[inline(always)]
fn ipv4(ctx: &TcContext, key: &mut FlowKey, l3_off: u32) -> Option<Datagram> {
    let header: [u8; 20] = ctx.load(l3_off as usize).ok()?;
    let header_len = u32::from(header[0] & 0x0f) * 4;
    if header[0] >> 4 != 4 || header_len < 20 {
        return None; // The IP layer drops it.
    }
    key.src = addr::from_v4([header[12], header[13], header[14], header[15]]);
    key.dst = addr::from_v4([header[16], header[17], header[18], header[19]]);
    key.proto = header[9];
    let fragment = u16::from_be_bytes([header[6], header[7]]);
    Some(Datagram {
        off: l3_off + header_len,
        len: u32::from(u16::from_be_bytes([header[2], header[3]])).saturating_sub(header_len),
        fragment: Fragment {
            id: u32::from(u16::from_ne_bytes([header[4], header[5]])),
            offset: fragment & 0x1fff,
            is_part: fragment & 0x3fff != 0,
        },
    })
}

// IPv6 extension headers.
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;

/// At most this many extension headers are stepped over; more are taken for an attack.
const MAX_EXTENSIONS: u32 = 8;

#[inline(always)]
fn ipv6(ctx: &TcContext, key: &mut FlowKey, l3_off: u32) -> Option<Datagram> {
    let header: [u8; 8] = ctx.load(l3_off as usize).ok()?;
    if header[0] >> 4 != 6 {
        return None;
    }
    key.src = ctx.load(l3_off as usize + 8).ok()?;
    key.dst = ctx.load(l3_off as usize + 24).ok()?;
    key.proto = header[6];

    let mut datagram = Datagram {
        off: l3_off + 40,
        len: u32::from(u16::from_be_bytes([header[4], header[5]])),
        fragment: Fragment::default(),
    };
    for _ in 0..MAX_EXTENSIONS {
        if !matches!(key.proto, HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION) {
            break;
        }
        let Ok(extension) = ctx.load::<[u8; 8]>(datagram.off as usize) else {
            break;
        };
        // Its destination is not yet the last one: what would come back from there knows nothing of the flow.
        if key.proto == ROUTING && extension[3] != 0 {
            break;
        }
        let mut length = (u32::from(extension[1]) + 1) * 8;
        if key.proto == FRAGMENT {
            // Offset and "more" bit; an atomic fragment has neither (RFC 6946).
            let fragment = u16::from_be_bytes([extension[2], extension[3]]);
            datagram.fragment = Fragment {
                id: u32::from_ne_bytes([extension[4], extension[5], extension[6], extension[7]]),
                offset: fragment >> 3,
                is_part: fragment & 0xfff9 != 0,
            };
            length = 8;
        }
        key.proto = extension[0];
        datagram.off += length;
        datagram.len = datagram.len.saturating_sub(length);
        if datagram.fragment.is_part {
            break;
        }
    }
    Some(datagram)
}

#[inline(always)]
fn ports(ctx: &TcContext, packet: &mut Packet) -> Result<(), DropReason> {
    let Packet { key, transport, fragment, .. } = packet;
    let Transport { off, len, .. } = *transport;
    match key.proto {
        proto::TCP => {
            let header: [u8; 14] = load(ctx, off)?;
            let header_len = u32::from(header[12] >> 4) * 4;
            // A complete header, within what the IP header promises and what is really there.
            if header_len < 20 || off + header_len > ctx.len() || (len != 0 && header_len > len) {
                return Err(DropReason::Malformed);
            }
            key.src_port = [header[0], header[1]];
            key.dst_port = [header[2], header[3]];
            transport.tcp_flags = header[13];
        }
        proto::UDP => {
            let header: [u8; 8] = load(ctx, off)?;
            let length = u32::from(u16::from_be_bytes([header[4], header[5]]));
            // 0 is a jumbogram or a large packet in the making (RFC 2675); else it must fit, but for a part's.
            let room = if len == 0 || fragment.is_part { u32::MAX } else { len };
            if length != 0 && (length < 8 || length > room) {
                return Err(DropReason::Malformed);
            }
            key.src_port = [header[0], header[1]];
            key.dst_port = [header[2], header[3]];
        }
        proto::ICMP | proto::ICMPV6 if (key.proto == proto::ICMP) == addr::is_v4(&key.src) => {
            let header: [u8; 8] = load(ctx, off)?;
            transport.is_error = is_icmp_error(key.proto, header[0]);
            transport.is_request = is_icmp_request(key.proto, header[0]).ok_or(DropReason::Icmp)?;
            let id = [header[4], header[5]];
            if transport.is_request {
                key.src_port = id;
            } else {
                key.dst_port = id;
            }
        }
        proto::SCTP => {
            let header: [u8; 12] = load(ctx, off)?;
            key.src_port = [header[0], header[1]];
            key.dst_port = [header[2], header[3]];
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

/// Destination unreachable, source quench, time exceeded, parameter problem (RFC 792); the errors of RFC 4443. A redirect
/// is none: it is for the one who sent the packet on, and nobody behind a NAT is to be told by others where to send.
#[inline(always)]
fn is_icmp_error(proto: u8, kind: u8) -> bool {
    if proto == proto::ICMP { matches!(kind, 3 | 4 | 11 | 12) } else { matches!(kind, 1..=4) }
}

/// Whether an ICMP query (echo, timestamp, information, address mask: RFC 792, RFC 950) asks or answers; `None` if it is
/// no query.
#[inline(always)]
fn is_icmp_request(proto: u8, kind: u8) -> Option<bool> {
    match (proto, kind) {
        (proto::ICMP, 8 | 13 | 15 | 17) | (proto::ICMPV6, 128) => Some(true),
        (proto::ICMP, 0 | 14 | 16 | 18) | (proto::ICMPV6, 129) => Some(false),
        _ => None,
    }
}

/// Bytes of an ICMP error before the packet that it quotes.
const ICMP_HLEN: u32 = 8;

/// Reads the headers that the ICMP error in `packet` quotes, as far as a NAT needs them: the first eight bytes behind
/// the IP header may be all there is (RFC 792). False if they are no packet of the error's own family with ports.
#[inline(always)]
pub(crate) fn quote(ctx: &TcContext, packet: &Packet, quote: &mut Packet) -> bool {
    quote.key = FlowKey::default();
    quote.l3_off = packet.transport.off + ICMP_HLEN;
    let is_v4 = addr::is_v4(&packet.key.src);
    let datagram =
        if is_v4 { ipv4(ctx, &mut quote.key, quote.l3_off) } else { ipv6(ctx, &mut quote.key, quote.l3_off) };
    let Some(datagram) = datagram else { return false };
    // What the error's own datagram holds of it: behind that may be padding.
    let end = match packet.transport.len {
        0 => ctx.len(),
        len => packet.transport.off + len,
    };
    quote.transport = Transport::at(datagram.off, end.saturating_sub(datagram.off));
    quote.fragment = datagram.fragment;
    if datagram.fragment.is_later() || quote.transport.len < 8 {
        return false;
    }
    let Ok(header) = ctx.load::<[u8; 8]>(datagram.off as usize) else { return false };
    match quote.key.proto {
        proto::TCP | proto::UDP | proto::SCTP => {
            quote.key.src_port = [header[0], header[1]];
            quote.key.dst_port = [header[2], header[3]];
        }
        proto if proto == (if is_v4 { proto::ICMP } else { proto::ICMPV6 }) => {
            let Some(is_request) = is_icmp_request(proto, header[0]) else { return false };
            quote.transport.is_request = is_request;
            let id = [header[4], header[5]];
            if is_request {
                quote.key.src_port = id;
            } else {
                quote.key.dst_port = id;
            }
        }
        proto::DCCP | proto::UDP_LITE | proto::ICMP | proto::ICMPV6 => return false,
        _ => {}
    }
    true
}

#[inline(always)]
fn load<T>(ctx: &TcContext, off: u32) -> Result<T, DropReason> {
    ctx.load(off as usize).map_err(|_| DropReason::Malformed)
}
