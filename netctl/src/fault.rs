//! Dying at every step, for tests: a build with the feature `fault-injection` kills itself at the step whose number is in
//! `NETCTL_KILL_AT`, as if the machine's memory killer or its user had. In any other build this is nothing.

/// One step is done: the `NETCTL_KILL_AT`th call of the process does not return.
#[cfg(feature = "fault-injection")]
pub(crate) fn point() {
    use std::sync::atomic::{AtomicU32, Ordering};

    static STEPS: AtomicU32 = AtomicU32::new(0);

    let step = STEPS.fetch_add(1, Ordering::Relaxed) + 1;
    let fatal = std::env::var("NETCTL_KILL_AT").ok().and_then(|step| step.parse().ok());
    if fatal == Some(step) {
        let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
    }
}

/// Nothing.
#[cfg(not(feature = "fault-injection"))]
pub(crate) const fn point() {}

/// Whether every message has to leave alone, so that there is a step between any two.
pub(crate) const EVERY_MESSAGE: bool = cfg!(feature = "fault-injection");
