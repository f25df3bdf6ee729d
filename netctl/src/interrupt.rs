//! Stopping half-way on purpose: a request, as by Ctrl-C, that whoever changes things heeds between two steps.
//!
//! One flag for the process, as signals are for the process. The binary has its signals raise it; what has been done by
//! then is undone as after any failure.

use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

static REQUESTED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// The flag to raise.
#[must_use]
pub fn flag() -> Arc<AtomicBool> {
    Arc::clone(&REQUESTED)
}

/// Whether it was raised.
#[must_use]
pub fn is_requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}

/// Waits, unless it is raised meanwhile; whether it is.
#[must_use]
pub fn wait(duration: Duration) -> bool {
    /// Between two looks at the flag.
    const PAUSE: Duration = Duration::from_millis(20);
    let end = Instant::now() + duration;
    while !is_requested() {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        thread::sleep(left.min(PAUSE));
    }
    true
}
