//! Endpoint-independent mappings (RFC 4787 REQ-1): an inside endpoint's one outside endpoint, whomever it talks to.
//!
//! A binding is two entries of one map, like a flow: from the inside endpoint to the outside one and back. The outward
//! one owns the timer that takes both down; the flows made through it keep it alive.

use crate::{addr::Addr, config::SECOND_NS, flow::bpf_timer, pod};

/// How long a binding waits for a flow that said when it would be looked at again ([`crate::flow::TICK_NS`]).
pub const GRACE_NS: u64 = 5 * SECOND_NS;

/// Which endpoint an entry is found by.
pub mod side {
    /// The inside one.
    pub const INSIDE: u8 = 0;
    /// The outside one.
    pub const OUTSIDE: u8 = 1;
}

/// The key of half a binding.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct BindingKey {
    /// The address of that side.
    pub addr: Addr,
    /// With an inside endpoint, the outside address: on another uplink it has another binding. Else zero.
    pub outside: Addr,
    /// The port (or ICMP identifier) of that side, network byte order.
    pub port: [u8; 2],
    /// IP protocol number.
    pub proto: u8,
    /// One of [`side`].
    pub side: u8,
    /// Zero.
    pub _pad: u32,
}

const _: () = assert!(size_of::<BindingKey>() == 16 + 16 + 2 + 1 + 1 + 4);

/// Half a binding: the endpoint of the other side.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Binding {
    /// Armed in the entry of the inside endpoint only.
    pub timer: bpf_timer,
    /// Address.
    pub addr: Addr,
    /// Port or ICMP identifier, network byte order.
    pub port: [u8; 2],
    /// One of [`crate::rule::filtering`].
    pub filtering: u8,
    /// Whether the timer is set: 0 or 1.
    pub is_timed: u8,
    /// Which rule made it.
    pub rule: u32,
    /// Which generation of that rule.
    pub generation: u32,
    /// The uplink.
    pub ifindex: u32,
    /// Until when one of its flows lives, as far as is known: `CLOCK_MONOTONIC`, nanoseconds.
    pub until_ns: u64,
}

const _: () = assert!(size_of::<Binding>() == 16 + 16 + 2 + 1 + 1 + 4 + 4 + 4 + 8);

/// Whom a binding has sent to, where its filtering depends on that address: until when that counts, in nanoseconds of
/// `CLOCK_MONOTONIC`.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ContactKey {
    /// The outside address.
    pub addr: Addr,
    /// The peer's address.
    pub peer: Addr,
    /// The outside port, network byte order.
    pub port: [u8; 2],
    /// IP protocol number.
    pub proto: u8,
    /// Zero.
    pub _pad: [u8; 5],
}

const _: () = assert!(size_of::<ContactKey>() == 16 + 16 + 2 + 1 + 5);

pod!(BindingKey, Binding, ContactKey);
