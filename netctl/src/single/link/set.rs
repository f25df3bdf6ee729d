//! `netctl link set`: several changes of one link, in the order that works.

use super::super::{Error, Session, name_of, owner_of};
use crate::{
    model::{IfName, Place},
    netlink::link::Link,
    op::{Change, LinkChange, Op},
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
    if let Some(op) = ops.iter().find(|op| is_breaking(op)) {
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
        let name = changes.name.clone().unwrap_or_else(|| self.interface.clone());
        let moves = place != *self.place;
        let mut ops = Vec::new();
        // Moving takes it down by itself.
        let goes_down = changes.up == Some(false) && self.link.up && !moves;
        let renames = name != *self.interface;
        // Before Linux 6.2 a link that is up keeps its name.
        if goes_down && renames {
            ops.push(Op::new(&place, LinkChange::SetDown { interface: self.interface.clone() }));
        }
        if moves || renames {
            let op = self.under_its_new_name(&place, &name);
            session.refuse_taken(&op, &place, &name)?;
            ops.push(op);
        }
        let interface = || name.clone();
        if let Some(mtu) = changes.mtu.filter(|&mtu| mtu != self.link.mtu) {
            let before = self.link.mtu;
            ops.push(Op::new(&place, LinkChange::SetMtu { interface: interface(), mtu, before }));
        }
        let before = if moves { None } else { self.master.clone() };
        if let Some(master) = changes.master.clone().filter(|master| *master != before) {
            ops.push(Op::new(&place, LinkChange::SetMaster { interface: interface(), master, before }));
        }
        if goes_down && !renames {
            ops.push(Op::new(&place, LinkChange::SetDown { interface: interface() }));
        }
        if changes.up == Some(true) && (moves || !self.link.up) {
            ops.push(Op::new(&place, LinkChange::SetUp { interface: interface() }));
        }
        Ok(ops)
    }

    fn under_its_new_name(&self, to: &Place, name: &IfName) -> Op {
        let (interface, name) = (self.interface.clone(), name.clone());
        if to == self.place {
            return Op::new(self.place, LinkChange::Rename { interface, name });
        }
        Op::new(self.place, LinkChange::Move { interface, to: to.clone(), name })
    }
}

/// Whether a topology that has made the link would no longer have it as it wants it.
fn is_breaking(op: &Op) -> bool {
    match &op.change {
        Change::Link(change) => match change {
            LinkChange::SetDown { .. } | LinkChange::Rename { .. } | LinkChange::Move { .. } => true,
            LinkChange::SetMaster { before, .. } => before.is_some(),
            LinkChange::CreateLink { .. }
            | LinkChange::CreateCable { .. }
            | LinkChange::DeleteLink { .. }
            | LinkChange::MarkLink { .. }
            | LinkChange::SetUp { .. }
            | LinkChange::SetMac { .. }
            | LinkChange::SetMtu { .. } => false,
        },
        Change::Namespace(_)
        | Change::Address(_)
        | Change::Route(_)
        | Change::Rule(_)
        | Change::Neighbour(_)
        | Change::Sysctl(_)
        | Change::Nat(_)
        | Change::Filter(_) => false,
    }
}
