//! What there is to draw: a topology's places, links and cables, and how they are.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;

use super::{Cable, Graph, Link, Node, Plug, Role, Service, State};
use crate::{
    model::{self, End, FullName, IfName, LinkKind, Place, Ports, Topology},
    ping::network::Network,
    show::{Shown, ShownPlace},
};

/// The picture of a topology, each place for itself.
pub(super) fn graph(topology: &Topology, shown: Option<&Shown>) -> Graph {
    let network = Network::new(topology);
    let mut scene = Scene { topology, network, shown, nodes: Vec::new(), plugs: BTreeMap::new() };
    topology.places().iter().for_each(|place| scene.add_place(place));
    let (cables, services) = (scene.cables(), scene.services());
    let (name, live) = (topology.name.to_string(), shown.is_some());
    Graph { name, live, nodes: scene.nodes, cables, services }
}

/// A picture in the making.
struct Scene<'a> {
    topology: &'a Topology,
    network: Network<'a>,
    shown: Option<&'a Shown>,
    nodes: Vec<Node>,
    plugs: BTreeMap<(Place, IfName), Plug>,
}

impl<'a> Scene<'a> {
    fn add_place(&mut self, place: &Place) {
        let topology = self.topology;
        let gateway = topology.gateways.iter().find(|gateway| gateway.place == *place);
        let forwards = [true, false].into_iter().any(|ipv4| topology.forwards(place, ipv4));
        let masquerades = gateway.iter().flat_map(|gateway| &gateway.masquerades).map(ToString::to_string);
        let listens = gateway.iter().flat_map(|gateway| &gateway.forwards);
        self.nodes.push(Node {
            name: place.to_string(),
            count: 1,
            role: match gateway {
                Some(_) => Role::Gateway,
                None if forwards => Role::Router,
                None => Role::Namespace,
            },
            missing: self.shown.is_some() && self.seen(place).is_none(),
            links: Vec::new(),
            masquerades: masquerades.collect(),
            forwards: listens.map(|rule| (rule.listen(), rule.target())).collect(),
        });
        for bridge in topology.bridges.iter().filter(|bridge| bridge.place == *place) {
            self.hang(place, &bridge.name, Some("bridge"), None);
        }
        let ends = topology.cables.iter().flat_map(|cable| [&cable.a, &cable.b]);
        for end in ends.filter(|end| end.place == *place && end.master.is_none()) {
            self.hang(place, &end.interface, Some("veth"), None);
        }
        let links = topology.links.iter().filter(|link| link.place == *place);
        for link in links.clone().filter(|link| link.kind == LinkKind::Dummy) {
            self.hang(place, &link.interface, Some("dummy"), None);
        }
        // The host's own, which the file does not have.
        let uplinks = gateway.iter().flat_map(|gateway| &gateway.uplinks);
        let parents = links.filter_map(|link| match &link.kind {
            LinkKind::Vlan { parent, .. } => Some(parent),
            LinkKind::Dummy => None,
        });
        for other in uplinks.chain(parents) {
            if topology.interface(place, other).is_none() && self.plug(place, other).is_none() {
                self.hang(place, other, None, None);
            }
        }
    }

    fn plug(&self, place: &Place, link: &IfName) -> Option<Plug> {
        self.plugs.get(&(place.clone(), link.clone())).copied()
    }

    /// Adds a link and, below it, the VLANs that it has, or its ports have. `below` is of a VLAN: its number and parent.
    fn hang(
        &mut self,
        place: &Place,
        link: &IfName,
        kind: Option<&'static str>,
        below: Option<(u16, usize)>,
    ) {
        let (topology, node) = (self.topology, self.nodes.len() - 1);
        let index = self.nodes[node].links.len();
        let depth = below.map_or(0, |(_, parent)| self.nodes[node].links[parent].depth + 1);
        let gateways = topology.gateways.iter().filter(|gateway| gateway.place == *place);
        let masquerades =
            gateways.flat_map(|gateway| &gateway.masquerades).any(|rule| rule.out.contains(link));
        let its = topology.interface(place, link);
        let addresses = its.iter().flat_map(|its| its.addresses).map(ToString::to_string).collect();
        let state = self.state(place, link);
        self.plugs.insert((place.clone(), link.clone()), Plug { node, link: index });
        self.nodes[node].links.push(Link {
            name: its.map_or(link.as_str(), |its| its.called()).to_owned(),
            kind,
            bridge: kind == Some("bridge"),
            vlan: below.map(|(id, _)| id),
            parent: below.map(|(_, parent)| parent),
            depth,
            masquerades,
            addresses,
            state,
        });
        let ends = topology.cables.iter().flat_map(|cable| [&cable.a, &cable.b]);
        let ports = ends.filter(|end| end.place == *place && end.master.as_ref() == Some(link));
        let trunks: BTreeSet<&IfName> = ports.map(|port| &port.interface).chain([link]).collect();
        for vlan in topology.links.iter().filter(|vlan| vlan.place == *place) {
            match &vlan.kind {
                LinkKind::Vlan { parent, id } if trunks.contains(parent) => {
                    self.hang(place, &vlan.interface, Some("vlan"), Some((*id, index)));
                }
                LinkKind::Vlan { .. } | LinkKind::Dummy => {}
            }
        }
    }

    fn seen(&self, place: &Place) -> Option<&'a ShownPlace> {
        self.shown?.places.iter().find(|seen| seen.name == *place && seen.exists)
    }

    fn state(&self, place: &Place, link: &IfName) -> State {
        let Some(seen) = self.seen(place) else {
            return if self.shown.is_some() { State::Missing } else { State::Unknown };
        };
        match seen.links.iter().find(|seen| seen.its.name == link.as_str()) {
            Some(link) => State::of(link),
            // Only what is of the topology is shown of the host.
            None if *place == Place::Host && !self.is_own(link) => State::Unknown,
            None => State::Missing,
        }
    }

    /// Whether a link of the host is the topology's.
    fn is_own(&self, link: &IfName) -> bool {
        self.topology.interface(&Place::Host, link).is_some()
    }

    /// The wires; none for a cable whose ends are in one place.
    fn cables(&self) -> Vec<Cable> {
        let wire = |model::Cable { a, b }: &model::Cable| {
            let plug = |end: &End| {
                let link = end.master.as_ref().unwrap_or(&end.interface);
                self.plug(&end.place, link)
            };
            let (one, other) = (plug(a)?, plug(b)?);
            let states = [a, b].map(|end| self.state(&end.place, &end.interface));
            let port = a
                .master
                .as_ref()
                .map(|_| a.full_name.as_ref().map_or(a.interface.as_str(), FullName::as_str));
            let (inner, outer) = if self.is_inner(a, b) { (one, other) } else { (other, one) };
            let (port, state) = (port.map(str::to_owned), states[0].max(states[1]));
            (one.node != other.node).then_some(Cable { inner, outer, port, state })
        };
        self.topology.cables.iter().filter_map(wire).collect()
    }

    /// Whether `a` is further inside than `b`: an uplink leads outwards, and so does a default route; else a bridge is
    /// outside of what is plugged into it, and the file's order decides.
    fn is_inner(&self, a: &End, b: &End) -> bool {
        let is_uplink = |end: &End| {
            let link = end.master.as_ref().unwrap_or(&end.interface);
            let gateway = self.topology.gateways.iter().find(|gateway| gateway.place == end.place)?;
            Some(gateway.uplinks.contains(link))
        };
        let leads = |from: &End, to: &End| {
            let own = |address: IpAddr| to.addresses.iter().any(|net| net.addr() == address);
            let routes = self.topology.routes.iter();
            routes
                .filter(|route| route.place == from.place && route.to.prefix_len() == 0)
                .any(|route| route.via.is_some_and(own))
        };
        match (is_uplink(a), is_uplink(b)) {
            (Some(true), None | Some(false)) | (None, Some(false)) => true,
            (None | Some(false), Some(true)) | (Some(false), None) => false,
            _ if leads(a, b) => true,
            _ => !leads(b, a) && a.master.is_none(),
        }
    }

    /// The forwards to servers in the picture, one for those of both families.
    fn services(&self) -> Vec<Service> {
        let mut services: Vec<Service> = Vec::new();
        for (node, place) in self.topology.places().iter().enumerate() {
            let gateways = self.topology.gateways.iter().filter(|gateway| gateway.place == *place);
            for (index, rule) in gateways.flat_map(|gateway| &gateway.forwards).enumerate() {
                let Some(server) = self.owner(place, rule.to).filter(|server| server.node != node) else {
                    continue;
                };
                let (listen, to) = (Ports(rule.ports), Ports(rule.targets()));
                let (listen, to) = (format!("{listen}/{}", rule.protocol), to.to_string());
                let is_same = |its: &Service| {
                    (its.gateway, its.server, &its.listen, &its.to) == (node, server, &listen, &to)
                };
                if !services.iter().any(is_same) {
                    services.push(Service { gateway: node, rule: index, server, listen, to });
                }
            }
        }
        services
    }

    /// The interface at which what a gateway sends to an address ends; several places may have it.
    fn owner(&self, gateway: &Place, address: IpAddr) -> Option<Plug> {
        let place = self.network.end(gateway, address)?;
        let has = |nets: &[IpNet]| nets.iter().any(|net| net.addr() == address);
        let its = self.topology.interfaces().find(|its| *its.place == place && has(its.addresses))?;
        self.plug(its.place, its.interface)
    }
}
