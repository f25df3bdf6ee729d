//! What outlives a command beside the kernel's own objects: one record a topology below `/run/netctl`, and the lock
//! that makes two commands wait for each other.
//!
//! Ownership is read from the marks in the kernel; the record holds what those cannot tell: the file and the host
//! namespace that a topology belongs to, how sysctls were found, and which names a command was about to use when it was
//! killed.

mod by_hand;
mod record;
mod reserve;

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};

pub use self::{
    by_hand::ByHand,
    record::{Named, Record, VERSION},
    reserve::Reservation,
};
use crate::{errno, interrupt, model::TopologyName};

/// Where lasting things go.
#[derive(Debug, Clone)]
pub struct Directories {
    /// Records and the lock.
    pub run: PathBuf,
    /// The bpffs that pins go to; mounted if it is not.
    pub bpffs: PathBuf,
}

impl Default for Directories {
    fn default() -> Self {
        Self { run: "/run/netctl".into(), bpffs: "/sys/fs/bpf".into() }
    }
}

/// What failed about lasting state.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be used.
    #[error("{action} `{}`: {}", path.display(), errno::Io(source))]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The user thought better of waiting.
    #[error("interrupted while another netctl was at work")]
    Interrupted,
    /// A record is not what this version writes.
    #[error("read the record `{}`: {source}", path.display())]
    Record {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: serde_json::Error,
    },
}

impl Error {
    /// What to do about it, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::ReadOnlyFilesystem
                | io::ErrorKind::StorageFull
                | io::ErrorKind::PermissionDenied => Some(
                    "netctl keeps there what `down` needs: it has to be writable, and not full".to_owned(),
                ),
                _ => None,
            },
            Self::Record { path, .. } => {
                let name = path.file_stem()?.to_string_lossy();
                Some(format!("`netctl down {name}` removes what the kernel has of it, and the record"))
            }
            Self::Interrupted => None,
        }
    }
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Io { action, path: path.to_owned(), source }
}

/// The lock, if nobody else holds it.
fn try_lock(file: File) -> io::Result<Option<Flock<File>>> {
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, errno)) => Err(errno.into()),
    }
}

/// Whether a directory went, or came back, between two calls.
fn is_vanishing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists)
}

/// The right to change things, until dropped.
pub struct Lock {
    _file: Flock<File>,
    directory: PathBuf,
}

impl Directories {
    /// Waits until no other netctl is at work.
    ///
    /// # Errors
    /// If `/run/netctl` cannot be made or locked.
    pub fn lock(&self) -> Result<Lock, Error> {
        /// How often others' last `down`s may take the directory away meanwhile.
        const TRIES: u32 = 1000;
        /// Between two looks at a lock that another holds.
        const PAUSE: Duration = Duration::from_millis(10);
        let path = self.run.join("lock");
        let mut tries = 0;
        loop {
            tries += 1;
            let file = match self.open_lock(&path) {
                Ok(file) => file,
                Err(error) if tries < TRIES && is_vanishing(&error) => continue,
                Err(error) => return Err(io_error("open", &path)(error)),
            };
            let Some(file) = try_lock(file).map_err(io_error("lock", &path))? else {
                if interrupt::is_requested() {
                    return Err(Error::Interrupted);
                }
                thread::sleep(PAUSE);
                tries -= 1;
                continue;
            };
            // The one who held it may have removed the file: then this lock keeps nobody out.
            let held = file.metadata().map_err(io_error("look at", &path))?;
            if fs::metadata(&path).is_ok_and(|there| there.ino() == held.ino()) {
                return Ok(Lock { _file: file, directory: self.run.clone() });
            }
        }
    }

    fn open_lock(&self, path: &Path) -> io::Result<File> {
        fs::create_dir_all(&self.run)?;
        File::options().create(true).truncate(false).write(true).open(path)
    }

    /// The names of all topologies with a record, sorted.
    ///
    /// # Errors
    /// If the directory cannot be read; that it is not there is no error.
    pub fn topologies(&self) -> Result<Vec<TopologyName>, Error> {
        let entries = match fs::read_dir(&self.run) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(io_error("list", &self.run))?,
        };
        let mut names: Vec<TopologyName> = entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".json")?.parse().ok())
            .collect();
        names.sort();
        Ok(names)
    }
}

/// Writes a file, whole or not at all.
fn write(path: &Path, text: &[u8]) -> Result<(), Error> {
    let new = path.with_extension(NEW);
    let written = File::create(&new).and_then(|mut file| file.write_all(text));
    let replaced = written.map_err(io_error("write", &new));
    let replaced = replaced.and_then(|()| fs::rename(&new, path).map_err(io_error("write", path)));
    replaced.inspect_err(|_| {
        // The failure to write is the one to report.
        let _ = fs::remove_file(&new);
    })
}

/// The extension of a file that is being written.
const NEW: &str = "new";

/// Removes a file and what a killed command left beside it; none there is no error.
fn remove(path: &Path) -> Result<(), Error> {
    for path in [path.with_extension(NEW), path.with_extension(reserve::EXTENSION), path.to_owned()] {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error("remove", &path)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

impl Drop for Lock {
    /// Leaves nothing behind where no topology is up. Who waits for the lock notices that the file is gone.
    fn drop(&mut self) {
        let others = fs::read_dir(&self.directory)
            .is_ok_and(|entries| entries.flatten().any(|entry| entry.file_name() != "lock"));
        if !others {
            let _ = fs::remove_file(self.directory.join("lock"));
            let _ = fs::remove_dir(&self.directory);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn directories(test: &str) -> Directories {
        let run = std::env::temp_dir().join(format!("netctl-state-{test}-{}", std::process::id()));
        Directories { bpffs: run.join("bpf"), run }
    }

    #[test]
    fn only_one_at_a_time_holds_the_lock_even_while_its_file_comes_and_goes() {
        let (directories, inside) = (directories("lock"), AtomicU32::new(0));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let lock = directories.lock().unwrap();
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two at once");
                        thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                        drop(lock);
                    }
                });
            }
        });
        assert!(!directories.run.exists());
    }
}
