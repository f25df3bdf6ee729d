//! Tells a listener what happens ([`netctl_ebpf::event`]), and nothing at all while there is none.
//!
//! Records are written where they lie, in the ring buffer: the stack has no room for them. Functions of their own, as what
//! they keep would be kept on their callers' stacks.

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use netctl_ebpf::{
    event::{self, Event, what},
    flow::{FlowKey, Half, direction},
    tcp,
};

use super::{
    Work, kernel,
    maps::{self, EVENTS, FLOWS, LISTENER},
    step::step,
};

/// Whether somebody listens.
#[inline(always)]
pub(crate) fn is_heard() -> bool {
    LISTENER.get(0).is_some_and(|listener| kernel::now_ns() < listener.until_ns)
}

/// Tells of the flow that stands under `original` with the half of that direction, `there`, and the other one, `back`.
#[inline(never)]
pub(crate) fn tell(what: u8, why: u8, original: &FlowKey, there: &Half, back: &Half) {
    if !is_heard() {
        return;
    }
    let Some(mut record) = EVENTS.reserve(0) else { return maps::count_lost() };
    let event: *mut Event = record.as_mut_ptr();
    // SAFETY: room for an event, all of whose fields are written before it is handed on.
    unsafe {
        (*event).at_ns = bpf_ktime_get_ns();
        (*event).original = *original;
        (*event).translated = there.to;
        (*event).packets = [there.packets, back.packets];
        (*event).bytes = [there.bytes, back.bytes];
        (*event).rule = there.rule;
        (*event).ifindex = there.ifindex;
        (*event).what = what;
        (*event).why = why;
        (*event).kind = there.kind;
        (*event).hook = there.hook;
        (*event)._pad = [0; 4];
    }
    record.submit(0);
}

/// Tells of the flow of the packet, whose half this is, if the packet takes it a step on: that is, before it is noted there.
#[inline(never)]
pub(crate) fn tell_progress(work: &Work, half: &Half) {
    if !is_heard() {
        return;
    }
    let Some(other) = FLOWS.get_ptr(&work.other) else { return };
    // SAFETY: the verifier has checked the pointer, and RCU keeps the entry until this program ends.
    let other = unsafe { &*other };
    let (seen, proto) =
        (half.tcp_seen | tcp::remembered(work.packet.transport.tcp_flags), work.packet.key.proto);
    if half.direction == direction::ORIGINAL {
        let answered = other.packets != 0;
        let after = event::stage(proto, seen, other.tcp_seen, answered);
        if after != event::stage(proto, half.tcp_seen, other.tcp_seen, answered) {
            tell(after, 0, &work.packet.key, half, other);
        }
    } else {
        let after = event::stage(proto, other.tcp_seen, seen, true);
        if after != event::stage(proto, other.tcp_seen, half.tcp_seen, half.packets != 0) {
            tell(after, 0, &work.other, other, half);
        }
    }
}

step! {
    /// Tells of a packet that is dropped at `hook` for the reason of this number.
    tell_drop as tell_of_drop(_ctx, work, reason: u8, hook: u8) -> () {
        if is_heard() && maps::may_tell(reason) {
            write_drop(work, reason, hook);
        }
    }
}

#[inline(always)]
fn write_drop(work: &Work, reason: u8, hook: u8) {
    let Some(mut record) = EVENTS.reserve(0) else { return maps::count_lost() };
    let event: *mut Event = record.as_mut_ptr();
    // SAFETY: as in `tell`.
    unsafe {
        (*event).at_ns = bpf_ktime_get_ns();
        (*event).original = work.packet.key;
        (*event).translated = FlowKey::default();
        (*event).packets = [0; 2];
        (*event).bytes = [0; 2];
        (*event).rule = 0;
        (*event).ifindex = work.ifindex;
        (*event).what = what::DROPPED;
        (*event).why = reason;
        (*event).kind = 0;
        (*event).hook = hook;
        (*event)._pad = [0; 4];
    }
    record.submit(0);
}
