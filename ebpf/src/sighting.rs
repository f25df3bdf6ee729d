//! What the kernel has said within this second: an outside address is the gateway's own. All flows of the address ask only
//! once a second, and not each of them: of a million, hardly one has two packets in that time.

use crate::{
    addr::{self, Addr},
    pod,
};

/// An address of the gateway, as asked about at an uplink.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default)]
pub struct Sighting {
    /// The address.
    pub address: Addr,
    /// The uplink.
    pub ifindex: u32,
    /// When: `CLOCK_MONOTONIC`, seconds or so.
    pub at_s: u32,
}

/// How many a CPU remembers, a power of two.
pub const SIGHTINGS: u32 = 16;

const _: () = assert!(size_of::<Sighting>() == 16 + 4 + 4 && SIGHTINGS.is_power_of_two());

pod!(Sighting);

impl Sighting {
    /// Which place one has.
    #[inline(always)]
    #[must_use]
    pub const fn place(address: &Addr, ifindex: u32) -> u32 {
        (address[15] as u32 ^ ifindex) % SIGHTINGS
    }

    /// Whether it is this address at this uplink, and of this second.
    #[inline(always)]
    #[must_use]
    pub const fn is_of(&self, address: &Addr, ifindex: u32, now_s: u32) -> bool {
        self.at_s == now_s && self.ifindex == ifindex && addr::eq(&self.address, address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::from_v4;

    #[test]
    fn it_is_good_for_its_address_uplink_and_second() {
        let (address, other) = (from_v4([203, 0, 113, 1]), from_v4([203, 0, 113, 17]));
        assert_eq!(Sighting::place(&address, 2), Sighting::place(&other, 2), "one place, two addresses");
        let seen = Sighting { address, ifindex: 2, at_s: 7 };
        assert!(seen.is_of(&address, 2, 7));
        assert!(!seen.is_of(&other, 2, 7));
        assert!(!seen.is_of(&address, 3, 7));
        assert!(!seen.is_of(&address, 2, 8));
    }
}
