//! A place: its links, routes, neighbours, sysctls and translation.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    Error, ShownLink, ShownNat, ShownPolicy, ShownRoute, ShownSysctl,
    foreign::Own,
    link::{Dumped, dump},
    nat, sysctls,
};
use crate::{
    model::{IfName, Place, Topology},
    nat::pinned::{Pinned, pinned},
    netlink::{neigh, route, rule},
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
    /// The routes by these links and, where these are all, those by none; of every table but that of the place's own
    /// addresses.
    pub routes: Vec<ShownRoute>,
    /// The policy rules, where these are all its links; else those of the topology.
    pub rules: Vec<ShownPolicy>,
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
        let (links, routes, rules, neighbours) = Default::default();
        let (sysctls, nat) = Default::default();
        Self { name: place.clone(), exists: false, links, routes, rules, neighbours, sysctls, nat }
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
        let own = Own { topology: view.topology, place };
        let mut routes = route::dump(socket)?;
        routes.retain(|route| !route.is_of_local_table());
        single::route::sort(&mut routes);
        routes.sort_by_key(|route| !route.is_main());
        let is_whole = view.link.is_none() && !(*place == Place::Host && view.topology.is_some());
        // A topology's routes of the host may be by links of others.
        let is_shown = |(route, is_wanted): &(ShownRoute, bool)| match route.its.interface.as_deref() {
            // What leads nowhere is, of IPv6, by the loopback.
            Some("lo") | None => is_whole || *is_wanted && view.link.is_none(),
            Some(interface) => shows(interface) || *is_wanted && view.link.is_none(),
        };
        let routes = routes.iter().map(|route| own.route(route, &dumped.links)).filter(is_shown);
        let routes = routes.map(|(route, _)| route).collect();
        let rules = if view.link.is_none() { rule::dump(socket)? } else { Vec::new() };
        let rules = rules.into_iter().map(|rule| own.policy(rule));
        let rules = rules.filter(|(_, is_wanted)| is_whole || *is_wanted).map(|(rule, _)| rule).collect();
        let mut neighbours = single::neigh::listed(neigh::dump(socket)?, &dumped.links);
        neighbours.retain(|neighbour| shows(&neighbour.interface));
        Ok(Self { exists: true, links, routes, rules, neighbours, ..Self::missing(place) })
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
