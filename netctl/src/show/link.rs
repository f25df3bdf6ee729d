//! Links, with what is behind them.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    Error,
    foreign::{Own, ShownAddress},
    place::View,
};
use crate::{
    model::{End, IfName, Place, Topology},
    netlink::{addr, fdb, link},
    ownership,
    place::Places,
    single::{
        link::{Listed, Peer},
        peer,
    },
};

/// One link.
#[derive(Debug, Serialize)]
pub struct ShownLink {
    /// What `link ls` has of it.
    #[serde(flatten)]
    pub its: Listed,
    /// What the file calls it, or what its name is the shortened form of.
    pub full_name: Option<String>,
    /// Of a VLAN, its number; the link below is the `peer`.
    pub vlan: Option<u16>,
    /// Its addresses, those that the kernel gives by itself included.
    pub addresses: Vec<ShownAddress>,
}

/// What the kernel tells of a place's links.
pub(super) struct Dumped {
    pub(super) links: Vec<link::Link>,
    addresses: Vec<addr::Address>,
    learned: Vec<fdb::Entry>,
}

pub(super) fn dump(place: &Place, places: &mut Places) -> Result<Dumped, Error> {
    let socket = places.socket(place)?;
    let links = link::dump(socket)?;
    let has_ports = links.iter().any(|link| link.master.is_some());
    let learned = if has_ports { fdb::dump(socket)? } else { Vec::new() };
    Ok(Dumped { links, addresses: addr::dump(socket)?, learned })
}

impl Dumped {
    pub(super) fn shown(
        &self,
        place: &Place,
        view: View<'_>,
        there: &BTreeMap<Place, Self>,
        places: &mut Places,
    ) -> Result<Vec<ShownLink>, Error> {
        let links: Vec<&link::Link> = self.links.iter().filter(|link| is_shown(link, place, view)).collect();
        let mut peers = BTreeMap::new();
        for link in links.iter().filter(|link| link.peer_index.is_some()) {
            let is_here = link.vlan.is_some() && link.peer_netnsid.is_none();
            let expected = || view.topology.and_then(|topology| expected(topology, place, &link.name));
            let expected = if is_here { Some(place) } else { expected() };
            let Some(peer) = self.peer(link, place, expected, there, places)? else {
                // Not what the topology says: then any namespace may have it.
                peers = peer::resolve(place, &self.links, places);
                break;
            };
            peers.insert(link.index, peer);
        }
        let own = Own { topology: view.topology, place };
        let addresses_of = |link: &link::Link| {
            let its = self.addresses.iter().filter(|its| its.index == link.index);
            its.map(|its| own.address(its, link)).collect()
        };
        Ok(links
            .into_iter()
            .map(|link| ShownLink {
                full_name: link.alias.as_deref().and_then(ownership::full_name).map(str::to_owned),
                vlan: link.vlan.map(|vlan| vlan.id),
                addresses: addresses_of(link),
                its: Listed::new(link.clone(), peers.remove(&link.index), &self.links, &self.learned),
            })
            .collect())
    }

    /// A cable's other end, or the link below a VLAN, if it is where it is expected.
    fn peer(
        &self,
        link: &link::Link,
        place: &Place,
        expected: Option<&Place>,
        there: &BTreeMap<Place, Self>,
        places: &mut Places,
    ) -> Result<Option<Peer>, Error> {
        let (Some(index), Some(other)) = (link.peer_index, expected) else { return Ok(None) };
        let Some(dumped) = there.get(other) else { return Ok(None) };
        let is_there = match link.peer_netnsid {
            None => other == place,
            Some(number) => places.number_of(other, place)? == Some(number),
        };
        let far = dumped.links.iter().find(|far| is_there && far.index == index);
        Ok(far.map(|far| Peer { index, interface: Some(far.name.clone()), place: Some(other.clone()) }))
    }
}

fn is_shown(link: &link::Link, place: &Place, view: View<'_>) -> bool {
    match (view.link, view.topology, place) {
        (Some(only), ..) => link.name == only.as_str(),
        (None, Some(topology), Place::Host) => {
            link.alias.as_deref().and_then(ownership::owner).as_ref() == Some(&topology.name)
        }
        _ => link.name != "lo",
    }
}

/// Where the topology has the other end of a link.
fn expected<'a>(topology: &'a Topology, place: &Place, interface: &str) -> Option<&'a Place> {
    let is = |end: &End| end.place == *place && IfName::as_str(&end.interface) == interface;
    topology.cables.iter().find_map(|cable| {
        let far = if is(&cable.a) { &cable.b } else { is(&cable.b).then_some(&cable.a)? };
        Some(&far.place)
    })
}
