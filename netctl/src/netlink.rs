//! The control plane: raw `NETLINK_ROUTE`, one message per builder function, sent in batches; and questions to other
//! netlink families.
//!
//! [`message`] encodes and reads bytes, [`socket`] sends batches, matches acknowledgements and takes dumps; both know
//! nothing of links. [`link`], [`addr`], [`route`] (with [`hop`]), [`rule`], [`neigh`], [`neightbl`], [`fdb`] and [`nsid`] each own one
//! kernel object: their builders return a [`Request`] and do no I/O, their `dump` asks a [`Socket`]. [`snapshot`] keeps
//! what a link has, to make it again. Nothing here knows of topologies, and nothing here enters a namespace: a socket
//! stays in the one it was opened in, so it is opened inside [`Netns::run`](crate::netns::Netns::run) and used from
//! anywhere.
//!
//! The wire format is that of include/uapi/linux/{netlink,rtnetlink}.h; its numbers come from `neli`, the encoding is
//! our own.

pub mod addr;
pub mod diag;
mod family;
pub mod fdb;
pub mod hop;
pub mod link;
pub mod message;
pub mod neigh;
pub mod neightbl;
pub mod nft;
pub mod nsid;
#[cfg(test)]
mod recorded;
pub mod route;
pub mod rule;
pub mod snapshot;
pub mod socket;
pub mod tc;

use std::fmt;

use nix::errno::Errno;

pub use self::{
    family::Family,
    message::{Malformed, Request},
    socket::Socket,
};
use crate::errno;

/// Why a batch or a dump came to nothing as a whole. A single message's refusal within a batch is a [`Refusal`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call on the socket failed. Of a batch, nobody knows how much of it the kernel has done.
    #[error("{call} a netlink socket: {}", errno::words(*errno))]
    Socket {
        /// What was tried, as a verb: `open`, `send on`, ..
        call: &'static str,
        /// The cause.
        errno: Errno,
    },
    /// The kernel's bytes break netlink's own rules.
    #[error("{0}")]
    Malformed(#[from] Malformed),
    /// The objects changed during every one of the tries (`NLM_F_DUMP_INTR`), so that no list was a consistent one.
    #[error("ask the kernel for a list: it changed meanwhile, {tries} times in a row")]
    DumpInterrupted {
        /// How often the dump was taken.
        tries: u32,
    },
    /// The kernel refused a question.
    #[error("ask the kernel for a list: {0}")]
    Refused(Refusal),
}

/// The kernel's no to one message: the error number and, where the kernel gives one, its own words
/// (`NLMSGERR_ATTR_MSG`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The error number.
    pub errno: Errno,
    /// The kernel's extended acknowledgement.
    pub message: Option<String>,
}

impl Refusal {
    /// Our own no to a request that its builder could not fit into netlink's lengths.
    fn overlong() -> Self {
        Self { errno: Errno::EMSGSIZE, message: None }
    }
}

impl fmt::Display for Refusal {
    /// `File exists (kernel: interface name taken)`, or without the brackets where the kernel says no more.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(errno::words(self.errno))?;
        match &self.message {
            Some(message) => write!(f, " (kernel: {message})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_speaks_in_the_kernels_words() {
        let mut refusal = Refusal { errno: Errno::EEXIST, message: None };
        assert_eq!(refusal.to_string(), "File exists");
        refusal.message = Some("interface name taken".into());
        assert_eq!(refusal.to_string(), "File exists (kernel: interface name taken)");
    }

    #[test]
    fn a_socket_error_names_the_call_and_the_cause() {
        let error = Error::Socket { call: "send on", errno: Errno::ENOBUFS };
        assert_eq!(error.to_string(), "send on a netlink socket: No buffer space available");
    }
}
