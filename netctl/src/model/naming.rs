//! The names of interfaces: those of the file, checked, and those that it leaves out.
//!
//! A name that the file gives to an end of a cable fits the kernel or is refused. One that netctl makes, and that of
//! another link, may be longer: then the kernel gets a shortened one, and the link's alias has it in full.

use std::collections::{BTreeMap, BTreeSet};

use super::{Bridge, FullName, IfName, Place, Problem, error::Error, hash::fnv1a, place::Places};
use crate::spec::{self, KeyPath, Spec, key_path};

/// The most bytes of a name that the kernel takes: `IFNAMSIZ` without the closing NUL.
const LIMIT: usize = 15;

/// A link's name: the kernel's and, if that is a shortened one, the full one.
pub(super) struct Named {
    pub(super) name: IfName,
    pub(super) full: Option<FullName>,
}

impl From<IfName> for Named {
    fn from(name: IfName) -> Self {
        Self { name, full: None }
    }
}

/// The interface name that the file gives at `path`.
pub(super) fn interface_name(name: &str, path: &KeyPath) -> Result<IfName, Error> {
    name.parse().map_err(|error| Error::new(path.clone(), Problem::Name(error)))
}

/// Hands out names that nothing else in their place has.
pub(super) struct InterfaceNames {
    /// What is given or handed out.
    taken: BTreeSet<(Place, String)>,
    /// The names of ports handed out, in full.
    ports: BTreeSet<(Place, String)>,
    /// The number of the next `eth` to try.
    next: BTreeMap<Place, u32>,
}

impl InterfaceNames {
    /// Knows the names that the file gives, which are not handed out again.
    pub(super) fn given(spec: &Spec, places: &Places) -> Self {
        let mut taken = BTreeSet::new();
        let mut take = |namespace: Option<&str>, name: &str| {
            // A place that is not there is refused later, with its key.
            let places = places.all(namespace.unwrap_or("host"), &key_path![]).unwrap_or_default();
            taken.extend(places.into_iter().map(|place| (place, name.to_owned())));
        };
        for (name, bridge) in &spec.bridges {
            take(bridge.namespace.as_deref(), name);
            for (namespace, port) in &bridge.ports {
                port.interface.iter().for_each(|name| take(Some(namespace), name));
                port.port.iter().for_each(|name| take(bridge.namespace.as_deref(), name));
            }
        }
        for link in &spec.links {
            take(link.namespace.as_deref(), &link.interface);
        }
        for end in spec.cables.iter().flat_map(|cable| [&cable.a, &cable.b]) {
            take(Some(&end.namespace), &end.interface);
        }
        Self { taken, ports: BTreeSet::new(), next: BTreeMap::new() }
    }

    /// The name of a bridge or of a link alone: what the file calls it at `path`.
    pub(super) fn name_link(&mut self, called: &str, place: &Place, path: &KeyPath) -> Result<Named, Error> {
        let full = called.parse().map_err(|error| Error::new(path.clone(), Problem::Name(error)))?;
        self.fit(full, place, path)
    }

    /// The name of the bridge's end of a port, unless the file has one: `veth-NAMESPACE-br`, or `veth-NAMESPACE-BRIDGE`
    /// for a namespace that is plugged into another bridge of the same place already.
    pub(super) fn name_port(
        &mut self,
        namespace: &Place,
        port: &spec::Port,
        bridge: &Bridge,
        path: &KeyPath,
    ) -> Result<Named, Error> {
        if let Some(name) = &port.port {
            return interface_name(name, &path.key("port")).map(Named::from);
        }
        let mut attempt = 0;
        let name = loop {
            let name = (bridge.place.clone(), port_name(namespace, bridge, attempt));
            if !self.taken.contains(&name) && self.ports.insert(name.clone()) {
                break name.1;
            }
            attempt += 1;
        };
        let full = name
            .parse()
            .map_err(|error| Error::new(path.clone(), Problem::DefaultName { key: "port", error }))?;
        self.fit(full, &bridge.place, path)
    }

    /// The name of a namespace's end of a port: `eth0`, `eth1`, …, in the order of the file's bridges, unless the file
    /// has one.
    pub(super) fn name_end(
        &mut self,
        place: &Place,
        port: &spec::Port,
        path: &KeyPath,
    ) -> Result<IfName, Error> {
        let path = path.key("interface");
        if let Some(name) = &port.interface {
            return interface_name(name, &path);
        }
        if *place == Place::Host {
            return Err(Error::new(path, Problem::HostInterface));
        }
        let next = self.next.entry(place.clone()).or_default();
        loop {
            let name = format!("eth{next}");
            *next += 1;
            if self.taken.insert((place.clone(), name.clone())) {
                return interface_name(&name, &path);
            }
        }
    }

    /// A full name as the kernel can have it.
    fn fit(&mut self, full: FullName, place: &Place, path: &KeyPath) -> Result<Named, Error> {
        if full.as_str().len() <= LIMIT {
            return interface_name(full.as_str(), path).map(Named::from);
        }
        let mut attempt = 0;
        loop {
            let name = shortened(full.as_str(), attempt);
            if self.taken.insert((place.clone(), name.clone())) {
                return Ok(Named { name: interface_name(&name, path)?, full: Some(full) });
            }
            attempt += 1;
        }
    }
}

/// The name of a port, `attempt` of which before it were another's.
fn port_name(namespace: &Place, bridge: &Bridge, attempt: u32) -> String {
    match attempt {
        0 => format!("veth-{namespace}-br"),
        1 => format!("veth-{namespace}-{}", bridge.called()),
        attempt => format!("veth-{namespace}-{}-{attempt}", bridge.called()),
    }
}

/// The beginning of a name and a hash of all of it. The hash has no `-`, so that this is never a `veth-NAMESPACE-br`
/// that fits; `attempt` counts the names before it that had the same one.
fn shortened(full: &str, attempt: u32) -> String {
    /// Crockford's base 32, whose characters are hard to confuse.
    const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    const HASHED: usize = 6;
    let hash = match attempt {
        0 => fnv1a(full.as_bytes()),
        attempt => fnv1a(format!("{full}/{attempt}").as_bytes()),
    };
    let folded = hash ^ (hash >> 32);
    let digit = |position: usize| char::from(DIGITS[(folded >> (5 * position)) as usize % DIGITS.len()]);
    let beginning = &full[..full.floor_char_boundary(LIMIT - HASHED - 1)];
    beginning.chars().chain(['-']).chain((0..HASHED).map(digit)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::trial::{assert_office_refused, assert_refused, office, topology},
        *,
    };

    #[test]
    fn a_name_left_out_is_the_next_eth_that_the_namespace_has_free() {
        let added = r#"
            [bridges.br1]
            namespace = "router"
            [bridges.br1.ports]
            red = { addresses = [], port = "r" }
            internet = { addresses = [], port = "i" }
            blue = { addresses = [], port = "b", interface = "eth1" }
            [bridges.br2]
            namespace = "router"
            [bridges.br2.ports]
            blue = { addresses = [], port = "p" }
            red = { addresses = [], port = "q" }
        "#;
        let ends: Vec<String> = office(added)
            .cables
            .iter()
            .map(|cable| format!("{}:{} {}", cable.b.place, cable.b.interface, cable.a.interface))
            .collect();
        assert_eq!(
            ends,
            [
                "red:eth0 veth-red-br",
                "blue:eth0 veth-blue-br",
                "red:eth1 r",
                "internet:eth1 i",
                "blue:eth1 b",
                "blue:eth2 p",
                "red:eth2 q",
                "internet:eth0 wan0",
            ]
        );
    }

    #[test]
    fn a_name_of_16_bytes_is_refused_with_its_length_and_the_limit() {
        assert_refused(&[
            (
                "[namespaces.a]\n[bridges.b.ports]\na = { addresses = [], port = 'sixteen-bytes-xx' }",
                "3: `sixteen-bytes-xx` is 16 bytes long, at most 15 are allowed (`bridges.b.ports.a.port`)",
                "",
            ),
            (
                "[[cables]]\na = { namespace = 'host', interface = 'sixteen-bytes-xx' }\n\
                 b = { namespace = 'host', interface = 'x' }",
                "2: `sixteen-bytes-xx` is 16 bytes long, at most 15 are allowed (`cables[0].a.interface`)",
                "",
            ),
        ]);
    }

    #[test]
    fn a_name_that_netctl_makes_and_a_bridges_are_shortened() {
        let topology = topology(
            "[namespaces.warehouse]\n[bridges.the-office-network]\nports.warehouse = { addresses = [] }\n\
             [[nat.masquerade]]\nnamespace = 'host'\nsource = '10.0.0.0/8'\nout = 'the-office-network'",
        );
        let bridge = &topology.bridges[0];
        assert_eq!(bridge.name.as_str(), "the-offi-h8z70r");
        assert_eq!(bridge.full_name.as_ref().unwrap().as_str(), "the-office-network");
        let port = &topology.cables[0].a;
        assert_eq!((port.interface.as_str(), port.master.as_ref()), ("veth-war-4qqx2k", Some(&bridge.name)));
        assert_eq!(port.full_name.as_ref().unwrap().as_str(), "veth-warehouse-br");
        assert_eq!(topology.gateways[0].uplinks, std::slice::from_ref(&bridge.name));
    }

    #[test]
    fn each_port_of_a_namespace_has_a_name_of_its_own() {
        let text = "[namespaces.worker]\ncount = 2\n[namespaces.red]\n\
                    [bridges.br0]\nports = { worker = { addresses = [] }, red = { addresses = [] } }\n\
                    [bridges.br1]\nports = { worker = { addresses = [] }, red = { addresses = [] } }\n\
                    [bridges.br]\nports = { red = { addresses = [] } }\n\
                    [[cables]]\na = { namespace = 'host', interface = 'veth-red-br' }\n\
                    b = { namespace = 'red', interface = 'x' }";
        let names = |text: &str| -> Vec<String> {
            let cables = topology(text).cables.into_iter().map(|cable| cable.a);
            cables.map(|a| a.full_name.map_or(a.interface.to_string(), |full| full.to_string())).collect()
        };
        let workers = |bridge: &str| [0, 1].map(|number| format!("veth-worker-{number}-{bridge}"));
        let expected = [
            &workers("br")[..],
            &["veth-red-br0".into()],
            &workers("br1"),
            &["veth-red-br1".into(), "veth-red-br-2".into(), "veth-red-br".into()],
        ];
        assert_eq!(names(text), expected.concat());
        // A bridge of another place has other names.
        let apart =
            text.replace("[bridges.br1]\n", "[namespaces.apart]\n[bridges.br1]\nnamespace = 'apart'\n");
        assert_eq!(names(&apart)[3..5], workers("br"));
    }

    #[test]
    fn a_shortened_name_gives_way_to_the_files_own() {
        let given = shortened("veth-warehouse-br", 0);
        let topology = topology(&format!(
            "[namespaces.warehouse]\n[bridges.b]\nports.warehouse = {{ addresses = [] }}\n[bridges.{given}]"
        ));
        assert_eq!(topology.cables[0].a.interface.as_str(), shortened("veth-warehouse-br", 1));
    }

    proptest! {
        #[test]
        fn shortened_names_are_names_and_nobody_elses(
            fulls in proptest::collection::btree_set("[a-c\u{e9}]{1,2}[-a-z0-9.\u{20ac}]{16,60}", 1..60),
        ) {
            let mut names = InterfaceNames { taken: BTreeSet::new(), ports: BTreeSet::new(), next: BTreeMap::new() };
            let mut seen = BTreeSet::new();
            for full in fulls {
                let named = names.name_link(&full, &Place::Host, &key_path![]).unwrap();
                prop_assert!(named.name.as_str().len() <= LIMIT);
                prop_assert_eq!(named.full.map(String::from), Some(full));
                prop_assert!(seen.insert(named.name));
            }
        }
    }

    #[test]
    fn equal_hashes_still_make_two_names() {
        let mut names =
            InterfaceNames { taken: BTreeSet::new(), ports: BTreeSet::new(), next: BTreeMap::new() };
        let mut name = || names.name_link("the-office-network", &Place::Host, &key_path![]).unwrap().name;
        assert_ne!(name(), name());
    }

    #[test]
    fn a_name_that_the_kernel_would_not_take_is_refused() {
        assert_refused(&[
            (
                "[bridges.'a/b']",
                "1: `a/b` contains '/', which is not allowed in a name (`bridges.\"a/b\"`)",
                "",
            ),
            (
                "[bridges.'br%d']",
                "1: `br%d` contains '%', which is not allowed in a name (`bridges.\"br%d\"`)",
                "",
            ),
            ("[bridges.lo]", "1: `lo` is the loopback interface of every namespace (`bridges.lo`)", ""),
            ("[bridges.all]", "1: `all` is reserved (`bridges.all`)", ""),
            ("name = 'a.b'", "1: `a.b` contains '.', which is not allowed in a name (`name`)", ""),
        ]);
    }

    #[test]
    fn the_host_keeps_its_eth0() {
        assert_office_refused(&[(
            "[bridges.br1]\nnamespace = 'red'\nports.host = { addresses = [] }",
            "16: `host` has interfaces of its own, so this one needs a name (`bridges.br1.ports.host.interface`)",
            "set `interface = \"…\"`",
        )]);
    }
}
