//! What others administer on a topology's links and in its namespaces: it is left alone by `up` and `down`.

use serde::Serialize;

use crate::{
    model::{IfName, Place, Topology},
    netlink::{addr, link, route, rule},
    observe::{administered_route, administered_rule, is_administered},
    single,
};

/// An address of a link.
#[derive(Debug, Serialize)]
pub struct ShownAddress {
    /// What `addr ls` has of it.
    #[serde(flatten)]
    pub its: single::addr::Address,
    /// In how many seconds it goes by itself; `None` if it stays.
    pub valid: Option<u32>,
    /// Whether it is on a link of the topology, and neither the topology's nor the kernel's own.
    pub foreign: bool,
}

/// A route.
#[derive(Debug, Serialize)]
pub struct ShownRoute {
    /// What `route ls` has of it.
    #[serde(flatten)]
    pub its: single::route::Listed,
    /// Whether it is the topology's place, or link, and the route neither the topology's nor the kernel's own.
    pub foreign: bool,
}

/// A policy rule.
#[derive(Debug, Serialize)]
pub struct ShownPolicy {
    /// The rule.
    #[serde(flatten)]
    pub its: single::rule::Listed,
    /// Likewise.
    pub foreign: bool,
}

/// Whose things are a topology's.
#[derive(Clone, Copy)]
pub(super) struct Own<'a> {
    pub(super) topology: Option<&'a Topology>,
    pub(super) place: &'a Place,
}

impl Own<'_> {
    pub(super) fn address(self, its: &addr::Address, link: &link::Link) -> ShownAddress {
        let foreign = self.topology.is_some_and(|topology| {
            let is_named = |name: &IfName| name.as_str() == link.name;
            let mut own =
                topology.interfaces().filter(|own| own.place == self.place && is_named(own.interface));
            let wanted = own.next().map(|own| own.addresses);
            let is_wanted = |wanted: &[ipnet::IpNet]| wanted.contains(&its.address);
            is_administered(its) && !its.is_netctls() && wanted.is_some_and(|wanted| !is_wanted(wanted))
        });
        ShownAddress { its: its.into(), valid: its.lifetimes.valid, foreign }
    }

    /// The route, and whether the topology wants it.
    pub(super) fn route(self, its: &route::Route, links: &[link::Link]) -> (ShownRoute, bool) {
        let names = links.iter().filter_map(|link| Some((link.index, link.name.parse().ok()?))).collect();
        let seen = self.topology.and_then(|_| administered_route(self.place, its, &names));
        let is_wanted = self.topology.zip(seen).is_some_and(|(topology, seen)| {
            let mut own = topology.routes.iter();
            !its.is_kernels() && own.any(|wanted| wanted.is(&seen))
        });
        let foreign = self.topology.is_some() && !its.is_kernels() && !its.is_netctls() && !is_wanted;
        (ShownRoute { its: single::route::Listed::new(its, links), foreign }, is_wanted)
    }

    /// The rule, and whether the topology wants it.
    pub(super) fn policy(self, its: rule::Rule) -> (ShownPolicy, bool) {
        let is_wanted = self.topology.is_some_and(|topology| {
            administered_rule(self.place, &its).is_some_and(|seen| topology.rules.contains(&seen))
        });
        let foreign = self.topology.is_some() && !its.is_kernels() && !its.is_netctls() && !is_wanted;
        (ShownPolicy { its: its.into(), foreign }, is_wanted)
    }
}
