//! Stores bytes and keeps the checksums right; nothing else does.
//!
//! `bpf_l4_csum_replace` knows about `CHECKSUM_PARTIAL`, where the field holds the pseudo-header's sum alone: a change of
//! address is told to it with `BPF_F_PSEUDO_HDR`, a change of port without (`inet_proto_csum_replace_by_diff` in
//! net/core/utils.c).

pub(crate) mod straight;

use aya_ebpf::{
    bindings::{BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR},
    programs::TcContext,
};
use netctl_ebpf::{
    addr::{self, Addr},
    csum,
    flow::FlowKey,
    headers::{Packet, Transport},
    proto,
    reason::DropReason,
};

use super::{Verdict, Work, step::step};

/// Since 6.16: keeps `CHECKSUM_COMPLETE` right when an IPv6 address changes (include/uapi/linux/bpf.h).
const BPF_F_IPV6: u64 = 1 << 7;

/// Does what was decided, unless the kernel refuses.
#[inline(always)]
pub(crate) fn rewrite(ctx: &TcContext, verdict: Verdict) -> Verdict {
    let done = match verdict {
        Verdict::Translate => translate(ctx),
        Verdict::TranslateError => translate_error(ctx),
        Verdict::NotOurs | Verdict::Drop(_) => return verdict,
    };
    done.map(|()| verdict).into()
}

step! {
    /// Gives the packet the tuple in `work.to`.
    translate as rewrite_packet(ctx, work) -> Result<(), DropReason> {
        packet(ctx, &work.packet, &work.to)
    }
}

step! {
    /// Gives an ICMP error the addresses in `work.other`, and the packet that it quotes the tuple in `work.to`.
    translate_error as rewrite_error(ctx, work) -> Result<(), DropReason> {
        error(ctx, work)
    }
}

/// Gives the packet the tuple `to`.
#[inline(always)]
fn packet(ctx: &TcContext, packet: &Packet, to: &FlowKey) -> Result<(), DropReason> {
    packet.transport.check()?;
    let done = addresses(ctx, packet, to).and_then(|()| ports(ctx, packet, to));
    done.map_err(|_| DropReason::Rewrite)
}

/// Gives a part of a datagram another identification. IPv6 keeps its own.
#[inline(always)]
pub(crate) fn identification(ctx: &TcContext, packet: &Packet, id: u32) -> Result<(), DropReason> {
    let old = packet.fragment.id;
    if old == id {
        return Ok(());
    }
    let field = packet.l3_off as usize + 4;
    let done = ctx
        .l3_csum_replace(packet.l3_off as usize + 10, u64::from(old), u64::from(id), 2)
        .and_then(|()| ctx.store(field, &(id as u16), 0));
    done.map_err(|_| DropReason::Rewrite)
}

#[inline(always)]
fn error(ctx: &TcContext, work: &Work) -> Result<(), DropReason> {
    let done = addresses(ctx, &work.packet, &work.other).and_then(|()| {
        let difference = quoted(ctx, &work.quote, &work.to)?;
        let field = checksum_off(work.packet.transport, work.packet.key.proto);
        ctx.l4_csum_replace(field, 0, u64::from(difference), 0)
    });
    done.map_err(|_| DropReason::Rewrite)
}

/// Changes the addresses in the IP header, and what covers them.
#[inline(always)]
fn addresses(ctx: &TcContext, packet: &Packet, to: &FlowKey) -> Result<(), i64> {
    let (from, transport) = (&packet.key, packet.transport);
    let is_covered = proto::has_pseudo_header(from.proto) && !packet.fragment.is_later();
    if addr::is_v4(&from.src) {
        let difference = addresses_v4(from, to);
        ctx.l3_csum_replace(packet.l3_off as usize + 10, 0, u64::from(difference), 0)?;
        if is_covered {
            pseudo_header(ctx, transport, from.proto, difference, 0)?;
        }
        ctx.store(packet.l3_off as usize + 12, &[addr::to_v4(&to.src), addr::to_v4(&to.dst)], 0)
    } else {
        let difference = addresses_v6(from, to);
        if is_covered && pseudo_header(ctx, transport, from.proto, difference, BPF_F_IPV6).is_err() {
            pseudo_header(ctx, transport, from.proto, difference, 0)?;
        }
        ctx.store::<[Addr; 2]>(packet.l3_off as usize + 8, &[to.src, to.dst], 0)
    }
}

/// Changes a quoted packet, which nobody's hardware knows about: plain bytes with checksums that are whole or, of TCP, cut
/// off. Returns what that does to the sum of all its bytes.
///
/// A function of its own: inlined, its temporaries would not fit on the stack beside the caller's.
#[inline(never)]
fn quoted(ctx: &TcContext, quote: &Packet, to: &FlowKey) -> Result<u32, i64> {
    let (from, l3_off) = (&quote.key, quote.l3_off as usize);
    let is_v4 = addr::is_v4(&from.src);
    let addresses = if is_v4 { addresses_v4(from, to) } else { addresses_v6(from, to) };
    let mut difference = addresses;
    if is_v4 {
        let old: [u8; 2] = ctx.load(l3_off + 10)?;
        let new = csum::update(old, addresses);
        difference = csum::add(difference, csum::word_difference(old, new));
        ctx.store(l3_off + 10, &new, 0)?;
        ctx.store(l3_off + 12, &[addr::to_v4(&to.src), addr::to_v4(&to.dst)], 0)?;
    } else {
        ctx.store::<[Addr; 2]>(l3_off + 8, &[to.src, to.dst], 0)?;
    }
    let ports = quoted_ports(ctx, quote, to)?;
    let checksum = if proto::has_free_ports(from.proto) {
        let covered = if proto::has_pseudo_header(from.proto) { csum::add(addresses, ports) } else { ports };
        quoted_checksum(ctx, quote, covered)?
    } else {
        0
    };
    Ok(csum::add(difference, csum::add(ports, checksum)))
}

#[inline(always)]
fn quoted_ports(ctx: &TcContext, quote: &Packet, to: &FlowKey) -> Result<u32, i64> {
    let (from, off) = (&quote.key, quote.transport.off as usize);
    if matches!(from.proto, proto::TCP | proto::UDP) {
        ctx.store(off, &[to.src_port, to.dst_port], 0)?;
    } else if proto::has_free_ports(from.proto) {
        let id = if quote.transport.is_request { to.src_port } else { to.dst_port };
        ctx.store(off + 4, &id, 0)?;
    }
    let (source, destination) = (
        csum::word_difference(from.src_port, to.src_port),
        csum::word_difference(from.dst_port, to.dst_port),
    );
    Ok(csum::add(source, destination))
}

/// Keeps the quoted packet's own checksum as right or wrong as it was; where it is not quoted, there is nothing to keep.
#[inline(always)]
fn quoted_checksum(ctx: &TcContext, quote: &Packet, covered: u32) -> Result<u32, i64> {
    let off = checksum_off(quote.transport, quote.key.proto);
    if off + 2 > (quote.transport.off + quote.transport.len) as usize {
        return Ok(0);
    }
    let Ok(old) = ctx.load::<[u8; 2]>(off) else { return Ok(0) };
    let is_udp = quote.key.proto == proto::UDP;
    if is_udp && old == [0; 2] {
        return Ok(0);
    }
    let mut new = csum::update(old, covered);
    if is_udp && new == [0; 2] {
        new = [0xff; 2];
    }
    ctx.store(off, &new, 0)?;
    Ok(csum::word_difference(old, new))
}

#[inline(always)]
fn addresses_v4(from: &FlowKey, to: &FlowKey) -> u32 {
    csum::add(
        csum::difference(&addr::to_v4(&from.src), &addr::to_v4(&to.src)),
        csum::difference(&addr::to_v4(&from.dst), &addr::to_v4(&to.dst)),
    )
}

/// A function of its own, as its many loads would be kept on the caller's stack.
#[inline(never)]
fn addresses_v6(from: &FlowKey, to: &FlowKey) -> u32 {
    csum::add(csum::difference(&from.src, &to.src), csum::difference(&from.dst, &to.dst))
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
fn ports(ctx: &TcContext, packet: &Packet, to: &FlowKey) -> Result<(), i64> {
    let (from, transport) = (&packet.key, packet.transport);
    match from.proto {
        _ if packet.fragment.is_later() => Ok(()),
        proto::TCP | proto::UDP => {
            port(ctx, transport, from.proto, from.src_port, to.src_port, 0)?;
            port(ctx, transport, from.proto, from.dst_port, to.dst_port, 2)
        }
        proto::ICMP | proto::ICMPV6 if transport.is_request => {
            port(ctx, transport, from.proto, from.src_port, to.src_port, 4)
        }
        proto::ICMP | proto::ICMPV6 => port(ctx, transport, from.proto, from.dst_port, to.dst_port, 4),
        _ => Ok(()),
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
