//! Translation by netfilter: rules, and the sysctls that they need.

use super::Planner;
use crate::{
    model::{
        Backend, Place,
        backend::{BRIDGED, ROUTE_LOCALNET},
    },
    netfilter::{self, Rules},
    op::{FilterChange, Op, SysctlChange},
};

impl Planner<'_> {
    /// Puts wanted rules in force, or in their place again.
    pub(super) fn rules(&mut self) {
        let none = Rules::default();
        for (place, by_tool) in netfilter::wanted(self.given.topology) {
            for (tool, rules) in by_tool {
                let found =
                    self.given.there(&place).and_then(|there| there.rules.get(&tool)).unwrap_or(&none);
                if !found.is_same(&rules) {
                    let before = found.clone();
                    self.ops.push(Op::new(&place, FilterChange { tool, rules, before }));
                }
            }
        }
    }

    /// Ends the others, where something translates in their stead by then. Those of a namespace that is deleted go with
    /// it.
    pub(super) fn end_rules(&mut self) {
        let wanted = netfilter::wanted(self.given.topology);
        for (place, there) in self.given.kept_places() {
            let is_wanted = |tool| wanted.get(place).is_some_and(|by_tool| by_tool.contains_key(tool));
            for (&tool, before) in there.rules.iter().filter(|(tool, _)| !is_wanted(tool)) {
                let (rules, before) = (Rules::default(), before.clone());
                self.ops.push(Op::new(place, FilterChange { tool, rules, before }));
            }
        }
    }

    /// In a gateway's own namespace, a bridge's traffic is none of netfilter's business; and what only its rules needed
    /// goes with them. The host's bridges are others' business, too, and what was found there is in the record.
    pub(super) fn sysctls_of_netfilter(&mut self) {
        let given = self.given;
        let on_host = given.there(&Place::Host);
        let exists = |key: &str| on_host.is_some_and(|host| matches!(host.sysctls.get(key), Some(Some(_))));
        let is_set = |place: &Place, key: &str| {
            given.topology.sysctls.get(place).is_some_and(|wanted| wanted.contains_key(key))
        };
        let found = |place: &Place, key: &str| given.there(place)?.sysctls.get(key).cloned().flatten();
        let mut zero = |place: &Place, key: &str| {
            let (key, before) = (key.to_owned(), found(place, key));
            self.ops.push(Op::new(place, SysctlChange { key, value: "0".to_owned(), before }));
        };
        let gateways = given.topology.gateways.iter().filter(|gateway| gateway.backend != Backend::Ebpf);
        for place in gateways.map(|gateway| &gateway.place).filter(|place| **place != Place::Host) {
            for key in BRIDGED.into_iter().filter(|key| exists(key) && !is_set(place, key)) {
                if found(place, key).as_deref() != Some("0") {
                    zero(place, key);
                }
            }
        }
        for (place, _) in given.kept_places().filter(|(place, _)| **place != Place::Host) {
            let is_on = found(place, ROUTE_LOCALNET).as_deref() == Some("1");
            if is_on && !is_set(place, ROUTE_LOCALNET) {
                zero(place, ROUTE_LOCALNET);
            }
        }
    }
}
