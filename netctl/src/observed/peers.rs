//! Which ends belong to one cable.
//!
//! A cable's end has the index of the other end, and each namespace counts its links by itself: two ends that have each
//! other's index need not be each other's. The kernel's number for the namespace of the other end tells. It is asked
//! for only where it matters, about cables that the topology does not have as they are.

use std::collections::{BTreeSet, HashMap};

use super::{Observed, ObservedLink};
use crate::model::{Cable, End, IfName, Place, Topology, TopologyName};

impl Observed {
    /// Whether both ends of a cable of `owner`'s are there and each has the other's index.
    pub(crate) fn has_cable(&self, owner: &TopologyName, cable: &Cable) -> bool {
        let end = |end: &End| {
            let link = self.places.get(&end.place)?.links.get(&end.interface)?;
            (link.kind == "veth" && link.owner.as_ref() == Some(owner)).then_some(link)
        };
        match (end(&cable.a), end(&cable.b)) {
            (Some(a), Some(b)) => a.peer_index == Some(b.index) && b.peer_index == Some(a.index),
            _ => false,
        }
    }

    /// Finds the other ends of what the topology has made and no longer wants. `leads_to` tells whether the other end
    /// of a place's link is in another place.
    pub(crate) fn pair<E>(
        &mut self,
        topology: &Topology,
        mut leads_to: impl FnMut(&Place, &ObservedLink, &Place) -> Result<bool, E>,
    ) -> Result<(), E> {
        let left = self.left(topology);
        let mut by_indexes: HashMap<(u32, u32), Vec<usize>> = HashMap::new();
        for (number, (_, _, link)) in left.iter().enumerate() {
            if let Some(peer) = link.peer_index {
                by_indexes.entry((link.index, peer)).or_default().push(number);
            }
        }
        let mut paired: HashMap<usize, usize> = HashMap::new();
        for (number, (place, _, link)) in left.iter().enumerate() {
            let Some(peer) = link.peer_index.filter(|_| !paired.contains_key(&number)) else { continue };
            for &other in by_indexes.get(&(peer, link.index)).into_iter().flatten() {
                let is_free = other != number && !paired.contains_key(&other);
                if is_free && leads_to(place, link, left[other].0)? {
                    paired.extend([(number, other), (other, number)]);
                    break;
                }
            }
        }
        let name = |number: usize| (left[number].0.clone(), left[number].1.clone());
        self.peers = paired.into_iter().map(|(one, other)| (name(one), name(other))).collect();
        Ok(())
    }

    /// The topology's ends of cables that it does not have as they are.
    fn left(&self, topology: &Topology) -> Vec<(&Place, &IfName, &ObservedLink)> {
        let kept = topology.cables.iter().filter(|cable| self.has_cable(&topology.name, cable));
        let kept: BTreeSet<(&Place, &IfName)> =
            kept.flat_map(|cable| [&cable.a, &cable.b]).map(|end| (&end.place, &end.interface)).collect();
        let links = self.places.iter().flat_map(|(place, there)| {
            there.links.iter().map(move |(interface, link)| (place, interface, link))
        });
        let is_left = |(place, interface, link): &(&Place, &IfName, &ObservedLink)| {
            link.owner.as_ref() == Some(&topology.name) && !kept.contains(&(*place, *interface))
        };
        links.filter(is_left).collect()
    }
}
