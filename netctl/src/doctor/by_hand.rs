//! The gateways that belong to no topology: made by `netctl nat … add` alone, and so without a record of how the rest
//! should be.

use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, gateway};
use crate::{
    model::{Backend, Gateway, IfName, Place, Topology, TopologyName},
    single::{self, nat},
    state::Directories,
};

/// What there is to say of each; nothing where there is none.
pub(super) fn examine(directories: &Directories) -> Vec<Finding> {
    let gateways = match gateways(directories) {
        Ok(gateways) => gateways,
        Err(error) => return vec![Finding::unknown("gateways made by hand", &error)],
    };
    let mut findings = Vec::new();
    for gateway in gateways {
        let topology = Topology::of_gateway(TopologyName::by_hand(), gateway);
        for gateway in &topology.gateways {
            let needed = topology.sysctls.get(&gateway.place);
            findings.extend(gateway::sysctls(&gateway.place, needed.into_iter().flatten()));
            findings.extend(gateway::examine(gateway, None, directories));
        }
    }
    findings
}

/// Each with its rules. Which interfaces lead inside is not remembered.
fn gateways(directories: &Directories) -> Result<Vec<Gateway>, single::Error> {
    let mut gateways: BTreeMap<Place, Gateway> = BTreeMap::new();
    let new = |place: &Place| {
        let (uplinks, insides, ports) = (Vec::new(), Vec::new(), Vec::new());
        let (masquerades, forwards) = (Vec::new(), Vec::new());
        Gateway {
            place: place.clone(),
            backend: Backend::Ebpf,
            uplinks,
            insides,
            ports,
            masquerades,
            forwards,
        }
    };
    for its in nat::ls_masquerades(None, directories)?.into_iter().filter(|its| its.topology.is_none()) {
        let gateway = gateways.entry(its.gateway).or_insert_with_key(new);
        let uplinks: BTreeSet<&IfName> = gateway.uplinks.iter().chain(&its.rule.out).collect();
        gateway.uplinks = uplinks.into_iter().cloned().collect();
        gateway.masquerades.push(its.rule);
    }
    for its in nat::ls_forwards(None, directories)?.into_iter().filter(|its| its.topology.is_none()) {
        gateways.entry(its.gateway).or_insert_with_key(new).forwards.push(its.rule);
    }
    Ok(gateways.into_values().collect())
}
