//! `netctl link set`: several changes of one link, in the order that works.

use super::super::{Error, Session, name_of, owner_of};
use crate::{
    model::{IfName, Place},
    netlink::{addr, link::Link, route},
    observe::{is_administered, is_set_by_hand},
    op::{Op, RouteBy, Single},
};

/// What is to change; `None` stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Up or down.
    pub up: Option<bool>,
    /// Where it goes.
    pub netns: Option<Place>,
    /// The bridge that it is plugged into, there; `Some(None)` for none.
    pub master: Option<Option<IfName>>,
    /// Its new name.
    pub name: Option<IfName>,
    /// Bytes.
    pub mtu: Option<u32>,
}

/// Changes a link, all or nothing: `ip link set IF ..`. Returns what had to be done for that.
///
/// It is moved and renamed first, since moving undoes most of the rest; it comes up, or goes down, last.
///
/// # Errors
/// If something is not there, a topology would lose something, or the kernel refuses.
pub fn set(
    session: &mut Session<'_>,
    place: &Place,
    interface: &IfName,
    changes: &Changes,
) -> Result<Vec<Op>, Error> {
    let links = session.links(place)?;
    let link = super::super::find(links.clone(), place, interface, "set link")?;
    let master = link.master.and_then(|index| name_of(&links, index).parse().ok());
    let there = There { place, interface, link: &link, master };
    let to = changes.netns.as_ref().unwrap_or(place);
    if to != place {
        super::super::open(&mut session.places, to)?;
    }
    let ops = there.steps(changes, session)?;
    if let Some(op) = ops.iter().find(|op| there.is_breaking(op)) {
        session.refuse_owned(op, owner_of(&link))?;
    }
    if let Some(Some(master)) = &changes.master {
        session.link(to, master, "plug into bridge")?;
    }
    session.apply(ops)
}

/// A link as it is before.
struct There<'a> {
    place: &'a Place,
    interface: &'a IfName,
    link: &'a Link,
    master: Option<IfName>,
}

impl There<'_> {
    fn steps(&self, changes: &Changes, session: &mut Session<'_>) -> Result<Vec<Op>, Error> {
        let place = changes.netns.clone().unwrap_or_else(|| self.place.clone());
        let interface = changes.name.clone().unwrap_or_else(|| self.interface.clone());
        let moves = place != *self.place;
        let mut ops = Vec::new();
        // Moving takes it down by itself.
        let goes_down = changes.up == Some(false) && self.link.up && !moves;
        let renames = interface != *self.interface;
        let down = |interface: &IfName| {
            let (place, interface) = (place.clone(), interface.clone());
            Op::Single(Single::SetDown { place, interface })
        };
        // Before Linux 6.2 a link that is up keeps its name.
        if goes_down && renames {
            ops.push(down(self.interface));
        }
        if moves || renames {
            let op = self.under_its_new_name(
                &place,
                &interface,
                moves.then(|| self.restore(session)).transpose()?,
            );
            session.refuse_taken(&op, &place, &interface)?;
            ops.push(op);
        }
        if let Some(mtu) = changes.mtu.filter(|&mtu| mtu != self.link.mtu) {
            let (place, interface) = (place.clone(), interface.clone());
            ops.push(Op::SetMtu { place, interface, mtu, before: self.link.mtu });
        }
        let before = if moves { None } else { self.master.clone() };
        if let Some(master) = changes.master.clone().filter(|master| *master != before) {
            let (place, interface) = (place.clone(), interface.clone());
            ops.push(Op::SetMaster { place, interface, master, before });
        }
        if goes_down && !renames {
            ops.push(down(&interface));
        }
        if changes.up == Some(true) && (moves || !self.link.up) {
            ops.push(Op::SetUp { place, interface });
        }
        Ok(ops)
    }

    fn under_its_new_name(&self, to: &Place, name: &IfName, moved: Option<Vec<Op>>) -> Op {
        let (place, interface) = (self.place.clone(), self.interface.clone());
        let (to, name) = (to.clone(), name.clone());
        Op::Single(match moved {
            Some(restore) => Single::Move { place, interface, to, name, restore },
            None => Single::Rename { place, interface, name },
        })
    }

    /// What moving takes from it.
    fn restore(&self, session: &mut Session<'_>) -> Result<Vec<Op>, Error> {
        let words = || (self.place.clone(), self.interface.clone());
        let mut ops = Vec::new();
        if let Some(master) = self.master.clone() {
            let (place, interface) = words();
            ops.push(Op::SetMaster { place, interface, master: Some(master), before: None });
        }
        let addresses = addr::dump(session.places.socket(self.place)?)?;
        let own = addresses.iter().filter(|its| its.index == self.link.index && is_administered(its));
        ops.extend(own.map(|its| {
            let (place, interface) = words();
            Op::AddAddress { place, interface, address: its.address }
        }));
        if self.link.up {
            let (place, interface) = words();
            ops.push(Op::SetUp { place, interface });
        }
        let routes = route::dump(session.places.socket(self.place)?)?;
        let by_it = routes.iter().filter(|its| its.oif == Some(self.link.index) && is_set_by_hand(its));
        ops.extend(by_it.map(|its| {
            let (place, interface) = words();
            let (to, via, metric) = (its.destination, its.gateway, its.metric);
            let route = RouteBy { place, to, via, interface: Some(interface), metric };
            Op::Single(Single::AddRouteBy { route })
        }));
        Ok(ops)
    }

    /// Whether a topology that has made the link would no longer have it as it wants it.
    fn is_breaking(&self, op: &Op) -> bool {
        match op {
            Op::Single(Single::SetDown { .. } | Single::Rename { .. } | Single::Move { .. }) => true,
            Op::SetMaster { before, .. } => before.is_some(),
            _ => false,
        }
    }
}
