//! The headers of a packet that a shortcut can carry, read straight from its linear part.

use aya_ebpf::programs::TcContext;
use netctl_ebpf::{
    csum,
    flow::FlowKey,
    lease::{Frame, Mac},
    proto,
    tcp::flag,
};

use crate::prog::parse::{ETH_HLEN, ETH_P_IP, ETH_P_IPV6};

/// What such a packet says of itself, beside its tuple.
#[derive(Clone, Copy, Default)]
pub(crate) struct Front {
    /// What a lease looks at.
    pub(crate) frame: Frame,
    /// Who sent the frame.
    pub(crate) from: Mac,
    /// Of IPv4; else of IPv6.
    pub(crate) is_v4: bool,
    /// Type of service or traffic class.
    pub(crate) class: u8,
    /// Time to live or hop limit.
    pub(crate) ttl: u32,
    /// The mark that the machine's own rules have put on it.
    pub(crate) mark: u32,
}

impl Front {
    #[inline(always)]
    fn of((to, from): (Mac, Mac), is_v4: bool, class: u8, ttl: u8) -> Self {
        let frame = Frame { to, ..Frame::default() };
        Self { frame, from, is_v4, class, ttl: u32::from(ttl), mark: 0 }
    }

    /// Whether a packet that comes in with this leaves with `out` if only routing is between: one hop less to live, in
    /// one piece, and nothing done to it that the shortcut does not do.
    #[inline(always)]
    pub(crate) fn comes_out_as(&self, out: &Self) -> bool {
        self.ttl == out.ttl + 1
            && self.frame.length == out.frame.length
            && self.class == out.class
            && self.mark == out.mark
    }
}

/// Frames begin at an even address (`NET_IP_ALIGN` in include/linux/skbuff.h), so 16 bits at a time.
type Words<const N: usize> = [u16; N];

/// Ethernet and IPv4 without options, and what of the transport header UDP has, too.
#[repr(C)]
pub(crate) struct FrameV4 {
    pub(crate) macs: [Mac; 2],
    protocol: u16,
    pub(crate) ip: Words<10>,
    pub(crate) ports: [u16; 2],
    rest: Words<2>,
}

/// Ethernet and IPv6 without extension headers, and what of the transport header UDP has, too.
#[repr(C)]
pub(crate) struct FrameV6 {
    pub(crate) macs: [Mac; 2],
    protocol: u16,
    pub(crate) ip: Words<4>,
    pub(crate) addresses: [Words<8>; 2],
    pub(crate) ports: [u16; 2],
    rest: Words<2>,
}

pub(crate) const V4_HLEN: u32 = 20;
pub(crate) const V6_HLEN: u32 = 40;
const TCP_HLEN: u32 = 20;
const UDP_HLEN: u32 = 8;

/// What is at `off` of the packet's linear part, if it is as long.
#[inline(always)]
pub(crate) fn at<T>(ctx: &TcContext, off: u32) -> Option<*mut T> {
    let start = ctx.data() + off as usize;
    if start + size_of::<T>() > ctx.data_end() { None } else { Some(start as *mut T) }
}

/// Reads a packet that a shortcut can carry; `None` if none can carry it.
#[inline(always)]
pub(crate) fn read(ctx: &TcContext) -> Option<(FlowKey, Front)> {
    // SAFETY: the context is valid for the whole run of the program.
    let skb = unsafe { &*ctx.skb.skb };
    if skb.vlan_present != 0 {
        return None;
    }
    let (key, mut front, header_len) = match skb.protocol {
        ETH_P_IP => v4(ctx)?,
        ETH_P_IPV6 => v6(ctx)?,
        _ => return None,
    };
    front.frame.ifindex = skb.ifindex;
    front.mark = skb.mark;
    let (gso, whole) = (skb.gso_size, skb.len - ETH_HLEN);
    front.frame.length = if gso == 0 { whole } else { header_len + gso };
    Some((key, front))
}

/// The tuple, what else the headers say, and how long all of them are from IP on.
#[inline(always)]
fn v4(ctx: &TcContext) -> Option<(FlowKey, Front, u32)> {
    // SAFETY: `at` has checked that it is there.
    let frame = unsafe { &*at::<FrameV4>(ctx, 0)? };
    let ip = &frame.ip;
    let [version, class] = ip[0].to_ne_bytes();
    let [ttl, proto] = ip[4].to_ne_bytes();
    let length = u32::from(u16::from_be(ip[1]));
    let is_part = ip[3] & 0x3fff_u16.to_be() != 0;
    if version != 0x45 || is_part || ttl < 2 || ETH_HLEN + length > ctx.len() {
        return None;
    }
    let mut sum = 0;
    for word in ip {
        sum += u32::from(*word);
    }
    if !csum::is_complete(sum) {
        return None; // The IP layer drops it.
    }
    let payload = length.checked_sub(V4_HLEN)?;
    let transport = transport(ctx, ETH_HLEN + V4_HLEN, proto, payload, frame.rest)?;
    let key = FlowKey::of_v4([ip[6], ip[7]], [ip[8], ip[9]], frame.ports, proto);
    let to_and_from = (frame.macs[0], frame.macs[1]);
    Some((key, Front::of(to_and_from, true, class, ttl), V4_HLEN + transport))
}

#[inline(always)]
fn v6(ctx: &TcContext) -> Option<(FlowKey, Front, u32)> {
    // SAFETY: `at` has checked that it is there.
    let frame = unsafe { &*at::<FrameV6>(ctx, 0)? };
    let ip = &frame.ip;
    let first = u16::from_be(ip[0]);
    let payload = u32::from(u16::from_be(ip[2]));
    let [proto, ttl] = ip[3].to_ne_bytes();
    if first >> 12 != 6 || ttl < 2 || ETH_HLEN + V6_HLEN + payload > ctx.len() {
        return None;
    }
    let transport = transport(ctx, ETH_HLEN + V6_HLEN, proto, payload, frame.rest)?;
    let key = FlowKey::of_v6(&frame.addresses, frame.ports, proto);
    let to_and_from = (frame.macs[0], frame.macs[1]);
    Some((key, Front::of(to_and_from, false, (first >> 4) as u8, ttl), V6_HLEN + transport))
}

/// How long the transport header is, if it is whole, fits `payload`, and belongs to a connection that goes on. `rest` is
/// what follows the ports.
#[inline(always)]
fn transport(ctx: &TcContext, off: u32, proto: u8, payload: u32, rest: Words<2>) -> Option<u32> {
    match proto {
        proto::UDP => {
            let length = u32::from(u16::from_be(rest[0]));
            (UDP_HLEN..=payload).contains(&length).then_some(UDP_HLEN)
        }
        proto::TCP => {
            // SAFETY: `at` has checked that it is there.
            let header = unsafe { &*at::<Words<10>>(ctx, off)? };
            let [header_len, flags] = header[6].to_ne_bytes();
            let header_len = u32::from(header_len >> 4) * 4;
            let goes_on = flags & (flag::SYN | flag::FIN | flag::RST | flag::ACK) == flag::ACK;
            (goes_on && (TCP_HLEN..=payload).contains(&header_len)).then_some(header_len)
        }
        _ => None,
    }
}
