//! From what is wanted and what is there to the operations between them. Pure.
//!
//! The order is that of safety. What is in the way goes first. Translation is in force before forwarding is turned on,
//! so that no packet leaves untranslated meanwhile. What cannot be undone, the end of a namespace, comes last, when
//! nothing can fail any more.

mod classic;
mod conflict;
mod host;
mod links;
mod moves;
mod nat;
mod policy;
mod routes;
mod rules;
mod shortcut;
mod sysctls;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use ipnet::IpNet;

use crate::{
    model::{IfName, LOCAL_PORTS, NetnsName, Place, Topology},
    observed::{HostRoute, Observed, ObservedPlace},
    op::{NamespaceChange, Op, SysctlChange},
};
pub use conflict::{Conflict, Neighbour, Overlap};

/// The operations that make `observed` into `topology`, in order. None where they agree.
///
/// # Errors
/// If something foreign is in the way.
pub fn plan(topology: &Topology, observed: &Observed) -> Result<Vec<Op>, Conflict> {
    let names = topology.namespaces.iter().map(|namespace| &namespace.name).collect();
    let given = Given { topology, observed, names: &names };
    given.refuse_foreign_namespaces()?;
    host::check(given)?;
    let mut planner = Planner::new(given);
    planner.delete_links();
    planner.retire_nat();
    planner.create_namespaces();
    planner.sysctls_of_new_links();
    planner.bridges()?;
    planner.cables()?;
    planner.other_links()?;
    planner.addresses();
    planner.constants();
    planner.nat();
    planner.rules();
    planner.sysctls();
    planner.sysctl_of_conntrack();
    planner.sysctls_of_netfilter();
    planner.routes()?;
    planner.policy()?;
    planner.end_rules();
    planner.unload_nat();
    planner.delete_namespaces();
    Ok(planner.ops)
}

/// The operations that make the translation of `topology`'s gateways what it is to be, in order; everything else stays
/// as it is. Every place of `observed` that is no gateway loses what it has of it.
#[must_use]
pub fn translation(topology: &Topology, observed: &Observed) -> Vec<Op> {
    let names = HashSet::new();
    let mut planner = Planner::new(Given { topology, observed, names: &names });
    planner.retire_nat();
    planner.nat();
    planner.sysctls();
    planner.sysctl_of_conntrack();
    planner.unload_nat();
    planner.ops
}

/// What a plan is made from.
#[derive(Clone, Copy)]
struct Given<'a> {
    topology: &'a Topology,
    observed: &'a Observed,
    /// The namespaces of the topology.
    names: &'a HashSet<&'a NetnsName>,
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
        match place {
            Place::Host => true,
            Place::Netns(name) => self.names.contains(name),
        }
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
    /// Addresses that this plan deletes.
    lost: BTreeSet<(Place, IfName, IpNet)>,
    /// Cables that this plan changes in place.
    moved: Vec<moves::Moved<'a>>,
}

impl<'a> Planner<'a> {
    fn new(given: Given<'a>) -> Self {
        let (ops, fresh, lost) = Default::default();
        let moved = given.moved();
        // Where it came from, an end that is moved is gone like one that is deleted.
        let left = moved.iter().filter(|moved| !moved.is_renamed()).map(|moved| moved.from);
        let gone = left.map(|(place, interface)| (place.clone(), interface.clone())).collect();
        Self { given, ops, fresh, gone, lost, moved }
    }
}

impl Planner<'_> {
    fn create_namespaces(&mut self) {
        let given = self.given;
        let missing = |name: &&NetnsName| given.there(&Place::Netns((*name).clone())).is_none();
        let names = given.topology.namespaces.iter().map(|namespace| &namespace.name).filter(missing);
        self.ops
            .extend(names.map(|name| Op::new(&Place::Netns(name.clone()), NamespaceChange::CreateNamespace)));
    }

    /// Those that it owns and no longer has.
    fn delete_namespaces(&mut self) {
        let given = self.given;
        for place in given.observed.places.keys() {
            if !given.is_wanted(place) && given.is_own(place) {
                self.ops.push(Op::new(place, NamespaceChange::DeleteNamespace));
            }
        }
    }

    /// What the programs are loaded with.
    fn constants(&mut self) {
        for (place, wanted) in &self.given.topology.sysctls {
            if let Some((key, value)) = wanted.get_key_value(LOCAL_PORTS) {
                self.sysctl(place, key, value);
            }
        }
    }

    /// With IPv6 forwarding on, the kernel forgets what routers advertise and heeds them no more, unless told that it may
    /// do both (`accept_ra` 2, rt6_purge_dflt_routers in net/ipv6/route.c): the host would lose its default route.
    fn keep_advertised_routes(&mut self) {
        let given = self.given;
        if !given.topology.forwards(&Place::Host, false) {
            return;
        }
        let Some(host) = given.there(&Place::Host) else { return };
        let keys: BTreeSet<String> =
            given.observed.host_routes.iter().filter_map(HostRoute::accept_ra).collect();
        for key in keys {
            if let Some(Some(before)) = host.sysctls.get(&key).filter(|value| value.as_deref() == Some("1")) {
                let (before, value) = (Some(before.clone()), "2".to_owned());
                self.ops.push(Op::new(&Place::Host, SysctlChange { key, value, before }));
            }
        }
    }
}

/// What is wanted of each link: its addresses, by place and name.
fn wanted_addresses(topology: &Topology) -> BTreeMap<(&Place, &IfName), &[IpNet]> {
    topology.interfaces().map(|its| ((its.place, its.interface), its.addresses)).collect()
}

#[cfg(test)]
mod tests;
