//! The links of a topology: bridges, ports and cables, their names, places and sizes.

use ipnet::IpNet;

use super::{
    Bridge, Cable, End, IfName, Place, Problem, address,
    error::Error,
    naming::{InterfaceNames, interface_name, port_name},
    place::Places,
};
use crate::spec::{self, KeyPath, Spec, key_path};

/// What the file's links come to: for the model, and flat, as routing sees them.
#[derive(Default)]
pub(super) struct Links {
    pub(super) bridges: Vec<Bridge>,
    pub(super) cables: Vec<Cable>,
    /// Every interface of the file.
    pub(super) interfaces: Vec<Interface>,
    /// The bridges' ports, in the order of the file.
    pub(super) ports: Vec<Port>,
}

/// One interface of the file.
pub(super) struct Interface {
    pub(super) place: Place,
    pub(super) name: IfName,
    pub(super) addresses: Vec<IpNet>,
    /// The table of the file that it comes from.
    pub(super) path: KeyPath,
    /// Its name in the file.
    named: KeyPath,
    /// Interfaces with one number hear each other's broadcasts. `None` for a bridge's port, which has no part in
    /// layer 3.
    pub(super) segment: Option<usize>,
    /// Whether it is the namespace's end of a bridge's port.
    pub(super) plugged: bool,
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

impl Links {
    /// Lays the file's bridges, then its cables.
    pub(super) fn lay(spec: &Spec, places: &Places) -> Result<Self, Error> {
        let mut links = Self::default();
        let mut names = InterfaceNames::given(spec);
        for (name, bridge) in &spec.bridges {
            let laid = links.lay_bridge(name, bridge, places)?;
            for (namespace, port) in &bridge.ports {
                links.plug(namespace, port, &laid, bridge.mtu, places, &mut names)?;
            }
            links.bridges.push(laid);
        }
        for (index, cable) in spec.cables.iter().enumerate() {
            let path = key_path!["cables", index];
            let segment = spec.bridges.len() + index;
            let a = links.lay_end(&cable.a, &path.key("a"), segment, places)?;
            let b = links.lay_end(&cable.b, &path.key("b"), segment, places)?;
            links.cables.push(Cable { a, b });
        }
        Ok(links)
    }

    /// The layer-3 interfaces of a place: all but the ports of its bridges.
    pub(super) fn of<'a>(&'a self, place: &'a Place) -> impl Iterator<Item = &'a Interface> {
        let layer_3 = self.interfaces.iter().filter(|interface| interface.segment.is_some());
        layer_3.filter(move |interface| interface.place == *place)
    }

    fn lay_bridge(&mut self, name: &str, bridge: &spec::Bridge, places: &Places) -> Result<Bridge, Error> {
        let path = key_path!["bridges", name];
        let place = match &bridge.namespace {
            Some(namespace) => places.resolve(namespace, &path.key("namespace"))?,
            None => Place::Host,
        };
        let addresses = address::parse_all(&bridge.addresses, &path)?;
        let mtu = check_mtu(bridge.mtu, &addresses, &path)?;
        let name = interface_name(name, &path)?;
        self.add(Interface {
            place: place.clone(),
            name: name.clone(),
            addresses: addresses.clone(),
            named: path.clone(),
            path,
            segment: Some(self.bridges.len()),
            plugged: false,
        })?;
        Ok(Bridge { place, name, addresses, mtu })
    }

    fn plug(
        &mut self,
        namespace: &str,
        port: &spec::Port,
        bridge: &Bridge,
        bridge_mtu: Option<i64>,
        places: &Places,
        names: &mut InterfaceNames,
    ) -> Result<(), Error> {
        let bridge_path = key_path!["bridges", bridge.name.as_str()];
        let path = bridge_path.key("ports").key(namespace);
        let place = places.resolve(namespace, &path)?;
        if place == bridge.place {
            let bridge = bridge.name.to_string();
            return Err(Error::new(path, Problem::OwnBridge { bridge, place }));
        }
        let addresses = address::parse_all(&port.addresses, &path)?;
        address::check_inside(&addresses, bridge, &path)?;
        let mtu_path = if port.mtu.is_some() { &path } else { &bridge_path };
        let mtu = check_mtu(port.mtu.or(bridge_mtu), &addresses, mtu_path)?;
        let a = End {
            place: bridge.place.clone(),
            interface: port_name(namespace, port, &path)?,
            addresses: Vec::new(),
            mtu,
            master: Some(bridge.name.clone()),
        };
        let interface = names.name_end(namespace, port, &path)?;
        let b = End { place, interface, addresses, mtu, master: None };
        self.add(Interface::of(&a, path.clone(), "port", None))?;
        self.ports.push(Port {
            bridge: self.bridges.len(),
            end: self.interfaces.len(),
            default_route: port.default_route,
        });
        let end = Interface::of(&b, path, "interface", Some(self.bridges.len()));
        self.add(Interface { plugged: true, ..end })?;
        self.cables.push(Cable { a, b });
        Ok(())
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
            mtu: check_mtu(end.mtu, &addresses, path)?,
            addresses,
            master: None,
        };
        self.add(Interface::of(&laid, path.clone(), "interface", Some(segment)))?;
        Ok(laid)
    }

    /// Adds an interface whose name must be new to its place.
    fn add(&mut self, new: Interface) -> Result<(), Error> {
        if new.name.as_str() == "lo" {
            return Err(Error::new(new.named, Problem::Loopback));
        }
        let same = |other: &&Interface| other.place == new.place && other.name == new.name;
        if let Some(other) = self.interfaces.iter().find(same) {
            let (name, place, other) = (new.name.to_string(), new.place, other.named.clone());
            return Err(Error::new(new.named, Problem::InterfaceTaken { name, place, other }));
        }
        self.interfaces.push(new);
        Ok(())
    }
}

impl Interface {
    fn of(end: &End, path: KeyPath, name_key: &str, segment: Option<usize>) -> Self {
        Self {
            place: end.place.clone(),
            name: end.interface.clone(),
            addresses: end.addresses.clone(),
            named: path.key(name_key),
            path,
            segment,
            plugged: false,
        }
    }
}

/// The limits are those of veth and bridge devices (`ETH_MIN_MTU`, `ETH_MAX_MTU`) and of IPv6 (`IPV6_MIN_MTU`).
fn check_mtu(mtu: Option<i64>, addresses: &[IpNet], path: &KeyPath) -> Result<Option<u32>, Error> {
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
    use super::super::{
        Place,
        trial::{assert_office_refused, office, topology},
    };

    #[test]
    fn a_port_is_a_cable_whose_one_end_is_plugged_into_the_bridge() {
        let office = office("");
        let port = &office.cables[0];
        assert_eq!(port.a.place.to_string(), "router");
        assert_eq!(port.a.master.as_ref().unwrap().as_str(), "br0");
        assert!(port.a.addresses.is_empty());
        assert_eq!((port.b.place.to_string(), &port.b.master), ("red".to_owned(), &None));
        assert_eq!(port.b.addresses.len(), 2);
    }

    #[test]
    fn a_bridge_lives_on_the_host_unless_the_file_says_where() {
        assert_eq!(topology("[bridges.b]").bridges[0].place, Place::Host);
    }

    #[test]
    fn the_mtu_of_a_bridge_is_that_of_its_ports_but_for_those_that_have_their_own() {
        let topology = topology(
            "[namespaces.a]\n[namespaces.b]\n[bridges.br]\nmtu = 9000\n[bridges.br.ports]\n\
             a = { addresses = [] }\nb = { addresses = [], mtu = 1400 }",
        );
        let mtus: Vec<_> = topology.cables.iter().map(|cable| (cable.a.mtu, cable.b.mtu)).collect();
        assert_eq!(topology.bridges[0].mtu, Some(9000));
        assert_eq!(mtus, [(Some(9000), Some(9000)), (Some(1400), Some(1400))]);
    }

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

    #[test]
    fn a_bridge_is_not_plugged_into_its_own_place() {
        assert_office_refused(&[(
            "[bridges.b]\nnamespace = 'red'\nports.red = { addresses = [] }",
            "16: bridge `b` lives in `red`, which cannot be plugged into it too (`bridges.b.ports.red`)",
            "",
        )]);
    }
}
