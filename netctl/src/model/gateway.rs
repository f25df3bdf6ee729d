//! The gateways of a topology: which places translate addresses, and which of their interfaces face where.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use netctl_ebpf::config;

use super::{
    Backend, Forward, Gateway, IfName, Masquerade, Place, Problem, Shortcut, backend,
    behaviour::{Word, required},
    error::Error,
    forward,
    links::{Links, Veth},
    masquerade,
    place::Places,
    route::Routes,
};
use crate::spec::{self, KeyPath, Nat, key_path};

/// The gateways, in the order in which the masquerade rules, then the forward rules of the file first name them.
pub(super) fn resolve(
    nat: &Nat,
    places: &Places,
    links: &Links,
    routes: &Routes,
) -> Result<Vec<Gateway>, Error> {
    let mut gateways: Vec<Rules> = Vec::new();
    let mut known: BTreeMap<Place, usize> = BTreeMap::new();
    let mut of = |place: Place, path: KeyPath| {
        *known.entry(place.clone()).or_insert_with(|| {
            gateways.push(Rules { place, path, masquerades: Vec::new(), forwards: Vec::new() });
            gateways.len() - 1
        })
    };
    let masquerades = masquerade::resolve(&nat.masquerade, places, links)?;
    let masquerades: Vec<_> =
        masquerades.into_iter().map(|rule| (of(rule.place, rule.path), rule.rule)).collect();
    let forwards = forward::resolve(&nat.forward, places, links, routes)?;
    let forwards: Vec<_> = forwards.into_iter().map(|rule| (of(rule.place, rule.path), rule.rule)).collect();
    for (index, rule) in masquerades {
        gateways[index].masquerades.push(rule);
    }
    for (index, rule) in forwards {
        gateways[index].forwards.push(rule);
    }
    let backend = backend::resolve(nat)?;
    let has_shortcuts = shortcut(nat)?.is_some() && backend == Backend::Ebpf;
    let faced = gateways.into_iter().map(|rules| {
        let gateway = face(rules, backend, links, routes)?;
        Ok(if has_shortcuts { gateway } else { Gateway { ports: Vec::new(), ..gateway } })
    });
    let gateways = faced.collect::<Result<Vec<Gateway>, Error>>()?;
    backend::check(nat, &gateways)?;
    Ok(gateways)
}

impl Word for Shortcut {
    const ALL: &'static [Self] = &[Self::Auto, Self::Leased];

    fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Leased => "leased",
        }
    }
}

impl fmt::Display for Shortcut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where packets go straight; `None` if nowhere.
pub(super) fn shortcut(nat: &Nat) -> Result<Option<Shortcut>, Error> {
    match &nat.shortcut {
        None | Some(spec::Shortcut::Switch(true)) => Ok(Some(Shortcut::Auto)),
        Some(spec::Shortcut::Switch(false)) => Ok(None),
        Some(spec::Shortcut::Word(text)) => required(text.as_str(), &key_path!["nat", "shortcut"]).map(Some),
    }
}

/// The most flows that a gateway may be asked to have: the kernel takes more, but sets aside 16 bytes for each entry of
/// the table at once.
const MOST_FLOWS: u32 = 1 << 24;

/// How many flows a gateway has at once, at most.
pub(super) fn max_flows(given: Option<i64>) -> Result<u32, Error> {
    let Some(given) = given else { return Ok(config::MAX_FLOWS) };
    let refuse = || Error::new(key_path!["nat", "max-flows"], Problem::MaxFlows { given, most: MOST_FLOWS });
    u32::try_from(given).ok().filter(|flows| (1..=MOST_FLOWS).contains(flows)).ok_or_else(refuse)
}

/// The rules of one gateway, and the first of them in the file.
pub(super) struct Rules {
    pub(super) place: Place,
    pub(super) path: KeyPath,
    pub(super) masquerades: Vec<Masquerade>,
    pub(super) forwards: Vec<Forward>,
}

/// Tells a gateway's uplinks from its insides.
pub(super) fn face(rules: Rules, backend: Backend, links: &Links, routes: &Routes) -> Result<Gateway, Error> {
    let Rules { place, path, masquerades, forwards } = rules;
    let all = || links.of(&place).map(|link| &link.name);
    let uplinks = if masquerades.is_empty() {
        uplinks_of_forwards(&forwards, &place, links, routes)
    } else {
        let mut out: BTreeSet<&IfName> = masquerades.iter().flat_map(|rule| &rule.out).collect();
        let mut uplinks: Vec<IfName> = all().filter(|name| out.remove(name)).cloned().collect();
        // The host's own interfaces, which the file does not have.
        let foreign = masquerades.iter().flat_map(|rule| &rule.out).filter(|name| out.remove(name));
        uplinks.extend(foreign.cloned().collect::<Vec<_>>());
        uplinks
    };
    if uplinks.is_empty() {
        return Err(Error::new(path, Problem::HostUplink));
    }
    let outside: BTreeSet<&IfName> = uplinks.iter().collect();
    let insides: Vec<IfName> = all().filter(|name| !outside.contains(name)).cloned().collect();
    let leads_inside = |veth: &&Veth| insides.contains(&veth.through);
    let ports = links.veths(&place).filter(leads_inside).map(|veth| veth.name.clone()).collect();
    Ok(Gateway { uplinks, insides, ports, place, backend, masquerades, forwards })
}

/// Of a gateway that only forwards, the uplinks are the interfaces that it does not forward out of; where it forwards
/// out of each, as a gateway with one leg does, they are all uplinks. None if the host listens on an address that the
/// file does not have: then the interface is unknown, too.
fn uplinks_of_forwards(forwards: &[Forward], place: &Place, links: &Links, routes: &Routes) -> Vec<IfName> {
    let known = |address| links.owns(place, address);
    if links.are_not_all(place) && !forwards.iter().all(|rule| rule.address.is_some_and(known)) {
        return Vec::new();
    }
    let towards = |rule: &Forward| routes.interface_towards(rule.to, place, links);
    let insides: BTreeSet<&IfName> = forwards.iter().filter_map(towards).collect();
    let all = || links.of(place).map(|link| link.name.clone());
    let uplinks: Vec<IfName> = all().filter(|name| !insides.contains(name)).collect();
    if uplinks.is_empty() { all().collect() } else { uplinks }
}

#[cfg(test)]
mod tests {
    use super::super::trial::{assert_office_refused, office};
    use super::*;

    fn faces(added: &str) -> Vec<String> {
        let names = |names: &[IfName]| names.iter().map(IfName::as_str).collect::<Vec<_>>().join(",");
        let show = |gateway: &Gateway| {
            format!("{}: {} | {}", gateway.place, names(&gateway.uplinks), names(&gateway.insides))
        };
        office(added).gateways.iter().map(show).collect()
    }

    #[test]
    fn uplinks_are_what_masquerade_rules_go_out_of_and_the_rest_is_inside() {
        let rule = "[[nat.masquerade]]\nnamespace = 'router'\nsource = '10.0.0.0/24'\nout = 'wan0'\n";
        assert_eq!(faces(rule), ["router: wan0 | br0"]);
        assert_eq!(faces(&format!("{rule}[bridges.br1]\nnamespace = 'router'")), ["router: wan0 | br0,br1"]);
        let of_host = rule.replace("router", "host").replace("wan0", "eth0");
        assert_eq!(
            faces(&format!("[bridges.br1]\naddresses = ['10.1.0.1/24']\n{of_host}{rule}")),
            ["host: eth0 | br1", "router: wan0 | br0"]
        );
    }

    #[test]
    fn without_masquerade_rules_the_uplinks_are_what_is_not_forwarded_out_of() {
        let rule = |to: &str| {
            format!("[[nat.forward]]\nnamespace = 'router'\nlisten = '{to}00'\nto = '10.0.0.{to}'\n")
        };
        assert_eq!(faces(&rule("1")), ["router: wan0 | br0"]);
        let behind = "[[routes]]\nnamespace = 'router'\nto = '172.16.0.0/12'\nvia = '203.0.113.2'\n\
                      [[nat.forward]]\nnamespace = 'router'\nlisten = '80'\nto = '172.16.0.1'\n";
        assert_eq!(faces(behind), ["router: br0 | wan0"]);
        assert_eq!(faces(&(rule("1") + behind)), ["router: br0,wan0 | "]);
        let one_leg = rule("2").replace("router", "red");
        assert_eq!(faces(&one_leg), ["red: eth0 | "]);
    }

    #[test]
    fn a_gateway_has_so_many_flows_at_most() {
        assert_eq!(office("").max_flows, 131_072);
        for flows in [1, 1000, 16_777_216] {
            assert_eq!(office(&format!("[nat]\nmax-flows = {flows}")).max_flows, flows);
        }
        for flows in [0, -1, 16_777_217, i64::MAX] {
            assert_office_refused(&[(
                &format!("[nat]\nmax-flows = {flows}"),
                &format!("15: {flows} flows are not between 1 and 16777216 (`nat.max-flows`)"),
                "",
            )]);
        }
    }

    #[test]
    fn a_host_that_only_forwards_listens_on_an_address_of_the_file() {
        let bridges =
            "[bridges.br1]\naddresses = ['10.1.0.1/24']\n[bridges.br2]\naddresses = ['10.2.0.1/24']\n";
        let rule = |listen| {
            format!("{bridges}[[nat.forward]]\nnamespace = 'host'\nlisten = '{listen}'\nto = '10.1.0.9'\n")
        };
        assert_eq!(faces(&rule("10.2.0.1:80")), ["host: br2 | br1"]);
        for listen in ["80", "198.51.100.7:80"] {
            assert_office_refused(&[(
                &rule(listen),
                "18: the file does not have the interface of `host` that this comes in by (`nat.forward[0]`)",
                "add a `[[nat.masquerade]]` whose `out` is that interface",
            )]);
        }
    }
}
