//! The sockets of the probes. A socket belongs to the namespace that it is opened in, wherever it is used from; so those
//! of all places are opened first, and one thread then asks and listens everywhere.

pub(super) mod call;
pub(super) mod echo;

use std::{
    io,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollTimeout, poll},
};

use crate::interrupt;

/// How long to wait for answers, which over veth pairs are there at once, before others are asked.
const AT_ONCE: Duration = Duration::from_millis(5);

/// What came of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered, after so long.
    Answered(Duration),
    /// It was not, for this reason.
    Failed(String),
}

impl Outcome {
    fn refused(error: &io::Error) -> Self {
        let errno = error.raw_os_error().map(Errno::from_raw);
        Self::Failed(errno.map_or_else(|| error.to_string(), |errno| errno.desc().to_owned()))
    }

    fn unanswered() -> Self {
        Self::Failed("no answer".to_owned())
    }
}

/// Waits until one of the descriptors is ready; false if none is until `end`, or there is none.
fn wait(fds: &mut [PollFd<'_>], end: Instant) -> bool {
    let left = end.saturating_duration_since(Instant::now());
    let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
    !fds.is_empty() && !interrupt::is_requested() && matches!(poll(fds, left), Ok(ready) if ready > 0)
}
