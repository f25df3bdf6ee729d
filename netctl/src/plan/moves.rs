//! Cables that change in place: one end stays where it is, with everything that others gave it, and the other one is moved
//! or renamed.

use std::collections::BTreeSet;

use super::{Given, Planner};
use crate::{
    model::{Cable, End, IfName, Place},
    observed::ObservedLink,
    op::{LinkChange, Op},
};

/// A cable of the topology that is there but for one end.
pub(super) struct Moved<'a> {
    pub(super) cable: &'a Cable,
    /// The end that is as it should be.
    pub(super) stays: &'a End,
    /// The other end as it should be.
    pub(super) to: &'a End,
    /// The other end as it is.
    pub(super) from: (&'a Place, &'a IfName),
}

impl Moved<'_> {
    /// Whether it only gets another name.
    pub(super) fn is_renamed(&self) -> bool {
        *self.from.0 == self.to.place
    }
}

impl<'a> Given<'a> {
    /// The cables that change in place. One whose new name is taken, or that a gateway's programs know by its name, is made
    /// anew.
    pub(super) fn moved(self) -> Vec<Moved<'a>> {
        let ends = self.topology.cables.iter().flat_map(|cable| [&cable.a, &cable.b]);
        let mut taken: BTreeSet<(&Place, &IfName)> = ends.map(|end| (&end.place, &end.interface)).collect();
        let mut moved = Vec::new();
        for cable in self.topology.cables.iter().filter(|cable| !self.has_cable(cable)) {
            let either = [(&cable.a, &cable.b), (&cable.b, &cable.a)].into_iter();
            let found = either.filter_map(|(stays, to)| {
                self.link(&stays.place, &stays.interface)
                    .filter(|link| link.kind == "veth" && self.is_ours(link))?;
                let from = self.far_end(&stays.place, &stays.interface)?;
                let moved = Moved { cable, stays, to, from };
                (!taken.contains(&from) && self.can_move(&moved)).then_some(moved)
            });
            if let Some(found) = found.into_iter().next() {
                taken.insert(found.from);
                moved.push(found);
            }
        }
        moved
    }

    fn can_move(self, moved: &Moved<'_>) -> bool {
        let is_free = self.link(&moved.to.place, &moved.to.interface).is_none();
        let has_programs = self.there(moved.from.0).is_some_and(|there| there.nat.is_some());
        is_free && (!moved.is_renamed() || self.observed.renames_live && !has_programs)
    }
}

impl<'a> Planner<'a> {
    /// What was seen of a link, perhaps under another name.
    pub(super) fn seen(&self, place: &Place, interface: &IfName) -> Option<&'a ObservedLink> {
        let renamed = self
            .moved
            .iter()
            .find(|moved| moved.is_renamed() && (&moved.to.place, &moved.to.interface) == (place, interface));
        let (place, interface) = renamed.map_or((place, interface), |moved| moved.from);
        self.given.link(place, interface)
    }

    /// Moves or renames the ends that are elsewhere, each with the MAC address that it has by its new name.
    pub(super) fn move_ends(&mut self) {
        for Moved { to, from: (place, interface), .. } in &self.moved {
            let (interface, name) = ((*interface).clone(), to.interface.clone());
            let change = if **place == to.place {
                LinkChange::Rename { interface, name }
            } else {
                LinkChange::Move { interface, to: to.place.clone(), name }
            };
            self.ops.push(Op::new(place, change));
            let mac = self.given.mac(&to.place, &to.interface);
            let interface = to.interface.clone();
            self.ops.push(Op::new(&to.place, LinkChange::SetMac { interface, mac }));
            self.ops.push(self.given.mark_end(to));
        }
    }
}
