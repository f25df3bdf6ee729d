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

/// What is remembered of a topology that is, or was, up.
#[derive(Debug, Clone, Copy)]
pub struct Past<'a> {
    /// What it was last told to be.
    pub topology: &'a Topology,
    /// What of the version before that may still be there.
    pub left: Option<&'a Leftover>,
    /// Whether a netctl of before there was the number may have set its routes.
    pub is_older: bool,
}

/// What a topology was last told to be: which routes and addresses it has, or had, made.
#[derive(Debug, Default)]
pub struct Recorded<'a> {
    routes: HashMap<(&'a Place, IpNet), Vec<&'a Route>>,
    rules: HashSet<&'a Rule>,
    addresses: HashSet<(&'a Place, &'a IfName, IpNet)>,
    /// Whether a netctl of before there was the number may have set its routes.
    is_older: bool,
    /// The other topologies with the same host.
    others: Vec<&'a Topology>,
}

impl<'a> Recorded<'a> {
    /// What the record has; nothing without one. What `others` with the same host want there, too, is theirs when it is no
    /// longer wanted.
    #[must_use]
    pub fn of(past: Option<Past<'a>>, others: Vec<&'a Topology>) -> Self {
        let Some(Past { topology, left, is_older }) = past else {
            return Self { others, ..Self::default() };
        };
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
            is_older,
            others,
        }
    }

    /// Whether a topology's command set a route of this place. In the namespaces that it owns nobody else has the number;
    /// elsewhere other topologies do, too. A netctl of before there was the number wrote `boot`: since then, a route of
    /// that kind is somebody else's, though the topology wants the same.
    #[must_use]
    pub fn has_route(&self, route: &Route, seen: &route::Route, is_own_place: bool) -> bool {
        let protocol = u8::from(seen.protocol);
        let by_netctl = protocol == RTPROT_NETCTL;
        let by_older = self.is_older && matches!(seen.protocol, Rtprot::Boot | Rtprot::Static);
        let is_recorded = || {
            let same = self.routes.get(&(&route.place, route.to));
            same.is_some_and(|same| same.iter().any(|recorded| recorded.is(route)))
        };
        by_netctl && is_own_place
            || (by_netctl || by_older)
                && is_recorded()
                && !self.is_wanted_beside(&route.place, |other| other.routes.iter().any(|its| its.is(route)))
    }

    /// Whether a topology's command put a policy rule in force: as with routes.
    #[must_use]
    pub fn has_rule(&self, rule: &Rule, seen: &rule::Rule, is_own_place: bool) -> bool {
        let is_wanted_beside = || self.is_wanted_beside(&rule.place, |other| other.rules.contains(rule));
        seen.is_netctls() && (is_own_place || self.rules.contains(rule) && !is_wanted_beside())
    }

    fn is_wanted_beside(&self, place: &Place, wants: impl Fn(&Topology) -> bool) -> bool {
        *place == Place::Host && self.others.iter().any(|other| wants(other))
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
