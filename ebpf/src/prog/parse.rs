//! A packet's headers, as [`netctl_ebpf::headers`] reads them: copied by the kernel, wherever they are, or where they lie.

use aya_ebpf::programs::TcContext;
use netctl_ebpf::headers::Bytes;

use super::step::step;

/// IPv4, as `__sk_buff` has a packet's protocol.
pub(crate) const ETH_P_IP: u32 = 0x0800_u16.to_be() as u32;
/// IPv6, likewise.
pub(crate) const ETH_P_IPV6: u32 = 0x86dd_u16.to_be() as u32;

/// A packet whose bytes the kernel copies, in however many pieces they are.
pub(crate) struct Copied<'a>(pub(crate) &'a TcContext);

impl Bytes for Copied<'_> {
    #[inline(always)]
    fn words<const N: usize>(&self, off: u32) -> Option<[u16; N]> {
        self.0.load(off as usize).ok()
    }

    #[inline(always)]
    fn length(&self) -> u32 {
        self.0.len()
    }
}

/// The linear part of a packet, whose bytes are read where they lie.
pub(crate) struct Linear<'a>(pub(crate) &'a TcContext);

impl Bytes for Linear<'_> {
    #[inline(always)]
    fn words<const N: usize>(&self, off: u32) -> Option<[u16; N]> {
        // SAFETY: `at` has checked that it is there.
        Some(unsafe { *at::<[u16; N]>(self.0, off)? })
    }

    #[inline(always)]
    fn length(&self) -> u32 {
        self.0.len()
    }
}

/// What is at `off` of the packet's linear part, if it is as long.
#[inline(always)]
pub(crate) fn at<T>(ctx: &TcContext, off: u32) -> Option<*mut T> {
    let start = ctx.data() + off as usize;
    if start + size_of::<T>() > ctx.data_end() { None } else { Some(start as *mut T) }
}

/// Whether the packet is IPv4 rather than IPv6; `None` of other protocols, and of what belongs to a VLAN. Number 0 is none:
/// such a tag has a priority alone (IEEE 802.1Q), and the kernel takes it off after this hook.
#[inline(always)]
pub(crate) fn family(ctx: &TcContext) -> Option<bool> {
    // SAFETY: the context is valid for the whole run of the program.
    let (protocol, vlan) = unsafe { ((*ctx.skb.skb).protocol, vlan(ctx)) };
    match protocol {
        _ if vlan != 0 => None,
        ETH_P_IP => Some(true),
        ETH_P_IPV6 => Some(false),
        _ => None,
    }
}

/// The number of the VLAN that the packet belongs to.
#[inline(always)]
fn vlan(ctx: &TcContext) -> u32 {
    const NUMBER: u32 = 0x0fff;
    // SAFETY: the context is valid for the whole run of the program.
    unsafe { if (*ctx.skb.skb).vlan_present == 0 { 0 } else { (*ctx.skb.skb).vlan_tci & NUMBER } }
}

step! {
    /// Reads the headers of the packet; false if it is no IP packet that the gateway's IP layer would see.
    parse as parse_packet(ctx, work) -> bool {
        // SAFETY: the context is valid for the whole run of the program.
        work.ifindex = unsafe { (*ctx.skb.skb).ifindex };
        family(ctx).is_some_and(|is_v4| work.packet.read(&Copied(ctx), is_v4))
    }
}
