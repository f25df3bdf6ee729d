//! Neighbours, the ARP table: `netctl neigh`. Reads only.

use std::net::IpAddr;

use serde::Serialize;

use super::{Error, find, links, name_of};
use crate::{
    model::{IfName, Place},
    netlink::{link, neigh},
    op::Mac,
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
