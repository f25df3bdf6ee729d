//! Neighbours, the ARP table: `netctl neigh`.

use std::net::IpAddr;

use serde::Serialize;

use super::{Error, Session, find, links, name_of};
use crate::{
    model::{IfName, Place},
    netlink::{link, neigh},
    op::{Mac, NeighbourChange, Op},
    place::Places,
};

/// A line of `netctl neigh ls`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Its address.
    pub address: IpAddr,
    /// The link it is behind.
    pub interface: String,
    /// Its MAC address, once it has answered.
    pub mac: Option<Mac>,
    /// `REACHABLE`, `STALE`, `FAILED`, ..
    pub state: &'static str,
}

/// A neighbour that somebody sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// Its address.
    pub address: IpAddr,
    /// Its MAC address.
    pub mac: Mac,
    /// The link it is behind.
    pub interface: IfName,
}

/// Sets a permanent neighbour: `ip neigh add ADDRESS lladdr MAC dev IF`.
///
/// # Errors
/// If the link is not there, the kernel knows the neighbour already, or refuses.
pub fn add(session: &mut Session<'_>, place: &Place, new: &Neighbour) -> Result<Vec<Op>, Error> {
    session.link(place, &new.interface, "add a neighbour to")?;
    session.apply(vec![new.add(place)])
}

/// Sets a permanent neighbour, whatever the kernel knows of it: `ip neigh replace ADDRESS lladdr MAC dev IF`. Where it is
/// set so already, nothing is done.
///
/// # Errors
/// If the link is not there, or the kernel refuses.
pub fn replace(session: &mut Session<'_>, place: &Place, new: &Neighbour) -> Result<Vec<Op>, Error> {
    let known = session.neighbours(place, &new.interface, "set a neighbour of")?;
    let Some(known) = known.iter().find(|its| its.address == new.address) else {
        return session.apply(vec![new.add(place)]);
    };
    let before = known.mac.map(Mac).filter(|_| known.state == libc::NUD_PERMANENT);
    if before == Some(new.mac) {
        return Ok(Vec::new());
    }
    let Neighbour { address, mac, interface } = new.clone();
    let replace = NeighbourChange::ReplaceNeighbour { interface, address, mac, before };
    session.apply(vec![Op::new(place, replace)])
}

/// Forgets a neighbour: `ip neigh del ADDRESS dev IF`.
///
/// # Errors
/// If the link or the neighbour is not there, or the kernel refuses.
pub fn delete(
    session: &mut Session<'_>,
    place: &Place,
    interface: &IfName,
    address: IpAddr,
) -> Result<Vec<Op>, Error> {
    let known = session.neighbours(place, interface, "delete a neighbour of")?;
    let op = Op::new(place, NeighbourChange::DeleteNeighbour { interface: interface.clone(), address });
    if !known.iter().any(|its| its.address == address) {
        return Err(Error::NoNeighbour { op: Box::new(op), place: place.clone() });
    }
    session.apply(vec![op])
}

impl Neighbour {
    fn add(&self, place: &Place) -> Op {
        let Self { address, mac, interface } = self.clone();
        Op::new(place, NeighbourChange::AddNeighbour { interface, address, mac })
    }
}

impl Session<'_> {
    /// What the kernel knows of a link's neighbours.
    fn neighbours(
        &mut self,
        place: &Place,
        interface: &IfName,
        action: &'static str,
    ) -> Result<Vec<neigh::Neighbour>, Error> {
        let index = self.link(place, interface, action)?.index;
        let mut all = neigh::dump(self.places.socket(place)?)?;
        all.retain(|its| its.index == index);
        Ok(all)
    }
}

/// The neighbours of a place, by link and address; of one link only, if one is named. As `ip neigh`, without those that
/// need no resolution, such as groups.
///
/// # Errors
/// If the place or the link is not there or may not be looked at.
pub fn ls(place: &Place, interface: Option<&IfName>) -> Result<Vec<Listed>, Error> {
    let mut places = Places::default();
    let links = links(&mut places, place)?;
    let only = match interface {
        Some(interface) => Some(find(links.clone(), place, interface, "show the neighbours of")?.index),
        None => None,
    };
    let mut all = neigh::dump(places.socket(place)?)?;
    all.retain(|its| only.is_none_or(|index| its.index == index));
    Ok(listed(all, &links))
}

/// Those that need resolution, in that order.
pub(crate) fn listed(mut all: Vec<neigh::Neighbour>, links: &[link::Link]) -> Vec<Listed> {
    all.retain(|its| !matches!(its.state, libc::NUD_NONE | libc::NUD_NOARP));
    all.sort_by_key(|its| (its.index, its.address));
    let listed = |its: neigh::Neighbour| Listed {
        address: its.address,
        interface: name_of(links, its.index),
        mac: its.mac.map(Mac),
        state: its.state_name(),
    };
    all.into_iter().map(listed).collect()
}
