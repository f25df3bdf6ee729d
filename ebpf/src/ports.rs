//! Which port a flow gets: its own if it is free, else one that cannot be guessed (RFC 6056, RFC 7857 section 10).

use crate::proto;

/// How many ports are tried before a new flow is refused.
pub const TRIES: u32 = 32;

/// Where ports may be chosen from, machine byte order, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// The lowest.
    pub first: u16,
    /// The highest, not below `first`.
    pub last: u16,
    /// Whether the flow's own port is tried first even when it is outside.
    pub keep: bool,
}

impl Pool {
    /// This port and no other.
    #[inline(always)]
    #[must_use]
    pub const fn only(port: u16) -> Self {
        Self { first: port, last: port, keep: true }
    }

    /// For a protocol whose ports cannot change: its own port. For others: `first..=last` if a rule has such a range
    /// (`first` not 0), else the port itself or any of its class that the gateway's own sockets do not draw from (`local`).
    #[inline(always)]
    #[must_use]
    pub const fn of(proto: u8, port: u16, (first, last): (u16, u16), local: (u16, u16)) -> Self {
        if !proto::has_free_ports(proto) {
            Self::only(port)
        } else if first != 0 {
            Self { first, last, keep: false }
        } else {
            Self::beside(local, port)
        }
    }

    /// Any port of the class of `port` (RFC 4787 REQ-3a: system ports stay below 1024) that the gateway's own sockets
    /// do not draw from: `local` is its `ip_local_port_range`. The larger part beside that range is taken.
    #[inline(always)]
    #[must_use]
    const fn beside(local: (u16, u16), port: u16) -> Self {
        if port < 1024 && port != 0 {
            return Self { first: 512, last: 1023, keep: true };
        }
        let below = local.0.saturating_sub(1024);
        let above = u16::MAX - local.1;
        if below == 0 && above == 0 {
            Self { first: 1024, last: u16::MAX, keep: true }
        } else if below >= above {
            Self { first: 1024, last: local.0 - 1, keep: true }
        } else {
            Self { first: local.1 + 1, last: u16::MAX, keep: true }
        }
    }

    /// The port to try at the `attempt`th time for a flow from `port`. `random` is drawn once a flow: the attempts
    /// walk the pool from there in odd steps, so that none comes twice before `TRIES` in a pool of that size.
    #[inline(always)]
    #[must_use]
    pub const fn candidate(&self, attempt: u32, port: u16, random: u32) -> u16 {
        if attempt == 0 && (self.keep || (port >= self.first && port <= self.last)) {
            return port;
        }
        let size = (self.last - self.first) as u32 + 1;
        let offset = if size <= TRIES { random.wrapping_add(attempt) } else { scatter(random, attempt) };
        self.first + (offset % size) as u16
    }
}

/// The `attempt`th of a sequence that `random` starts (a Weyl sequence through a 32-bit finaliser, so that one port
/// tells nothing of the next).
#[inline(always)]
const fn scatter(random: u32, attempt: u32) -> u32 {
    let mut x = random.wrapping_add(attempt.wrapping_mul(0x9e37_79b9));
    x = (x ^ (x >> 16)).wrapping_mul(0x21f0_aaad);
    x = (x ^ (x >> 15)).wrapping_mul(0x735a_2d97);
    x ^ (x >> 15)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    const LOCAL: (u16, u16) = (32768, 60999);

    fn of_rule(first: u16, last: u16) -> Pool {
        Pool::of(proto::TCP, 80, (first, last), LOCAL)
    }

    #[test]
    fn rows_48_117_the_pool_stays_out_of_the_gateways_own_range_and_in_the_ports_class() {
        assert_eq!(Pool::beside(LOCAL, 40000), Pool { first: 1024, last: 32767, keep: true });
        assert_eq!(Pool::beside((1024, 40000), 40000), Pool { first: 40001, last: 65535, keep: true });
        assert_eq!(Pool::beside((1024, 65535), 40000), Pool { first: 1024, last: 65535, keep: true });
        assert_eq!(Pool::beside(LOCAL, 443), Pool { first: 512, last: 1023, keep: true });
    }

    #[test]
    fn row_121_a_range_of_four_is_used_up_before_a_flow_is_refused() {
        let pool = of_rule(20000, 20003);
        for random in [0, 1, 7, u32::MAX] {
            let tried: HashSet<u16> = (0..TRIES).map(|i| pool.candidate(i, 5555, random)).collect();
            assert_eq!(tried, HashSet::from([20000, 20001, 20002, 20003]));
        }
    }

    /// First failures late, few failures at full demand: what decides how many flows a range carries.
    #[test]
    fn row_124_allocation_mostly_succeeds_up_to_a_full_range() {
        let pool = of_rule(20000, 29999);
        let (mut taken, mut refused) = (HashSet::new(), 0);
        for flow in 0..10_000_u32 {
            let random = scatter(0x1234_5678, flow);
            let free = (0..TRIES).map(|i| pool.candidate(i, 80, random)).find(|port| taken.insert(*port));
            refused += u32::from(free.is_none());
            assert!(refused < 350 || taken.len() > 7000, "5 % refused at {} of 10000", taken.len());
        }
        assert!(refused < 1600, "{refused} of 10000 refused");
    }

    #[test]
    fn row_125_chosen_ports_are_spread_evenly() {
        let pool = of_rule(20000, 20099);
        let mut counts = [0_f64; 100];
        for random in 0..10_000_u32 {
            counts[usize::from(pool.candidate(1, 80, random) - 20000)] += 1.0;
        }
        let chi_square: f64 = counts.iter().map(|n| (n - 100.0).powi(2) / 100.0).sum();
        assert!(chi_square < 148.2, "chi-square {chi_square} with 99 degrees of freedom (p < 0.001)");
    }

    proptest! {
        #[test]
        fn candidates_stay_in_the_pool(first in 1_u16.., len: u16, attempt in 0..TRIES, port: u16, random: u32) {
            let last = first.saturating_add(len);
            let candidate = of_rule(first, last).candidate(attempt, port, random);
            prop_assert!((first..=last).contains(&candidate));
        }

        #[test]
        fn the_own_port_comes_first(port in 1_u16.., random: u32) {
            prop_assert_eq!(Pool::beside(LOCAL, port).candidate(0, port, random), port);
        }
    }
}
