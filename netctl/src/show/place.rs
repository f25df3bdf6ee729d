//! A place: its links, routes, neighbours, sysctls and translation.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    Error, ShownLink, ShownNat, ShownSysctl,
    link::{Dumped, dump},
    nat, sysctls,
};
use crate::{
    model::{IfName, Place, Topology},
    nat::pinned::{Pinned, pinned},
    netlink::{neigh, route},
    place::Places,
    single,
    state::Directories,
};

/// One place.
#[derive(Debug, Serialize)]
pub struct ShownPlace {
    /// `host` or the namespace.
    pub name: Place,
    /// False if somebody removed it.
    pub exists: bool,
    /// Its links without the loopback; of the host, where a topology is looked at, only the topology's.
    pub links: Vec<ShownLink>,
    /// The main table's routes by these links and, where these are all, those by none.
    pub routes: Vec<single::route::Listed>,
    /// What is known about these links' neighbours.
    pub neighbours: Vec<single::neigh::Listed>,
    /// Forwarding, what the topology sets, and what is in the way of translation.
    pub sysctls: Vec<ShownSysctl>,
    /// Its translation, an entry for each who has rules there; none where one link is looked at.
    pub nat: Vec<ShownNat>,
}

/// What of a place is looked at.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    /// The topology that the places are of.
    pub(super) topology: Option<&'a Topology>,
    /// The one link.
    pub(super) link: Option<&'a IfName>,
}

/// Looks at places.
pub(super) fn look(
    wanted: &[Place],
    view: View<'_>,
    directories: &Directories,
) -> Result<Vec<ShownPlace>, Error> {
    let mut places = Places::default();
    let gateways = pinned(&directories.bpffs)?;
    let mut there = BTreeMap::new();
    for place in wanted {
        if places.open(place)? {
            there.insert(place.clone(), dump(place, &mut places)?);
        }
    }
    let look = |place: &Place| match there.get(place) {
        None => Ok(ShownPlace::missing(place)),
        Some(dumped) => {
            let mut seen = ShownPlace::new(place, view, dumped, &there, &mut places)?;
            let gateways = gateways.iter().filter(|its| its.place == *place);
            seen.look_closer(gateways, view, dumped, &places, directories)?;
            Ok(seen)
        }
    };
    wanted.iter().map(look).collect()
}

impl ShownPlace {
    fn missing(place: &Place) -> Self {
        let (links, routes, neighbours) = (Vec::new(), Vec::new(), Vec::new());
        let (sysctls, nat) = (Vec::new(), Vec::new());
        Self { name: place.clone(), exists: false, links, routes, neighbours, sysctls, nat }
    }

    fn new(
        place: &Place,
        view: View<'_>,
        dumped: &Dumped,
        there: &BTreeMap<Place, Dumped>,
        places: &mut Places,
    ) -> Result<Self, Error> {
        let links = dumped.shown(place, view, there, places)?;
        let shows = |interface: &str| links.iter().any(|link| link.its.name == interface);
        let socket = places.socket(place)?;
        let mut routes = route::dump(socket)?;
        routes.retain(route::Route::is_main);
        let mut routes = single::route::listed(routes, &dumped.links);
        // What leads nowhere is nobody's: shown where everything of a place is.
        let is_whole = view.link.is_none() && !(*place == Place::Host && view.topology.is_some());
        routes.retain(|route| route.interface.as_deref().map_or(is_whole, shows));
        let mut neighbours = single::neigh::listed(neigh::dump(socket)?, &dumped.links);
        neighbours.retain(|neighbour| shows(&neighbour.interface));
        Ok(Self { exists: true, links, routes, neighbours, ..Self::missing(place) })
    }

    fn look_closer<'a>(
        &mut self,
        gateways: impl Iterator<Item = &'a Pinned>,
        view: View<'_>,
        dumped: &Dumped,
        places: &Places,
        directories: &Directories,
    ) -> Result<(), Error> {
        let netns = places.netns(&self.name)?;
        self.sysctls = sysctls::look(&self.name, view, netns)?;
        if view.link.is_none() {
            self.nat = nat::by_programs(self, &dumped.links, gateways, view.topology, netns, directories)?;
            self.nat.extend(nat::by_netfilter(&self.name, view.topology, netns)?);
        }
        Ok(())
    }
}
