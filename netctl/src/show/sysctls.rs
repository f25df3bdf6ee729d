//! The sysctls that decide what becomes of packets.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Error, place::View};
use crate::{
    model::{CONNTRACK_LIBERAL, IfName, Place, Topology, keys},
    netns::Netns,
    sysctl::{self, Key, SysctlError, reverse_path},
};

/// One sysctl.
#[derive(Debug, Serialize)]
pub struct ShownSysctl {
    /// In dotted form.
    pub key: String,
    /// Its value; `None` if the kernel has no such key.
    pub value: Option<String>,
    /// What the topology sets it to.
    pub wanted: Option<String>,
}

/// Of a place: forwarding, what the topology sets, strict reverse path filters at a gateway's interfaces, and how
/// conntrack takes it that shortcuts pass it by.
pub(super) fn look(place: &Place, view: View<'_>, netns: &Netns) -> Result<Vec<ShownSysctl>, Error> {
    let mut wanted: BTreeMap<String, Option<String>> =
        [keys::IPV4, keys::IPV6].map(|key| (key.to_owned(), None)).into();
    if let Some(topology) = view.topology {
        let set = topology.sysctls.get(place).into_iter().flatten();
        wanted.extend(set.map(|(key, value)| (key.clone(), Some(value.clone()))));
        for link in strict(place, topology, netns)? {
            wanted.entry(reverse_path::key(link.as_str())).or_default();
        }
        if topology.has_shortcuts(place) {
            wanted.entry(CONNTRACK_LIBERAL.to_owned()).or_insert_with(|| Some("1".to_owned()));
        }
    }
    if let Some(link) = view.link {
        let part = format!(".{}.", link.as_str().replace('.', "/"));
        wanted.retain(|key, _| key.contains(&part));
    }
    let keys = wanted.keys().map(|key| key.parse()).collect::<Result<Vec<Key>, SysctlError>>()?;
    let values = sysctl::read(netns, &keys)?;
    let shown =
        wanted.into_iter().zip(values).map(|((key, wanted), value)| ShownSysctl { key, value, wanted });
    // Conntrack is a module: where it is not loaded, nobody has to make it liberal.
    Ok(shown.filter(|its| its.value.is_some() || its.key != CONNTRACK_LIBERAL).collect())
}

/// Those of a gateway's interfaces that drop what comes by another way than its answers.
fn strict<'a>(place: &Place, topology: &'a Topology, netns: &Netns) -> Result<Vec<&'a IfName>, SysctlError> {
    let gateways = topology.gateways.iter().filter(|gateway| gateway.place == *place);
    reverse_path::strict(netns, gateways.flat_map(|gateway| gateway.uplinks.iter().chain(&gateway.insides)))
}
