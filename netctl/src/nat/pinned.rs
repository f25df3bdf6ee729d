//! Which gateways there are: read from the pins, whoever made them.

use std::path::Path;

use super::ebpf::{self, Pins};
use crate::model::{Place, TopologyName};

/// A gateway whose programs and maps are pinned.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pinned {
    /// Where it is.
    pub place: Place,
    /// The topology that made it, or what stands for none.
    pub owner: TopologyName,
}

impl Pinned {
    /// Its pins, below the bpffs mounted at `bpffs`.
    #[must_use]
    pub fn pins(&self, bpffs: &Path) -> Pins {
        Pins::new(bpffs, &self.owner, &self.place)
    }
}

/// Every gateway of this ABI version, in the order of the places.
///
/// # Errors
/// If the pins cannot be listed.
pub fn pinned(bpffs: &Path) -> Result<Vec<Pinned>, ebpf::Error> {
    let mut gateways = Vec::new();
    for owner in ebpf::owners(bpffs)? {
        let places = ebpf::places(bpffs, &owner)?.into_iter();
        gateways.extend(places.map(|place| Pinned { place, owner: owner.clone() }));
    }
    gateways.retain(|gateway| gateway.pins(bpffs).exist());
    gateways.sort();
    Ok(gateways)
}
