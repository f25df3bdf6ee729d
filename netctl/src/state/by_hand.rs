//! What is remembered of a gateway that single commands made, and that belongs to no topology: which namespace it was
//! made in, since a name may come to stand for another one, and how its sysctls were found.

use std::{fs, io, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::{Directories, Error, Ledger, Lock, files, io_error};
use crate::model::Place;

/// A gateway made by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByHand {
    /// Where it is.
    pub place: Place,
    /// `SO_NETNS_COOKIE` of its namespace.
    pub netns_cookie: u64,
    /// How the sysctls that it needs were found.
    pub sysctls: Ledger,
}

impl Directories {
    /// What is remembered of all gateways made by hand, in the order of their names.
    ///
    /// # Errors
    /// If it cannot be read or understood; that there is nothing is no error.
    pub fn all_by_hand(&self) -> Result<Vec<ByHand>, Error> {
        let directory = self.by_hand_directory();
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(io_error("list", &directory))?,
        };
        let mut paths: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
            .collect();
        paths.sort();
        let mut all = Vec::new();
        for path in paths {
            match read(path) {
                Ok(gateway) => all.extend(gateway),
                // A damaged one affects only itself.
                Err(error @ Error::Record { .. }) => tracing::warn!("{error}"),
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    /// What is remembered of the gateway made by hand at `place`, if there is one.
    ///
    /// # Errors
    /// If it cannot be read or understood.
    pub fn by_hand(&self, place: &Place) -> Result<Option<ByHand>, Error> {
        read(self.by_hand_path(place))
    }

    fn by_hand_directory(&self) -> PathBuf {
        self.run.join("by-hand")
    }

    fn by_hand_path(&self, place: &Place) -> PathBuf {
        self.by_hand_directory().join(format!("{place}.json"))
    }
}

fn read(path: PathBuf) -> Result<Option<ByHand>, Error> {
    let text = match files::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text.map_err(io_error("read", &path))?,
    };
    serde_json::from_str(&text).map(Some).map_err(|source| Error::Record { path, source })
}

impl Lock {
    /// Remembers a gateway made by hand.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save_by_hand(&self, directories: &Directories, gateway: &ByHand) -> Result<(), Error> {
        let directory = directories.by_hand_directory();
        files::make_directory(&directory)?;
        let path = directories.by_hand_path(&gateway.place);
        let text = serde_json::to_vec(gateway);
        files::write(&path, &text.map_err(|source| Error::Record { path: path.clone(), source })?)
    }

    /// Forgets it; nothing there is no error.
    ///
    /// # Errors
    /// If the file cannot be removed.
    pub fn forget_by_hand(&self, directories: &Directories, place: &Place) -> Result<(), Error> {
        files::remove(&directories.by_hand_path(place))?;
        // Others may still be there.
        let _ = fs::remove_dir(directories.by_hand_directory());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Written;

    #[test]
    fn it_is_read_as_it_was_written_and_the_last_one_takes_the_directory_with_it() {
        let run = std::env::temp_dir().join(format!("netctl-by-hand-{}", std::process::id()));
        let directories = Directories { bpffs: run.join("bpf"), run };
        let gateway = |name: &str| ByHand {
            place: name.to_owned().try_into().unwrap(),
            netns_cookie: 7,
            sysctls: [("net.ipv4.ip_forward".to_owned(), Written::new("0", "1"))].into(),
        };
        let (host, dotted) = (gateway("host"), gateway("v1.2"));
        let lock = directories.lock().unwrap();
        lock.save_by_hand(&directories, &host).unwrap();
        lock.save_by_hand(&directories, &dotted).unwrap();
        assert_eq!(directories.all_by_hand().unwrap(), [host.clone(), dotted.clone()]);
        assert!(directories.topologies().unwrap().is_empty(), "it is no topology");
        lock.forget_by_hand(&directories, &host.place).unwrap();
        lock.forget_by_hand(&directories, &host.place).unwrap();
        assert_eq!(directories.by_hand(&host.place).unwrap(), None);
        assert_eq!(directories.by_hand(&dotted.place).unwrap(), Some(dotted.clone()));
        lock.forget_by_hand(&directories, &dotted.place).unwrap();
        drop(lock);
        assert!(!directories.run.exists());
    }
}
