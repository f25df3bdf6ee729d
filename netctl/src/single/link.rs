//! Links: `netctl link`.

mod ls;
mod set;

pub use self::{
    ls::{Filter, Listed, State, ls},
    set::{Changes, set},
};
pub use super::peer::Peer;
use super::{Error, Session, owner_of};
use crate::{
    model::{IfName, Place},
    netlink::link::Link,
    op::{CableEnd, LinkChange, NewKind, Op},
    ownership,
};

/// One end of a cable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// Where it is.
    pub place: Place,
    /// Its interface name.
    pub interface: IfName,
}

/// Makes a link that is no cable, down and without addresses: `ip link add [link PARENT] NAME type KIND`.
///
/// # Errors
/// If the name is taken, a VLAN's parent is not there, or the kernel refuses.
pub fn add(
    session: &mut Session<'_>,
    place: &Place,
    interface: &IfName,
    kind: NewKind,
) -> Result<Vec<Op>, Error> {
    match &kind {
        NewKind::Vlan { parent, .. } => drop(session.link(place, parent, "make a VLAN of")?),
        NewKind::Bridge | NewKind::Dummy => {}
    }
    let (interface, mtu, mac, up) = (interface.clone(), None, None, false);
    let op = Op::new(place, LinkChange::CreateLink { interface: interface.clone(), kind, mtu, mac, up });
    session.refuse_taken(&op, place, &interface)?;
    session.apply(vec![op])
}

/// Makes a veth pair, each end down and born where it lives: `ip link add A type veth peer name B [netns NS]`.
///
/// # Errors
/// If a name is taken, a namespace is not there, or the kernel refuses.
pub fn add_veth(session: &mut Session<'_>, a: &End, b: &End) -> Result<Vec<Op>, Error> {
    let cable_end = |end: &End| CableEnd::named(end.place.clone(), end.interface.clone());
    let op = Op::new(&a.place, LinkChange::CreateCable { a: cable_end(a), b: cable_end(b), up: false });
    for end in [a, b] {
        session.refuse_taken(&op, &end.place, &end.interface)?;
    }
    session.apply(vec![op])
}

/// Deletes a link; of a veth pair the other end goes with it, and so does what is made on top of it.
///
/// # Errors
/// If it is not there, it or one on top of it is a topology's, or the kernel refuses.
pub fn delete(session: &mut Session<'_>, place: &Place, interface: &IfName) -> Result<Vec<Op>, Error> {
    let link = session.link(place, interface, "delete link")?;
    let op = Op::new(place, LinkChange::delete(interface.clone()));
    let is_above = |other: &Link| {
        other.vlan.is_some() && other.peer_netnsid.is_none() && other.peer_index == Some(link.index)
    };
    let links = session.links(place)?;
    let gone: Vec<_> = [&link].into_iter().chain(links.iter().filter(|other| is_above(other))).collect();
    let mut owner = gone.iter().find_map(|link| owner_of(link));
    if owner.is_none() {
        let machine = ownership::this_machine();
        owner = session.who_wants(|record| {
            let its = &record.topology.name;
            gone.iter().any(|link| ownership::owner_of(link, place, its, machine).as_ref() == Some(its))
        })?;
    }
    session.refuse_owned(&op, owner)?;
    session.apply(vec![op])
}

impl Session<'_> {
    /// Refuses a name that an interface of the place has. The kernel would as well, but not say which.
    fn refuse_taken(&mut self, op: &Op, place: &Place, interface: &IfName) -> Result<(), Error> {
        if self.links(place)?.iter().any(|link| link.name == interface.as_str()) {
            let (interface, place) = (interface.clone(), place.clone());
            return Err(Error::Taken { op: Box::new(op.clone()), interface, place });
        }
        Ok(())
    }
}
