//! Routes: the topology's own, beside everybody else's.

use std::collections::HashMap;

use ipnet::IpNet;

use super::{Conflict, Planner};
use crate::{
    model::{IfName, Place, Route},
    observed::{ObservedPlace, ObservedRoute},
    op::{Op, RouteChange},
};

/// What no two routes of a place share.
type Key = (IpNet, u32, u32);

impl Planner<'_> {
    /// What goes is deleted aloud, and first of all: whether the kernel would take a route away with its link or its
    /// address depends on the family and on what else the link has.
    ///
    /// A route that somebody else has set in the place of a wanted one is in the way. One that was set by hand in a
    /// namespace of the topology is replaced, a program's is refused: it would come again.
    pub(super) fn routes(&mut self) -> Result<(), Conflict> {
        let given = self.given;
        let mut wanted: HashMap<&Place, HashMap<Key, Vec<&Route>>> = HashMap::new();
        for route in &given.topology.routes {
            wanted.entry(&route.place).or_default().entry(route.key()).or_default().push(route);
        }
        let none = HashMap::new();
        let (mut leaving, mut there_already) = (Vec::new(), Vec::new());
        for (place, there) in given.kept_places() {
            let wanted = wanted.get(place).unwrap_or(&none);
            for seen in &there.routes {
                let beside = wanted.get(&seen.route.key()).map_or(&[][..], Vec::as_slice);
                let same = beside.iter().find(|route| route.is(&seen.route));
                match same {
                    Some(&route) if seen.is_marked() && self.survives(place, there, &seen.route) => {
                        there_already.push(route);
                    }
                    Some(_) => leaving.push(delete(seen)),
                    None if seen.owned => leaving.push(delete(seen)),
                    None if beside.is_empty() => {}
                    None if given.is_own(place) && seen.is_by_hand() => leaving.push(delete(seen)),
                    None => {
                        let seen = seen.clone();
                        return Err(Conflict::Route {
                            wanted: Box::new(beside[0].clone()),
                            seen: Box::new(seen),
                        });
                    }
                }
            }
        }
        let missing = given.topology.routes.iter().filter(|route| !there_already.contains(route));
        self.ops.extend(
            missing.map(|route| {
                Op::new(&route.place, RouteChange::AddRoute { route: route.clone(), owned: true })
            }),
        );
        self.ops.splice(0..0, leaving);
        Ok(())
    }

    /// Whether a route that is there can stay: this plan leaves alone the link that it leads out of, and an address that
    /// its next hop is reached by.
    fn survives(&self, place: &Place, there: &ObservedPlace, route: &Route) -> bool {
        let is_gone = |interface: &IfName| self.gone.contains(&(place.clone(), interface.clone()));
        if route.dev.as_ref().is_some_and(is_gone) {
            return false;
        }
        let Some(via) = route.via else { return true };
        let stays = |interface: &IfName, address: &IpNet| {
            !is_gone(interface) && !self.lost.contains(&(place.clone(), interface.clone(), *address))
        };
        let is_lost =
            |interface: &IfName, address: &IpNet| address.contains(&via) && !stays(interface, address);
        let addresses =
            || there.links.iter().flat_map(|(name, link)| link.addresses.iter().map(move |its| (name, its)));
        let is_reached = addresses().any(|(name, address)| address.contains(&via) && stays(name, address));
        is_reached || !addresses().any(|(name, address)| is_lost(name, address))
    }
}

fn delete(seen: &ObservedRoute) -> Op {
    let (route, protocol) = (seen.route.clone(), Some(seen.protocol));
    Op::new(&seen.route.place, RouteChange::DeleteRoute { route, protocol })
}
