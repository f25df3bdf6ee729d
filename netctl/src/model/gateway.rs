//! The gateways of a topology: which places translate addresses, and which of their interfaces face where.

use super::{
    Forward, Gateway, IfName, Masquerade, Place, Problem, Route, error::Error, forward, links::Links,
    masquerade, place::Places, route::interface_towards,
};
use crate::spec::{KeyPath, Nat};

/// A rule of the file on its way to its gateway.
pub(super) struct Rule<T> {
    pub(super) place: Place,
    pub(super) rule: T,
    pub(super) path: KeyPath,
}

/// The gateways, in the order in which the masquerade rules, then the forward rules of the file first name them.
pub(super) fn resolve(
    nat: &Nat,
    places: &Places,
    links: &Links,
    routes: &[Route],
) -> Result<Vec<Gateway>, Error> {
    let masquerades = masquerade::resolve(&nat.masquerade, places, links)?;
    let forwards = forward::resolve(&nat.forward, places, links, routes)?;
    let named = masquerades.iter().map(|rule| (&rule.place, &rule.path));
    let named = named.chain(forwards.iter().map(|rule| (&rule.place, &rule.path)));
    let mut gateways: Vec<Gateway> = Vec::new();
    for (place, path) in named {
        if gateways.iter().all(|gateway| gateway.place != *place) {
            let (masquerades, forwards) = (rules_of(place, &masquerades), rules_of(place, &forwards));
            gateways.push(face(place, path, masquerades, forwards, links, routes)?);
        }
    }
    Ok(gateways)
}

fn rules_of<T: Clone>(place: &Place, rules: &[Rule<T>]) -> Vec<T> {
    let of_place = rules.iter().filter(|rule| rule.place == *place);
    of_place.map(|rule| rule.rule.clone()).collect()
}

/// Tells a gateway's uplinks from its insides.
fn face(
    place: &Place,
    path: &KeyPath,
    masquerades: Vec<Masquerade>,
    forwards: Vec<Forward>,
    links: &Links,
    routes: &[Route],
) -> Result<Gateway, Error> {
    let all = || links.of(place).map(|link| &link.name);
    let uplinks = if masquerades.is_empty() {
        uplinks_of_forwards(&forwards, place, links, routes)
    } else {
        let out = || masquerades.iter().flat_map(|rule| &rule.out);
        let mut uplinks: Vec<IfName> = all().filter(|name| out().any(|out| out == *name)).cloned().collect();
        // The host's own interfaces, which the file does not have.
        for name in out() {
            if !uplinks.contains(name) {
                uplinks.push(name.clone());
            }
        }
        uplinks
    };
    if uplinks.is_empty() {
        return Err(Error::new(path.clone(), Problem::HostUplink));
    }
    let insides = all().filter(|name| !uplinks.contains(name)).cloned().collect();
    Ok(Gateway { place: place.clone(), uplinks, insides, masquerades, forwards })
}

/// Of a gateway that only forwards, the uplinks are the interfaces that it does not forward out of; where it forwards
/// out of each, as a gateway with one leg does, they are all uplinks. None if the host listens on an address that the
/// file does not have: then the interface is unknown, too.
fn uplinks_of_forwards(forwards: &[Forward], place: &Place, links: &Links, routes: &[Route]) -> Vec<IfName> {
    let known = |address| links.of(place).any(|link| link.addresses.iter().any(|own| own.addr() == address));
    if *place == Place::Host && !forwards.iter().all(|rule| rule.address.is_some_and(known)) {
        return Vec::new();
    }
    let towards = |rule: &Forward| interface_towards(rule.to, place, links, routes);
    let insides: Vec<&IfName> = forwards.iter().filter_map(towards).collect();
    let all = || links.of(place).map(|link| link.name.clone());
    let uplinks: Vec<IfName> = all().filter(|name| !insides.contains(&name)).collect();
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
