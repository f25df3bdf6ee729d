//! Asks the model what the file comes to, adds the keys without which that would not be what is there, and takes out what
//! the model refuses. Pure.

use std::collections::BTreeSet;

use super::{Error, left::Left, wanted::Wanted};
use crate::{
    model::{
        IfName, Place, Topology, TopologyName,
        keys::{IPV4, IPV6, of_interface},
    },
    spec::{self, KeyPath, Spec, Step},
};

/// The file that comes to what is wanted.
pub(super) fn settle(mut spec: Spec, wanted: &Wanted, left: &mut Vec<Left>) -> Result<Spec, Error> {
    let name = TopologyName::by_hand();
    let mut are_sysctls_set = false;
    loop {
        let topology = match Topology::from_spec(&spec, name.clone()) {
            Ok(topology) => topology,
            Err(error) => {
                let Some((place, what)) = take_out(&mut spec, &error.path) else {
                    return Err(Error::Unfit(error));
                };
                left.push(Left::new(&place, what, error.problem.to_string()));
                continue;
            }
        };
        if name_bridges(&mut spec, &topology, wanted)
            || name_ports(&mut spec, &topology, wanted)
            || name_links(&mut spec, &topology, wanted)
            || part_uplinks(&mut spec, &topology, wanted)
            || end_shortcuts(&mut spec, &topology, wanted)
        {
            continue;
        }
        if are_sysctls_set {
            return Ok(spec);
        }
        set_sysctls(&mut spec, &topology, wanted, left);
        are_sysctls_set = true;
    }
}

/// A bridge whose name in full comes to another short one is called by its short one.
fn name_bridges(spec: &mut Spec, topology: &Topology, wanted: &Wanted) -> bool {
    let mut has_changed = false;
    for ((key, _), bridge) in spec.bridges.iter_mut().zip(&topology.bridges) {
        if let Some(name) = wanted.bridges.get(key).filter(|name| **name != bridge.name) {
            *key = name.to_string();
            has_changed = true;
        }
    }
    has_changed
}

/// Ends of ports whose default names are not theirs get their names.
fn name_ports(spec: &mut Spec, topology: &Topology, wanted: &Wanted) -> bool {
    let mut has_changed = false;
    for cable in &topology.cables {
        let Some(master) = &cable.a.master else { continue };
        let key = (cable.a.place.clone(), master.clone(), cable.b.place.clone());
        let Some((port, interface)) = wanted.ports.get(&key) else { continue };
        let index = topology.bridges.iter().position(|its| its.place == cable.a.place && its.name == *master);
        let Some((_, bridge)) = index.and_then(|index| spec.bridges.get_mut(index)) else { continue };
        let plugged = bridge.ports.iter_mut().find(|(name, _)| *name == cable.b.place.to_string());
        let Some((_, plugged)) = plugged else { continue };
        for (is, wanted, given) in [
            (&cable.a.interface, port, &mut plugged.port),
            (&cable.b.interface, interface, &mut plugged.interface),
        ] {
            if is != wanted && given.is_none() {
                *given = Some(wanted.to_string());
                has_changed = true;
            }
        }
    }
    has_changed
}

/// As [`name_bridges`].
fn name_links(spec: &mut Spec, topology: &Topology, wanted: &Wanted) -> bool {
    let mut has_changed = false;
    for link in &topology.links {
        let called = link.full_name.as_ref().map_or(link.interface.as_str(), |full| full.as_str());
        let key = (link.place.clone(), called.to_owned());
        let Some(name) = wanted.links.get(&key).filter(|name| **name != link.interface) else { continue };
        let is_it = |its: &&mut spec::Link| {
            its.interface == called && place_of(its.namespace.as_deref()).as_ref() == Some(&link.place)
        };
        if let Some(its) = spec.links.iter_mut().find(is_it) {
            its.interface = name.to_string();
            has_changed = true;
        }
    }
    has_changed
}

/// A masquerade rule whose uplinks are not those that the model finds becomes one an uplink.
fn part_uplinks(spec: &mut Spec, topology: &Topology, wanted: &Wanted) -> bool {
    let mut has_changed = false;
    let mut parted = Vec::new();
    for rule in std::mem::take(&mut spec.nat.masquerade) {
        let key = place_of(Some(&rule.namespace)).zip(rule.source.as_ref().and_then(|its| its.parse().ok()));
        let uplinks = key.as_ref().and_then(|key| wanted.uplinks.get(key));
        let (None, Some(uplinks), Some((place, source))) = (&rule.out, uplinks, &key) else {
            parted.push(rule);
            continue;
        };
        let gateway = topology.gateways.iter().find(|gateway| gateway.place == *place);
        let found = gateway.into_iter().flat_map(|gateway| &gateway.masquerades);
        let found = found.filter(|its| its.source == *source).flat_map(|its| &its.out);
        if found.collect::<BTreeSet<&IfName>>() == uplinks.iter().collect() {
            parted.push(rule);
            continue;
        }
        has_changed = true;
        parted.extend(
            uplinks.iter().map(|out| spec::Masquerade { out: Some(out.to_string()), ..rule.clone() }),
        );
    }
    spec.nat.masquerade = parted;
    has_changed
}

fn end_shortcuts(spec: &mut Spec, topology: &Topology, wanted: &Wanted) -> bool {
    let has_some = topology.gateways.iter().any(|gateway| !gateway.ports.is_empty());
    let ends = wanted.is_without_shortcuts && has_some && spec.nat.shortcut.is_none();
    if ends {
        spec.nat.shortcut = Some(spec::Shortcut::Switch(false));
    }
    ends
}

/// Forwarding and sysctls that do not follow from the rest.
fn set_sysctls(spec: &mut Spec, topology: &Topology, wanted: &Wanted, left: &mut Vec<Left>) {
    for (place, forwarding) in &wanted.forwarding {
        let set = topology.sysctls.get(place);
        let value = |key: &str| set.and_then(|set| set.get(key));
        let by_itself: [bool; 2] = std::array::from_fn(|family| {
            value([IPV4, IPV6][family]).map_or(forwarding.usual[family], |value| value != "0")
        });
        let [ipv4, ipv6] = forwarding.found;
        let is_so = by_itself == forwarding.found;
        if *place == Place::Host {
            for (key, is_on, follows) in [(IPV4, ipv4, by_itself[0]), (IPV6, ipv6, by_itself[1])] {
                let has_links = topology.places().contains(place);
                if is_on && !follows && has_links {
                    let why = "no file sets it for the host, which forwards where it translates";
                    left.push(Left::new(place, format!("sysctl {key} = 1"), why));
                }
            }
            continue;
        }
        let Some((_, namespace)) = spec.namespaces.iter_mut().find(|(name, _)| *name == place.to_string())
        else {
            continue;
        };
        if !is_so && ipv4 == ipv6 {
            namespace.forwarding = Some(ipv4);
        } else if !is_so {
            let families = [(IPV4, ipv4, by_itself[0]), (IPV6, ipv6, by_itself[1])];
            for (key, is_on, _) in families.into_iter().filter(|(_, is_on, by_itself)| is_on != by_itself) {
                namespace.sysctls.insert(key.to_owned(), u8::from(is_on).to_string());
            }
        }
        let interfaces: BTreeSet<&str> = topology
            .interfaces()
            .filter(|its| its.place == place)
            .map(|its| its.interface.as_str())
            .chain(["all", "default", "lo"])
            .collect();
        for (key, found) in wanted.sysctls.get(place).into_iter().flatten() {
            let is_of_file =
                of_interface(key).is_none_or(|(_, interface, _)| interfaces.contains(interface.as_str()));
            if is_of_file && value(key) != Some(found) {
                namespace.sysctls.insert(key.clone(), found.clone());
            }
        }
    }
}

fn place_of(namespace: Option<&str>) -> Option<Place> {
    namespace.map_or(Some(Place::Host), |name| Place::try_from(name.to_owned()).ok())
}

/// Takes out what the model refuses: the smallest thing around `path` that the file can be without. Says what that was.
fn take_out(spec: &mut Spec, path: &KeyPath) -> Option<(Place, String)> {
    match path.steps() {
        [Step::Key(table), Step::Key(name), rest @ ..] if table == "namespaces" => {
            let place = place_of(Some(name))?;
            let position = spec.namespaces.iter().position(|(its, _)| its == name)?;
            let namespace = &mut spec.namespaces[position].1;
            match rest {
                [Step::Key(sysctls), Step::Key(key), ..] if sysctls == "sysctls" => {
                    let value = namespace.sysctls.remove(key)?;
                    Some((place, format!("sysctl {key} = {value}")))
                }
                [Step::Key(forwarding)] if forwarding == "forwarding" => {
                    let on = namespace.forwarding.take()?;
                    Some((place, format!("forwarding = {on}")))
                }
                _ => {
                    spec.namespaces.remove(position);
                    Some((place, "the namespace".to_owned()))
                }
            }
        }
        [Step::Key(table), Step::Key(name), rest @ ..] if table == "bridges" => {
            let position = spec.bridges.iter().position(|(its, _)| its == name)?;
            let bridge = &mut spec.bridges[position].1;
            let place = place_of(bridge.namespace.as_deref())?;
            match rest {
                [Step::Key(ports), Step::Key(plugged), rest @ ..] if ports == "ports" => {
                    let port = bridge.ports.iter().position(|(its, _)| its == plugged)?;
                    let its = &mut bridge.ports[port].1;
                    if let Some(address) = its.addresses.as_mut().and_then(|all| remove_address(all, rest)) {
                        let what = format!("address {address} at bridge `{name}`");
                        return Some((place_of(Some(plugged))?, what));
                    }
                    bridge.ports.remove(port);
                    Some((place, format!("port of bridge `{name}` to `{plugged}`")))
                }
                rest => {
                    if let Some(address) = remove_address(&mut bridge.addresses, rest) {
                        return Some((place, format!("address {address} of bridge `{name}`")));
                    }
                    spec.bridges.remove(position);
                    Some((place, format!("bridge `{name}`")))
                }
            }
        }
        [Step::Key(table), Step::Index(index), rest @ ..] if table == "cables" => {
            let cable = spec.cables.get_mut(*index)?;
            if let [Step::Key(end), rest @ ..] = rest {
                let end = if end == "a" { &mut cable.a } else { &mut cable.b };
                if let Some(address) = remove_address(&mut end.addresses, rest) {
                    let what = format!("address {address} of `{}`", end.interface);
                    return Some((place_of(Some(&end.namespace))?, what));
                }
            }
            let spec::Cable { a, b } = spec.cables.remove(*index);
            let what = format!("cable `{}` to `{}` in `{}`", a.interface, b.interface, b.namespace);
            Some((place_of(Some(&a.namespace))?, what))
        }
        [Step::Key(table), Step::Index(index), rest @ ..] if table == "links" => {
            let link = spec.links.get_mut(*index)?;
            let place = place_of(link.namespace.as_deref())?;
            if let Some(address) = remove_address(&mut link.addresses, rest) {
                return Some((place, format!("address {address} of `{}`", link.interface)));
            }
            let link = spec.links.remove(*index);
            Some((place, format!("link `{}`", link.interface)))
        }
        [Step::Key(table), Step::Index(index), ..] if table == "routes" && *index < spec.routes.len() => {
            let route = spec.routes.remove(*index);
            let via = route.via.map(|via| format!(" via {via}")).unwrap_or_default();
            let dev = route.dev.map(|dev| format!(" dev {dev}")).unwrap_or_default();
            Some((place_of(Some(&route.namespace))?, format!("route {}{via}{dev}", route.to)))
        }
        [Step::Key(table), Step::Index(index), ..] if table == "rules" && *index < spec.rules.len() => {
            let rule = spec.rules.remove(*index);
            Some((place_of(Some(&rule.namespace))?, format!("policy rule of priority {}", rule.priority)))
        }
        [Step::Key(nat), Step::Key(table), Step::Index(index), ..] if nat == "nat" => {
            if table == "masquerade" && *index < spec.nat.masquerade.len() {
                let rule = spec.nat.masquerade.remove(*index);
                return Some((
                    place_of(Some(&rule.namespace))?,
                    format!("masquerade rule of {}", rule.source.unwrap_or_default()),
                ));
            }
            let is_there = table == "forward" && *index < spec.nat.forward.len();
            let rule = is_there.then(|| spec.nat.forward.remove(*index))?;
            Some((place_of(Some(&rule.namespace))?, format!("forward of {}", rule.listen)))
        }
        _ => None,
    }
}

/// The address that a path below its interface leads to.
fn remove_address(addresses: &mut Vec<String>, path: &[Step]) -> Option<String> {
    match path {
        [Step::Key(key), Step::Index(index)] if key == "addresses" && *index < addresses.len() => {
            Some(addresses.remove(*index))
        }
        _ => None,
    }
}
