//! From what is wanted and what is there to the operations between them. Pure.
//!
//! The order is that of safety. What is in the way goes first. Translation is in force before forwarding is turned on,
//! so that no packet leaves untranslated meanwhile. What cannot be undone, the end of a namespace, comes last, when
//! nothing can fail any more.

mod links;
mod nat;

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use crate::{
    model::{IfName, NetnsName, Place, Route, Topology, TopologyName},
    observe::{Observed, ObservedPlace},
    op::{At, Op},
};

/// Why a topology cannot be brought up: something that is not its own is in its way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// A namespace of that name exists.
    #[error("create namespace `{name}`: it exists already and {}", whose(owner.as_ref()))]
    Namespace {
        /// Its name.
        name: NetnsName,
        /// Whose it is, if netctl made it.
        owner: Option<TopologyName>,
    },
    /// An interface of that name exists.
    #[error("create link `{interface}` {}: it exists already and {}", At(place), whose(owner.as_ref()))]
    Link {
        /// Where.
        place: Place,
        /// Its name.
        interface: IfName,
        /// Whose it is, if netctl made it.
        owner: Option<TopologyName>,
    },
}

fn whose(owner: Option<&TopologyName>) -> String {
    owner.map_or_else(
        || "was not made by netctl".to_owned(),
        |owner| format!("belongs to the topology `{owner}`"),
    )
}

impl Conflict {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        let owner = match self {
            Self::Namespace { owner, .. } | Self::Link { owner, .. } => owner,
        };
        match (self, owner) {
            (_, Some(owner)) => format!("`netctl down {owner}` removes that topology"),
            (Self::Namespace { name, .. }, None) => {
                format!("choose another name in the file, or remove it with `ip netns delete {name}`")
            }
            (Self::Link { .. }, None) => "choose another interface name in the file".to_owned(),
        }
    }
}

/// The operations that make `observed` into `topology`, in order. None where they agree.
///
/// # Errors
/// If something foreign is in the way.
pub fn plan(topology: &Topology, observed: &Observed) -> Result<Vec<Op>, Conflict> {
    let given = Given { topology, observed };
    given.refuse_foreign_namespaces()?;
    let mut planner = Planner { given, ops: Vec::new(), fresh: BTreeSet::new(), gone: BTreeSet::new() };
    planner.delete_links();
    planner.retire_nat();
    planner.create_namespaces();
    planner.bridges()?;
    planner.cables()?;
    planner.addresses();
    planner.nat();
    planner.sysctls();
    planner.routes();
    planner.unload_nat();
    planner.delete_namespaces();
    Ok(planner.ops)
}

/// What a plan is made from.
#[derive(Clone, Copy)]
struct Given<'a> {
    topology: &'a Topology,
    observed: &'a Observed,
}

impl<'a> Given<'a> {
    fn there(self, place: &Place) -> Option<&'a ObservedPlace> {
        self.observed.places.get(place)
    }

    /// Whether it is a namespace of this topology, in which everything may be as the file wants it.
    fn is_own(self, place: &Place) -> bool {
        self.there(place).is_some_and(|there| there.owner.as_ref() == Some(&self.topology.name))
    }

    fn is_wanted(self, place: &Place) -> bool {
        let is = |name: &NetnsName| self.topology.namespaces.iter().any(|namespace| namespace.name == *name);
        matches!(place, Place::Host) || matches!(place, Place::Netns(name) if is(name))
    }

    /// The places that stay, with what is there.
    fn kept_places(self) -> impl Iterator<Item = (&'a Place, &'a ObservedPlace)> {
        self.observed.places.iter().filter(move |(place, _)| self.is_wanted(place))
    }

    fn refuse_foreign_namespaces(self) -> Result<(), Conflict> {
        for namespace in &self.topology.namespaces {
            let place = Place::Netns(namespace.name.clone());
            if let Some(there) = self.there(&place).filter(|_| !self.is_own(&place)) {
                let (name, owner) = (namespace.name.clone(), there.owner.clone());
                return Err(Conflict::Namespace { name, owner });
            }
        }
        Ok(())
    }
}

struct Planner<'a> {
    given: Given<'a>,
    ops: Vec<Op>,
    /// Links that this plan makes: whatever was seen of one of that name is no longer true.
    fresh: BTreeSet<(Place, IfName)>,
    /// Links that this plan deletes.
    gone: BTreeSet<(Place, IfName)>,
}

impl Planner<'_> {
    fn create_namespaces(&mut self) {
        let given = self.given;
        let missing = |name: &&NetnsName| given.there(&Place::Netns((*name).clone())).is_none();
        let names = given.topology.namespaces.iter().map(|namespace| &namespace.name).filter(missing);
        self.ops.extend(names.map(|name| Op::CreateNamespace { name: name.clone() }));
    }

    /// Those that it owns and no longer has.
    fn delete_namespaces(&mut self) {
        let given = self.given;
        for place in given.observed.places.keys() {
            if let Place::Netns(name) = place
                && !given.is_wanted(place)
                && given.is_own(place)
            {
                self.ops.push(Op::DeleteNamespace { name: name.clone() });
            }
        }
    }

    fn sysctls(&mut self) {
        for (place, wanted) in &self.given.topology.sysctls {
            let found = self.given.there(place).map(|there| &there.sysctls);
            // Forwarding first: turning it sets other keys of the interfaces (inet_forward_change in
            // net/ipv4/devinet.c), which the file may then set otherwise.
            let (first, rest): (Vec<_>, Vec<_>) = wanted.iter().partition(|(key, _)| is_forwarding(key));
            for (key, value) in first.into_iter().chain(rest) {
                let before = found.and_then(|found| found.get(key)).cloned().flatten();
                if before.as_ref() != Some(value) {
                    let (place, key, value) = (place.clone(), key.clone(), value.clone());
                    self.ops.push(Op::SetSysctl { place, key, value, before });
                }
            }
        }
    }

    /// What goes is deleted aloud, and first of all: whether the kernel would take a route away with its link or its
    /// address depends on the family and on what else the link has, and no inverse brings back what it took.
    fn routes(&mut self) {
        let given = self.given;
        let mut leaving = Vec::new();
        for (place, there) in given.kept_places() {
            for route in &there.routes {
                let is_wanted = given.topology.routes.contains(route);
                let is_lost = !self.survives(place, there, route);
                if is_wanted && is_lost || given.is_own(place) && (is_lost || !is_wanted) {
                    leaving.push(Op::DeleteRoute { route: route.clone() });
                }
            }
        }
        for route in &given.topology.routes {
            let there = given.there(&route.place).filter(|there| there.routes.contains(route));
            if !there.is_some_and(|there| self.survives(&route.place, there, route)) {
                self.ops.push(Op::AddRoute { route: route.clone() });
            }
        }
        self.ops.splice(0..0, leaving);
    }

    /// Whether a route that is there can stay: this plan leaves alone a link and an address that its next hop is reached
    /// by.
    fn survives(&self, place: &Place, there: &ObservedPlace, route: &Route) -> bool {
        let stays = |interface: &IfName, address: &IpNet| {
            let (place, interface) = (place.clone(), interface.clone());
            !self.gone.contains(&(place.clone(), interface.clone()))
                && !self.ops.contains(&Op::DeleteAddress { place, interface, address: *address })
        };
        there.links.iter().any(|(interface, link)| {
            link.addresses.iter().any(|address| address.contains(&route.via) && stays(interface, address))
        })
    }
}

fn is_forwarding(key: &str) -> bool {
    matches!(key, "net.ipv4.ip_forward" | "net.ipv6.conf.all.forwarding")
}

/// What is wanted of each link: its addresses, by place and name.
fn wanted_addresses(topology: &Topology) -> BTreeMap<(&Place, &IfName), &[IpNet]> {
    let bridges = topology.bridges.iter().map(|bridge| ((&bridge.place, &bridge.name), &*bridge.addresses));
    let ends = topology.cables.iter().flat_map(|cable| [&cable.a, &cable.b]);
    bridges.chain(ends.map(|end| ((&end.place, &end.interface), &*end.addresses))).collect()
}

#[cfg(test)]
mod tests;
