//! What the programs tell a listener, while there is one: records of a ring buffer.
//!
//! A listener says until when it listens, and says so again in time; one that was killed is forgotten by itself. Flows are
//! told of where they are made, change their state or end, packets where they are dropped. Of these there may be many, so
//! each CPU tells of so many a second, by reason, and counts the rest.

use crate::{flow::FlowKey, pod, proto, tcp};

/// What an [`Event`] is about.
pub mod what {
    /// A flow was made.
    pub const NEW: u8 = 0;
    /// Both sides know of a flow: TCP is established, anything else answered.
    pub const ESTABLISHED: u8 = 1;
    /// A TCP connection was closed by both sides, or reset; its flow stays for a while.
    pub const CLOSED: u8 = 2;
    /// A flow has ended: [`Event::why`](super::Event::why) is one of [`cause`](super::cause).
    pub const ENDED: u8 = 3;
    /// A packet was dropped: [`Event::why`](super::Event::why) is a [`DropReason`](crate::reason::DropReason)'s number.
    pub const DROPPED: u8 = 4;
}

/// Why a flow has ended.
pub mod cause {
    /// It was not used for its lifetime.
    pub const TIME: u8 = 0;
    /// Its rule has ended.
    pub const RULE: u8 = 1;
    /// A new connection has its tuple.
    pub const REOPENED: u8 = 2;
    /// Its outside address is no longer the gateway's, or its packets leave by another uplink.
    pub const MOVED: u8 = 3;
    /// Too many flows wait for their first answer.
    pub const CROWDED: u8 = 4;
}

/// One record.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Event {
    /// `CLOCK_MONOTONIC`, nanoseconds.
    pub at_ns: u64,
    /// The flow's original tuple, or the dropped packet's; ports are zero where they could not be read.
    pub original: FlowKey,
    /// What the flow translates it to; of a dropped packet all zero.
    pub translated: FlowKey,
    /// Packets so far, of the original direction and of the answers; of a dropped packet zero.
    pub packets: [u64; 2],
    /// Bytes of those packets, from the Ethernet header on.
    pub bytes: [u64; 2],
    /// Which rule made the flow; of a dropped packet zero.
    pub rule: u32,
    /// The interface that the flow was made at, or the packet was dropped at.
    pub ifindex: u32,
    /// One of [`what`].
    pub what: u8,
    /// Why, where there is something to tell.
    pub why: u8,
    /// One of [`crate::flow::kind`].
    pub kind: u8,
    /// At which of [`crate::flow::hook`] the original direction is translated, or the packet was dropped.
    pub hook: u8,
    /// Zero.
    pub _pad: [u8; 4],
}

const _: () = assert!(size_of::<Event>() == 8 + 40 + 40 + 16 + 16 + 4 + 4 + 4 + 4);

/// How many bytes of records wait for their reader, at most: some 3,600 of them.
pub const RING_BYTES: usize = 512 * 1024;

/// Who listens.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Listener {
    /// Until when: `CLOCK_MONOTONIC`, nanoseconds; 0 if nobody does.
    pub until_ns: u64,
}

/// How many dropped packets of one reason a CPU tells of in one [`Quota`] window.
pub const TOLD_DROPS: u64 = 10;

/// What a CPU has told of the drops of one reason.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Quota {
    /// Which window it is: seconds or so.
    pub window: u64,
    /// How many drops of it were told.
    pub told: u64,
    /// How many were not, in all windows: it only grows.
    pub left_out: u64,
}

const _: () = assert!(size_of::<Listener>() == 8);
const _: () = assert!(size_of::<Quota>() == 3 * 8);

pod!(Event, Listener, Quota);

impl Quota {
    /// Whether one more drop may be told at `now_ns`; it is then counted as told, else as left out.
    #[inline(always)]
    pub const fn takes(&mut self, now_ns: u64) -> bool {
        let window = now_ns >> 30;
        if self.window != window {
            self.window = window;
            self.told = 0;
        }
        let takes = self.told < TOLD_DROPS;
        if takes {
            self.told += 1;
        } else {
            self.left_out += 1;
        }
        takes
    }
}

/// How far a flow has come, of whose two directions this is known: TCP flags seen ([`tcp::remembered`]), and whether there
/// was an answer. What an event would tell of it: [`what::NEW`], [`what::ESTABLISHED`] or [`what::CLOSED`].
#[inline(always)]
#[must_use]
pub const fn stage(proto: u8, original_seen: u8, reply_seen: u8, answered: bool) -> u8 {
    match proto {
        proto::TCP if tcp::is_closed(original_seen, reply_seen) => what::CLOSED,
        proto::TCP if tcp::is_established(original_seen, answered) => what::ESTABLISHED,
        proto::TCP => what::NEW,
        _ if answered => what::ESTABLISHED,
        _ => what::NEW,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::SECOND_NS, tcp::flag::*};

    #[test]
    fn a_connection_is_new_then_established_then_closed_and_never_goes_back() {
        // Who sends which flags, and what the flow is from then on.
        let packets = [
            (0, SYN, what::NEW),
            (1, SYN | ACK, what::NEW),
            (0, ACK, what::ESTABLISHED),
            (0, FIN | ACK, what::ESTABLISHED),
            (1, ACK, what::ESTABLISHED),
            (1, FIN | ACK, what::CLOSED),
            (0, ACK, what::CLOSED),
        ];
        let mut seen = [0, 0];
        for (number, (side, flags, expected)) in packets.into_iter().enumerate() {
            seen[side] |= tcp::remembered(flags);
            assert_eq!(stage(proto::TCP, seen[0], seen[1], number > 0), expected, "packet {number}");
        }
        assert_eq!(stage(proto::TCP, SYN, RST, true), what::CLOSED, "refused");
        assert_eq!(
            (stage(proto::UDP, 0, 0, false), stage(proto::UDP, 0, 0, true)),
            (what::NEW, what::ESTABLISHED)
        );
    }

    #[test]
    fn a_flood_of_drops_is_told_by_its_first_of_each_window_and_a_count() {
        let mut quota = Quota::default();
        let mut told = 0;
        for drop in 0..3_000_u64 {
            told += u64::from(quota.takes(drop * SECOND_NS / 1000));
        }
        assert_eq!(told, 3 * TOLD_DROPS, "three windows");
        assert_eq!(told + quota.left_out, 3_000);
    }
}
