//! What the TC programs and user space share: map keys and values, and the arithmetic of NAT.
//!
//! `no_std` in the kernel, tested on the build machine. Every shared type is `repr(C)`, made of integers and arrays
//! only, without hidden padding, its size asserted: the kernel compares keys bytewise. Addresses and ports are wire
//! bytes; an IPv4 address stands in its IPv4-mapped IPv6 form (RFC 4291 section 2.5.5.2), so that one table and one
//! set of programs serve both families.
#![cfg_attr(not(test), no_std)]

pub mod addr;
pub mod binding;
pub mod clock;
pub mod config;
pub mod count;
pub mod csum;
pub mod event;
pub mod flow;
pub mod fragment;
pub mod headers;
pub mod lease;
pub mod local;
pub mod ports;
pub mod reason;
pub mod rule;
pub mod sighting;
pub mod tcp;
pub mod watch;
pub mod words;

/// Version of everything two netctl binaries could disagree about in a pinned map: raise it with every change to a
/// shared type's layout or meaning. Pins of another version are not used but replaced.
pub const ABI_VERSION: u32 = 7;

/// Internet protocol numbers (IANA), and what a NAT has to know of each.
///
/// What is not named here has no ports: its packets get another address and are told apart by nothing else.
pub mod proto {
    /// ICMP for IPv4.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// DCCP (RFC 4340).
    pub const DCCP: u8 = 33;
    /// ICMP for IPv6.
    pub const ICMPV6: u8 = 58;
    /// SCTP (RFC 9260).
    pub const SCTP: u8 = 132;
    /// UDP-Lite (RFC 3828).
    pub const UDP_LITE: u8 = 136;

    /// Whether a port (or an ICMP identifier) can be changed. Not SCTP's: its checksum cannot be updated, but has to be
    /// computed over the whole packet (RFC 9260 section 6.8).
    #[inline(always)]
    #[must_use]
    pub const fn has_free_ports(proto: u8) -> bool {
        matches!(proto, TCP | UDP | ICMP | ICMPV6)
    }

    /// Whether the transport checksum covers the addresses, by a pseudo-header.
    #[inline(always)]
    #[must_use]
    pub const fn has_pseudo_header(proto: u8) -> bool {
        matches!(proto, TCP | UDP | ICMPV6)
    }
}

/// Implements [`aya::Pod`] for the shared types, in user space alone.
macro_rules! pod {
    ($($name:ty),+) => {
        $(
            // SAFETY: repr(C), integers and arrays of integers only, no padding (sizes are asserted), any bit
            // pattern is a value.
            #[cfg(feature = "user")]
            unsafe impl aya::Pod for $name {}
        )+
    };
}
pub(crate) use pod;

/// Makes an enum whose variants have a number, a word for machines and a phrase for people. Append-only: the numbers are
/// indices into the counters of a pinned map.
macro_rules! numbered {
    (
        $(#[$about:meta])* $all:ident;
        $($(#[$doc:meta])* $name:ident = $number:literal: $id:literal, $text:literal;)+
    ) => {
        $(#[$about])*
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $all {
            $($(#[$doc])* $name = $number,)+
        }

        impl $all {
            /// All of them, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The one with this number.
            #[must_use]
            pub const fn of(number: u32) -> Option<Self> {
                match number {
                    $($number => Some(Self::$name),)+
                    _ => None,
                }
            }

            /// A word for machines.
            #[must_use]
            pub const fn id(self) -> &'static str {
                match self { $(Self::$name => $id),+ }
            }

            /// A phrase for people.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text),+ }
            }
        }
    };
}
pub(crate) use numbered;
