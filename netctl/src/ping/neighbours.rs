//! The neighbours that places come to know by being asked about each other, and forget again.
//!
//! The kernel has one table of them for all namespaces together and no more than some thousand entries
//! (`net.ipv4.neigh.default.gc_thresh3`), none of which it gives up within five seconds (`neigh_forced_gc` in
//! net/core/neighbour.c): where all of many places talk to each other, nobody else on the machine finds a new neighbour.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::{
    model::Place,
    netlink::{
        Request,
        neigh::{self, Neighbour},
    },
    place::{self, Places},
};

/// What places knew before.
pub(super) struct Neighbours {
    before: BTreeMap<Place, BTreeSet<(u32, IpAddr)>>,
    /// Whose entries count.
    addresses: BTreeSet<IpAddr>,
}

impl Neighbours {
    /// Looks at what the places know of these addresses.
    pub(super) fn look(
        at: impl IntoIterator<Item = Place>,
        addresses: BTreeSet<IpAddr>,
        places: &mut Places,
    ) -> Result<Self, place::Error> {
        let mut known = Self { before: BTreeMap::new(), addresses };
        for place in at {
            let entries = known.entries(&place, places)?;
            known.before.insert(place, entries);
        }
        Ok(known)
    }

    /// Has them forget what they have come to know since.
    pub(super) fn forget(&self, places: &mut Places) -> Result<(), place::Error> {
        for (place, before) in &self.before {
            let now = self.entries(place, places)?;
            let requests: Vec<Request> =
                now.difference(before).map(|&(index, address)| neigh::delete(index, address)).collect();
            // One that is gone by itself is none the worse.
            places.socket(place)?.execute(requests)?;
        }
        Ok(())
    }

    fn entries(&self, place: &Place, places: &mut Places) -> Result<BTreeSet<(u32, IpAddr)>, place::Error> {
        let all = neigh::dump(places.socket(place)?)?;
        // One that is being looked for is left alone: without it the kernel would report whom it is for as unreachable.
        let is_known = |entry: &Neighbour| entry.mac.is_some() && self.addresses.contains(&entry.address);
        let its = all.into_iter().filter(is_known);
        Ok(its.map(|entry| (entry.index, entry.address)).collect())
    }
}
