//! Dying or failing at every step, for tests. A build with the feature `fault-injection` kills itself at the step whose
//! number is in `NETCTL_KILL_AT`, as if the kernel's memory killer or an impatient user had; behind the step whose number is in
//! `NETCTL_FAIL_AT` it goes on as if the user had pressed Ctrl-C; and it looks for tools where `NETCTL_TOOLS` says. In any
//! other build this is nothing.

/// One step is done. The `NETCTL_KILL_AT`th call of the process does not return.
#[cfg(feature = "fault-injection")]
pub(crate) fn point() {
    use std::sync::atomic::{AtomicU32, Ordering};

    static STEPS: AtomicU32 = AtomicU32::new(0);

    let step = STEPS.fetch_add(1, Ordering::Relaxed) + 1;
    if at("NETCTL_KILL_AT") == Some(step) {
        let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
    }
    if at("NETCTL_FAIL_AT") == Some(step) {
        crate::interrupt::flag().store(true, Ordering::Relaxed);
    }
}

/// Whether this process is to die or to fail, so that every message has to leave alone and there is a step between any two.
#[cfg(feature = "fault-injection")]
pub(crate) fn is_armed() -> bool {
    at("NETCTL_KILL_AT").or_else(|| at("NETCTL_FAIL_AT")).is_some()
}

#[cfg(feature = "fault-injection")]
fn at(variable: &str) -> Option<u32> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Nothing.
#[cfg(not(feature = "fault-injection"))]
pub(crate) const fn point() {}

/// No.
#[cfg(not(feature = "fault-injection"))]
pub(crate) const fn is_armed() -> bool {
    false
}

/// Where to look for tools instead.
#[cfg(feature = "fault-injection")]
pub(crate) fn tools(usual: &str) -> String {
    std::env::var("NETCTL_TOOLS").unwrap_or_else(|_| usual.to_owned())
}

/// Where one looks for tools.
#[cfg(not(feature = "fault-injection"))]
pub(crate) fn tools(usual: &str) -> String {
    usual.to_owned()
}
