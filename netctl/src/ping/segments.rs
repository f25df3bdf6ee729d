//! What hangs on one wire: the segment of every layer-3 interface of a topology. Pure.

use std::collections::BTreeMap;

use crate::model::{IfName, LinkKind, Place, Topology};

/// What has VLANs.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Trunk<'a> {
    /// A segment: each VLAN is on all of it.
    Segment(usize),
    /// An interface of the host that is not the topology's.
    Foreign(&'a IfName),
}

/// The segment of every interface, by place and name, but for the ports of bridges: those are on their bridge's. What is
/// on one segment hears each other.
pub(super) fn segments(topology: &Topology) -> BTreeMap<(&Place, &IfName), usize> {
    let mut segments = BTreeMap::new();
    // Ports have none of their own, and yet may have VLANs.
    let mut ports = BTreeMap::new();
    for (segment, bridge) in topology.bridges.iter().enumerate() {
        segments.insert((&bridge.place, &bridge.name), segment);
    }
    for (index, cable) in topology.cables.iter().enumerate() {
        let bridge = cable.a.master.as_ref().and_then(|master| segments.get(&(&cable.a.place, master)));
        let segment = bridge.copied().unwrap_or(topology.bridges.len() + index);
        for end in [&cable.a, &cable.b] {
            let its = if end.master.is_some() { &mut ports } else { &mut segments };
            its.insert((&end.place, &end.interface), segment);
        }
    }
    let mut next = topology.bridges.len() + topology.cables.len();
    let mut new = || {
        next += 1;
        next - 1
    };
    let mut vlans = BTreeMap::new();
    for link in &topology.links {
        let segment = match &link.kind {
            LinkKind::Dummy => new(),
            LinkKind::Vlan { parent, id } => {
                let below = (&link.place, parent);
                let trunk = segments.get(&below).or_else(|| ports.get(&below));
                let trunk = trunk.map_or(Trunk::Foreign(parent), |&segment| Trunk::Segment(segment));
                *vlans.entry((trunk, *id)).or_insert_with(&mut new)
            }
        };
        segments.insert((&link.place, &link.interface), segment);
    }
    segments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vlan_is_one_segment_wherever_its_trunk_leads() {
        let text = "[namespaces.a]\n[namespaces.b]\n[namespaces.c]\n[bridges.lan]\nnamespace = 'c'\nports.a = { addresses = [] }\nports.b = { addresses = [] }\n\
                    [[links]]\nnamespace = 'a'\ninterface = 'eth0.7'\nkind = 'vlan'\nparent = 'eth0'\nid = 7\n\
                    [[links]]\nnamespace = 'b'\ninterface = 'seven'\nkind = 'vlan'\nparent = 'eth0'\nid = 7\n\
                    [[links]]\nnamespace = 'c'\ninterface = 'lan.7'\nkind = 'vlan'\nparent = 'lan'\nid = 7\n\
                    [[links]]\nnamespace = 'c'\ninterface = 'lan.8'\nkind = 'vlan'\nparent = 'lan'\nid = 8\n\
                    [[links]]\nnamespace = 'c'\ninterface = 'd'\nkind = 'dummy'";
        let topology = Topology::parse(text, "f", "trial".parse().unwrap()).unwrap();
        let segments = segments(&topology);
        let of = |place: &str, name: &str| {
            let place = Place::try_from(place.to_owned()).unwrap();
            segments[&(&place, &name.parse().unwrap())]
        };
        assert_eq!([of("a", "eth0"), of("b", "eth0")], [of("c", "lan"); 2]);
        assert_eq!([of("a", "eth0.7"), of("b", "seven")], [of("c", "lan.7"); 2]);
        let apart = [of("c", "lan"), of("c", "lan.7"), of("c", "lan.8"), of("c", "d")];
        assert_eq!(apart.iter().collect::<std::collections::BTreeSet<_>>().len(), 4, "{apart:?}");
    }
}
