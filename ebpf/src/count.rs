//! What has passed by a rule.

use crate::pod;

/// How translated packets go on; the number is an index into their counters. A hairpinned packet is translated twice.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// Through bridge, routing and firewall.
    Kernel = 0,
    /// Straight to the interface that they leave by.
    Short = 1,
}

/// How many ways there are.
pub const PATHS: u32 = 2;

/// Of the flows of a rule that have ended: how many there were, and what they carried. Live flows count by themselves.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Flows.
    pub flows: u64,
    /// Packets of the original direction, then of the answers.
    pub packets: [u64; 2],
    /// Bytes of those packets, from the Ethernet header on.
    pub bytes: [u64; 2],
}

const _: () = assert!(size_of::<Ended>() == 8 + 2 * 8 + 2 * 8);

pod!(Ended);

impl Ended {
    /// Both together.
    #[must_use]
    pub const fn plus(&self, other: &Self) -> Self {
        Self {
            flows: self.flows + other.flows,
            packets: [self.packets[0] + other.packets[0], self.packets[1] + other.packets[1]],
            bytes: [self.bytes[0] + other.bytes[0], self.bytes[1] + other.bytes[1]],
        }
    }
}
