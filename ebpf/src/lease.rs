//! Leases of shortcuts: a packet that has gone the kernel's way from one interface to another, as its flow would have it,
//! lets those that follow go straight between the two, for a second.
//!
//! Nothing is asked and nothing assumed: where packets come in, by which interface and to whom they leave, and how long
//! they may be is what the last one has shown that the kernel itself has bridged, routed and let through.

use crate::{config::SECOND_NS, csum, flow::FlowKey, pod};

/// How long one is good.
pub const LEASE_NS: u64 = SECOND_NS;

/// What packets of one direction of a flow need to go straight.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lease {
    /// Until when: `CLOCK_MONOTONIC`, nanoseconds.
    pub until_ns: u64,
    /// The interface that they come in by.
    pub from: u32,
    /// The interface that they leave by.
    pub to: u32,
    /// The MAC that they come in for.
    pub arrives: Mac,
    /// 1 if a packet has gone straight since it was given, else 0.
    pub is_used: u16,
    /// The MACs that they leave with: destination, then source.
    pub leaves: [Mac; 2],
    /// How long they may be, at most, as [`Frame::length`].
    pub longest: u32,
    /// What the change of addresses adds to a checksum ([`csum::difference`]).
    pub addresses: u32,
    /// The same of ports; 0 where these are kept.
    pub ports: u32,
}

const _: () = assert!(size_of::<Lease>() == 8 + 4 + 4 + 6 + 2 + 12 + 4 + 4 + 4);

pod!(Lease);

/// A MAC in the words in which frames are read: they begin at an even address.
pub type Mac = [u16; 3];

/// What decides whether a frame may go straight, beside its flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// The interface that it is at.
    pub ifindex: u32,
    /// Whom it is for.
    pub to: Mac,
    /// Its length without the Ethernet header; of a large (GSO) packet, that of one segment.
    pub length: u32,
}

impl Lease {
    /// Whether `frame` may go straight.
    #[inline(always)]
    #[must_use]
    pub const fn admits(&self, frame: &Frame, now_ns: u64) -> bool {
        now_ns < self.until_ns
            && frame.ifindex == self.from
            && frame.length <= self.longest
            && frame.to[0] == self.arrives[0]
            && frame.to[1] == self.arrives[1]
            && frame.to[2] == self.arrives[2]
    }

    /// Whether the next one is worth giving to a flow whose last packet passed at that time: if this one was used or is the
    /// first, or if packets come closer than leases last.
    #[inline(always)]
    #[must_use]
    pub const fn is_worth_another(&self, last_seen_ns: u64, now_ns: u64) -> bool {
        self.is_used != 0 || self.until_ns == 0 || now_ns < last_seen_ns + LEASE_NS
    }

    /// How long packets may be when one of this length has just gone the kernel's way: as one that did so in the same
    /// lease, if that was longer.
    #[inline(always)]
    #[must_use]
    pub const fn longest_with(&self, length: u32, now_ns: u64) -> u32 {
        if now_ns < self.until_ns && self.longest > length { self.longest } else { length }
    }

    /// Notes what the change from one tuple to another adds to checksums.
    #[inline(always)]
    pub fn sum_up(&mut self, from: &FlowKey, to: &FlowKey) {
        self.addresses =
            csum::add(csum::difference(&from.src, &to.src), csum::difference(&from.dst, &to.dst));
        let ports = csum::add(
            csum::word_difference(from.src_port, to.src_port),
            csum::word_difference(from.dst_port, to.dst_port),
        );
        self.ports = if ports == csum::NOTHING { 0 } else { ports };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 5 * SECOND_NS;

    fn lease() -> Lease {
        Lease { until_ns: NOW + 1, from: 3, arrives: [1, 2, 3], longest: 1500, ..Lease::default() }
    }

    #[test]
    fn only_what_came_like_the_last_one_goes_straight_and_no_longer_than_it_lasts() {
        let frame = Frame { ifindex: 3, to: [1, 2, 3], length: 1500 };
        assert!(lease().admits(&frame, NOW));
        assert!(!lease().admits(&frame, NOW + 1), "over");
        assert!(!Lease::default().admits(&Frame::default(), 0), "none was ever given");
        for other in [
            Frame { ifindex: 4, ..frame },
            Frame { length: 1501, ..frame },
            Frame { to: [9, 2, 3], ..frame },
            Frame { to: [1, 9, 3], ..frame },
            Frame { to: [1, 2, 9], ..frame },
        ] {
            assert!(!lease().admits(&other, NOW), "{other:?}");
        }
    }

    #[test]
    fn ports_that_are_kept_are_no_difference() {
        let key = FlowKey { src_port: [1, 2], dst_port: [3, 4], ..FlowKey::default() };
        let mut lease = lease();
        lease.sum_up(&key, &key.from_source([7; 16], [1, 2]));
        assert_eq!(lease.ports, 0);
        assert_ne!(lease.addresses, 0);
        lease.sum_up(&key, &key.from_source([7; 16], [1, 3]));
        assert_ne!(lease.ports, 0);
    }

    #[test]
    fn a_flow_of_a_packet_a_second_gets_no_lease_that_it_would_not_use() {
        let in_vain = Lease { until_ns: NOW, ..lease() };
        assert!(!in_vain.is_worth_another(NOW - LEASE_NS, NOW));
        assert!(in_vain.is_worth_another(NOW - LEASE_NS + 1, NOW), "two packets a second");
        assert!(Lease { is_used: 1, ..in_vain }.is_worth_another(0, NOW));
        assert!(Lease::default().is_worth_another(0, NOW), "the first");
    }

    #[test]
    fn a_longer_packet_makes_room_for_others_and_a_shorter_one_does_not_take_it() {
        assert_eq!(lease().longest_with(1400, NOW), 1500);
        assert_eq!(lease().longest_with(9000, NOW), 9000);
        assert_eq!(lease().longest_with(60, NOW + 1), 60, "what was is over");
    }
}
