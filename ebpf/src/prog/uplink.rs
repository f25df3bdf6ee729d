//! The order of the steps at an uplink.

use aya_ebpf::programs::TcContext;
use netctl_ebpf::{
    addr,
    flow::{FlowKey, hook, kind},
    reason::DropReason,
};

use super::{Verdict, Work, binding, flows, forward, icmp, kernel, masquerade};

/// Whether the frame was for this machine: TC sees frames for other MACs too, the IP layer does not.
#[inline(always)]
pub(crate) fn is_for_us(ctx: &TcContext) -> bool {
    const PACKET_HOST: u32 = 0;
    // SAFETY: the context is valid for the whole run of the program.
    unsafe { (*ctx.skb.skb).pkt_type == PACKET_HOST }
}

/// Outwards, after routing: a known flow's packet, or one that a masquerade rule covers, gets its outside source.
#[inline(always)]
pub(crate) fn egress(ctx: &TcContext, work: &mut Work) -> Result<Verdict, DropReason> {
    if let Some(verdict) = flows::follow(ctx, work, hook::EGRESS) {
        return Ok(verdict);
    }
    if let Some(verdict) = icmp::follow(ctx, work, hook::EGRESS) {
        return Ok(verdict);
    }
    if let Some(rule) = masquerade::rule(work.ifindex, &work.packet.key.src) {
        masquerade::open(ctx, work, rule)?;
        return Ok(Verdict::Translate);
    }
    if masquerade::is_taken_from_gateway(work) {
        return match flows::open(ctx, work) {
            Ok(()) => Ok(Verdict::Translate),
            // A reset or an echo reply that its stack sends to whom it does not know; what cannot be told apart by a port.
            Err(DropReason::NoConnection | DropReason::Icmp | DropReason::NoPort) => Ok(Verdict::NotOurs),
            Err(reason) => Err(reason),
        };
    }
    Ok(Verdict::NotOurs)
}

/// Whether a part of an unknown datagram that leaves waits for the one with the ports. The gateway's own do not: it sends
/// that one first.
#[inline(always)]
pub(crate) fn awaits_outwards(ctx: &TcContext, work: &Work) -> bool {
    !kernel::is_own(ctx, &work.packet.key.src, work.ifindex)
}

/// The same of one that comes in: only what is for the gateway may be an answer, or for a forward.
#[inline(always)]
pub(crate) fn awaits_inwards(ctx: &TcContext, work: &Work) -> bool {
    kernel::is_own(ctx, &work.packet.key.dst, work.ifindex)
}

/// Inwards, before routing: an answer gets its inside destination, and a forward rule makes a flow. What comes for an
/// inside network without being either is refused, or remembered where its rule lets it in.
#[inline(always)]
pub(crate) fn ingress(ctx: &TcContext, work: &mut Work) -> Result<Verdict, DropReason> {
    if !is_for_us(ctx) {
        return Ok(Verdict::NotOurs);
    }
    if let Some(verdict) = flows::follow(ctx, work, hook::INGRESS) {
        return Ok(verdict);
    }
    if let Some(verdict) = icmp::follow(ctx, work, hook::INGRESS) {
        return Ok(verdict);
    }
    if forwarded(ctx, work, kind::FORWARD)? || binding::inbound(ctx, work, kind::INBOUND)? {
        flows::open(ctx, work)?;
        return Ok(Verdict::Translate);
    }
    match masquerade::rule(work.ifindex, &work.packet.key.dst) {
        // The gateway's own address there is the gateway's business.
        Some(_) if kernel::is_own(ctx, &work.packet.key.dst, work.ifindex) => Ok(Verdict::NotOurs),
        Some(rule) if rule.routed == 0 => Err(DropReason::Unsolicited),
        Some(rule) => Ok(masquerade::remember_routed(ctx, work, rule)),
        None => Ok(Verdict::NotOurs),
    }
}

/// Plans the flow of a packet that comes to a forwarded port; false if it does not. Only what is addressed to the
/// gateway itself does: never transit, and never 127.0.0.0/8 from a wire. And only from a source that can be there.
#[inline(always)]
pub(crate) fn forwarded(ctx: &TcContext, work: &mut Work, kind: u8) -> Result<bool, DropReason> {
    let key = &work.packet.key;
    if work.packet.transport.refusal.is_some() || addr::is_loopback(&key.dst) {
        return Ok(false);
    }
    let Some(rule) = forward::rule(&key.dst, key.proto, key.dst_port) else { return Ok(false) };
    if !kernel::is_own(ctx, &key.dst, work.ifindex) {
        return Ok(false);
    }
    check_source(key, work.ifindex)?;
    if !forward::allows(rule, &key.src) {
        return Err(DropReason::NotAllowed);
    }
    forward::plan(work, rule, kind);
    Ok(true)
}

/// Refuses a source that cannot be there: nobody's, the gateway's own, or one of an inside network that is closed to
/// `uplink`.
#[inline(always)]
pub(crate) fn check_source(key: &FlowKey, uplink: u32) -> Result<(), DropReason> {
    let is_spoofed = addr::is_no_source(&key.src)
        || kernel::is_known_local(&key.src)
        || masquerade::is_closed_inside(uplink, &key.src);
    if is_spoofed { Err(DropReason::Spoofed) } else { Ok(()) }
}
