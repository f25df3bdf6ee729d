//! The routes of a topology by where they are set and lead.

use std::{collections::BTreeMap, net::IpAddr};

use super::{IfName, Place, Route, links::Links, networks::Networks};

/// `RT_TABLE_LOCAL`, where the kernel keeps the place's own addresses.
pub(super) const LOCAL_TABLE: u32 = 255;
/// `RT_TABLE_MAIN`.
pub(super) const MAIN_TABLE: u32 = 254;
/// `IP6_RT_PRIO_USER`, the metric that an IPv6 route gets which has none.
const USUAL_IPV6_METRIC: u32 = 1024;

/// The routes, in order and by where they are set and lead.
#[derive(Default)]
pub(super) struct Routes {
    pub(super) all: Vec<Route>,
    /// The best of the main table, as indexes of `all`.
    main: BTreeMap<Place, Networks<usize>>,
    /// Those of other tables, which policy rules may ask.
    others: BTreeMap<Place, Networks<usize>>,
}

impl Routes {
    /// The routes of a place's main table, the best to each network.
    pub(super) fn of(&self, place: &Place) -> Option<&Networks<usize>> {
        self.main.get(place)
    }

    fn push(&mut self, route: Route) {
        let tables = if route.table.is_none() { &mut self.main } else { &mut self.others };
        let networks = tables.entry(route.place.clone()).or_default();
        let is_better = |&other: &usize| route.metric() < self.all[other].metric();
        if networks.get(&route.to).is_some_and(is_better) {
            networks.replace(route.to, self.all.len());
        } else {
            networks.insert(route.to, self.all.len());
        }
        self.all.push(route);
    }

    /// The interface by which `place` sends to `to`: the one that is connected to it, else the one that the most
    /// specific route leads out of, of the main table before others. `None` also where the host alone knows.
    pub(super) fn interface_towards<'a>(
        &self,
        to: IpAddr,
        place: &Place,
        links: &'a Links,
    ) -> Option<&'a IfName> {
        let connected = |address| links.towards(place, address).map(|link| &link.name);
        let way = |tables: &BTreeMap<Place, Networks<usize>>| {
            let (_, &best) = tables.get(place)?.longest(to)?;
            let route = &self.all[best];
            match &route.dev {
                Some(dev) => links.named(place, dev.as_str()).map(|link| &link.name),
                None => connected(route.via?),
            }
        };
        connected(to).or_else(|| way(&self.main)).or_else(|| way(&self.others))
    }
}

impl Route {
    /// The metric that the kernel gives it.
    pub(super) fn metric(&self) -> u32 {
        self.metric.unwrap_or(if self.to.addr().is_ipv4() { 0 } else { USUAL_IPV6_METRIC })
    }

    /// Whether it is of the main table and has the kernel's own metric.
    pub(super) fn is_usual(&self) -> bool {
        self.table.is_none() && self.metric.is_none()
    }

    /// The place that is its next hop.
    pub(super) fn next_place<'a>(&self, links: &'a Links) -> Option<&'a Place> {
        links.neighbour(&self.place, self.via?, self.dev.as_ref())
    }
}

impl FromIterator<Route> for Routes {
    fn from_iter<I: IntoIterator<Item = Route>>(all: I) -> Self {
        let mut routes = Self::default();
        all.into_iter().for_each(|route| routes.push(route));
        routes
    }
}
