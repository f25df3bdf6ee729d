//! Stopping half-way on purpose: a request, as by Ctrl-C, that whoever changes things heeds between two steps.
//!
//! One flag for the process, as signals are for the process. The binary has its signals raise it; what has been done by
//! then is undone as after any failure.

use std::sync::{
    Arc, LazyLock,
    atomic::{AtomicBool, Ordering},
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
