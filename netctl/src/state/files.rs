//! The files below `/run/netctl`: nobody but their owner reads, changes or locks them, whatever the umask, and none is
//! reached through a symbolic link.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use nix::unistd::geteuid;

use super::{Error, io_error};

/// A directory's mode.
const PRIVATE: u32 = 0o700;
/// A file's mode.
const OWN: u32 = 0o600;

/// The extension of a file that is being written.
const NEW: &str = "new";
/// The extension of a file that holds room.
pub(super) const ROOM: &str = "next";

/// Makes a directory, or makes one that is there its owner's alone.
pub(super) fn make_directory(path: &Path) -> Result<(), Error> {
    let make = || DirBuilder::new().mode(PRIVATE).create(path);
    let made = match (make(), path.parent()) {
        (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(parent).and_then(|()| make())
        }
        (made, _) => made,
    };
    match made {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(io_error("make", path)(error)),
        _ => tighten(path),
    }
}

/// Refuses a directory of somebody else's; takes others' rights from one's own.
fn tighten(path: &Path) -> Result<(), Error> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW);
    let directory = options.open(path).map_err(io_error("open", path))?;
    restrict(&directory, PRIVATE, path)
}

/// Sees to it that what is open is the caller's own and nobody else's to use.
fn restrict(file: &File, mode: u32, path: &Path) -> Result<(), Error> {
    let found = file.metadata().map_err(io_error("look at", path))?;
    if found.uid() != geteuid().as_raw() {
        return Err(Error::Foreign { path: path.to_owned(), owner: found.uid() });
    }
    if found.mode() & 0o777 != mode {
        file.set_permissions(Permissions::from_mode(mode)).map_err(io_error("restrict", path))?;
    }
    Ok(())
}

/// Opens the file that is locked, made if need be.
pub(super) fn open_lock(path: &Path) -> Result<File, Error> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true).mode(OWN).custom_flags(libc::O_NOFOLLOW);
    let file = options.open(path).map_err(io_error("open", path))?;
    restrict(&file, OWN, path)?;
    Ok(file)
}

/// Opens a file to read it.
pub(super) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(path)
}

/// Reads a whole file.
pub(super) fn read(path: &Path) -> io::Result<String> {
    open(path).and_then(io::read_to_string)
}

/// Writes a file, whole or not at all.
pub(super) fn write(path: &Path, text: &[u8]) -> Result<(), Error> {
    let new = path.with_extension(NEW);
    let written = create(&new).and_then(|mut file| file.write_all(text)).map_err(io_error("write", &new));
    let written = written.and_then(|()| fs::rename(&new, path).map_err(io_error("write", path)));
    if written.is_err() {
        // The first failure is the one to report.
        let _ = fs::remove_file(&new);
    }
    written
}

/// Removes a file and what a killed command left beside it; none there is no error.
pub(super) fn remove(path: &Path) -> Result<(), Error> {
    for path in [path.with_extension(NEW), path.with_extension(ROOM), path.to_owned()] {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error("remove", &path)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// A file that was not there. What a killed command has left of that name goes, and so does what somebody has planted.
pub(super) fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create_new(true).write(true).mode(OWN).custom_flags(libc::O_NOFOLLOW);
    let file = match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(path)?;
            options.open(path)?
        }
        opened => opened?,
    };
    file.set_permissions(Permissions::from_mode(OWN))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{chown, symlink};

    use super::*;

    fn place(test: &str) -> std::path::PathBuf {
        let place = std::env::temp_dir().join(format!("netctl-files-{test}-{}", std::process::id()));
        fs::create_dir(&place).unwrap();
        place
    }

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn what_is_made_is_its_owners_alone_and_what_was_looser_becomes_so() {
        let place = place("modes");
        let (made, loose) = (place.join("made/below"), place.join("loose"));
        fs::create_dir(&loose).unwrap();
        fs::set_permissions(&loose, Permissions::from_mode(0o777)).unwrap();
        make_directory(&made).unwrap();
        make_directory(&loose).unwrap();
        assert_eq!((mode(&made), mode(&loose)), (0o700, 0o700));
        let (record, lock) = (made.join("office.json"), made.join("lock"));
        File::create(&lock).unwrap();
        fs::set_permissions(&lock, Permissions::from_mode(0o666)).unwrap();
        write(&record, b"{}").unwrap();
        open_lock(&lock).unwrap();
        assert_eq!((mode(&record), mode(&lock)), (0o600, 0o600));
        fs::remove_dir_all(&place).unwrap();
    }

    #[test]
    fn a_symbolic_link_is_not_followed_and_one_in_the_way_of_a_new_file_goes() {
        let place = place("links");
        let (target, lock, record) = (place.join("target"), place.join("lock"), place.join("office.json"));
        fs::write(&target, "whole").unwrap();
        for link in [lock.clone(), record.clone(), record.with_extension("new")] {
            symlink(&target, link).unwrap();
        }
        assert!(open_lock(&lock).unwrap_err().to_string().starts_with("open `"));
        assert!(read(&record).is_err());
        write(&record, b"{}").unwrap();
        assert_eq!(
            (fs::read_to_string(&target).unwrap().as_str(), read(&record).unwrap().as_str()),
            ("whole", "{}")
        );
        let link = place.join("run");
        symlink(&place, &link).unwrap();
        assert!(make_directory(&link).is_err());
        fs::remove_dir_all(&place).unwrap();
    }

    #[test]
    fn a_directory_of_somebody_else_is_refused() {
        let place = place("foreign");
        let run = place.join("run");
        fs::create_dir(&run).unwrap();
        chown(&run, Some(65534), None).unwrap();
        let error = make_directory(&run).unwrap_err();
        assert!(error.to_string().ends_with("it belongs to user 65534"), "{error}");
        fs::remove_dir_all(&place).unwrap();
    }

    #[test]
    fn a_file_that_cannot_be_put_in_place_leaves_nothing_beside_it() {
        let place = place("failing");
        let record = place.join("office.json");
        fs::create_dir(&record).unwrap();
        write(&record, b"{}").unwrap_err();
        assert!(!record.with_extension("new").exists());
        fs::remove_dir_all(&place).unwrap();
    }
}
