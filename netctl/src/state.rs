//! What outlives a command beside the kernel's own objects: one record a topology below `/run/netctl`, and the lock
//! that makes two commands wait for each other.
//!
//! Ownership is read from the marks in the kernel; the record holds what those cannot tell: the file and the host
//! namespace that a topology belongs to, how sysctls were found, and which names a command was about to use when it was
//! killed.

mod by_hand;
mod files;
mod host;
mod ledger;
mod record;
mod reserve;

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use nix::{errno::Errno, fcntl::Flock, unistd::geteuid};

pub use self::{
    by_hand::ByHand,
    host::{HostNetns, Whereabouts},
    ledger::{Ledger, Ledgers, Written},
    record::{Named, Record, VERSION},
    reserve::Reservation,
};
use crate::{
    errno,
    hint::Advise,
    lock::{Interrupted, Waiting, try_lock},
    model::TopologyName,
    shell,
};

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
    /// A file or directory is somebody else's, who could change it at any time.
    #[error("use `{}`: it belongs to user {owner}", path.display())]
    Foreign {
        /// Which.
        path: PathBuf,
        /// Whose: the user's number.
        owner: u32,
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

impl Advise for Error {
    fn advice(&self) -> Option<String> {
        match self {
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied if !geteuid().is_root() => {
                    Some("only root may read what netctl keeps there: run it with sudo".to_owned())
                }
                io::ErrorKind::ReadOnlyFilesystem
                | io::ErrorKind::StorageFull
                | io::ErrorKind::PermissionDenied => Some(
                    "netctl keeps there what `down` needs: it has to be writable, and not full".to_owned(),
                ),
                _ => None,
            },
            Self::Record { path, .. } => {
                let name = path.file_stem()?.to_string_lossy();
                let name = shell::quoted(&name);
                Some(format!("`netctl down {name}` removes what the kernel has of it, and the record"))
            }
            Self::Foreign { path, .. } => Some(format!(
                "remove it, or give it to root: `chown root {}`",
                shell::quoted(&path.to_string_lossy())
            )),
            Self::Interrupted => None,
        }
    }
}

/// A topology that is to be there, and has no record.
#[derive(Debug, thiserror::Error)]
#[error("there is no topology `{0}`")]
pub struct NotUp(pub TopologyName);

impl Advise for NotUp {
    fn advice(&self) -> Option<String> {
        Some("`netctl ls` lists the topologies that are up, `netctl up FILE` brings one up".to_owned())
    }
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Io { action, path: path.to_owned(), source }
}

/// Whether the directory went between two calls.
fn is_vanishing(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
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
        let path = self.run.join("lock");
        let mut tries = 0;
        let mut waiting = Waiting::begin(&path);
        loop {
            tries += 1;
            let file = match self.open_lock(&path) {
                Err(error) if tries < TRIES && is_vanishing(&error) => continue,
                opened => opened?,
            };
            let file = match try_lock(file) {
                Ok(file) => file,
                Err((_, Errno::EWOULDBLOCK)) => {
                    waiting.go_on().map_err(|Interrupted| Error::Interrupted)?;
                    tries -= 1;
                    continue;
                }
                Err((_, errno)) => return Err(io_error("lock", &path)(errno.into())),
            };
            // The one who held it may have removed the file: then this lock keeps nobody out.
            let held = file.metadata().map_err(io_error("look at", &path))?;
            if fs::metadata(&path).is_ok_and(|there| there.ino() == held.ino()) {
                return Ok(Lock { _file: file, directory: self.run.clone() });
            }
        }
    }

    fn open_lock(&self, path: &Path) -> Result<File, Error> {
        files::make_directory(&self.run)?;
        files::open_lock(path)
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
    use std::{
        sync::atomic::{AtomicU32, Ordering},
        thread,
    };

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
