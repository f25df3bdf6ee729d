//! What the library has to say while it works, handed to whoever prints. One hearer for the process, as there is one
//! standard error.

use std::{
    collections::BTreeSet,
    fmt,
    path::{Path, PathBuf},
    sync::{Mutex, OnceLock, PoisonError},
};

use crate::process::Process;

/// Something that people should know of, and that stops nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A lock is not to be had yet.
    Waiting {
        /// Of which file or directory.
        path: PathBuf,
        /// Who has it, if that can be seen.
        holder: Option<Process>,
    },
    /// What is mounted where a network namespace's name would be is something else.
    NoNetwork {
        /// Where.
        path: PathBuf,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting { path, holder: Some(holder) } => {
                write!(f, "waiting for {holder}, which holds the lock `{}`", path.display())
            }
            Self::Waiting { path, holder: None } => {
                write!(
                    f,
                    "waiting for the lock `{}`, which is held by somebody who cannot be seen",
                    path.display()
                )
            }
            Self::NoNetwork { path } => write!(f, "`{}` is no network namespace: left alone", path.display()),
        }
    }
}

type Hearer = Box<dyn Fn(&Notice) + Send + Sync>;

static HEARER: OnceLock<Hearer> = OnceLock::new();
static TOLD: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Has `hearer` told of everything from now on. The first one stays.
pub fn hear(hearer: impl Fn(&Notice) + Send + Sync + 'static) {
    // A second hearer is not needed by anybody.
    let _ = HEARER.set(Box::new(hearer));
}

/// Tells what is to be said about a path, once in a process.
pub(crate) fn tell_once(path: &Path, notice: impl FnOnce() -> Notice) {
    let Some(hearer) = HEARER.get() else { return };
    if TOLD.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned()) {
        hearer(&notice());
    }
}
