//! `net.*` sysctls inside a namespace: forwarding and friends.
//!
//! `/proc/sys/net` shows the namespace of the thread that opens a file below it (net/sysctl_net.c,
//! `net_ctl_header_lookup`), so every access happens on a thread inside. What else is below `/proc/sys` belongs to no
//! network namespace, and is refused.

pub mod reverse_path;

use std::{
    collections::BTreeMap, fmt, fs, io, os::unix::fs::PermissionsExt as _, path::PathBuf, str::FromStr,
};

use nix::errno::Errno;

use crate::{
    errno,
    model::{IfName, keys},
    netns::{Netns, NetnsError},
};

/// What failed about a sysctl.
#[derive(Debug, thiserror::Error)]
pub enum SysctlError {
    /// Not below `net.`, so not a namespace's own.
    #[error("sysctl `{key}`: only keys that begin with `net.` are allowed")]
    NotNet {
        /// The key as given.
        key: String,
    },
    /// Not a key: an empty part, or one that would leave its directory.
    #[error("sysctl `{key}`: not a key")]
    Malformed {
        /// The key as given.
        key: String,
    },
    /// The kernel has no such key in this namespace.
    #[error("write sysctl `{key}`: the kernel has no such key")]
    NotFound {
        /// The key.
        key: Key,
    },
    /// Reading or writing failed.
    #[error("{action} sysctl `{key}`: {}", errno::words(*errno))]
    Io {
        /// `read` or `write`.
        action: &'static str,
        /// The key.
        key: Key,
        /// The cause.
        errno: Errno,
    },
    /// The namespace could not be entered.
    #[error("{0}")]
    Netns(#[from] NetnsError),
}

impl SysctlError {
    /// Why alone, for who says what was to be done.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::NotFound { .. } => "the kernel has no such key".to_owned(),
            Self::Io { errno, .. } => errno::words(*errno).to_owned(),
            error => error.to_string(),
        }
    }
}

/// A key below `net.`, in the dotted form of sysctl(8): a dot within a part, as in the name of a VLAN interface, is
/// written `/` (`net.ipv4.conf.eth0/100.forwarding`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

impl Key {
    /// The file below `/proc/sys`.
    fn path(&self) -> PathBuf {
        let parts = self.0.split('.').map(|part| part.replace('/', "."));
        std::iter::once("/proc/sys".to_owned()).chain(parts).collect()
    }
}

impl FromStr for Key {
    type Err = SysctlError;

    fn from_str(key: &str) -> Result<Self, SysctlError> {
        let Some(parts) = key.strip_prefix("net.") else {
            return Err(SysctlError::NotNet { key: key.to_owned() });
        };
        // `/` and `//` would become the directories `.` and `..`.
        if key.contains('\0') || parts.split('.').any(|part| matches!(part, "" | "/" | "//")) {
            return Err(SysctlError::Malformed { key: key.to_owned() });
        }
        Ok(Self(key.to_owned()))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `sysctl -n KEY ..`: the values, in the keys' order, each run of blanks and tabs made one blank; `None` where the
/// kernel has no such key, as below `net.ipv6` without IPv6.
///
/// # Errors
/// A value that cannot be read, a namespace that cannot be entered.
pub fn read(netns: &Netns, keys: &[Key]) -> Result<Vec<Option<String>>, SysctlError> {
    netns.run(|| keys.iter().map(read_one).collect())
}

/// `sysctl -w KEY=VALUE ..`, in that order, up to the first that fails.
///
/// # Errors
/// [`SysctlError::NotFound`], a value that the kernel refuses, a namespace that cannot be entered.
pub fn write(netns: &Netns, values: &[(Key, String)]) -> Result<(), SysctlError> {
    netns.run(|| values.iter().try_for_each(|(key, value)| write_one(key, value)))
}

/// The links' own values of what writing `key` would set for all of them, where they are not the same as its own now.
///
/// # Errors
/// A namespace that cannot be entered.
pub(crate) fn exceptions(netns: &Netns, key: &Key) -> Result<Vec<(Key, String)>, SysctlError> {
    let Some((room, last)) = keys::sets_too(&key.0) else { return Ok(Vec::new()) };
    netns.run(|| {
        let now = read_one(key).unwrap_or_default();
        let links = fs::read_dir(Key(room.to_owned()).path()).into_iter().flatten().flatten();
        let names = links.filter_map(|link| link.file_name().into_string().ok()).filter(|name| name != "all");
        let keys = names.map(|name| Key(format!("{room}.{}.{last}", name.replace('.', "/"))));
        let found = keys.filter_map(|key| Some((key.clone(), read_one(&key).ok()??)));
        let mut differing: Vec<_> = found.filter(|(_, value)| Some(value) != now.as_ref()).collect();
        differing.sort();
        Ok(differing)
    })
}

/// What `sysctl -a` shows of interfaces: every key that each has by itself, below `conf` and `neigh`, and that can be read.
///
/// # Errors
/// A namespace that cannot be entered.
pub(crate) fn of_interfaces(netns: &Netns, interfaces: &[IfName]) -> Result<Vec<(Key, String)>, SysctlError> {
    const ROOMS: [&str; 4] = ["ipv4.conf", "ipv4.neigh", "ipv6.conf", "ipv6.neigh"];
    let rooms = interfaces.iter().flat_map(|interface| {
        let interface = interface.as_str().replace('.', "/");
        ROOMS.map(|room| Key(format!("net.{room}.{interface}")))
    });
    netns.run(|| {
        let mut found = Vec::new();
        for room in rooms {
            // Without IPv6 there is no such directory.
            let files = fs::read_dir(room.path()).into_iter().flatten().flatten();
            let keys = files.filter_map(|file| Some(Key(format!("{room}.{}", file.file_name().to_str()?))));
            found.extend(keys.filter_map(|key| Some((key.clone(), read_one(&key).ok()??))));
        }
        found.sort();
        Ok(found)
    })
}

/// Writes a value, and returns what the kernel printed before and prints now; it may print another than was written.
///
/// # Errors
/// Those of [`write()`].
pub fn exchange(
    netns: &Netns,
    key: &Key,
    value: &str,
) -> Result<(Option<String>, Option<String>), SysctlError> {
    netns.run(|| {
        // A key that can only be written is read as if the kernel had none.
        let before = read_one(key).unwrap_or_default();
        write_one(key, value)?;
        Ok((before, read_one(key).unwrap_or_default()))
    })
}

/// What `sysctl -a` shows of the calling thread's namespace, as far as it can be written there.
///
/// # Errors
/// None of its own: what cannot be read is left out. The type is that of what runs in a namespace.
pub(crate) fn writable() -> Result<BTreeMap<String, String>, SysctlError> {
    const ROOT: &str = "net";
    const WRITABLE: u32 = 0o200;
    let mut found = BTreeMap::new();
    let mut rooms = vec![(PathBuf::from("/proc/sys").join(ROOT), ROOT.to_owned())];
    while let Some((path, name)) = rooms.pop() {
        for entry in fs::read_dir(&path).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            let Some(part) = entry.file_name().to_str().map(|part| part.replace('.', "/")) else { continue };
            let key = format!("{name}.{part}");
            if metadata.is_dir() {
                rooms.push((entry.path(), key));
            } else if metadata.permissions().mode() & WRITABLE != 0
                && let Ok(Some(value)) = read_one(&Key(key.clone()))
            {
                found.insert(key, value);
            }
        }
    }
    Ok(found)
}

fn read_one(key: &Key) -> Result<Option<String>, SysctlError> {
    match fs::read_to_string(key.path()) {
        Ok(value) => Ok(Some(value.split_whitespace().collect::<Vec<_>>().join(" "))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", key, &error)),
    }
}

fn write_one(key: &Key, value: &str) -> Result<(), SysctlError> {
    // One `write` call: the kernel takes each as a whole value, and an empty one only with its line's end. And never a new
    // file.
    let value = if value.is_empty() { "\n" } else { value };
    let file = fs::OpenOptions::new().write(true).open(key.path());
    file.and_then(|mut file| io::Write::write_all(&mut file, value.as_bytes())).map_err(|error| {
        match error.kind() {
            io::ErrorKind::NotFound => SysctlError::NotFound { key: key.clone() },
            _ => failed("write", key, &error),
        }
    })
}

fn failed(action: &'static str, key: &Key, error: &io::Error) -> SysctlError {
    SysctlError::Io {
        action,
        key: key.clone(),
        errno: error.raw_os_error().map_or(Errno::EIO, Errno::from_raw),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::netns::tests::{create, isolated, name};

    fn key(key: &str) -> Key {
        key.parse().unwrap()
    }

    #[test]
    fn keys_become_paths_as_sysctl_has_it() {
        for (text, path) in [
            ("net.ipv4.ip_forward", "/proc/sys/net/ipv4/ip_forward"),
            ("net.ipv4.conf.eth0/100.forwarding", "/proc/sys/net/ipv4/conf/eth0.100/forwarding"),
        ] {
            assert_eq!(key(text).path(), Path::new(path));
        }
    }

    #[test]
    fn keys_of_no_namespace_and_keys_that_are_none_are_refused() {
        for text in ["kernel.hostname", "net", "net/ipv4/ip_forward", "", "nets.a"] {
            assert!(matches!(text.parse::<Key>(), Err(SysctlError::NotNet { .. })), "{text:?}");
        }
        for text in ["net.", "net..ipv4", "net.//.kernel", "net./.ipv4", "net.ipv4.", "net.\0"] {
            assert!(matches!(text.parse::<Key>(), Err(SysctlError::Malformed { .. })), "{text:?}");
        }
    }

    #[test]
    fn values_are_those_of_the_namespace() {
        isolated(|| {
            let forward = [key("net.ipv4.ip_forward"), key("net.ipv4.ip_local_port_range")];
            let (red, blue) = (create(&name("red")), create(&name("blue")));
            let values =
                [(forward[0].clone(), "1".to_owned()), (forward[1].clone(), "20000 30000".to_owned())];
            write(&red, &values).unwrap();
            let text = |text: &str| Some(text.to_owned());
            assert_eq!(read(&red, &forward).unwrap(), [text("1"), text("20000 30000")]);
            assert_eq!(read(&blue, &forward).unwrap(), [text("0"), text("32768 60999")]);
        });
    }

    #[test]
    fn a_missing_key_is_none_to_read_and_an_error_to_write() {
        isolated(|| {
            let red = create(&name("red"));
            let missing = key("net.ipv4.conf.absent.forwarding");
            assert_eq!(read(&red, std::slice::from_ref(&missing)).unwrap(), [None]);
            let error = write(&red, &[(missing, "1".to_owned())]).unwrap_err();
            assert_eq!(
                error.to_string(),
                "write sysctl `net.ipv4.conf.absent.forwarding`: the kernel has no such key"
            );
        });
    }

    #[test]
    fn a_value_that_the_kernel_refuses_is_an_error() {
        isolated(|| {
            let red = create(&name("red"));
            let values = [(key("net.ipv4.ip_forward"), "many".to_owned())];
            assert_eq!(
                write(&red, &values).unwrap_err().to_string(),
                "write sysctl `net.ipv4.ip_forward`: Invalid argument"
            );
        });
    }
}
