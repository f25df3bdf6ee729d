//! The topology as packets find it: who has which address on which segment, and where each place sends what. Pure.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;

use crate::model::{Cable, Gateway, IfName, Place, Topology, is_link_local, networks::Networks};

/// A topology's places and what joins them.
pub(super) struct Network<'a> {
    seats: BTreeMap<Place, Seat<'a>>,
    /// Who answers to an address on a segment, and by which interface.
    neighbours: BTreeMap<(usize, IpAddr), (&'a Place, &'a IfName)>,
}

/// One place.
#[derive(Default)]
pub(super) struct Seat<'a> {
    pub(super) gateway: Option<&'a Gateway>,
    /// Its addresses, but for link-local ones, with their interfaces.
    addresses: Vec<(IpNet, &'a IfName)>,
    /// The interface and the segment that lead into each subnet.
    connected: Networks<(&'a IfName, usize)>,
    /// The next hop to each network.
    routes: Networks<IpAddr>,
    forwards_ipv4: bool,
    forwards_ipv6: bool,
}

/// Where a place sends a packet.
pub(super) struct Hop<'a> {
    /// The interface that it leaves by.
    pub(super) out: &'a IfName,
    /// What that interface is plugged into.
    segment: usize,
    /// The neighbour that it is for.
    pub(super) via: IpAddr,
}

impl<'a> Network<'a> {
    pub(super) fn new(topology: &'a Topology) -> Self {
        let seat = |place: Place| {
            let [forwards_ipv4, forwards_ipv6] = [true, false].map(|ipv4| topology.forwards(&place, ipv4));
            (place, Seat { forwards_ipv4, forwards_ipv6, ..Seat::default() })
        };
        let seats = topology.places().into_iter().map(seat).collect();
        let mut network = Self { seats, neighbours: BTreeMap::new() };
        let mut bridges = BTreeMap::new();
        for (segment, bridge) in topology.bridges.iter().enumerate() {
            bridges.insert((&bridge.place, &bridge.name), segment);
            network.add(&bridge.place, &bridge.name, &bridge.addresses, segment);
        }
        for (index, Cable { a, b }) in topology.cables.iter().enumerate() {
            let bridge = a.master.as_ref().and_then(|master| bridges.get(&(&a.place, master)));
            let segment = bridge.copied().unwrap_or(topology.bridges.len() + index);
            for end in [a, b].into_iter().filter(|end| end.master.is_none()) {
                network.add(&end.place, &end.interface, &end.addresses, segment);
            }
        }
        for (route, via) in topology.routes.iter().filter_map(|route| Some((route, route.plain()?))) {
            let seat = network.seats.get_mut(&route.place);
            seat.into_iter().for_each(|seat| seat.routes.insert(route.to, via));
        }
        for gateway in &topology.gateways {
            let seat = network.seats.get_mut(&gateway.place);
            seat.into_iter().for_each(|seat| seat.gateway = Some(gateway));
        }
        network
    }

    fn add(&mut self, place: &'a Place, name: &'a IfName, addresses: &'a [IpNet], segment: usize) {
        let Some(seat) = self.seats.get_mut(place) else { return };
        for net in addresses.iter().filter(|net| !is_link_local(net.addr())) {
            seat.addresses.push((*net, name));
            seat.connected.insert(*net, (name, segment));
            self.neighbours.insert((segment, net.addr()), (place, name));
        }
    }

    pub(super) fn seat(&self, place: &Place) -> Option<&Seat<'a>> {
        self.seats.get(place)
    }

    /// The place that has an address, whoever can reach it there.
    pub(super) fn owner(&self, address: IpAddr) -> Option<&Place> {
        self.seats.iter().find(|(_, seat)| seat.owns(address)).map(|(place, _)| place)
    }

    /// Whom a hop reaches, and by which of its interfaces.
    pub(super) fn neighbour(&self, hop: &Hop<'_>) -> Option<(&'a Place, &'a IfName)> {
        self.neighbours.get(&(hop.segment, hop.via)).copied()
    }
}

impl<'a> Seat<'a> {
    /// Its addresses, but for link-local ones.
    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.iter().map(|(net, _)| net.addr())
    }

    /// Those of one interface.
    pub(super) fn addresses_of(&self, interface: &IfName) -> impl Iterator<Item = IpAddr> {
        self.addresses.iter().filter(move |(_, name)| *name == interface).map(|(net, _)| net.addr())
    }

    pub(super) fn owns(&self, address: IpAddr) -> bool {
        self.addresses().any(|own| own == address)
    }

    /// Whether it sends on what is not for itself.
    pub(super) fn forwards(&self, ipv4: bool) -> bool {
        if ipv4 { self.forwards_ipv4 } else { self.forwards_ipv6 }
    }

    /// Where it sends what is for `to`: into the subnet or along the route that is the most specific.
    pub(super) fn hop(&self, to: IpAddr) -> Option<Hop<'a>> {
        let connected = self.connected.longest(to);
        let routed = self.routes.longest(to);
        let via = match (&connected, &routed) {
            (Some((subnet, _)), Some((net, via))) if net.prefix_len() > subnet.prefix_len() => **via,
            (Some(_), _) => to,
            (None, Some((_, via))) => **via,
            (None, None) => return None,
        };
        let (_, &(out, segment)) = self.connected.longest(via)?;
        Some(Hop { out, segment, via })
    }

    /// The address that it takes for what it sends by an interface: one of the next hop's subnet, else the first.
    pub(super) fn source(&self, hop: &Hop<'_>) -> Option<IpAddr> {
        let own = self.addresses.iter().filter(|(_, name)| *name == hop.out).map(|(net, _)| net);
        let mut own = own.filter(|net| net.addr().is_ipv4() == hop.via.is_ipv4());
        let near = own.clone().find(|net| net.contains(&hop.via));
        near.or_else(|| own.next()).map(IpNet::addr)
    }
}
