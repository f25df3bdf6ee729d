//! The network namespace that a topology calls `host`: the one that it was brought up in.

use std::{fmt, io};

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use crate::{
    model::NetnsName,
    netns::{self, Netns, NetnsError},
};

/// Which network namespace it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostNetns {
    /// The nsfs inode, by which people know it. The kernel may give it again after the namespace has ended.
    pub inode: u64,
    /// `SO_NETNS_COOKIE`, which it never gives again.
    pub cookie: u64,
}

impl HostNetns {
    /// The calling thread's.
    ///
    /// # Errors
    /// If the kernel does not tell.
    pub fn current() -> Result<Self, NetnsError> {
        Self::of(&Netns::current()?)
    }

    fn of(netns: &Netns) -> Result<Self, NetnsError> {
        let failed = |error: io::Error| NetnsError::Thread {
            action: "read the cookie of a network namespace",
            errno: error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw),
        };
        let cookie = netns.run(|| netns::cookie().map_err(failed))?;
        Ok(Self { inode: netns.identity().inode(), cookie })
    }

    /// Whether both are the same namespace.
    #[must_use]
    pub const fn is_same(self, other: Self) -> bool {
        self.cookie == other.cookie
    }

    /// How to get there.
    #[must_use]
    pub fn whereabouts(self) -> Whereabouts {
        let is_it = |netns: &Netns| Self::of(netns).is_ok_and(|found| found.is_same(self));
        let has_inode = |name: &NetnsName| {
            Netns::identity_of(name).is_some_and(|identity| identity.inode() == self.inode)
        };
        let mut names = Netns::list().unwrap_or_default().into_iter();
        let name = names.find(|name| has_inode(name) && Netns::open(name).is_ok_and(|netns| is_it(&netns)));
        let all = Netns::all_processes().unwrap_or_default().into_iter();
        let mut inside = all.filter(|(identity, _)| identity.inode() == self.inode);
        let process = inside.find_map(|(_, pids)| {
            pids.into_iter().find(|&pid| Netns::of_process(pid).is_ok_and(|netns| is_it(&netns)))
        });
        Whereabouts { inode: self.inode, name, process }
    }
}

/// A network namespace, and how to get there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whereabouts {
    /// The nsfs inode.
    pub inode: u64,
    /// Its name below `/run/netns`, if it has one.
    pub name: Option<NetnsName>,
    /// A process inside, the first one.
    pub process: Option<u32>,
}

impl fmt::Display for Whereabouts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "namespace `{name}`"),
            None if self.process == Some(1) => {
                write!(f, "the machine's own namespace `net:[{}]`", self.inode)
            }
            None => write!(f, "the namespace without a name `net:[{}]`", self.inode),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netns::tests::{create, isolated, name};

    #[test]
    fn a_namespace_is_known_by_its_name_or_by_its_number() {
        isolated(|| {
            let red = create(&name("red"));
            let host = HostNetns::of(&red).unwrap();
            assert!(!host.is_same(HostNetns::current().unwrap()));
            assert_eq!(host.whereabouts().to_string(), "namespace `red`");
            Netns::delete(&name("red")).unwrap();
            let said = host.whereabouts().to_string();
            assert_eq!(said, format!("the namespace without a name `net:[{}]`", red.identity().inode()));
        });
    }

    #[test]
    fn a_number_that_another_namespace_has_now_does_not_name_it() {
        isolated(|| {
            let host = HostNetns::of(&create(&name("red"))).unwrap();
            let other = HostNetns { cookie: host.cookie + 1_000_000, ..host };
            assert_eq!(other.whereabouts().name, None);
        });
    }
}
