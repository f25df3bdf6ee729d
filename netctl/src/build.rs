//! Which build of the eBPF programs: a plan tells a gateway's own from another one. Pure.

use std::fmt;

use netctl_ebpf::ABI_VERSION;
use serde::Serialize;

use crate::model::hash::fnv1a;

/// No ABI version is called so: what is found under it are maps of this version, with their programs, that make room for
/// maps of another size.
pub(crate) const ASIDE: u32 = 0;

/// One build of the programs, made for one gateway: its object, and the constants that it is loaded with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Build {
    /// The version of the maps that it works on.
    pub abi: u32,
    hash: u64,
}

impl Build {
    pub(crate) const fn new(abi: u32, hash: u64) -> Self {
        Self { abi, hash }
    }

    /// The one of this binary's maps that is told from others by `description`.
    pub(crate) fn made_of(description: &str) -> Self {
        Self::new(ABI_VERSION, fnv1a(description.as_bytes()))
    }

    pub(crate) const fn hash(self) -> u64 {
        self.hash
    }

    /// Whether its flows go on under this binary's programs.
    #[must_use]
    pub const fn shares_flows(self) -> bool {
        self.abi == ABI_VERSION
    }

    /// The same one, where its maps are set aside.
    #[must_use]
    pub const fn aside(self) -> Self {
        Self { abi: ASIDE, ..self }
    }

    /// Whether its maps are set aside.
    #[must_use]
    pub const fn is_aside(self) -> bool {
        self.abi == ASIDE
    }
}

impl fmt::Display for Build {
    /// `v1/0123456789abcdef`, as its pins are named
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}/{:016x}", self.abi, self.hash)
    }
}

impl Serialize for Build {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
