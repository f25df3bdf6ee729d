//! Where the far ends of links are: `@if13` made into a name and a namespace, as far as this process may look.

use std::{collections::BTreeMap, os::fd::AsFd as _};

use serde::Serialize;

use crate::{
    model::Place,
    netlink::{
        link::{self, Link},
        nsid,
    },
    netns::Netns,
    place::Places,
};

/// What is behind a link: of a veth, its other end; of a VLAN and the like, the link below. What comes after `@` in
/// `ip link`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Peer {
    /// Its index, in its own namespace.
    pub index: u32,
    /// Its name; `null` where this process may not look.
    pub interface: Option<String>,
    /// Where it is, `host` or a namespace; `null` if that has no name, or may not be known.
    pub place: Option<Place>,
}

/// What is behind every link that something is behind, by the link's index.
pub(crate) fn resolve(place: &Place, links: &[Link], places: &mut Places) -> BTreeMap<u32, Peer> {
    let is_far = links.iter().any(|link| link.peer_netnsid.is_some());
    let others = if is_far { by_number(place, places) } else { BTreeMap::new() };
    let peer = |link: &Link| {
        let index = link.peer_index?;
        let (there, links) = match link.peer_netnsid {
            None => (Some(place), links),
            Some(number) => {
                others.get(&number).map_or((None, &[][..]), |(other, links)| (Some(other), links))
            }
        };
        let interface = links.iter().find(|far| far.index == index).map(|far| far.name.clone());
        Some(Peer { index, interface, place: there.cloned() })
    };
    links.iter().filter_map(|link| Some((link.index, peer(link)?))).collect()
}

/// The places that `place` has numbers for, by those, with their links. What cannot be asked is left out: a namespace
/// may be gone by now, or not be for this process to look into.
fn by_number(place: &Place, places: &mut Places) -> BTreeMap<i32, (Place, Vec<Link>)> {
    let namespaces = Netns::list().unwrap_or_default().into_iter().map(Place::Netns);
    let mut found = BTreeMap::new();
    for other in std::iter::once(Place::Host).chain(namespaces).filter(|other| other != place) {
        if let Some(number) = number_of(&other, place, places) {
            let links = links_of(&other, places).unwrap_or_default();
            found.entry(number).or_insert((other, links));
        }
    }
    found
}

fn number_of(other: &Place, place: &Place, places: &mut Places) -> Option<i32> {
    let netns = match other {
        Place::Host => Netns::current(),
        Place::Netns(name) => Netns::open(name),
    };
    nsid::of(places.socket(place).ok()?, netns.ok()?.as_fd()).ok()?
}

fn links_of(place: &Place, places: &mut Places) -> Option<Vec<Link>> {
    places.open(place).ok()?;
    link::dump(places.socket(place).ok()?).ok()
}
