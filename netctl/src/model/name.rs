//! The narrow name types: once parsed, a name is known to be one that the kernel and the file system accept.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::shell;

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The empty string.
    #[error("a name cannot be empty")]
    Empty,
    /// More bytes than the kernel or the file system takes.
    #[error("`{name}` is {length} bytes long, at most {limit} are allowed")]
    TooLong {
        /// The name as given.
        name: String,
        /// Its length in bytes.
        length: usize,
        /// The most bytes allowed.
        limit: usize,
    },
    /// A byte that is not allowed.
    #[error("`{name}` contains {character:?}, which is not allowed in a name")]
    Character {
        /// The name as given.
        name: String,
        /// The offending character.
        character: char,
    },
    /// `.`, `..` or another name that means something else.
    #[error("`{name}` is reserved")]
    Reserved {
        /// The name as given.
        name: String,
    },
}

/// Checks what all names have in common: 1 to `limit` bytes, no `/`, white space or control characters, and neither
/// `.` nor `..`.
fn check(name: &str, limit: usize, is_forbidden: fn(char) -> bool) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > limit {
        return Err(NameError::TooLong { name: name.to_owned(), length: name.len(), limit });
    }
    let bad = |c: char| c == '/' || c.is_whitespace() || c.is_control() || is_forbidden(c);
    if let Some(character) = name.chars().find(|&c| bad(c)) {
        return Err(NameError::Character { name: name.to_owned(), character });
    }
    if name == "." || name == ".." {
        return Err(NameError::Reserved { name: name.to_owned() });
    }
    Ok(())
}

/// What an interface's name may not have beside: `:` was an alias's, the kernel puts a number in the place of `%d`
/// (`__dev_alloc_name` in net/core/dev.c), and takes the byte 0xa0 in any character for a space (lib/ctype.c).
fn is_no_interface(c: char) -> bool {
    matches!(c, ':' | '%') || c.encode_utf8(&mut [0; 4]).bytes().any(|byte| byte == 0xa0)
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, limit: $limit:expr, forbidden: $forbidden:expr, reserved: $reserved:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(name: &str) -> Result<Self, NameError> {
                check(name, $limit, $forbidden)?;
                if $reserved.contains(&name) {
                    return Err(NameError::Reserved { name: name.to_owned() });
                }
                Ok(Self(name.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(name: String) -> Result<Self, NameError> {
                name.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            /// With `{:#}` as a shell reads it.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                if f.alternate() { f.write_str(&shell::quoted(&self.0)) } else { f.write_str(&self.0) }
            }
        }
    };
}

name_type! {
    /// A network interface's name: 1 to 15 bytes, no `/`, `:`, `%` or white space (`dev_valid_name` in net/core/dev.c).
    IfName, limit: 15, forbidden: is_no_interface, reserved: ["all", "default"]
}

name_type! {
    /// An interface's name in full, where the kernel has a shortened one: a bridge's key in the file, or
    /// `veth-NAMESPACE-br` of the longest namespace.
    FullName, limit: 263, forbidden: is_no_interface, reserved: ["all", "default"]
}

name_type! {
    /// A network namespace's name: one component of a path below `/run/netns`, and never `host`.
    NetnsName, limit: 255, forbidden: |_| false, reserved: ["host"]
}

name_type! {
    /// A topology's name: one component of a path; no `.`, which bpffs refuses (`bpf_lookup` in kernel/bpf/inode.c),
    /// and short enough to fit an owner's mark into `IFLA_IFALIAS`.
    TopologyName, limit: 200, forbidden: |c| c == '.', reserved: [BY_HAND]
}

/// The name that no topology has.
const BY_HAND: &str = "by-hand";

impl TopologyName {
    /// What stands in a topology's place for the gateways that belong to none, since single commands made them.
    #[must_use]
    pub fn by_hand() -> Self {
        Self(BY_HAND.to_owned())
    }

    /// Whether it is a topology's.
    #[must_use]
    pub fn is_by_hand(&self) -> bool {
        self.0 == BY_HAND
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        netlink::{
            link::{self, NewLink},
            socket::Socket,
        },
        netns::tests::isolated,
    };

    #[test]
    fn interface_names_follow_the_kernels_rules() {
        for good in ["a", "eth0", "wan0.100", "veth-red-br", "fifteen-bytes-x"] {
            assert_eq!(good.parse::<IfName>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "a b",
            "a:1",
            "tab\t",
            "all",
            "sixteen-bytes-xx",
            "br%d",
            "%",
            "voil\u{e0}",
        ] {
            assert!(bad.parse::<IfName>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn the_kernel_takes_every_name_as_it_is() {
        // Of those of two bytes and more some, with each byte that there is.
        let longer = (0x100..0x11_0000).step_by(0x1015);
        let characters = (1..0x100).chain(longer).filter_map(char::from_u32);
        let names: Vec<IfName> = characters
            .flat_map(|c| [format!("{c}"), format!("a{c}d")])
            .filter_map(|name| name.parse().ok())
            .collect();
        assert!(names.len() > 500, "{}", names.len());
        isolated(|| {
            let mut socket = Socket::open().unwrap();
            let first = "first".parse().unwrap();
            let new = link::create_bridge(&NewLink { index: Some(50), ..NewLink::named(&first) });
            assert_eq!(socket.execute(vec![new]).unwrap(), [Ok(())]);
            for name in &names {
                assert_eq!(socket.execute(vec![link::rename(50, name)]).unwrap(), [Ok(())], "{name:?}");
                let there = link::find(&mut socket, name).unwrap();
                assert_eq!(there.map(|link| (link.index, link.name)), Some((50, name.to_string())));
            }
        });
    }

    #[test]
    fn a_name_that_is_too_long_says_by_how_much() {
        let error = "sixteen-bytes-xx".parse::<IfName>().unwrap_err();
        assert_eq!(error.to_string(), "`sixteen-bytes-xx` is 16 bytes long, at most 15 are allowed");
    }

    #[test]
    fn a_namespace_cannot_be_called_host() {
        assert_eq!("host".parse::<NetnsName>(), Err(NameError::Reserved { name: "host".into() }));
    }

    #[test]
    fn a_topology_name_has_no_dot() {
        assert!("office.v2".parse::<TopologyName>().is_err());
    }

    #[test]
    fn no_topology_is_called_what_stands_for_none() {
        assert!("by-hand".parse::<TopologyName>().is_err() && TopologyName::by_hand().is_by_hand());
    }
}
