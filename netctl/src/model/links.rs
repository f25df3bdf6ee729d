//! The links of a topology: bridges, ports and cables, their names, places and sizes.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;

use super::{
    Bridge, Cable, End, FullName, IfName, Link, Place, Problem,
    address::{self, is_link_local},
    error::Error,
    naming::{InterfaceNames, interface_name},
    networks::{Networks, overlap},
    place::Places,
};
use crate::spec::{self, KeyPath, Spec, key_path, nearest};

/// What the file's links come to: for the model, and flat, as routing sees them.
#[derive(Default)]
pub(super) struct Links {
    pub(super) bridges: Vec<Bridge>,
    pub(super) cables: Vec<Cable>,
    pub(super) alone: Vec<Link>,
    /// Every interface of the file.
    pub(super) interfaces: Vec<Interface>,
    /// The bridges' ports, in the order of the file.
    pub(super) ports: Vec<Port>,
    /// The ends of cables to other places.
    veths: Vec<(Place, Veth)>,
    /// What is found by name, by place and by address, as indexes of `interfaces`.
    by_name: BTreeMap<(Place, IfName), usize>,
    by_full_name: BTreeMap<(Place, String), usize>,
    by_place: BTreeMap<Place, Seat>,
    by_address: BTreeMap<(usize, IpAddr), usize>,
    /// Those that carry no Ethernet frames, where links are found.
    bare: BTreeSet<IfName>,
    /// Whether they were found instead of laid: then the host has no others.
    found: bool,
}

/// The layer-3 interfaces of one place.
#[derive(Default)]
struct Seat {
    interfaces: Vec<usize>,
    addresses: BTreeSet<IpAddr>,
    /// The subnets that it is connected to, other than link-local ones.
    connected: Networks<usize>,
}

/// One interface of the file.
pub(super) struct Interface {
    pub(super) place: Place,
    pub(super) name: IfName,
    /// What the file calls it, where the kernel has a shortened name.
    pub(super) full_name: Option<FullName>,
    pub(super) addresses: Vec<IpNet>,
    /// The table of the file that it comes from.
    pub(super) path: KeyPath,
    /// Its name in the file.
    pub(super) named: KeyPath,
    /// Bytes.
    pub(super) mtu: u32,
    /// The bridge that it is a port of.
    pub(super) master: Option<IfName>,
    /// Interfaces with one number hear each other's broadcasts. `None` for a bridge's port, which has no part in
    /// layer 3.
    pub(super) segment: Option<usize>,
    /// Whether it is the namespace's end of a bridge's port.
    pub(super) plugged: bool,
    /// Whether its addresses are none of the file's.
    pub(super) allotted: bool,
}

/// A namespace plugged into a bridge.
pub(super) struct Port {
    /// The bridge, as an index of `Links::bridges`.
    pub(super) bridge: usize,
    /// The namespace's end, as an index of `Links::interfaces`.
    pub(super) end: usize,
    /// As in the file.
    pub(super) default_route: Option<bool>,
}

/// The kernel's default for Ethernet (`ETH_DATA_LEN`).
pub(super) const USUAL_MTU: u32 = 1500;

/// An end of a cable whose other end is in another place.
#[derive(Debug, Clone)]
pub struct Veth {
    /// Its name.
    pub name: IfName,
    /// The layer-3 interface that it serves: itself, or the bridge that it is plugged into.
    pub through: IfName,
}

/// The links of one place as somebody finds them.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Its layer-3 interfaces that carry Ethernet frames, with their addresses.
    pub interfaces: BTreeMap<IfName, Vec<IpNet>>,
    /// The ports of its bridges, with their bridge.
    pub ports: BTreeMap<IfName, IfName>,
    /// Its other layer-3 interfaces, but for the loopback.
    pub bare: BTreeSet<IfName>,
    /// What it reaches by an interface without a next hop.
    pub connected: Vec<(IpNet, IfName)>,
    /// Its ends of cables to other places.
    pub veths: Vec<Veth>,
}

impl Links {
    /// Lays the file's bridges, then its cables, then what is on top of them.
    pub(super) fn lay(spec: &Spec, places: &Places) -> Result<Self, Error> {
        let mut links = Self::default();
        let mut names = InterfaceNames::given(spec, places);
        for (name, bridge) in &spec.bridges {
            links.lay_bridge(name, bridge, places, &mut names)?;
        }
        for (index, cable) in spec.cables.iter().enumerate() {
            let path = key_path!["cables", index];
            let segment = spec.bridges.len() + index;
            let a = links.lay_end(&cable.a, &path.key("a"), segment, places)?;
            let b = links.lay_end(&cable.b, &path.key("b"), segment, places)?;
            links.cables.push(Cable { a, b });
        }
        links.lay_alone(&spec.links, places, &mut names)?;
        let apart = links.cables.iter().filter(|cable| cable.a.place != cable.b.place);
        let veth = |end: &End| Veth {
            name: end.interface.clone(),
            through: end.master.as_ref().unwrap_or(&end.interface).clone(),
        };
        links.veths =
            apart.flat_map(|cable| [&cable.a, &cable.b]).map(|end| (end.place.clone(), veth(end))).collect();
        Ok(links)
    }

    /// The links of a place as they are.
    pub(super) fn found(place: &Place, seen: Seen) -> Result<Self, Error> {
        let veths = seen.veths.into_iter().map(|veth| (place.clone(), veth)).collect();
        let mut links = Self { found: true, veths, bare: seen.bare, ..Self::default() };
        let end = |interface: IfName, addresses: Vec<IpNet>, master: Option<IfName>| {
            let (place, full_name, mtu) = (place.clone(), None, None);
            End { place, interface, full_name, addresses, mtu, master }
        };
        for (segment, (name, addresses)) in seen.interfaces.into_iter().enumerate() {
            let end = end(name, addresses, None);
            links.add(Interface::of(&end, KeyPath::default(), "interface", Some(segment)))?;
        }
        for (name, master) in seen.ports {
            let end = end(name, Vec::new(), Some(master));
            links.add(Interface::of(&end, KeyPath::default(), "interface", None))?;
        }
        for (to, name) in seen.connected {
            let index = links.by_name.get(&(place.clone(), name)).copied();
            if let (Some(index), Some(seat)) = (index, links.by_place.get_mut(place)) {
                seat.connected.insert(to, index);
            }
        }
        Ok(links)
    }

    /// Whether the place may have links, addresses and routes beside these: the host's are not the file's.
    pub(super) fn are_not_all(&self, place: &Place) -> bool {
        *place == Place::Host && !self.found
    }

    /// The layer-3 interfaces of a place: all but the ports of its bridges.
    pub(super) fn of(&self, place: &Place) -> impl Iterator<Item = &Interface> {
        let seats = self.by_place.get(place).into_iter();
        seats.flat_map(|seat| &seat.interfaces).map(|&index| &self.interfaces[index])
    }

    /// The ends of cables from a place to others.
    pub(super) fn veths(&self, place: &Place) -> impl Iterator<Item = &Veth> {
        self.veths.iter().filter(move |(its, _)| its == place).map(|(_, veth)| veth)
    }

    /// The interface of a place, perhaps a port, that has this name, or had it before it was shortened.
    pub(super) fn any(&self, place: &Place, name: &str) -> Option<&Interface> {
        let kernel = name.parse().ok().and_then(|name: IfName| self.by_name.get(&(place.clone(), name)));
        let full = || self.by_full_name.get(&(place.clone(), name.to_owned()));
        kernel.or_else(full).map(|&index| &self.interfaces[index])
    }

    /// The name of a layer-3 interface of a place, for what the file calls `name`; the host may have others than the
    /// file's. `purpose` is what it is wanted for.
    pub(super) fn layer3(&self, place: &Place, name: &str, purpose: &'static str) -> Result<IfName, Problem> {
        if let Some(link) = self.named(place, name) {
            return Ok(link.name.clone());
        }
        let parsed: IfName = name.parse().map_err(Problem::Name)?;
        if let Some(master) = self.any(place, name).and_then(|port| port.master.as_ref()) {
            let bridge = self.any(place, master.as_str()).map_or(master.as_str(), Interface::called);
            return Err(Problem::BridgePort { port: name.to_owned(), bridge: bridge.to_owned() });
        }
        if self.bare.contains(&parsed) {
            return Err(Problem::NoEthernet { name: parsed });
        }
        if self.are_not_all(place) {
            return Ok(parsed);
        }
        let nearest = nearest(name, self.of(place).map(|link| link.name.as_str())).map(str::to_owned);
        let (place, name) = (place.clone(), name.to_owned());
        Err(Problem::UnknownInterface { place, name, purpose, nearest })
    }

    /// The layer-3 interface of a place that has this name, or had it before it was shortened.
    pub(super) fn named(&self, place: &Place, name: &str) -> Option<&Interface> {
        self.any(place, name).filter(|link| link.segment.is_some())
    }

    /// Whether an interface of the place has the address.
    pub(super) fn owns(&self, place: &Place, address: IpAddr) -> bool {
        self.by_place.get(place).is_some_and(|seat| seat.addresses.contains(&address))
    }

    /// The subnets that a place is connected to, each with the index of its interface.
    pub(super) fn connected(&self, place: &Place) -> Option<&Networks<usize>> {
        self.by_place.get(place).map(|seat| &seat.connected)
    }

    /// The interface by whose subnet a place reaches `address` without a next hop.
    pub(super) fn towards(&self, place: &Place, address: IpAddr) -> Option<&Interface> {
        let (_, &index) = self.connected(place)?.longest(address)?;
        Some(&self.interfaces[index])
    }

    /// The place whose address `via` is, seen from a neighbour, who may say at which of its interfaces.
    pub(super) fn neighbour(&self, place: &Place, via: IpAddr, dev: Option<&IfName>) -> Option<&Place> {
        let link = match dev {
            Some(dev) => self.named(place, dev.as_str()),
            None => self.towards(place, via),
        };
        let segment = link?.segment?;
        self.by_address.get(&(segment, via)).map(|&index| &self.interfaces[index].place)
    }

    fn lay_end(
        &mut self,
        end: &spec::End,
        path: &KeyPath,
        segment: usize,
        places: &Places,
    ) -> Result<End, Error> {
        let addresses = address::parse_all(&end.addresses, path)?;
        let laid = End {
            place: places.resolve(&end.namespace, &path.key("namespace"))?,
            interface: interface_name(&end.interface, &path.key("interface"))?,
            full_name: None,
            mtu: check_mtu(end.mtu, &addresses, path)?,
            addresses,
            master: None,
        };
        self.add(Interface::of(&laid, path.clone(), "interface", Some(segment)))?;
        Ok(laid)
    }

    /// Adds an interface whose name must be new to its place.
    pub(super) fn add(&mut self, new: Interface) -> Result<(), Error> {
        if new.name.as_str() == "lo" {
            return Err(Error::new(new.named, Problem::Loopback));
        }
        let index = self.interfaces.len();
        if let Some(other) = self.by_name.insert((new.place.clone(), new.name.clone()), index) {
            let (name, place) = (new.name.to_string(), new.place);
            let other = self.interfaces[other].named.clone();
            return Err(Error::new(new.named, Problem::InterfaceTaken { name, place, other }));
        }
        if let Some(full) = &new.full_name {
            self.by_full_name.insert((new.place.clone(), full.to_string()), index);
        }
        if let Some(segment) = new.segment {
            let seat = self.by_place.entry(new.place.clone()).or_default();
            seat.interfaces.push(index);
            for net in &new.addresses {
                seat.addresses.insert(net.addr());
                self.by_address.entry((segment, net.addr())).or_insert(index);
                if !is_link_local(net.addr()) {
                    seat.connected.insert(*net, index);
                }
            }
        }
        self.interfaces.push(new);
        Ok(())
    }
}

impl Interface {
    pub(super) fn of(end: &End, path: KeyPath, name_key: &str, segment: Option<usize>) -> Self {
        Self {
            place: end.place.clone(),
            name: end.interface.clone(),
            full_name: end.full_name.clone(),
            addresses: end.addresses.clone(),
            named: path.key(name_key),
            path,
            mtu: end.mtu.unwrap_or(USUAL_MTU),
            master: end.master.clone(),
            segment,
            plugged: false,
            allotted: false,
        }
    }

    /// As the file calls it.
    pub(super) fn called(&self) -> &str {
        self.full_name.as_ref().map_or(self.name.as_str(), FullName::as_str)
    }

    /// As messages call it.
    pub(super) fn described(&self) -> String {
        format!("`{}` of `{}`", self.called(), self.place)
    }

    /// The subnet, other than of link-local addresses, by which the interface reaches `address`.
    pub(super) fn subnet_of(&self, address: IpAddr) -> Option<&IpNet> {
        let subnets = self.addresses.iter().filter(|net| !is_link_local(net.addr()));
        subnets.filter(|net| net.contains(&address)).max_by_key(|net| net.prefix_len())
    }

    /// Whether part of `network` lives behind it.
    pub(super) fn overlaps(&self, network: &IpNet) -> bool {
        self.addresses.iter().any(|net| overlap(net, network))
    }

    /// Whether all of `network` lives behind it.
    pub(super) fn contains(&self, network: &IpNet) -> bool {
        self.addresses.iter().any(|net| net.contains(network))
    }
}

/// The limits are those of veth and bridge devices (`ETH_MIN_MTU`, `ETH_MAX_MTU`) and of IPv6 (`IPV6_MIN_MTU`).
pub(super) fn check_mtu(mtu: Option<i64>, addresses: &[IpNet], path: &KeyPath) -> Result<Option<u32>, Error> {
    let Some(mtu) = mtu else { return Ok(None) };
    let ipv6 = addresses.iter().any(|address| matches!(address, IpNet::V6(_)));
    let least = if ipv6 { 1280 } else { 68 };
    match u32::try_from(mtu) {
        Ok(bytes) if (least..=65535).contains(&mtu) => Ok(Some(bytes)),
        _ => Err(Error::new(path.key("mtu"), Problem::Mtu { mtu, least })),
    }
}

#[cfg(test)]
mod tests {
    use super::super::trial::assert_office_refused;

    #[test]
    fn an_mtu_that_the_links_or_ipv6_cannot_have_is_refused() {
        let ipv6 = "IPv6 needs an mtu of at least 1280";
        assert_office_refused(&[
            ("[bridges.b]\nmtu = 67", "15: an mtu of 67 is not between 68 and 65535 (`bridges.b.mtu`)", ""),
            (
                "[bridges.b]\nmtu = 65536",
                "15: an mtu of 65536 is not between 68 and 65535 (`bridges.b.mtu`)",
                "",
            ),
            ("[bridges.b]\nmtu = -1", "15: an mtu of -1 is not between 68 and 65535 (`bridges.b.mtu`)", ""),
            (
                "[bridges.b]\naddresses = ['fd16::1/64']\nmtu = 1279",
                "16: an mtu of 1279 is not between 1280 and 65535 (`bridges.b.mtu`)",
                ipv6,
            ),
            (
                "[bridges.b]\nmtu = 1000\n[bridges.b.ports]\nred = { addresses = ['fd16::1/64'] }",
                "15: an mtu of 1000 is not between 1280 and 65535 (`bridges.b.mtu`)",
                ipv6,
            ),
        ]);
    }

    #[test]
    fn two_interfaces_of_one_place_cannot_have_one_name() {
        assert_office_refused(&[
            (
                "[bridges.wan0]\nnamespace = 'router'",
                "12: two interfaces called `wan0` in `router`: the other is `bridges.wan0` (`cables[0].a.interface`)",
                "give one of them another name",
            ),
            (
                "[[cables]]\na = { namespace = 'red', interface = 'x' }\nb = { namespace = 'red', interface = 'x' }",
                "16: two interfaces called `x` in `red`: the other is `cables[1].a.interface` \
                 (`cables[1].b.interface`)",
                "give one of them another name",
            ),
        ]);
    }
}
