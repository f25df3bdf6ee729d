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
    Verdict, Work, binding,
    flows::{self, Plan},
    maps::{self, FLOWS},
    masquerade,
    step::step,
    uplink::{forwarded, is_for_us, known},
};

/// From inside, before routing.
#[inline(always)]
pub(crate) fn ingress(ctx: &TcContext) -> Result<Verdict, DropReason> {
    if !is_for_us(ctx) {
        return Ok(Verdict::NotOurs);
    }
    if let Some(verdict) = known(ctx, hook::INGRESS) {
        return Ok(verdict);
    }
    if !forwarded(ctx, kind::HAIRPIN)? && !binding::inbound(ctx, kind::HAIRPIN)? {
        return Ok(Verdict::NotOurs);
    }
    flows::open(ctx)?;
    Ok(Verdict::Translate)
}

/// Back to the inside, after routing.
#[inline(always)]
pub(crate) fn egress(ctx: &TcContext) -> Result<Verdict, DropReason> {
    if let Some(verdict) = known(ctx, hook::EGRESS) {
        return Ok(verdict);
    }
    if !plan(ctx)? {
        return Ok(Verdict::NotOurs);
    }
    flows::open(ctx)?;
    Ok(Verdict::Translate)
}

step! {
    /// Plans the second flow of a packet that has a first; false if it has none.
    plan as plan_hairpin(ctx, work) -> Result<bool, DropReason> {
        let Some(uplink) = called_by_outside_address(work) else { return Ok(false) };
        if let Some(rule) = masquerade::rule(uplink, &work.packet.key.src) {
            work.ifindex = uplink;
            binding::bind(ctx, work, rule)?;
        }
        Ok(true)
    }
}

/// Plans the second flow of a packet that has a first; `None` if it has none. The half for the first one's answers knows
/// the address that was called, and where the first was made: at the uplink of the binding that was called, else here.
#[inline(always)]
fn called_by_outside_address(work: &mut Work) -> Option<u32> {
    let key = &work.packet.key;
    work.other = key.reversed();
    let answer = FLOWS.get_ptr(&work.other)?;
    // SAFETY: the verifier has checked the pointer, and RCU keeps the entry until this program ends.
    let answer = unsafe { &*answer };
    if answer.kind != kind::HAIRPIN
        || answer.hook != hook::EGRESS
        || !maps::is_live(answer.rule, answer.generation)
    {
        return None;
    }
    work.to = key.from_source(answer.to.src, key.src_port);
    work.plan = Plan {
        pool: Pool::of(key.proto, u16::from_be_bytes(key.src_port), (0, 0), maps::local_ports()),
        own_source: true,
        is_rules_source: false,
        kind: kind::HAIRPIN_SOURCE,
        hook: hook::EGRESS,
        rule: answer.rule,
        generation: answer.generation,
    };
    Some(answer.ifindex)
}
