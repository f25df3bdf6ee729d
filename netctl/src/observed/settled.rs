//! What a topology looks like when it is up: the state in which a plan has nothing to do. For rehearsals, such as tests
//! and benchmarks, without a kernel.

use std::collections::{BTreeMap, BTreeSet};

use super::{HostRoute, Observed, ObservedLink, ObservedNat, ObservedPlace, ObservedRoute, ObservedRule};
use crate::{
    build::Build,
    model::{Backend, End, FullName, IfName, LinkKind, Place, Shortcut, Topology},
    netfilter,
    netlink::route::RTPROT_NETCTL,
};

/// What the kernel gives a link that has no other.
const USUAL_MTU: u32 = 1500;

impl Observed {
    /// What [`observe`](crate::observe::observe) finds when `topology` is up, on a host that has nothing else.
    #[must_use]
    pub fn settled(topology: &Topology) -> Self {
        let mut observed = Self { renames_live: true, ..Self::default() };
        observed.places.insert(Place::Host, ObservedPlace::default());
        for namespace in &topology.namespaces {
            let owner = Some(topology.name.clone());
            let there = ObservedPlace { owner, ..ObservedPlace::default() };
            observed.places.insert(Place::Netns(namespace.name.clone()), there);
        }
        let mut scene = Scene { topology, observed };
        scene.links();
        scene.others();
        scene.rest();
        scene.observed
    }
}

struct Scene<'a> {
    topology: &'a Topology,
    observed: Observed,
}

impl Scene<'_> {
    fn place(&mut self, place: &Place) -> &mut ObservedPlace {
        self.observed.places.entry(place.clone()).or_default()
    }

    fn links(&mut self) {
        for bridge in &self.topology.bridges {
            let link = ObservedLink {
                kind: "bridge".to_owned(),
                mtu: bridge.mtu.unwrap_or(USUAL_MTU),
                addresses: bridge.addresses.clone(),
                ..self.link(bridge.full_name.as_ref())
            };
            self.add(&bridge.place, &bridge.name, link);
        }
        for cable in &self.topology.cables {
            let indexes = [&cable.a, &cable.b].map(|end| {
                let link = self.link_of(end);
                self.add(&end.place, &end.interface, link)
            });
            for (end, other, peer) in [(&cable.a, &cable.b, indexes[1]), (&cable.b, &cable.a, indexes[0])] {
                let name = |end: &End| (end.place.clone(), end.interface.clone());
                self.observed.peers.insert(name(end), name(other));
                if let Some(link) = self.place(&end.place).links.get_mut(&end.interface) {
                    link.peer_index = Some(peer);
                }
            }
        }
    }

    fn others(&mut self) {
        for link in &self.topology.links {
            let (kind, vlan) = match &link.kind {
                LinkKind::Dummy => ("dummy", None),
                LinkKind::Vlan { parent, id } => ("vlan", Some((parent.clone(), *id))),
            };
            let seen = ObservedLink {
                kind: kind.to_owned(),
                mtu: link.mtu.unwrap_or(USUAL_MTU),
                addresses: link.addresses.clone(),
                vlan,
                ..self.link(link.full_name.as_ref())
            };
            self.add(&link.place, &link.interface, seen);
        }
    }

    fn link(&self, full_name: Option<&FullName>) -> ObservedLink {
        ObservedLink {
            index: 0,
            kind: String::new(),
            owner: Some(self.topology.name.clone()),
            marked: true,
            has_alias: true,
            full_name: full_name.map(ToString::to_string),
            mtu: USUAL_MTU,
            up: true,
            master: None,
            peer_index: None,
            peer_netnsid: None,
            addresses: Vec::new(),
            owned: BTreeSet::new(),
            vlan: None,
        }
    }

    fn link_of(&self, end: &End) -> ObservedLink {
        ObservedLink {
            kind: "veth".to_owned(),
            mtu: end.mtu.unwrap_or(USUAL_MTU),
            master: end.master.clone(),
            addresses: end.addresses.clone(),
            ..self.link(end.full_name.as_ref())
        }
    }

    /// Adds a link, which gets the place's next index; the loopback has the first.
    fn add(&mut self, place: &Place, name: &IfName, mut link: ObservedLink) -> u32 {
        let connected = link.addresses.iter().map(ipnet::IpNet::trunc).collect::<BTreeSet<_>>();
        let links = &mut self.place(place).links;
        link.index = u32::try_from(links.len()).unwrap_or(u32::MAX).saturating_add(2);
        let index = link.index;
        link.owned = link.addresses.iter().copied().collect();
        links.insert(name.clone(), link);
        if *place == Place::Host {
            let route = |to| HostRoute { to, via: None, interface: Some(name.clone()), advertised: false };
            self.observed.host_routes.extend(connected.into_iter().map(route));
        }
        index
    }

    fn rest(&mut self) {
        for route in &self.topology.routes {
            let seen = ObservedRoute { route: route.canonical(), owned: true, protocol: RTPROT_NETCTL };
            self.place(&route.place).routes.push(seen);
        }
        for rule in &self.topology.rules {
            self.place(&rule.place).policy.push(ObservedRule {
                rule: rule.clone(),
                owned: true,
                by_netctl: true,
            });
        }
        for (place, wanted) in &self.topology.sysctls {
            let sysctls: BTreeMap<_, _> =
                wanted.iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect();
            self.place(place).sysctls = sysctls;
        }
        for (place, rules) in netfilter::wanted(self.topology) {
            self.place(&place).rules = rules;
        }
        for gateway in self.topology.gateways.iter().filter(|gateway| gateway.backend == Backend::Ebpf) {
            self.place(&gateway.place).nat = Some(ObservedNat {
                own: Build::default(),
                is_loaded: true,
                other: None,
                is_half_changed: false,
                attached: gateway.hooks(),
                local: !gateway.forwards.is_empty(),
                max_flows: Some(self.topology.max_flows),
                timeouts: self.topology.timeouts.clone(),
                shortcut: if gateway.ports.is_empty() { Shortcut::default() } else { self.topology.shortcut },
                masquerades: gateway.masquerades.clone(),
                forwards: gateway.forwards.clone(),
            });
        }
    }
}
