//! Waits for a descriptor to have something to read, whatever it stands for.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use tokio::io::unix::AsyncFd;

/// A descriptor's readiness; the descriptor itself stays with who reads from it.
pub(super) struct Readiness(AsyncFd<OwnedFd>);

impl Readiness {
    /// Watches a duplicate of `fd`.
    #[expect(
        deprecated,
        reason = "sound for an owned descriptor, which its successor, being unsafe, asks for by words"
    )]
    pub(super) fn of(fd: &impl AsFd) -> io::Result<Self> {
        AsyncFd::new(fd.as_fd().try_clone_to_owned()?).map(Self)
    }

    /// Waits until there is something to read, has `read` read, and waits again next time if that has read all of it.
    pub(super) async fn read(&self, read: impl FnOnce() -> bool) -> io::Result<()> {
        let mut ready = self.0.readable().await?;
        if read() {
            ready.clear_ready();
        }
        Ok(())
    }
}
