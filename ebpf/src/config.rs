//! What user space tells the programs at run time.

use crate::{pod, proto, tcp};

/// Nanoseconds in a second.
pub const SECOND_NS: u64 = 1_000_000_000;

/// How many flows a gateway has at once, at most, unless the topology says otherwise. Each is two entries of the table.
pub const MAX_FLOWS: u32 = 131_072;

/// A gateway's settings, the one element of their map.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// How long flows live.
    pub timeouts: Timeouts,
    /// How many flows may wait for their first answer at once: a CPU's oldest goes when it makes one more.
    pub unanswered: u32,
    /// How many CPUs share these places.
    pub cpus: u32,
    /// By which packets that have taken a shortcut are known at the uplink: drawn at random, told to nobody.
    pub token: u64,
    /// Until when (`CLOCK_MONOTONIC`, nanoseconds) the gateway's own stack hears no TCP segment of a connection that nobody
    /// knows, which it would reset: a table of flows was replaced by an empty one, and its clients go on.
    pub silent_until_ns: u64,
    /// 1: packets go straight on a lease whoever watches ([`crate::watch`]).
    pub is_leased: u32,
    /// Zero.
    pub _pad: u32,
}

/// How long a flow lives after its last packet, in nanoseconds.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP, answered, acknowledged and not closed.
    pub tcp_established: u64,
    /// TCP, until the answer is acknowledged.
    pub tcp_opening: u64,
    /// TCP, closed by both sides or reset.
    pub tcp_closing: u64,
    /// UDP, answered.
    pub udp: u64,
    /// UDP, not answered.
    pub udp_unanswered: u64,
    /// ICMP queries.
    pub icmp: u64,
    /// Protocols without ports.
    pub other: u64,
}

const _: () = assert!(size_of::<Timeouts>() == 7 * 8);
const _: () = assert!(size_of::<Config>() == size_of::<Timeouts>() + 4 + 4 + 8 + 8 + 4 + 4);

pod!(Config);

impl Config {
    /// The default timeouts, with room for so many flows on so many CPUs: a quarter of them may wait for an answer.
    #[must_use]
    pub const fn of(max_flows: u32, cpus: u32, token: u64) -> Self {
        let each = if max_flows / 4 > cpus { max_flows / 4 / cpus } else { 1 };
        let timeouts = Timeouts::DEFAULT;
        Self { timeouts, unanswered: each * cpus, cpus, token, silent_until_ns: 0, is_leased: 0, _pad: 0 }
    }

    /// The place among the flows without an answer that a CPU takes at its `turn`th. CPUs have places of their own, so
    /// that none can throw out what another has only just put there.
    #[inline(always)]
    #[must_use]
    pub const fn place(&self, turn: u32, cpu: u32) -> Option<u32> {
        if self.cpus == 0 || cpu >= self.cpus {
            return None;
        }
        let Some(turn) = turn.checked_rem(self.unanswered / self.cpus) else { return None };
        Some(turn * self.cpus + cpu)
    }
}

impl Timeouts {
    /// TCP: established 2 h 4 min (RFC 5382 REQ-5), opening and closing 4 min (RFC 7857 section 2.2), after a RST 4 min
    /// (RFC 7857 section 2.3). UDP: 5 min (RFC 4787 REQ-5c), unanswered 2 min (REQ-5). ICMP queries: 60 s (RFC 5508
    /// REQ-2). Others: 10 min, as netfilter's `nf_conntrack_generic_timeout`.
    pub const DEFAULT: Self = Self {
        tcp_established: 7440 * SECOND_NS,
        tcp_opening: 240 * SECOND_NS,
        tcp_closing: 240 * SECOND_NS,
        udp: 300 * SECOND_NS,
        udp_unanswered: 120 * SECOND_NS,
        icmp: 60 * SECOND_NS,
        other: 600 * SECOND_NS,
    };

    /// How long a flow lives, of whose two directions this is known: TCP flags seen ([`tcp::remembered`]), and whether
    /// there was an answer.
    #[inline(always)]
    #[must_use]
    pub const fn lifetime_ns(&self, proto: u8, original_seen: u8, reply_seen: u8, answered: bool) -> u64 {
        match proto {
            proto::TCP if tcp::is_closed(original_seen, reply_seen) => self.tcp_closing,
            proto::TCP if tcp::is_established(original_seen, answered) => self.tcp_established,
            proto::TCP => self.tcp_opening,
            proto::UDP if answered => self.udp,
            proto::UDP => self.udp_unanswered,
            proto::ICMP | proto::ICMPV6 => self.icmp,
            _ => self.other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tcp::flag;

    #[test]
    fn every_place_is_taken_in_turn_and_by_one_cpu_alone() {
        for (max_flows, cpus) in [(4096, 2), (4096, 3), (1, 64), (16, 8)] {
            let config = Config::of(max_flows, cpus, 0);
            assert!(
                config.unanswered >= max_flows / 4 - cpus.min(max_flows / 4) && config.unanswered >= cpus
            );
            let mut taken = vec![0; config.unanswered as usize];
            for cpu in 0..cpus {
                for turn in 7..7 + config.unanswered / cpus {
                    taken[config.place(turn, cpu).unwrap() as usize] += 1;
                }
            }
            assert!(taken.iter().all(|&times| times == 1), "{max_flows} flows, {cpus} CPUs: {taken:?}");
            assert_eq!(config.place(0, cpus), None);
        }
    }

    #[test]
    fn rows_55_104_108_112_115_default_lifetimes_meet_the_rfcs() {
        let seconds = |proto, original, reply, answered| {
            Timeouts::DEFAULT.lifetime_ns(proto, original, reply, answered) / SECOND_NS
        };
        let (there, back) = (flag::SYN | flag::ACK, flag::SYN | flag::ACK);
        assert!(seconds(proto::TCP, there, back, true) >= 7440);
        assert!(seconds(proto::TCP, there | flag::FIN, back, true) >= 7440, "half-closed");
        for (original, reply, answered) in [
            (flag::SYN, 0, false),
            (flag::SYN, back, true),
            (there | flag::RST, 0, true),
            (flag::FIN, flag::FIN, true),
        ] {
            assert_eq!(seconds(proto::TCP, original, reply, answered), 240);
        }
        assert_eq!((seconds(proto::UDP, 0, 0, true), seconds(proto::UDP, 0, 0, false)), (300, 120));
        assert_eq!(seconds(proto::ICMP, 0, 0, true), 60);
        assert_eq!(seconds(47, 0, 0, true), 600);
    }
}
