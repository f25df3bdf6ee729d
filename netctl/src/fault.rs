//! Dying at every step, for tests: a build with the feature `fault-injection` kills itself at the step whose number is in
//! `NETCTL_KILL_AT`, as if the kernel's memory killer or an impatient user had. In any other build this is nothing.

/// One step is done: the `NETCTL_KILL_AT`th call of the process does not return.
#[cfg(feature = "fault-injection")]
pub(crate) fn point() {
    use std::sync::atomic::{AtomicU32, Ordering};

    static STEPS: AtomicU32 = AtomicU32::new(0);

    let step = STEPS.fetch_add(1, Ordering::Relaxed) + 1;
    if fatal_step() == Some(step) {
        let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
    }
}

/// Whether this process is to die, so that every message has to leave alone and there is a step between any two.
#[cfg(feature = "fault-injection")]
pub(crate) fn is_armed() -> bool {
    fatal_step().is_some()
}

#[cfg(feature = "fault-injection")]
fn fatal_step() -> Option<u32> {
    std::env::var("NETCTL_KILL_AT").ok()?.parse().ok()
}

/// Nothing.
#[cfg(not(feature = "fault-injection"))]
pub(crate) const fn point() {}

/// No.
#[cfg(not(feature = "fault-injection"))]
pub(crate) const fn is_armed() -> bool {
    false
}
