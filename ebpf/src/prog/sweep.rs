//! Flows and bindings whose own timer could not be set: one timer looks after them all.
//!
//! The kernel allocates a flow's timer without waiting and may find no memory at that moment (`__bpf_async_init` in
//! kernel/bpf/helpers.c); 6.18, which allocates it by `kmalloc_nolock`, refuses nine of ten when many flows begin at
//! once. While there is any such flow, the whole table is gone through whenever one of them may be over.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::bpf_timer as KernelTimer,
    btf_maps::Array,
    helpers::generated::{bpf_for_each_map_elem, bpf_timer_init, bpf_timer_set_callback, bpf_timer_start},
    macros::btf_map,
};
use netctl_ebpf::{
    binding::{Binding, BindingKey, side},
    config::SECOND_NS,
    flow::{FlowKey, Half, TICK_NS, bpf_timer, direction},
};

use super::{
    binding,
    flows::{self, CLOCK_MONOTONIC},
    kernel,
    maps::{BINDINGS, FLOWS},
};

/// How often the table is gone through at most: that takes milliseconds where it is large.
const PAUSE_NS: u64 = SECOND_NS;

/// The timer, and when it will fire.
#[repr(C)]
struct Sweep {
    timer: bpf_timer,
    /// `CLOCK_MONOTONIC`, nanoseconds; 0 while it is not set.
    due_ns: u64,
    /// Whether the kernel has found memory for it.
    is_made: u64,
}

#[btf_map]
static SWEEP: Array<Sweep, 1> = Array::new();

/// Makes the timer if there is none yet. Each new flow asks for it; those that had to go without before there was one are
/// then looked after.
#[inline(always)]
pub(crate) fn prepare() {
    let Some(sweep) = SWEEP.get_ptr_mut(0) else { return };
    // SAFETY: the one element of SWEEP, which has the kernel's layout.
    unsafe {
        if (*sweep).is_made != 0 {
            return;
        }
        let timer: *mut KernelTimer = (&raw mut (*sweep).timer).cast();
        if bpf_timer_init(timer, (&raw const SWEEP).cast_mut().cast(), CLOCK_MONOTONIC) == 0 {
            bpf_timer_set_callback(timer, sweep_flows as *mut c_void);
            (*sweep).is_made = 1;
            within(PAUSE_NS);
        }
    }
}

/// Has the table gone through in so many nanoseconds, or before.
#[inline(always)]
pub(crate) fn within(patience_ns: u64) {
    let Some(sweep) = SWEEP.get_ptr_mut(0) else { return };
    // SAFETY: as above. Of two CPUs that ask at once one may be heard late.
    unsafe {
        let (now, patience_ns) = (kernel::now_ns(), within_bounds(patience_ns));
        let due = (*sweep).due_ns;
        // What is long overdue was cut short, and does not count.
        if due != 0 && due + TICK_NS > now && due <= now + patience_ns {
            return;
        }
        if bpf_timer_start((&raw mut (*sweep).timer).cast(), patience_ns, 0) == 0 {
            (*sweep).due_ns = now + patience_ns;
        }
    }
}

/// One way through the table.
struct Round {
    /// How long until the next of the flows without a timer may be over; [`NONE`] while the kernel has refused none.
    next_ns: u64,
}

/// Later than anything is over.
const NONE: u64 = u64::MAX;

impl Round {
    /// Gives what goes on for so long its timer, or looks after it again by then. Once refused, the kernel is not asked for
    /// those that follow: it would refuse them, too.
    #[inline(always)]
    fn keep(&mut self, left_ns: u64, set_timer: impl FnOnce() -> bool) {
        if self.next_ns != NONE || !set_timer() {
            self.next_ns = self.next_ns.min(left_ns);
        }
    }
}

extern "C" fn sweep_flows(_map: *mut c_void, _key: *mut u32, sweep: *mut Sweep) -> i32 {
    let mut round = Round { next_ns: NONE };
    // SAFETY: the kernel passes a pointer to the element; the others have the signatures that the helper calls, and
    // `round` outlives the call.
    unsafe {
        (*sweep).due_ns = 0;
        let (flows, bindings) = (&raw const FLOWS, &raw const BINDINGS);
        bpf_for_each_map_elem(
            flows.cast_mut().cast(),
            look_after_flow as *mut c_void,
            (&raw mut round).cast(),
            0,
        );
        bpf_for_each_map_elem(
            bindings.cast_mut().cast(),
            look_after_binding as *mut c_void,
            (&raw mut round).cast(),
            0,
        );
    }
    if round.next_ns != NONE {
        let patience_ns = within_bounds(round.next_ns);
        // SAFETY: as above.
        unsafe {
            (*sweep).due_ns = kernel::now_ns() + patience_ns;
            bpf_timer_start((&raw mut (*sweep).timer).cast(), patience_ns, 0);
        }
    }
    0
}

#[inline(always)]
fn within_bounds(patience_ns: u64) -> u64 {
    patience_ns.clamp(PAUSE_NS, TICK_NS)
}

/// Ends the flow if it is over, or else tries once more to give it a timer.
extern "C" fn look_after_flow(
    _map: *mut c_void,
    key: *mut FlowKey,
    half: *mut Half,
    round: *mut Round,
) -> i64 {
    // SAFETY: the kernel passes pointers to an entry of FLOWS, and what `sweep_flows` gave it.
    unsafe {
        if (*half).direction == direction::ORIGINAL
            && (*half).is_timed == 0
            && let Some(left_ns) = flows::keep(&*key, half)
        {
            (*round).keep(left_ns, || flows::set_timer(half, left_ns));
        }
    }
    0
}

/// The same for a binding.
extern "C" fn look_after_binding(
    _map: *mut c_void,
    key: *mut BindingKey,
    binding: *mut Binding,
    round: *mut Round,
) -> i64 {
    // SAFETY: as in `look_after_flow`, with BINDINGS.
    unsafe {
        if (*key).side == side::INSIDE
            && (*binding).is_timed == 0
            && let Some(left_ns) = binding::look_at(&*key, &*binding)
        {
            (*round).keep(left_ns, || binding::set_timer(binding));
        }
    }
    0
}
