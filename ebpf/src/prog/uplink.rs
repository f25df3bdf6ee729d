//! The order of the steps at an uplink.

use aya_ebpf::programs::TcContext;
use netctl_ebpf::{
    addr,
    flow::{FlowKey, hook, kind},
    proto,
    reason::DropReason,
    tcp,
};

use super::{Verdict, binding, flows, forward, icmp, kernel, maps, masquerade, step::step};

/// Whether the frame was for this machine: TC sees frames for other MACs too, the IP layer does not.
#[inline(always)]
pub(crate) fn is_for_us(ctx: &TcContext) -> bool {
    const PACKET_HOST: u32 = 0;
    // SAFETY: the context is valid for the whole run of the program.
    unsafe { (*ctx.skb.skb).pkt_type == PACKET_HOST }
}

/// What becomes of a packet that belongs to a flow, or is an error about one.
#[inline(always)]
pub(crate) fn known(ctx: &TcContext, hook: u8) -> Option<Verdict> {
    flows::follow(ctx, hook).or_else(|| icmp::follow(ctx, hook))
}

/// Outwards, after routing: a known flow's packet, or one that a masquerade rule covers, gets its outside source.
#[inline(always)]
pub(crate) fn egress(ctx: &TcContext) -> Result<Verdict, DropReason> {
    if let Some(verdict) = known(ctx, hook::EGRESS) {
        return Ok(verdict);
    }
    if masquerade::plan(ctx)? {
        flows::open(ctx)?;
        return Ok(Verdict::Translate);
    }
    if masquerade::is_taken_from_gateway(ctx) {
        return match flows::open(ctx) {
            Ok(()) => Ok(Verdict::Translate),
            // A reset or an echo reply that its stack sends to whom it does not know; what cannot be told apart by a port.
            Err(DropReason::NoConnection | DropReason::Icmp | DropReason::NoPort) => Ok(Verdict::NotOurs),
            Err(reason) => Err(reason),
        };
    }
    Ok(Verdict::NotOurs)
}

/// Inwards, before routing: an answer gets its inside destination, and a forward rule makes a flow. What comes for an
/// inside network without being either is refused, or remembered where its rule lets it in.
#[inline(always)]
pub(crate) fn ingress(ctx: &TcContext) -> Result<Verdict, DropReason> {
    if !is_for_us(ctx) {
        return Ok(Verdict::NotOurs);
    }
    if let Some(verdict) = known(ctx, hook::INGRESS) {
        return Ok(verdict);
    }
    if forwarded(ctx, kind::FORWARD)? || binding::inbound(ctx, kind::INBOUND)? {
        flows::open(ctx)?;
        return Ok(Verdict::Translate);
    }
    if is_silent() && is_of_lost_flow(ctx) {
        return Err(DropReason::NoConnection);
    }
    masquerade::let_in(ctx)
}

/// Whether a table of flows was lost not long ago.
#[inline(always)]
fn is_silent() -> bool {
    maps::config().is_some_and(|config| kernel::now_ns() < config.silent_until_ns)
}

step! {
    /// Whether the gateway's own stack would reset a connection that it has never known.
    is_of_lost_flow as ask_for_socket(ctx, work) -> bool {
        let (key, transport) = (&work.packet.key, work.packet.transport);
        key.proto == proto::TCP
            && transport.refusal.is_none()
            && !tcp::is_first(transport.tcp_flags)
            && kernel::is_own(ctx, &key.dst, work.ifindex)
            && !kernel::has_socket(ctx, key)
    }
}

step! {
    /// Plans the flow of a packet that comes to a forwarded port; false if it does not. Only what is addressed to the
    /// gateway itself does: never transit, and never 127.0.0.0/8 from a wire. And only from a source that can be there.
    forwarded as plan_forward(ctx, work, kind: u8) -> Result<bool, DropReason> {
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
