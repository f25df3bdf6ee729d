//! Processes that have what netctl wants.

use std::{fmt, fs, os::unix::fs::MetadataExt as _, path::Path};

use nix::sys::stat::{major, minor};

/// A process that has something which is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its command line, or its beginning; empty if it cannot be read.
    pub command: String,
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.command.as_str() {
            "" => write!(f, "process {}", self.pid),
            command => write!(f, "process {} (`{command}`)", self.pid),
        }
    }
}

/// The process that has locked a file by `flock`, if it can be seen (`lock_get_status` in fs/locks.c).
pub(crate) fn that_locked(path: &Path) -> Option<Process> {
    /// More of a command line does not help to know it again.
    const LONGEST: usize = 80;
    let file = fs::metadata(path).ok()?;
    let inode = format!("{:02x}:{:02x}:{}", major(file.dev()), minor(file.dev()), file.ino());
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let pid = locks.lines().find_map(|line| {
        // `1: FLOCK  ADVISORY  WRITE 4711 00:1a:1234 0 EOF`; with `->` it waits for it.
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, "FLOCK", _, _, pid, locked, ..] = words.as_slice() else { return None };
        pid.parse().ok().filter(|_| *locked == inode)
    })?;
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let command = String::from_utf8_lossy(&command).replace('\0', " ");
    Some(Process { pid, command: command.trim_end().chars().take(LONGEST).collect() })
}
