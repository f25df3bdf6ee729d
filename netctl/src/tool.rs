//! Other programs that netctl runs as root. They are looked for where only root can have put them, whatever `PATH` says,
//! and find nothing elsewhere themselves.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{errno, fault, hint::Advise};

/// Where programs are looked for, in this order.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Whom those belong to who have no number in a user namespace, as the machine's own root has none in a rootless
/// container.
const OVERFLOW: u32 = 65534;

/// Why a program is not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not installed.
    #[error("there is no `{program}` on this machine")]
    Absent {
        /// The command.
        program: &'static str,
    },
    /// It is, where others could have put it or could change it.
    #[error("run `{program}`: others than root can change `{}`", path.display())]
    Changeable {
        /// The command.
        program: &'static str,
        /// The program, or a directory that leads to it.
        path: PathBuf,
    },
    /// It cannot be looked at.
    #[error("look for `{program}`: {}", errno::Io(source))]
    Io {
        /// The command.
        program: &'static str,
        /// Why not.
        source: io::Error,
    },
}

impl Advise for Error {
    fn advice(&self) -> Option<String> {
        let hint = match self {
            Self::Absent { .. } => "install the package that has it",
            Self::Changeable { .. } => {
                "what root runs has to be root's alone: `chown root:` it and `chmod go-w` it"
            }
            Self::Io { .. } => return None,
        };
        Some(hint.to_owned())
    }
}

/// A program, ready to be run with nothing of the caller's environment.
///
/// # Errors
/// If it is not there, or somebody else than root could have changed it.
pub fn command(program: &'static str) -> Result<Command, Error> {
    let mut command = Command::new(find(program, &fault::tools(PATH))?);
    command.env_clear().env("PATH", PATH).env("LC_ALL", "C");
    Ok(command)
}

fn find(program: &'static str, directories: &str) -> Result<PathBuf, Error> {
    let mut refused = None;
    for directory in directories.split(':') {
        let path = Path::new(directory).join(program);
        let found = match fs::canonicalize(&path) {
            Err(error) if is_absence(&error) => continue,
            found => found.map_err(|source| Error::Io { program, source })?,
        };
        // It is run by the name that it was found by: programs with several names tell by it what they are to be.
        match changeable(&path, &found).map_err(|source| Error::Io { program, source })? {
            None => return Ok(path),
            Some(changeable) => refused = refused.or(Some(changeable)),
        }
    }
    Err(match refused {
        Some(path) => Error::Changeable { program, path },
        None => Error::Absent { program },
    })
}

fn is_in_user_namespace() -> bool {
    fs::read_to_string("/proc/self/uid_map")
        .is_ok_and(|map| !map.split_whitespace().eq(["0", "0", "4294967295"]))
}

fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// What others than root can change of a program and the directories in which it is found and really is.
fn changeable(path: &Path, found: &Path) -> io::Result<Option<PathBuf>> {
    let directory = path.parent().map(fs::canonicalize).transpose()?;
    let found = [(found, Searched::No), (found.parent().unwrap_or(found), Searched::Yes)];
    let directory = directory.iter().map(|directory| (directory.as_path(), Searched::Yes));
    for (path, searched) in found.into_iter().chain(directory) {
        if is_changeable(&fs::metadata(path)?, searched) {
            return Ok(Some(path.to_owned()));
        }
        for above in path.ancestors().skip(1) {
            if is_changeable(&fs::metadata(above)?, Searched::No) {
                return Ok(Some(above.to_owned()));
            }
        }
    }
    Ok(None)
}

/// Whether a directory's own names are looked up. In one with the sticky bit others can add names, and not take away
/// root's: that is safe on the way to a directory of root's, and not where programs are looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Searched {
    Yes,
    No,
}

fn is_changeable(metadata: &fs::Metadata, searched: Searched) -> bool {
    if metadata.uid() != 0 && !(metadata.uid() == OVERFLOW && is_in_user_namespace()) {
        return true;
    }
    let is_kept = metadata.is_dir() && metadata.mode() & 0o1000 != 0 && searched == Searched::No;
    let by_group = metadata.mode() & 0o020 != 0 && metadata.gid() != 0;
    !is_kept && (by_group || metadata.mode() & 0o002 != 0)
}

#[cfg(test)]
mod tests {
    use std::{
        fs::Permissions,
        os::unix::fs::{PermissionsExt as _, chown, symlink},
    };

    use super::*;
    use crate::netns::tests::isolated;

    const PROGRAM: &str = "netctl-test-tool";

    fn directory(name: &str, mode: u32) -> String {
        let path = format!("/run/{name}");
        fs::create_dir(&path).unwrap();
        fs::write(format!("{path}/{PROGRAM}"), "").unwrap();
        fs::set_permissions(format!("{path}/{PROGRAM}"), Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn what_others_can_change_is_not_run_and_what_is_behind_it_is_found() {
        isolated(|| {
            let (open, closed) = (directory("open", 0o1777), directory("closed", 0o755));
            let found = find(PROGRAM, &format!("{open}:/run/absent:{closed}")).unwrap();
            assert_eq!(found, Path::new(&closed).join(PROGRAM));
            let error = find(PROGRAM, &open).unwrap_err();
            assert_eq!(error.to_string(), format!("run `{PROGRAM}`: others than root can change `{open}`"));
            let error = find(PROGRAM, "/run/absent").unwrap_err();
            assert_eq!(error.to_string(), format!("there is no `{PROGRAM}` on this machine"));
            // A link in a safe place to what somebody else has.
            let links = "/run/links";
            fs::create_dir(links).unwrap();
            symlink(Path::new(&open).join(PROGRAM), Path::new(links).join(PROGRAM)).unwrap();
            assert!(matches!(find(PROGRAM, links), Err(Error::Changeable { .. })));
            let program = format!("{closed}/{PROGRAM}");
            chown(&program, Some(65534), None).unwrap();
            assert!(matches!(find(PROGRAM, &closed), Err(Error::Changeable { .. })));
            chown(&program, Some(0), Some(65534)).unwrap();
            assert!(find(PROGRAM, &closed).is_ok());
            fs::set_permissions(&program, Permissions::from_mode(0o775)).unwrap();
            assert!(matches!(find(PROGRAM, &closed), Err(Error::Changeable { .. })));
        });
    }

    #[test]
    fn a_tool_has_nothing_of_the_callers_environment() {
        let said = command("env").unwrap().output().unwrap();
        let mut lines: Vec<_> = std::str::from_utf8(&said.stdout).unwrap().lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["LC_ALL=C", &format!("PATH={PATH}")]);
    }
}
