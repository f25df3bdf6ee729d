//! What there is to draw: a topology's places, links and cables, and how they are.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;

use super::{Cable, Graph, Link, Node, Plug, Role, Service, State};
use crate::{
    model::{self, End, FullName, IfName, Place, Ports, Topology},
    show::{Shown, ShownPlace},
};

/// The picture of a topology, each place for itself.
pub(super) fn graph(topology: &Topology, shown: Option<&Shown>) -> Graph {
    let mut scene = Scene { topology, shown, nodes: Vec::new(), plugs: BTreeMap::new() };
    topology.places().iter().for_each(|place| scene.add_place(place));
    let (cables, services) = (scene.cables(), scene.services());
    let (name, live) = (topology.name.to_string(), shown.is_some());
    Graph { name, live, nodes: scene.nodes, cables, services }
}

/// A picture in the making.
struct Scene<'a> {
    topology: &'a Topology,
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
            self.add_link(place, &bridge.name, bridge.called(), &bridge.addresses, true);
        }
        let ends = topology.cables.iter().flat_map(|cable| [&cable.a, &cable.b]);
        for end in ends.filter(|end| end.place == *place && end.master.is_none()) {
            let name = end.full_name.as_ref().map_or(end.interface.as_str(), FullName::as_str);
            self.add_link(place, &end.interface, name, &end.addresses, false);
        }
        // The host's own uplinks, which the file does not have.
        for uplink in gateway.iter().flat_map(|gateway| &gateway.uplinks) {
            if !self.plugs.contains_key(&(place.clone(), uplink.clone())) {
                self.add_link(place, uplink, uplink.as_str(), &[], false);
            }
        }
    }

    fn add_link(&mut self, place: &Place, link: &IfName, name: &str, addresses: &[IpNet], bridge: bool) {
        let gateways = self.topology.gateways.iter().filter(|gateway| gateway.place == *place);
        let masquerades =
            gateways.flat_map(|gateway| &gateway.masquerades).any(|rule| rule.out.contains(link));
        let state = self.state(place, link);
        let node = self.nodes.len() - 1;
        let links = &mut self.nodes[node].links;
        self.plugs.insert((place.clone(), link.clone()), Plug { node, link: links.len() });
        let addresses = addresses.iter().map(ToString::to_string).collect();
        links.push(Link { name: name.to_owned(), bridge, masquerades, addresses, state });
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
                self.plugs.get(&(end.place.clone(), link.clone())).copied()
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
                let Some(server) = self.owner(rule.to).filter(|server| server.node != node) else { continue };
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

    /// The interface that has an address.
    fn owner(&self, address: IpAddr) -> Option<Plug> {
        let its = self.topology.owner_of(address)?;
        self.plugs.get(&(its.place.clone(), its.interface.clone())).copied()
    }
}
