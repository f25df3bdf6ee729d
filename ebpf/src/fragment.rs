//! Fragments (RFC 791 section 3.2, RFC 8200 section 4.5): what is known of a datagram, and its parts that came before
//! the one with the ports (RFC 4787 REQ-14).

use crate::{addr::Addr, flow::FlowKey, pod};

/// A datagram at a hook.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct DatagramKey {
    /// Source address.
    pub src: Addr,
    /// Destination address.
    pub dst: Addr,
    /// Identification, as the wire has it: 16 bits of IPv4, 32 of IPv6.
    pub id: u32,
    /// IP protocol number (RFC 791: part of a datagram's identity).
    pub proto: u8,
    /// One of [`crate::flow::hook`].
    pub hook: u8,
    /// Zero.
    pub _pad: [u8; 2],
}

const _: () = assert!(size_of::<DatagramKey>() == 16 + 16 + 4 + 1 + 1 + 2);

/// What becomes of a datagram's fragments.
pub mod fate {
    /// Not known: the one with the ports has not come yet.
    pub const UNKNOWN: u32 = 0;
    /// They go on as they came.
    pub const PASS: u32 = 1;
    /// They get the addresses of [`super::Datagram::to`].
    pub const TRANSLATE: u32 = 2;
    /// They are dropped, as the first was.
    pub const DROP: u32 = 3;
}

/// What is known of a datagram.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Datagram {
    /// The tuple that its first fragment got.
    pub to: FlowKey,
    /// One of [`fate`].
    pub fate: u32,
    /// How many fragments are held until that is known.
    pub held: u32,
    /// The identification that it leaves with, as the wire has it; IPv6 keeps its own.
    pub id: u32,
    /// The rule that translates it.
    pub rule: u32,
    /// The generation of that rule.
    pub generation: u32,
    /// How many bytes of the datagram its first fragment has: no other may have one of them (RFC 1858, RFC 5722).
    pub first_len: u32,
    /// When it was first heard of: `CLOCK_MONOTONIC`, nanoseconds.
    pub since_ns: u64,
}

const _: () = assert!(size_of::<Datagram>() == 40 + 6 * 4 + 8);

/// How long a datagram's fragments may take to come. Less than the 30 s of Linux' `net.ipv4.ipfrag_time`, since what is
/// known outlives the datagram, and its identification may be used again.
pub const LIFETIME_NS: u64 = 10 * crate::config::SECOND_NS;

/// At most this many fragments of a datagram are held: 64 KiB in pieces of 1500 bytes.
pub const MAX_HELD: u32 = 45;

/// The longest frame that is held.
pub const MAX_FRAME: usize = 2040;

/// A held fragment's key.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct HeldKey {
    /// The datagram.
    pub datagram: DatagramKey,
    /// Its number among the datagram's held ones.
    pub number: u32,
    /// Zero.
    pub _pad: u32,
}

const _: () = assert!(size_of::<HeldKey>() == 40 + 4 + 4);

/// A held fragment.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Held {
    /// Bytes of `frame` that are its own.
    pub len: u32,
    /// Zero.
    pub _pad: u32,
    /// From the Ethernet header on.
    pub frame: [u8; MAX_FRAME],
}

const _: () = assert!(size_of::<Held>() == 4 + 4 + MAX_FRAME);

pod!(DatagramKey, Datagram, HeldKey, Held);
