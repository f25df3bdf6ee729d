//! The sides of a gateway, by which its interfaces get their programs.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{Gateway, IfName};

/// Which programs an interface gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// It leads outside.
    Uplink,
    /// It is a veth by which the inside is reached: an inside interface itself, or a port of one that is a bridge.
    /// Packets have to meet its programs before those of the inside interface.
    Port,
    /// It leads inside.
    Inside,
}

impl Side {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Uplink, Self::Port, Self::Inside];

    /// Its word in pins and messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Uplink => "uplink",
            Self::Port => "port",
            Self::Inside => "inside",
        }
    }
}

impl Gateway {
    /// The interfaces that programs run at. At the insides they turn back what an inside client sends to an outside
    /// address of the gateway's: there they run only if anything is behind such an address.
    #[must_use]
    pub fn hooks(&self) -> BTreeSet<(IfName, Side)> {
        let of = |side| move |interface: &IfName| (interface.clone(), side);
        let uplinks = self.uplinks.iter().map(of(Side::Uplink));
        let ports = self.ports.iter().map(of(Side::Port));
        let insides = self.insides.iter().filter(|_| self.lets_in()).map(of(Side::Inside));
        uplinks.chain(ports).chain(insides).collect()
    }
}
