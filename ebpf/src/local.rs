//! Local access: a process on the gateway reaches a forwarded port by having its socket connected to the inside.
//!
//! The socket layer is told, not the packets: the kernel then routes, fragments and picks the source address itself.

use crate::{addr::Addr, pod};

/// Whose original destination is remembered: a socket and the address it was really given.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerKey {
    /// `bpf_get_socket_cookie`.
    pub cookie: u64,
    /// The inside address.
    pub addr: Addr,
    /// The inside port, network byte order.
    pub port: [u8; 2],
    /// Zero.
    pub _pad: [u8; 6],
}

const _: () = assert!(size_of::<PeerKey>() == 8 + 16 + 2 + 6);

/// What the process asked for.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// The address that the process used.
    pub addr: Addr,
    /// The port that the process used, network byte order.
    pub port: [u8; 2],
    /// Zero.
    pub _pad: [u8; 2],
}

const _: () = assert!(size_of::<Peer>() == 16 + 2 + 2);

pod!(PeerKey, Peer);
