//! The flow table: one translated connection is two halves, one a direction.
//!
//! Each half stands under the tuple that its packets carry when they meet the hook that translates them, holds the
//! tuple that they leave it with, and is written by its own direction only. The other half is found by turning that
//! tuple round, so neither can point at a stranger. The original half owns the timer that takes both down.

use crate::{addr::Addr, lease::Lease, pod, words::join};

/// A packet's tuple. For an ICMP query the identifier stands as the port of the side that asked (RFC 5508 section 3.1).
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// Source address.
    pub src: Addr,
    /// Destination address.
    pub dst: Addr,
    /// Source port, network byte order.
    pub src_port: [u8; 2],
    /// Destination port, network byte order.
    pub dst_port: [u8; 2],
    /// IP protocol number.
    pub proto: u8,
    /// Zero.
    pub _pad: [u8; 3],
}

const _: () = assert!(size_of::<FlowKey>() == 16 + 16 + 2 + 2 + 1 + 3);

impl FlowKey {
    /// The tuple of an answer.
    #[inline(always)]
    #[must_use]
    pub const fn reversed(&self) -> Self {
        Self {
            src: self.dst,
            dst: self.src,
            src_port: self.dst_port,
            dst_port: self.src_port,
            proto: self.proto,
            _pad: [0; 3],
        }
    }

    /// A tuple without ports, of addresses eight bytes at a time.
    #[inline(always)]
    #[must_use]
    pub const fn between(src: [u64; 2], dst: [u64; 2], proto: u8) -> Self {
        let last = join([0, 0, u16::from_ne_bytes([proto, 0]), 0]);
        // SAFETY: as many bytes, any of which are a value.
        unsafe { core::mem::transmute([src[0], src[1], dst[0], dst[1], last]) }
    }

    /// All of it, eight bytes at a time.
    #[inline(always)]
    #[must_use]
    pub const fn words(&self) -> &[u64; 5] {
        // SAFETY: 40 bytes, aligned to 8, without padding.
        unsafe { &*core::ptr::from_ref(self).cast() }
    }

    /// A number that differs between most tuples.
    #[inline(always)]
    #[must_use]
    pub const fn hash(&self) -> u8 {
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15; // 2^64 by the golden ratio
        let [a, b, c, d, e] = *self.words();
        let mixed = (a ^ b.rotate_left(11) ^ c.rotate_left(23) ^ d.rotate_left(37) ^ e.rotate_left(51))
            .wrapping_mul(ODD);
        (mixed >> 56) as u8
    }

    /// Whether this is that one. The BPF back end has no comparison of so many bytes at once.
    #[inline(always)]
    #[must_use]
    pub const fn is(&self, that: &Self) -> bool {
        let ([a, b, c, d, e], [f, g, h, i, j]) = (*self.words(), *that.words());
        a == f && b == g && c == h && d == i && e == j
    }

    /// This tuple from another source.
    #[inline(always)]
    #[must_use]
    pub const fn from_source(&self, src: Addr, src_port: [u8; 2]) -> Self {
        Self { src, src_port, ..*self }
    }

    /// This tuple to another destination.
    #[inline(always)]
    #[must_use]
    pub const fn to_destination(&self, dst: Addr, dst_port: [u8; 2]) -> Self {
        Self { dst, dst_port, ..*self }
    }
}

/// Room for the kernel's `struct bpf_timer`, which its BTF finds by this name (include/uapi/linux/bpf.h).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct bpf_timer {
    opaque: [u64; 2],
}

/// At which hook a half's packets are translated. Destinations change on the way in, before routing, and sources on
/// the way out, after it, as netfilter does at PREROUTING and POSTROUTING.
pub mod hook {
    /// TC ingress.
    pub const INGRESS: u8 = 0;
    /// TC egress.
    pub const EGRESS: u8 = 1;
}

/// Why a flow exists.
pub mod kind {
    /// A masquerade rule: from inside to outside.
    pub const MASQUERADE: u8 = 0;
    /// A forward rule: from outside to inside.
    pub const FORWARD: u8 = 1;
    /// A forward rule, used from inside: destination part.
    pub const HAIRPIN: u8 = 2;
    /// The source part of a [`HAIRPIN`], which sends the answer back through the gateway (RFC 4787 REQ-9).
    pub const HAIRPIN_SOURCE: u8 = 3;
    /// From outside straight to an inside address, where a rule lets it: remembered so that the answers are left alone.
    pub const ROUTED: u8 = 4;
    /// The gateway's own packets, whose tuple a client's flow already had.
    pub const OWN: u8 = 5;
    /// From outside to an endpoint-independent mapping, as its filtering lets it; or like [`ROUTED`], by another source
    /// port: from outside to inside.
    pub const INBOUND: u8 = 6;
}

/// Which of the two halves.
pub mod direction {
    /// The direction of the flow's first packet.
    pub const ORIGINAL: u8 = 0;
    /// The direction of the answers.
    pub const REPLY: u8 = 1;
}

/// The place of a flow that waits for no answer.
pub const NOWHERE: u32 = u32::MAX;

/// One direction of a flow.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Half {
    /// Armed in the original half only.
    pub timer: bpf_timer,
    /// The tuple that the packets leave the hook with.
    pub to: FlowKey,
    /// One of [`hook`].
    pub hook: u8,
    /// One of [`kind`].
    pub kind: u8,
    /// One of [`direction`].
    pub direction: u8,
    /// TCP flags seen in this direction ([`crate::tcp::remembered`]).
    pub tcp_seen: u8,
    /// Which rule made the flow.
    pub rule: u32,
    /// Which generation of that rule: a flow of another one is dead.
    pub generation: u32,
    /// The interface that the flow was made at. One that an inside endpoint opened is good for that uplink only.
    pub ifindex: u32,
    /// Which place among the flows without an answer the original half took ([`crate::config::Config::unanswered`]), or
    /// [`NOWHERE`].
    pub place: u32,
    /// Whether the outside address is the rule's own, which need not be the gateway's: 0 or 1.
    pub is_rules_source: u32,
    /// `CLOCK_MONOTONIC`, nanoseconds, to the accuracy of a tick.
    pub last_seen_ns: u64,
    /// Packets translated in this direction.
    pub packets: u64,
    /// Bytes of those packets, from the Ethernet header on.
    pub bytes: u64,
    /// How its packets may go straight.
    pub lease: Lease,
    /// Whether the original half's timer is set: 0 or 1.
    pub is_timed: u32,
    /// A number by chance: both halves of a flow have the same.
    pub serial: u32,
}

const _: () = assert!(
    size_of::<Half>() == 16 + 40 + 4 + 4 + 4 + 4 + 4 + 4 + 8 + 8 + 8 + size_of::<Lease>() + 4 + 4,
    "with a key, the kernel's 48 bytes and 8 for its allocator, an entry takes 256"
);

pod!(FlowKey, Half);

/// The longest a flow's timer sleeps: a lifetime that became shorter is noticed this late, at most.
pub const TICK_NS: u64 = 60 * crate::config::SECOND_NS;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{addr::from_v4, proto};

    fn key() -> FlowKey {
        FlowKey {
            src: from_v4([192, 168, 15, 1]),
            dst: from_v4([203, 0, 113, 2]),
            src_port: 4321_u16.to_be_bytes(),
            dst_port: 80_u16.to_be_bytes(),
            proto: proto::TCP,
            _pad: [0; 3],
        }
    }

    #[test]
    fn flows_of_a_network_have_hashes_of_their_own() {
        let of = |client: u8, port: u16| {
            let src = from_v4([203, 0, 113, client]);
            FlowKey { src, src_port: port.to_be_bytes(), ..key() }.hash()
        };
        let ways: [Vec<u8>; 2] = [
            (1..=64).map(|port| of(1, 40_000 + port)).collect(),
            (1..=64).map(|client| of(client, 5000)).collect(),
        ];
        for hashes in ways {
            let different: std::collections::BTreeSet<_> = hashes.iter().collect();
            assert!(different.len() > 48, "{} of 64", different.len());
        }
    }

    #[test]
    fn the_other_half_is_found_from_either_side() {
        let key = key();
        let to = key.from_source(from_v4([203, 0, 113, 1]), 5000_u16.to_be_bytes());
        let reply_key = to.reversed();
        let reply_to = key.reversed();
        assert_eq!(reply_key.src, key.dst);
        assert_eq!(reply_to.reversed(), key, "from the reply half back to the original's key");
        assert_eq!(to.reversed(), reply_key, "from the original half to the reply's key");
    }
}
