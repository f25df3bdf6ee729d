//! Waiting for a file's lock: with patience, until the user has none, and saying who has it when it takes a while.

use std::{
    fs::File,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};

use crate::{
    interrupt,
    notice::{self, Notice},
    process,
};

/// The lock, else the file and why not: `EWOULDBLOCK` if somebody else holds it.
pub(crate) fn try_lock(file: File) -> Result<Flock<File>, (File, Errno)> {
    Flock::lock(file, FlockArg::LockExclusiveNonblock)
}

/// The user thought better of waiting.
pub(crate) struct Interrupted;

/// Somebody who waits for the lock of a file.
pub(crate) struct Waiting<'a> {
    path: &'a Path,
    since: Instant,
    pause: Duration,
}

impl<'a> Waiting<'a> {
    pub(crate) fn begin(path: &'a Path) -> Self {
        Self { path, since: Instant::now(), pause: Duration::from_micros(500) }
    }

    /// Waits a little before the next try. After a second people are told for whom.
    pub(crate) fn go_on(&mut self) -> Result<(), Interrupted> {
        const A_WHILE: Duration = Duration::from_secs(1);
        const LONGEST: Duration = Duration::from_millis(10);
        if interrupt::is_requested() {
            return Err(Interrupted);
        }
        if self.since.elapsed() >= A_WHILE {
            notice::tell_once(self.path, || Notice::Waiting {
                path: self.path.to_owned(),
                holder: process::that_locked(self.path),
            });
        }
        thread::sleep(self.pause);
        self.pause = LONGEST.min(2 * self.pause);
        Ok(())
    }
}
