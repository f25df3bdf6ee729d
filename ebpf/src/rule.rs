//! Rules as the maps hold them. Both tables are longest-prefix tries: one look-up whatever the number of rules, and a
//! port range is a few prefixes whatever its length.
//!
//! A rule is live while [`GENERATIONS`](crate) holds its generation under its id: writing that one number puts all its
//! entries in force at once, and clearing it ends the rule and every flow it made.

use crate::{addr::Addr, pod};

/// The data part of a masquerade rule's key; the prefix covers all of `ifindex` and the network's bits of `source`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MasqueradeKey {
    /// The uplink that the rule applies to, machine byte order.
    pub ifindex: u32,
    /// The inside network.
    pub source: Addr,
}

const _: () = assert!(size_of::<MasqueradeKey>() == 4 + 16);

impl MasqueradeKey {
    /// The prefix length that matches one uplink and `bits` of the (mapped) source.
    #[inline(always)]
    #[must_use]
    pub const fn prefix(bits: u32) -> u32 {
        32 + bits
    }

    /// The prefix length for a look-up.
    pub const FULL: u32 = Self::prefix(128);
}

/// Source NAT.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MasqueradeRule {
    /// Index into the generations.
    pub id: u32,
    /// The generation this entry belongs to.
    pub generation: u32,
    /// The outside address; [`crate::addr::NONE`] asks the kernel's routing.
    pub address: Addr,
    /// What to take where the kernel cannot be asked (before 6.7); `NONE` if unknown.
    pub fallback: Addr,
    /// First port to choose, machine byte order; 0: keep the port, else any that is free.
    pub first_port: u16,
    /// Last port to choose.
    pub last_port: u16,
    /// 1: what comes from outside straight to the inside network may pass.
    pub routed: u8,
    /// One of [`mapping`].
    pub mapping: u8,
    /// One of [`filtering`]; only of use with an endpoint-independent mapping.
    pub filtering: u8,
    /// 1: the network is all addresses of the family, and so says nothing of who is inside.
    pub of_all: u8,
}

const _: () = assert!(size_of::<MasqueradeRule>() == 4 + 4 + 16 + 16 + 2 + 2 + 1 + 1 + 1 + 1);

/// What an inside endpoint's outside port depends on (RFC 4787 section 4.1).
pub mod mapping {
    /// Whom it talks to: as netfilter has it, ports are shared between flows to different peers.
    pub const ADDRESS_AND_PORT_DEPENDENT: u8 = 0;
    /// Nothing: one outside port for one inside endpoint (RFC 4787 REQ-1).
    pub const ENDPOINT_INDEPENDENT: u8 = 1;
}

/// Who outside may send to a mapping (RFC 4787 section 5).
pub mod filtering {
    /// Those address and port that the inside endpoint has sent to.
    pub const ADDRESS_AND_PORT_DEPENDENT: u8 = 0;
    /// Those addresses that it has sent to.
    pub const ADDRESS_DEPENDENT: u8 = 1;
    /// Everyone.
    pub const ENDPOINT_INDEPENDENT: u8 = 2;
}

/// The data part of a forward rule's key; the prefix covers all but the low bits of `port`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ForwardKey {
    /// The address listened on: one of the gateway's, [`crate::addr::any_of`] or [`crate::addr::loopback_of`].
    pub addr: Addr,
    /// IP protocol number.
    pub proto: u8,
    /// Zero.
    pub _pad: u8,
    /// The port listened on, network byte order.
    pub port: [u8; 2],
}

const _: () = assert!(size_of::<ForwardKey>() == 16 + 1 + 1 + 2);

impl ForwardKey {
    /// The prefix length that matches the top `bits` of the port.
    #[inline(always)]
    #[must_use]
    pub const fn prefix(bits: u32) -> u32 {
        128 + 16 + bits
    }

    /// The prefix length for a look-up.
    pub const FULL: u32 = Self::prefix(16);
}

/// Destination NAT.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ForwardRule {
    /// Index into the generations.
    pub id: u32,
    /// The generation this entry belongs to.
    pub generation: u32,
    /// The inside address.
    pub to: Addr,
    /// The first port listened on, machine byte order.
    pub first_port: u16,
    /// The inside port that the first one maps to; the others follow one by one.
    pub to_port: u16,
    /// 1: only for clients that [`AllowKey`] has an entry for.
    pub restricted: u8,
    /// Zero.
    pub _pad: [u8; 3],
}

const _: () = assert!(size_of::<ForwardRule>() == 4 + 4 + 16 + 2 + 2 + 1 + 3);

impl ForwardRule {
    /// The inside port, in network byte order, that `port` maps to.
    #[inline(always)]
    #[must_use]
    pub const fn map(&self, port: [u8; 2]) -> [u8; 2] {
        u16::from_be_bytes(port).wrapping_sub(self.first_port).wrapping_add(self.to_port).to_be_bytes()
    }
}

/// A forward in one piece, by its id: the trie has it in several, and other rules between them. It is in force while its
/// rule's generation is the live one.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListedForward {
    /// The address listened on, as in [`ForwardKey`]; not the loopback, unless that alone.
    pub addr: Addr,
    /// The last port listened on, machine byte order; the first one is the rule's.
    pub last_port: u16,
    /// IP protocol number.
    pub proto: u8,
    /// Zero.
    pub _pad: u8,
    /// What its entries in the trie hold.
    pub rule: ForwardRule,
}

const _: () = assert!(size_of::<ListedForward>() == 16 + 2 + 1 + 1 + 32);

/// The data part of the key under which it stands who may use a restricted forward; the prefix covers all of `rule` and
/// the network's bits of `client`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AllowKey {
    /// [`ForwardRule::id`], machine byte order.
    pub rule: u32,
    /// The network of the clients.
    pub client: Addr,
}

const _: () = assert!(size_of::<AllowKey>() == 4 + 16);

impl AllowKey {
    /// The prefix length that matches one rule and `bits` of the (mapped) client.
    #[inline(always)]
    #[must_use]
    pub const fn prefix(bits: u32) -> u32 {
        32 + bits
    }

    /// The prefix length for a look-up.
    pub const FULL: u32 = Self::prefix(128);
}

pod!(MasqueradeKey, MasqueradeRule, ForwardKey, ForwardRule, ListedForward, AllowKey);

/// The prefixes (value, length in bits) that cover `first..=last` exactly, at most 30 of them.
pub fn port_prefixes(first: u16, last: u16) -> impl Iterator<Item = (u16, u32)> {
    let mut next = Some(u32::from(first)).filter(|&first| first <= u32::from(last));
    core::iter::from_fn(move || {
        let start = next?;
        let room = u32::from(last) - start + 1;
        let size = (1 << start.trailing_zeros().min(16)).min(1_u32 << room.ilog2());
        next = Some(start + size).filter(|&next| next <= u32::from(last));
        Some((start as u16, 16 - size.ilog2()))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn covered(first: u16, last: u16) -> Vec<u16> {
        port_prefixes(first, last)
            .flat_map(|(start, bits)| (0..1_u32 << (16 - bits)).map(move |i| (u32::from(start) + i) as u16))
            .collect()
    }

    #[test]
    fn ranges_become_few_prefixes() {
        assert_eq!(port_prefixes(8080, 8080).collect::<Vec<_>>(), [(8080, 16)]);
        assert_eq!(port_prefixes(0, 65535).collect::<Vec<_>>(), [(0, 0)]);
        assert_eq!(port_prefixes(1, 65535).count(), 16);
        assert_eq!(port_prefixes(1, 65534).count(), 30);
        assert_eq!(port_prefixes(9, 8).count(), 0);
    }

    proptest! {
        #[test]
        fn prefixes_cover_the_range_and_nothing_else(a: u16, b: u16) {
            let (first, last) = (a.min(b), a.max(b));
            prop_assert!(port_prefixes(first, last).count() <= 30);
            prop_assert_eq!(covered(first, last), (first..=last).collect::<Vec<_>>());
        }

        #[test]
        fn a_range_maps_port_by_port(first in 1_u16..60000, to_port in 1_u16..60000, offset in 0_u16..5000) {
            let rule = ForwardRule { first_port: first, to_port, ..ForwardRule::default() };
            prop_assert_eq!(u16::from_be_bytes(rule.map((first + offset).to_be_bytes())), to_port + offset);
        }
    }
}
