//! Stores bytes and keeps the checksums right; nothing else does.
//!
//! `bpf_l4_csum_replace` knows about `CHECKSUM_PARTIAL`, where the field holds the pseudo-header's sum alone: a change of
//! address is told to it with `BPF_F_PSEUDO_HDR`, a change of port without (`inet_proto_csum_replace_by_diff` in
//! net/core/utils.c).

use aya_ebpf::{
    bindings::{BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR},
    programs::TcContext,
};
use netctl_ebpf::{
    addr::{self, Addr},
    csum,
    flow::FlowKey,
    proto,
    reason::DropReason,
};

use super::parse::{Packet, Transport};

/// Since 6.16: keeps `CHECKSUM_COMPLETE` right when an IPv6 address changes (include/uapi/linux/bpf.h).
const BPF_F_IPV6: u64 = 1 << 7;

/// Gives the packet the tuple `to`.
#[inline(always)]
pub(crate) fn rewrite(ctx: &TcContext, packet: &Packet, to: &FlowKey) -> Result<(), DropReason> {
    packet.transport.check()?;
    change(ctx, packet, packet.transport, to).map_err(|_| DropReason::Rewrite)
}

#[inline(always)]
fn change(ctx: &TcContext, packet: &Packet, transport: Transport, to: &FlowKey) -> Result<(), i64> {
    let from = &packet.key;
    if addr::is_v4(&from.src) {
        let difference = addresses_v4(from, to);
        ctx.l3_csum_replace(packet.l3_off as usize + 10, 0, u64::from(difference), 0)?;
        if from.proto != proto::ICMP {
            pseudo_header(ctx, transport, from.proto, difference, 0)?;
        }
        ctx.store(packet.l3_off as usize + 12, &[addr::to_v4(&to.src), addr::to_v4(&to.dst)], 0)?;
    } else {
        let difference =
            csum::add(csum::difference(&from.src, &to.src), csum::difference(&from.dst, &to.dst));
        if pseudo_header(ctx, transport, from.proto, difference, BPF_F_IPV6).is_err() {
            pseudo_header(ctx, transport, from.proto, difference, 0)?;
        }
        ctx.store::<[Addr; 2]>(packet.l3_off as usize + 8, &[to.src, to.dst], 0)?;
    }
    ports(ctx, transport, from, to)
}

#[inline(always)]
fn addresses_v4(from: &FlowKey, to: &FlowKey) -> u32 {
    csum::add(
        csum::difference(&addr::to_v4(&from.src), &addr::to_v4(&to.src)),
        csum::difference(&addr::to_v4(&from.dst), &addr::to_v4(&to.dst)),
    )
}

#[inline(always)]
fn pseudo_header(
    ctx: &TcContext,
    transport: Transport,
    proto: u8,
    difference: u32,
    flags: u64,
) -> Result<(), i64> {
    let flags = flags | u64::from(BPF_F_PSEUDO_HDR) | zero_rule(proto);
    ctx.l4_csum_replace(checksum_off(transport, proto), 0, u64::from(difference), flags)
}

#[inline(always)]
fn ports(ctx: &TcContext, transport: Transport, from: &FlowKey, to: &FlowKey) -> Result<(), i64> {
    match from.proto {
        proto::TCP | proto::UDP => {
            port(ctx, transport, from.proto, from.src_port, to.src_port, 0)?;
            port(ctx, transport, from.proto, from.dst_port, to.dst_port, 2)
        }
        _ if transport.is_request => port(ctx, transport, from.proto, from.src_port, to.src_port, 4),
        _ => port(ctx, transport, from.proto, from.dst_port, to.dst_port, 4),
    }
}

#[inline(always)]
fn port(
    ctx: &TcContext,
    transport: Transport,
    proto: u8,
    old: [u8; 2],
    new: [u8; 2],
    off: usize,
) -> Result<(), i64> {
    if old == new {
        return Ok(());
    }
    let (from, to) = (u64::from(u16::from_ne_bytes(old)), u64::from(u16::from_ne_bytes(new)));
    ctx.l4_csum_replace(checksum_off(transport, proto), from, to, 2 | zero_rule(proto))?;
    ctx.store(transport.off as usize + off, &new, 0)
}

/// UDP alone: a checksum of zero means "none" and stays, a sum that becomes zero is sent as 0xffff (RFC 768).
#[inline(always)]
fn zero_rule(proto: u8) -> u64 {
    if proto == proto::UDP { u64::from(BPF_F_MARK_MANGLED_0) } else { 0 }
}

#[inline(always)]
fn checksum_off(transport: Transport, proto: u8) -> usize {
    transport.off as usize
        + match proto {
            proto::TCP => 16,
            proto::UDP => 6,
            _ => 2,
        }
}
