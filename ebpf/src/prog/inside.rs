//! The order of the steps at an inside interface: hairpinning (RFC 4787 REQ-9).
//!
//! A client inside that uses a forwarded port makes two flows. On the way in its destination becomes the inside server,
//! as for a client outside; on the way out, on the same side, its source becomes the address it had called, so that the
//! answer comes back through the gateway and both changes can be undone.

use aya_ebpf::programs::TcContext;
use netctl_ebpf::{
    flow::{hook, kind},
    ports::Pool,
    reason::DropReason,
};

use super::{
    Verdict, Work,
    flows::{self, Plan},
    icmp,
    maps::{self, FLOWS},
    uplink::{forwarded, ifindex, is_for_us},
};

/// From inside, before routing.
#[inline(always)]
pub(crate) fn ingress(ctx: &TcContext, work: &mut Work) -> Result<Verdict, DropReason> {
    if !is_for_us(ctx) {
        return Ok(Verdict::NotOurs);
    }
    if let Some(verdict) = flows::follow(ctx, work, hook::INGRESS) {
        return Ok(verdict);
    }
    if let Some(verdict) = icmp::follow(ctx, work, hook::INGRESS, ifindex(ctx)) {
        return Ok(verdict);
    }
    Ok(if forwarded(ctx, work, kind::HAIRPIN)? { Verdict::Translate } else { Verdict::NotOurs })
}

/// Back to the inside, after routing.
#[inline(always)]
pub(crate) fn egress(ctx: &TcContext, work: &mut Work) -> Result<Verdict, DropReason> {
    if let Some(verdict) = flows::follow(ctx, work, hook::EGRESS) {
        return Ok(verdict);
    }
    if let Some(verdict) = icmp::follow(ctx, work, hook::EGRESS, ifindex(ctx)) {
        return Ok(verdict);
    }
    if !called_by_outside_address(work) {
        return Ok(Verdict::NotOurs);
    }
    flows::open(ctx, work)?;
    Ok(Verdict::Translate)
}

/// Plans the second flow of a packet that has a first; false if it has none. The half for the first one's answers knows
/// the address that was called.
#[inline(always)]
fn called_by_outside_address(work: &mut Work) -> bool {
    let key = &work.packet.key;
    work.other = key.reversed();
    let Some(answer) = FLOWS.get_ptr(&work.other) else {
        return false;
    };
    // SAFETY: the verifier has checked the pointer, and RCU keeps the entry until this program ends.
    let answer = unsafe { &*answer };
    if answer.kind != kind::HAIRPIN
        || answer.hook != hook::EGRESS
        || !maps::is_live(answer.rule, answer.generation)
    {
        return false;
    }
    work.to = key.from_source(answer.to.src, key.src_port);
    work.plan = Plan {
        pool: Pool::beside(maps::local_ports(), u16::from_be_bytes(key.src_port)),
        own_source: true,
        kind: kind::HAIRPIN_SOURCE,
        hook: hook::EGRESS,
        rule: answer.rule,
        generation: answer.generation,
    };
    true
}
