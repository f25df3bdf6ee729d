//! Addresses, routes and policy rules: known by the protocol number that they bear, and by the record where that does not
//! tell. Pure.

use std::collections::{HashMap, HashSet};

use ipnet::IpNet;
use neli::consts::rtnl::Rtprot;

use crate::{
    model::{IfName, Leftover, Place, Route, Rule, Topology},
    netlink::{
        addr,
        route::{self, RTPROT_NETCTL},
        rule,
    },
};

/// What a topology was last told to be: which routes and addresses it has, or had, made.
#[derive(Debug, Default)]
pub struct Recorded<'a> {
    routes: HashMap<(&'a Place, IpNet), Vec<&'a Route>>,
    rules: HashSet<&'a Rule>,
    addresses: HashSet<(&'a Place, &'a IfName, IpNet)>,
}

impl<'a> Recorded<'a> {
    /// What the record has; nothing without one.
    #[must_use]
    pub fn of(topology: Option<&'a Topology>, left: Option<&'a Leftover>) -> Self {
        let Some(topology) = topology else { return Self::default() };
        let addresses = topology
            .interfaces()
            .flat_map(|its| its.addresses.iter().map(move |address| (its.place, its.interface, *address)));
        let mut routes: HashMap<_, Vec<_>> = HashMap::new();
        let left = left.into_iter();
        for route in topology.routes.iter().chain(left.clone().flat_map(|left| &left.routes)) {
            routes.entry((&route.place, route.to)).or_default().push(route);
        }
        Self {
            routes,
            rules: topology.rules.iter().chain(left.flat_map(|left| &left.rules)).collect(),
            addresses: addresses.collect(),
        }
    }

    /// Whether a topology's command set a route of this place. In the namespaces that it owns nobody else has the number;
    /// elsewhere other topologies do, too. A netctl of before there was the number wrote `boot`.
    #[must_use]
    pub fn has_route(&self, route: &Route, seen: &route::Route, is_own_place: bool) -> bool {
        let protocol = u8::from(seen.protocol);
        let by_netctl = protocol == RTPROT_NETCTL;
        let by_hand = matches!(seen.protocol, Rtprot::Boot | Rtprot::Static);
        let is_recorded = || {
            let same = self.routes.get(&(&route.place, route.to));
            same.is_some_and(|same| same.iter().any(|recorded| recorded.is(route)))
        };
        by_netctl && is_own_place || (by_netctl || by_hand) && is_recorded()
    }

    /// Whether a topology's command put a policy rule in force: as with routes.
    #[must_use]
    pub fn has_rule(&self, rule: &Rule, seen: &rule::Rule, is_own_place: bool) -> bool {
        seen.is_netctls() && (is_own_place || self.rules.contains(rule))
    }

    /// Whether a topology's command gave a link an address: one of `topology`'s links if `is_own_link`.
    #[must_use]
    pub fn has_address(
        &self,
        place: &Place,
        interface: &IfName,
        seen: &addr::Address,
        is_own_link: bool,
    ) -> bool {
        is_own_link
            && (seen.protocol == Some(RTPROT_NETCTL)
                || seen.lifetimes.valid.is_none()
                    && self.addresses.contains(&(place, interface, seen.address)))
    }
}
