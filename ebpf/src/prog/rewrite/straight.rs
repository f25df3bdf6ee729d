//! The lean rewrite of a packet that takes a shortcut: what a router and a NAT change of it, in place, with the checksums'
//! differences known from its lease.

use aya_ebpf::{bindings::BPF_F_PSEUDO_HDR, helpers::generated::bpf_csum_update, programs::TcContext};
use netctl_ebpf::{
    csum,
    flow::{FlowKey, Half},
    headers::ETH_HLEN,
    lease::{Lease, Mac},
    proto,
    words::split,
};

use super::{BPF_F_IPV6, zero_rule};
use crate::prog::parse::at;

/// Ethernet and IPv4 without options, and the ports.
#[repr(C)]
struct FrameV4 {
    macs: [Mac; 2],
    protocol: u16,
    ip: [u16; 10],
    ports: [u16; 2],
}

/// Ethernet and IPv6 without extension headers, and the ports.
#[repr(C)]
struct FrameV6 {
    macs: [Mac; 2],
    protocol: u16,
    ip: [u16; 4],
    addresses: [[u16; 8]; 2],
    ports: [u16; 2],
}

const V4_HLEN: u32 = 20;
const V6_HLEN: u32 = 40;

/// Gives the packet the half's tuple, the lease's MACs, and one hop less to live; false if the kernel refuses.
#[inline(always)]
pub(crate) fn packet(ctx: &TcContext, is_v4: bool, proto: u8, half: &Half) -> bool {
    let (to, lease) = (&half.to, &half.lease);
    if is_v4 {
        v4(ctx, to, lease) && checksum(ctx, ETH_HLEN + V4_HLEN, proto, lease, 0).is_ok()
    } else {
        v6(ctx, to, lease) && checksum(ctx, ETH_HLEN + V6_HLEN, proto, lease, BPF_F_IPV6).is_ok()
    }
}

#[inline(always)]
fn v4(ctx: &TcContext, to: &FlowKey, lease: &Lease) -> bool {
    let Some(frame) = at::<FrameV4>(ctx, 0) else { return false };
    // SAFETY: `at` has checked that it is there; nobody else has the packet.
    let frame = unsafe { &mut *frame };
    let [_, src, _, dst, last] = to.words().map(split);
    lead(&mut frame.macs, lease);
    let old = frame.ip[4].to_ne_bytes();
    let new = [old[0] - 1, old[1]];
    frame.ip[4] = u16::from_ne_bytes(new);
    let difference = csum::add(lease.addresses, csum::word_difference(old, new));
    frame.ip[5] = u16::from_ne_bytes(csum::update(frame.ip[5].to_ne_bytes(), difference));
    (frame.ip[6], frame.ip[7]) = (src[2], src[3]);
    (frame.ip[8], frame.ip[9]) = (dst[2], dst[3]);
    (frame.ports[0], frame.ports[1]) = (last[0], last[1]);
    true
}

#[inline(always)]
fn v6(ctx: &TcContext, to: &FlowKey, lease: &Lease) -> bool {
    let Some(frame) = at::<FrameV6>(ctx, 0) else { return false };
    // SAFETY: as in `v4`.
    let frame = unsafe { &mut *frame };
    let [a, b, c, d, last] = to.words().map(split);
    lead(&mut frame.macs, lease);
    let old = frame.ip[3].to_ne_bytes();
    let new = [old[0], old[1] - 1];
    frame.ip[3] = u16::from_ne_bytes(new);
    for (i, words) in [a, b, c, d].into_iter().enumerate() {
        for (j, word) in words.into_iter().enumerate() {
            frame.addresses[i / 2][i % 2 * 4 + j] = word;
        }
    }
    (frame.ports[0], frame.ports[1]) = (last[0], last[1]);
    // IPv6 has no checksum of its own that would make up for it, in the sum that a network card has taken of it all.
    // SAFETY: the context is valid for the whole run of the program; refused where the card has taken none.
    unsafe { bpf_csum_update(ctx.skb.skb, csum::word_difference(old, new)) };
    true
}

/// Word by word: the compiler would call a function to copy twelve bytes.
#[inline(always)]
fn lead(macs: &mut [Mac; 2], lease: &Lease) {
    let ([to, from], leaves) = (macs, &lease.leaves);
    (to[0], to[1], to[2]) = (leaves[0][0], leaves[0][1], leaves[0][2]);
    (from[0], from[1], from[2]) = (leaves[1][0], leaves[1][1], leaves[1][2]);
}

/// One call for both addresses, another one where a port changes.
#[inline(always)]
fn checksum(ctx: &TcContext, off: u32, proto: u8, lease: &Lease, family: u64) -> Result<(), i64> {
    let field = off as usize + if proto == proto::TCP { 16 } else { 6 };
    let zero = zero_rule(proto);
    let (addresses, flags) = (u64::from(lease.addresses), u64::from(BPF_F_PSEUDO_HDR) | zero);
    let mut done = ctx.l4_csum_replace(field, 0, addresses, flags | family);
    if done.is_err() && family != 0 {
        done = ctx.l4_csum_replace(field, 0, addresses, flags); // Before 6.16.
    }
    if lease.ports != 0 {
        done = done.and_then(|()| ctx.l4_csum_replace(field, 0, u64::from(lease.ports), zero));
    }
    done
}
