//! Gateways whose rules are netfilter's: those are on record, and what they count, and their flows, the kernel's own tools
//! show.

use crate::{
    model::{Backend, Gateway, Place, TopologyName},
    netfilter,
    single::Error,
    state::Directories,
};

/// A gateway of which netctl does not know what passes by its rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unseen {
    /// Where it is.
    pub gateway: Place,
    /// Who has the rules.
    pub backend: Backend,
    /// The commands that show the rules with their counters.
    pub counters: Vec<String>,
    /// The command that shows the flows.
    pub flows: String,
}

/// Those of a place, or all.
///
/// # Errors
/// If a record cannot be read.
pub fn unseen(place: Option<&Place>, directories: &Directories) -> Result<Vec<Unseen>, Error> {
    let unseen = |(topology, gateway): (TopologyName, Gateway)| {
        let inside = match &gateway.place {
            Place::Host => String::new(),
            Place::Netns(name) => format!("netctl exec {name:#} -- "),
        };
        let counters = netfilter::listing(gateway.backend, &topology);
        Unseen {
            counters: counters.iter().map(|command| format!("{inside}{command}")).collect(),
            flows: format!("{inside}conntrack -L"),
            backend: gateway.backend,
            gateway: gateway.place,
        }
    };
    Ok(by_netfilter(place, directories)?.into_iter().map(unseen).collect())
}

/// The gateways on record that netfilter has the rules of.
pub(super) fn by_netfilter(
    place: Option<&Place>,
    directories: &Directories,
) -> Result<Vec<(TopologyName, Gateway)>, Error> {
    let mut found = Vec::new();
    for outline in directories.readable_outlines()? {
        let name = outline.name;
        let is_one = |gateway: &Gateway| {
            gateway.backend != Backend::Ebpf && place.is_none_or(|place| *place == gateway.place)
        };
        if !outline.gateways.iter().any(is_one) {
            continue;
        }
        let Some(record) = directories.record(&name)? else { continue };
        let gateways = record.topology.gateways.into_iter().filter(is_one);
        found.extend(gateways.map(|gateway| (name.clone(), gateway)));
    }
    Ok(found)
}
