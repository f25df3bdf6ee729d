//! Bridges and what is plugged into them.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;

use super::{
    Bridge, Cable, End, Place, Problem,
    address::{self, is_link_local},
    allot::{Allotment, Exhausted},
    error::Error,
    links::{Interface, Links, Port, USUAL_MTU, check_mtu},
    naming::InterfaceNames,
    place::Places,
};
use crate::spec::{self, KeyPath, key_path};

/// How many ports a bridge may have: `BR_MAX_PORTS` in net/bridge/br_private.h without number 0, which stays unused.
const MOST_PORTS: usize = (1 << 10) - 1;

/// A bridge that is being laid.
struct Site<'a> {
    spec: &'a spec::Bridge,
    path: KeyPath,
    bridge: Bridge,
    allotment: Allotment,
    /// How many addresses of each subnet are needed in all.
    needed: usize,
}

/// A port of the file, with what it stands for.
struct Plug<'a> {
    spec: &'a spec::Port,
    path: KeyPath,
    places: Vec<Place>,
    /// `None` for those that are to be allotted.
    addresses: Option<Vec<IpNet>>,
}

impl Links {
    /// Lays a bridge and its ports.
    pub(super) fn lay_bridge(
        &mut self,
        key: &str,
        spec: &spec::Bridge,
        places: &Places,
        names: &mut InterfaceNames,
    ) -> Result<(), Error> {
        let path = key_path!["bridges", key];
        let place = match &spec.namespace {
            Some(namespace) => places.resolve(namespace, &path.key("namespace"))?,
            None => Place::Host,
        };
        let addresses = address::parse_all(&spec.addresses, &path)?;
        let mtu = check_mtu(spec.mtu, &addresses, &path)?;
        let named = names.name_link(key, &place, &path)?;
        let bridge = Bridge { place, name: named.name, full_name: named.full, addresses, mtu };
        self.add(Interface {
            place: bridge.place.clone(),
            name: bridge.name.clone(),
            full_name: bridge.full_name.clone(),
            addresses: bridge.addresses.clone(),
            named: path.clone(),
            path: path.clone(),
            mtu: bridge.mtu.unwrap_or(USUAL_MTU),
            master: None,
            segment: Some(self.bridges.len()),
            plugged: false,
            allotted: false,
        })?;
        let plugs: Vec<Plug<'_>> = spec
            .ports
            .iter()
            .map(|port| Plug::read(port, &bridge, &path, places))
            .collect::<Result<_, _>>()?;
        check_plugs(&plugs, &bridge)?;
        let given = || plugs.iter().filter_map(|plug| plug.addresses.as_ref()).flatten().map(IpNet::addr);
        let allotted = plugs.iter().filter(|plug| plug.addresses.is_none()).map(|plug| plug.places.len());
        let needed = allotted.sum::<usize>() + given().count() + bridge.addresses.len();
        let allotment = Allotment::new(&bridge.addresses, given());
        let mut site = Site { spec, path, bridge, allotment, needed };
        for plug in &plugs {
            for place in &plug.places {
                self.plug(plug, place, &mut site, names)?;
            }
        }
        self.bridges.push(site.bridge);
        Ok(())
    }

    /// Lays the cable between a bridge and one of the places that a port stands for.
    fn plug(
        &mut self,
        plug: &Plug<'_>,
        place: &Place,
        site: &mut Site<'_>,
        names: &mut InterfaceNames,
    ) -> Result<(), Error> {
        let (path, addresses) = (&plug.path, site.addresses_of(plug, place)?);
        let mtu_path = if plug.spec.mtu.is_some() { path } else { &site.path };
        let mtu = check_mtu(plug.spec.mtu.or(site.spec.mtu), &addresses, mtu_path)?;
        let named = names.name_port(place, plug.spec, &site.bridge, path)?;
        let a = End {
            place: site.bridge.place.clone(),
            interface: named.name,
            full_name: named.full,
            addresses: Vec::new(),
            mtu,
            master: Some(site.bridge.name.clone()),
        };
        let interface = names.name_end(place, plug.spec, path)?;
        let b = End { place: place.clone(), interface, full_name: None, addresses, mtu, master: None };
        self.add(Interface::of(&a, path.clone(), "port", None))?;
        self.ports.push(Port {
            bridge: self.bridges.len(),
            end: self.interfaces.len(),
            default_route: plug.spec.default_route,
        });
        let end = Interface::of(&b, path.clone(), "interface", Some(self.bridges.len()));
        self.add(Interface { plugged: true, allotted: plug.addresses.is_none(), ..end })?;
        self.cables.push(Cable { a, b });
        Ok(())
    }
}

impl<'a> Plug<'a> {
    fn read(
        (name, spec): &'a (String, spec::Port),
        bridge: &Bridge,
        bridge_path: &KeyPath,
        places: &Places,
    ) -> Result<Self, Error> {
        let path = bridge_path.key("ports").key(name);
        let plugged = places.all(name, &path)?;
        if plugged.contains(&bridge.place) {
            let (bridge, place) = (bridge.called().to_owned(), bridge.place.clone());
            return Err(Error::new(path, Problem::OwnBridge { bridge, place }));
        }
        let texts = spec.addresses.as_deref();
        if places.is_counted(name) {
            let given =
                [("addresses", texts.is_some_and(|texts| !texts.is_empty())), ("port", spec.port.is_some())];
            if let Some((key, _)) = given.into_iter().find(|(_, is_given)| *is_given) {
                let problem = Problem::CountedKey { name: name.clone(), count: plugged.len(), key };
                return Err(Error::new(path.key(key), problem));
            }
        }
        let addresses = texts.map(|texts| address::parse_all(texts, &path)).transpose()?;
        if let Some(addresses) = &addresses {
            check_inside(addresses, bridge, &path)?;
        }
        Ok(Self { spec, path, places: plugged, addresses })
    }
}

impl Site<'_> {
    fn addresses_of(&mut self, plug: &Plug<'_>, place: &Place) -> Result<Vec<IpNet>, Error> {
        if let Some(addresses) = &plug.addresses {
            return Ok(addresses.clone());
        }
        let (bridge, place, needed) = (self.bridge.called().to_owned(), place.clone(), self.needed);
        let refuse = |problem| Error::new(plug.path.clone(), problem);
        if self.allotment.is_empty() {
            return Err(refuse(Problem::NoSubnet { bridge, place }));
        }
        self.allotment
            .next()
            .map_err(|Exhausted(subnet)| refuse(Problem::Exhausted { subnet, bridge, place, needed }))
    }
}

impl Bridge {
    /// Its first address of each family that `reaches` says yes to.
    pub(super) fn gateways(&self, reaches: impl Fn(IpAddr) -> bool) -> Vec<IpAddr> {
        let first = |ipv4: bool| {
            let mut addresses = self.addresses.iter().map(IpNet::addr);
            addresses.find(|via| via.is_ipv4() == ipv4 && reaches(*via))
        };
        [true, false].into_iter().filter_map(first).collect()
    }
}

/// No place is plugged in twice, and no more are than the kernel lets.
fn check_plugs(plugs: &[Plug<'_>], bridge: &Bridge) -> Result<(), Error> {
    let ports = plugs.iter().map(|plug| plug.places.len()).sum();
    let mut plugged: BTreeMap<&Place, &KeyPath> = BTreeMap::new();
    for plug in plugs {
        for place in &plug.places {
            if let Some(other) = plugged.insert(place, &plug.path) {
                let (bridge, place, other) = (bridge.called().to_owned(), place.clone(), other.clone());
                return Err(Error::new(plug.path.clone(), Problem::PluggedTwice { bridge, place, other }));
            }
        }
        if plugged.len() > MOST_PORTS {
            let problem = Problem::PortLimit { bridge: bridge.called().to_owned(), ports, most: MOST_PORTS };
            return Err(Error::new(plug.path.clone(), problem));
        }
    }
    Ok(())
}

/// A port's addresses belong to the subnets of its bridge, for each family that the bridge has.
fn check_inside(addresses: &[IpNet], bridge: &Bridge, port: &KeyPath) -> Result<(), Error> {
    for (index, address) in addresses.iter().map(IpNet::addr).enumerate() {
        let family = bridge.addresses.iter().filter(|net| net.addr().is_ipv4() == address.is_ipv4());
        let subnets: Vec<IpNet> = family.map(IpNet::trunc).collect();
        let inside = subnets.is_empty() || subnets.iter().any(|subnet| subnet.contains(&address));
        if !inside && !is_link_local(address) {
            let bridge = bridge.called().to_owned();
            let path = port.key("addresses").index(index);
            return Err(Error::new(path, Problem::OutsideBridge { address, bridge, subnets }));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{
        Place,
        trial::{assert_office_refused, assert_refused, drawn, office, topology},
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
    fn a_bridge_is_not_plugged_into_its_own_place() {
        assert_office_refused(&[(
            "[bridges.b]\nnamespace = 'red'\nports.red = { addresses = [] }",
            "16: bridge `b` lives in `red`, which cannot be plugged into it too (`bridges.b.ports.red`)",
            "",
        )]);
    }

    const WORKERS: &str = "[namespaces.worker]\ncount = 3\n[namespaces.red]\n[bridges.br]\n\
                           addresses = ['10.0.0.1/29', 'fd15::1/64']\n[bridges.br.ports]\n";

    #[test]
    fn a_counted_port_plugs_each_of_them_in_with_an_address_of_its_own() {
        let ports = "worker = {}\nred = { addresses = ['10.0.0.3/29'] }";
        assert_eq!(
            drawn(&topology(&format!("{WORKERS}{ports}"))),
            "\
bridge host br 10.0.0.1/29 fd15::1/64
cable host veth-wor-zzzzzz (veth-worker-0-br) in br - worker-0 eth0 10.0.0.2/29 fd15::2/64
cable host veth-wor-zzzzzz (veth-worker-1-br) in br - worker-1 eth0 10.0.0.4/29 fd15::3/64
cable host veth-wor-zzzzzz (veth-worker-2-br) in br - worker-2 eth0 10.0.0.5/29 fd15::4/64
cable host veth-red-br in br - red eth0 10.0.0.3/29
route worker-0 default via 10.0.0.1
route worker-0 default via fd15::1
route worker-1 default via 10.0.0.1
route worker-1 default via fd15::1
route worker-2 default via 10.0.0.1
route worker-2 default via fd15::1
route red default via 10.0.0.1
"
        );
    }

    #[test]
    fn a_port_at_the_end_moves_no_other() {
        let with = |ports: &str| drawn(&topology(&format!("{WORKERS}{ports}")));
        let before = with("worker = {}\n");
        let after = with("worker = {}\nred = {}\n");
        assert!(before.lines().all(|line| after.contains(line)), "{before}{after}");
        assert!(after.contains("red eth0 10.0.0.5/29 fd15::5/64"), "{after}");
    }

    #[test]
    fn what_many_cannot_share_is_refused() {
        let leave = |key: &str| {
            format!("leave `{key}` out, and each gets its own; or plug `worker-0` and so on in one by one")
        };
        let shared = "`worker` stands for 3 namespaces, which cannot all have the same";
        for (key, value) in [("addresses", "['10.0.0.2/29']"), ("port", "'p'")] {
            assert_refused(&[(
                &format!("{WORKERS}worker = {{ {key} = {value} }}"),
                &format!("7: {shared} {key} (`bridges.br.ports.worker.{key}`)"),
                &leave(key),
            )]);
        }
        topology(&format!("{WORKERS}worker = {{ addresses = [], interface = 'lan0', mtu = 1400 }}"));
        topology(&format!("{WORKERS}worker-1 = {{ addresses = ['10.0.0.2/29'], port = 'p' }}"));
        assert_refused(&[(
            &format!("{WORKERS}worker = {{}}\nworker-1 = {{ port = 'p' }}"),
            "8: `worker-1` is plugged into bridge `br` already, by `bridges.br.ports.worker` (`bridges.br.ports.worker-1`)",
            "",
        )]);
    }

    #[test]
    fn a_subnet_that_is_too_small_says_how_large_it_should_be() {
        assert_refused(&[
            (
                &format!("{}worker = {{}}\nred = {{}}", WORKERS.replace("/29", "/30")),
                "7: 10.0.0.0/30 of bridge `br` has no address left for `worker-1` (`bridges.br.ports.worker`)",
                "a /29 has room for all 6",
            ),
            (
                "[namespaces.red]\n[bridges.br]\nports.red = {}",
                "3: bridge `br` has no subnet to take an address for `red` from (`bridges.br.ports.red`)",
                "give the bridge an address, or set `addresses = []` for none",
            ),
        ]);
    }

    #[test]
    fn a_bridge_has_as_many_ports_as_the_kernel_lets_it() {
        let many = |count: usize| {
            format!(
                "[namespaces.a]\n[namespaces.w]\ncount = {count}\n[bridges.br]\naddresses = ['10.0.0.1/16']\n\
                 [bridges.br.ports]\na = {{}}\nw = {{}}"
            )
        };
        assert_eq!(topology(&many(1022)).cables.len(), 1023);
        assert_refused(&[(
            &many(1023),
            "8: bridge `br` gets 1024 ports, and the kernel takes at most 1023 (`bridges.br.ports.w`)",
            "spread them over several bridges",
        )]);
    }
}
