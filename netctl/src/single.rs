//! Single commands: one namespace, link, address, route or sysctl at a time, whoever made it.
//!
//! What changes something works in a [`Session`], which holds the lock as `up` and `down` do, and becomes operations;
//! so it is told, undone and explained as a topology's steps are. Nothing is remembered and nothing is marked. What a
//! topology owns is not taken from it unless that is forced.
//!
//! What only looks needs neither lock nor, in the caller's own namespace, any right.

pub mod addr;
mod error;
pub mod link;
pub mod nat;
pub mod neigh;
pub mod ns;
pub(crate) mod peer;
pub mod route;
pub mod rule;
pub mod sysctl;

pub use self::error::Error;
use crate::{
    apply::apply_singly,
    model::{IfName, Place, TopologyName},
    netlink,
    netns::Netns,
    op::Op,
    ownership,
    place::Places,
    spec::nearest,
    state::{Directories, Lock, Record},
    up,
};

/// The right to change things, and what is open for it.
pub struct Session<'a> {
    directories: &'a Directories,
    places: Places,
    force: bool,
    lock: Lock,
}

impl<'a> Session<'a> {
    /// Waits until no other netctl is at work. With `force`, what topologies own can be taken from them.
    ///
    /// # Errors
    /// Without root, or if the lock cannot be had.
    pub fn begin(directories: &'a Directories, force: bool) -> Result<Self, Error> {
        up::require_root()?;
        let lock = directories.lock()?;
        Ok(Self { directories, places: Places::default(), force, lock })
    }

    /// The links of a place, which is open from then on.
    fn links(&mut self, place: &Place) -> Result<Vec<netlink::link::Link>, Error> {
        links(&mut self.places, place)
    }

    /// The link of that name, which is to be there for `action`.
    fn link(
        &mut self,
        place: &Place,
        interface: &IfName,
        action: &'static str,
    ) -> Result<netlink::link::Link, Error> {
        let links = self.links(place)?;
        find(links, place, interface, action)
    }

    /// Refuses what would take something from the topology that owns it.
    fn refuse_owned(&self, op: &Op, owner: Option<TopologyName>) -> Result<(), Error> {
        match owner {
            Some(owner) if !self.force => Err(Error::Owned { op: Box::new(op.clone()), owner }),
            _ => Ok(()),
        }
    }

    /// The topology in whose record something is wanted.
    fn who_wants(&self, wants: impl Fn(&Record) -> bool) -> Result<Option<TopologyName>, Error> {
        let mut records = self.directories.readable_records()?.into_iter();
        Ok(records.find(|record| wants(record)).map(|record| record.topology.name))
    }

    /// Does the operations, all or nothing, and hands them back.
    fn apply(&mut self, ops: Vec<Op>) -> Result<Vec<Op>, Error> {
        self.apply_to(&TopologyName::by_hand(), ops)
    }

    /// Does the operations, all or nothing, and hands them back; those about translation at a gateway of `owner`.
    fn apply_to(&mut self, owner: &TopologyName, ops: Vec<Op>) -> Result<Vec<Op>, Error> {
        apply_singly(&ops, owner, &mut self.places, self.directories)?;
        Ok(ops)
    }
}

/// Opens a place that has to be there.
fn open(places: &mut Places, place: &Place) -> Result<(), Error> {
    match place {
        Place::Netns(name) if !places.open(place)? => Err(Error::no_namespace(name)?),
        Place::Netns(_) => Ok(()),
        Place::Host => Ok(places.open(place).map(drop)?),
    }
}

pub(crate) fn links(places: &mut Places, place: &Place) -> Result<Vec<netlink::link::Link>, Error> {
    open(places, place)?;
    let links = netlink::link::dump(places.socket(place)?)?;
    places.learn(place, &links);
    Ok(links)
}

/// The one of that name; else the error says what may have been meant.
pub(crate) fn find(
    links: Vec<netlink::link::Link>,
    place: &Place,
    interface: &IfName,
    action: &'static str,
) -> Result<netlink::link::Link, Error> {
    let names: Vec<String> = links.iter().map(|link| link.name.clone()).collect();
    links.into_iter().find(|link| link.name == interface.as_str()).ok_or_else(|| Error::NoInterface {
        action,
        interface: interface.clone(),
        place: place.clone(),
        elsewhere: whereabouts(interface, Some(place)),
        nearest: nearest(interface.as_str(), names.iter().map(String::as_str)).map(str::to_owned),
    })
}

/// A place other than one that has an interface of that name, as far as this process may look.
pub(crate) fn whereabouts(interface: &IfName, other_than: Option<&Place>) -> Option<Place> {
    let mut places = Places::default();
    let namespaces = Netns::list().unwrap_or_default().into_iter().map(Place::Netns);
    std::iter::once(Place::Host).chain(namespaces).filter(|other| Some(other) != other_than).find(|other| {
        let has = |places: &mut Places| {
            let socket = places.socket(other).ok()?;
            netlink::link::find(socket, interface).ok()?
        };
        places.open(other).is_ok_and(|there| there) && has(&mut places).is_some()
    })
}

/// Whose it is, by its mark.
pub(crate) fn owner_of(link: &netlink::link::Link) -> Option<TopologyName> {
    link.alias.as_deref().and_then(ownership::owner)
}

/// The name that goes with an index: `if7` where there is none.
fn name_of(links: &[netlink::link::Link], index: u32) -> String {
    let named = links.iter().find(|link| link.index == index);
    named.map_or_else(|| format!("if{index}"), |link| link.name.clone())
}

#[cfg(test)]
mod tests;
