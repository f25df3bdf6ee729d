//! ICMP errors: the outer header and the quoted packet (RFC 5508 section 4, RFC 4787 REQ-12).
//!
//! An error quotes a packet as it was where the error arose, which is what this gateway had made of it. Turned round, the
//! quoted tuple is the key of the half that translates the answers to that packet, at the very hook that the error is at;
//! what that half makes of an answer, turned round again, is the packet as its sender knows it. An error says nothing of
//! the life of a flow: it neither refreshes nor ends it (RFC 5508 REQ-6).

use aya_ebpf::programs::TcContext;
use netctl_ebpf::{
    addr,
    flow::{hook, kind},
    reason::DropReason,
};

use super::{
    Verdict, Work, kernel,
    maps::{self, FLOWS},
    masquerade,
    parse::Copied,
    step::{self, step},
    verify,
};

/// What becomes of an ICMP error about a known flow; `None` if the packet is no such thing.
#[inline(always)]
pub(crate) fn follow(ctx: &TcContext, hook: u8) -> Option<Verdict> {
    if step::is(|work| work.packet.transport.is_error) { error(ctx, hook) } else { None }
}

step! {
    /// [`follow`] of what is an ICMP error.
    error as follow_error(ctx, work, hook: u8) -> Option<Verdict> {
        translate(ctx, work, hook)
    }
}

#[inline(always)]
fn translate(ctx: &TcContext, work: &mut Work, hook: u8) -> Option<Verdict> {
    if !work.quote.read_quote(&Copied(ctx), &work.packet) {
        return None;
    }
    let outer = &work.packet.key;
    let quoted = &work.quote.key;
    // Who is told must be who sent: anything else is forged.
    if hook == hook::INGRESS && !addr::eq(&outer.dst, &quoted.src) {
        return None;
    }
    work.other = quoted.reversed();
    let half = FLOWS.get_ptr(&work.other)?;
    // SAFETY: the verifier has checked the pointer, and RCU keeps the entry until this program ends.
    let half = unsafe { &*half };
    if half.hook != hook || !maps::is_live(half.rule, half.generation) {
        return None;
    }
    if half.kind == kind::ROUTED {
        return Some(Verdict::NotOurs);
    }
    if !verify::is_right(ctx, &work.packet, &work.quote) {
        return Some(Verdict::Drop(DropReason::Checksum));
    }
    work.to = half.to.reversed();
    work.plan.rule = half.rule;
    work.plan.generation = half.generation;
    // Inwards it goes to the sender. Outwards it comes from the address that the sender had called, whoever inside sends it
    // (RFC 5508 REQ-5), unless that is the gateway, which has one that may be shown.
    work.other = if hook == hook::INGRESS {
        outer.to_destination(work.to.src, [0; 2])
    } else if masquerade::is_closed_inside(work.ifindex, &outer.src)
        || !kernel::is_own(ctx, &outer.src, work.ifindex)
    {
        outer.from_source(work.to.dst, [0; 2])
    } else {
        *outer
    };
    Some(Verdict::TranslateError)
}
