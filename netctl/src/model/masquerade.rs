//! Masquerade rules: their networks, and the uplinks that they apply to.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{
    IfName, Mapping, Masquerade, Place, Problem,
    address::{parse_ip, parse_network},
    behaviour::word,
    endpoint,
    error::Error,
    links::Links,
    place::Places,
    placed::Placed,
};
use crate::spec::{self, KeyPath, key_path};

/// The file's masquerade rules, each with its place.
pub(super) fn resolve(
    specs: &[spec::Masquerade],
    places: &Places,
    links: &Links,
) -> Result<Vec<Placed<Masquerade>>, Error> {
    let mut rules: Vec<Placed<Masquerade>> = Vec::new();
    let mut leaving = BTreeMap::new();
    for (index, spec) in specs.iter().enumerate() {
        let path = key_path!["nat", "masquerade", index];
        let place = places.resolve(&spec.namespace, &path.key("namespace"))?;
        for rule in parse(spec, &place, &path, links)? {
            // Only one rule says how a source leaves by an uplink.
            for out in &rule.out {
                if let Some(other) = leaving.insert((place.clone(), rule.source, out.clone()), path.clone()) {
                    let (source_net, out) = (rule.source, out.to_string());
                    return Err(Error::new(path, Problem::DuplicateMasquerade { source_net, out, other }));
                }
            }
            rules.push(Placed { place: place.clone(), rule, path: path.clone() });
        }
    }
    Ok(rules)
}

/// The rules of one table of the file: one, or one of each family where it has no source.
pub(super) fn parse(
    spec: &spec::Masquerade,
    place: &Place,
    path: &KeyPath,
    links: &Links,
) -> Result<Vec<Masquerade>, Error> {
    let sources = match &spec.source {
        Some(source) => vec![parse_network(source, &path.key("source"))?],
        None => everyone(spec, place, path, links)?,
    };
    sources.into_iter().map(|source| parse_one(spec, source, place, path, links)).collect()
}

/// The networks of all addresses: of IPv4, and of IPv6 if the place has such addresses elsewhere than at the uplink. Of one
/// family alone if the outside address says which.
fn everyone(
    spec: &spec::Masquerade,
    place: &Place,
    path: &KeyPath,
    links: &Links,
) -> Result<Vec<IpNet>, Error> {
    let Some(out) = &spec.out else {
        return Err(Error::new(path.clone(), Problem::NoSource));
    };
    let uplink = links.named(place, out).map(|link| &link.name);
    let mut insides = links.of(place).filter(|link| Some(&link.name) != uplink);
    let all = [Ipv4Net::default().into(), Ipv6Net::default().into()];
    let families = match &spec.address {
        Some(text) if parse_ip(text, &path.key("address"))?.is_ipv6() => &all[1..],
        None if insides.any(|link| link.addresses.iter().any(|its| its.addr().is_ipv6())) => &all[..],
        _ => &all[..1],
    };
    Ok(families.to_vec())
}

fn parse_one(
    spec: &spec::Masquerade,
    source: IpNet,
    place: &Place,
    path: &KeyPath,
    links: &Links,
) -> Result<Masquerade, Error> {
    let mut rule = Masquerade {
        source,
        out: uplinks(spec.out.as_deref(), &source, place, path, links)?,
        address: None,
        ports: None,
        routed: spec.routed,
        mapping: word(spec.mapping.as_deref(), &path.key("mapping"))?,
        filtering: word(spec.filtering.as_deref(), &path.key("filtering"))?,
    };
    if spec.filtering.is_some() && rule.mapping != Mapping::EndpointIndependent {
        let problem = Problem::IdleFiltering { filtering: rule.filtering };
        return Err(Error::new(path.key("filtering"), problem));
    }
    if let Some(text) = &spec.address {
        rule.address = Some(parse_address(text, &rule, place, &path.key("address"), links)?);
    }
    if let Some(text) = &spec.ports {
        let refuse = || Error::new(path.key("ports"), Problem::Ports { text: text.clone() });
        rule.ports = Some(endpoint::ports(text).ok_or_else(refuse)?);
    }
    Ok(rule)
}

/// The interface that the rule names, else every one that no part of the source lives behind. A wide source such as
/// 10.0.0.0/8 may well have the named uplink's own subnet in it.
fn uplinks(
    out: Option<&str>,
    source: &IpNet,
    place: &Place,
    path: &KeyPath,
    links: &Links,
) -> Result<Vec<IfName>, Error> {
    let Some(name) = out else {
        if links.are_not_all(place) {
            return Err(Error::new(path.clone(), Problem::HostOut));
        }
        let outside = links.of(place).filter(|link| !link.overlaps(source));
        let out: Vec<IfName> = outside.map(|link| link.name.clone()).collect();
        if out.is_empty() {
            return Err(Error::new(path.clone(), Problem::NoUplink { place: place.clone() }));
        }
        return Ok(out);
    };
    let path = path.key("out");
    let refuse = |problem| Error::new(path.clone(), problem);
    let out = links.layer3(place, name, " to go out of").map_err(refuse)?;
    if links.named(place, name).is_some_and(|link| link.contains(source)) {
        let (out, source_net) = (name.to_owned(), *source);
        return Err(Error::new(path, Problem::OutIsInside { out, source_net }));
    }
    Ok(vec![out])
}

/// An address that the uplinks have, so that replies find their way; the host may have others than the file's.
fn parse_address(
    text: &str,
    rule: &Masquerade,
    place: &Place,
    path: &KeyPath,
    links: &Links,
) -> Result<IpAddr, Error> {
    let address = parse_ip(text, path)?;
    if address.is_ipv4() != rule.source.addr().is_ipv4() {
        let (one, other) = (text.to_owned(), rule.source.to_string());
        return Err(Error::new(path.clone(), Problem::Families { one, other }));
    }
    let uplinks = links.of(place).filter(|link| rule.out.contains(&link.name));
    let own = uplinks.flat_map(|link| &link.addresses).map(IpNet::addr);
    let own: Vec<IpAddr> = own.filter(|own| own.is_ipv4() == address.is_ipv4()).collect();
    if links.are_not_all(place) || own.contains(&address) {
        return Ok(address);
    }
    let out = match &rule.out[..] {
        [out] => Some(out.to_string()),
        _ => None,
    };
    let place = place.clone();
    Err(Error::new(path.clone(), Problem::ForeignAddress { address, place, out, own }))
}

#[cfg(test)]
mod tests {
    use super::super::{
        Filtering, Mapping,
        trial::{assert_office_refused, office},
    };

    fn rule(more: &str) -> String {
        format!("[[nat.masquerade]]\nnamespace = 'router'\nsource = '10.0.0.0/24'\n{more}\n")
    }

    #[test]
    fn out_left_out_is_every_interface_that_the_source_does_not_live_behind() {
        let more = "[bridges.br1]\nnamespace = 'router'\n";
        let topology = office(&(rule("") + more));
        let out: Vec<_> = topology.gateways[0].masquerades[0].out.iter().map(ToString::to_string).collect();
        assert_eq!(out, ["br1", "wan0"]);
    }

    #[test]
    fn without_a_source_everyone_who_is_sent_on_is_meant_of_each_family_that_is_inside() {
        let rules = |more: &str| -> Vec<String> {
            let file = format!("[[nat.masquerade]]\nnamespace = 'router'\nout = 'wan0'\n{more}\n");
            office(&file).gateways[0].masquerades.iter().map(ToString::to_string).collect()
        };
        assert_eq!(rules(""), ["0.0.0.0/0 out wan0", "::/0 out wan0"]);
        assert_eq!(rules("address = '203.0.113.1'"), ["0.0.0.0/0 out wan0 as 203.0.113.1"]);
        assert_eq!(rules("address = '2001:db8::1'"), ["::/0 out wan0 as 2001:db8::1"]);
        assert_office_refused(&[(
            "[[nat.masquerade]]\nnamespace = 'router'",
            "14: a masquerade rule has `source` or `out`, or both (`nat.masquerade[0]`)",
            "set `out` to the interface that leads outside, or `source` to the network inside",
        )]);
    }

    #[test]
    fn a_wide_source_may_include_the_uplinks_subnet() {
        let topology = office(&rule("out = 'wan0'").replace("10.0.0.0/24", "0.0.0.0/0"));
        assert_eq!(topology.gateways[0].uplinks[0].as_str(), "wan0");
    }

    #[test]
    fn ports_and_address_are_taken_over() {
        let topology =
            office(&rule("out = 'wan0'\naddress = '203.0.113.1'\nports = '20000-29999'\nrouted = true"));
        let rule = &topology.gateways[0].masquerades[0];
        assert_eq!(rule.address, Some("203.0.113.1".parse().unwrap()));
        assert_eq!((rule.ports, rule.routed), (Some((20000, 29999)), true));
    }

    #[test]
    fn mapping_and_filtering_are_netfilters_unless_the_file_says_otherwise() {
        let behaviour = |more: &str| {
            let rule = &office(&rule(more)).gateways[0].masquerades[0];
            (rule.mapping, rule.filtering)
        };
        assert_eq!(behaviour(""), (Mapping::AddressAndPortDependent, Filtering::AddressAndPortDependent));
        let mapping = "mapping = 'address-and-port-dependent'";
        assert_eq!(behaviour(mapping), behaviour(""));
        for (more, filtering) in [
            ("", Filtering::AddressAndPortDependent),
            ("filtering = 'address-and-port-dependent'", Filtering::AddressAndPortDependent),
            ("filtering = 'address-dependent'", Filtering::AddressDependent),
            ("filtering = 'endpoint-independent'", Filtering::EndpointIndependent),
        ] {
            let more = format!("mapping = 'endpoint-independent'\n{more}");
            assert_eq!(behaviour(&more), (Mapping::EndpointIndependent, filtering));
        }
    }

    #[test]
    fn a_rule_that_could_never_work_is_refused() {
        let ports = "write `FIRST-LAST`, both from 1 to 65535 and the lower one first";
        let no_range =
            |text: &str| format!("17: `{text}` is not a range of ports (`nat.masquerade[0].ports`)");
        assert_office_refused(&[
            (
                "[[nat.masquerade]]\nnamespace = 'router'\nsource = '10.0.0.5/24'",
                "16: 10.0.0.5/24 has host bits set (`nat.masquerade[0].source`)",
                "the network is `10.0.0.0/24`",
            ),
            (
                &rule("out = 'wan'"),
                "17: `router` has no interface `wan` to go out of (`nat.masquerade[0].out`)",
                "did you mean `wan0`?",
            ),
            (
                &rule("out = 'veth-red-br'"),
                "17: `veth-red-br` is a port of bridge `br0` (`nat.masquerade[0].out`)",
                "use `br0`",
            ),
            (
                &rule("out = 'br0'"),
                "17: `br0` is the interface that 10.0.0.0/24 lives behind (`nat.masquerade[0].out`)",
                "`out` is the interface on the other side",
            ),
            (
                "[[nat.masquerade]]\nnamespace = 'red'\nsource = '10.0.0.0/24'",
                "14: `red` has no interface to go out of (`nat.masquerade[0]`)",
                "add a cable, or a bridge, that leads outside",
            ),
            (
                "[[nat.masquerade]]\nnamespace = 'host'\nsource = '10.0.0.0/24'",
                "14: `host` has interfaces that the file does not know of, so `out` is needed (`nat.masquerade[0]`)",
                "set `out` to the interface that leads outside",
            ),
            (
                &rule("out = 'wan0'\naddress = '203.0.113.9'"),
                "18: 203.0.113.9 is not an address of `wan0` of `router` (`nat.masquerade[0].address`)",
                "it has 203.0.113.1",
            ),
            (
                &rule("address = '2001:db8::1'"),
                "17: 2001:db8::1 and 10.0.0.0/24 are of different address families (`nat.masquerade[0].address`)",
                "",
            ),
            (
                &rule("mapping = 'endpoint-independant'"),
                "17: `endpoint-independant` is not one of the words here (`nat.masquerade[0].mapping`)",
                "did you mean `endpoint-independent`?",
            ),
            (
                &rule("mapping = 'cone'"),
                "17: `cone` is not one of the words here (`nat.masquerade[0].mapping`)",
                "write `address-and-port-dependent` or `endpoint-independent`",
            ),
            (
                &rule("mapping = 'endpoint-independent'\nfiltering = ''"),
                "18: `` is not one of the words here (`nat.masquerade[0].filtering`)",
                "write `address-and-port-dependent` or `address-dependent` or `endpoint-independent`",
            ),
            (
                &rule("filtering = 'address-dependent'"),
                "17: address-dependent filtering needs an endpoint-independent mapping \
                 (`nat.masquerade[0].filtering`)",
                "add `mapping = \"endpoint-independent\"`",
            ),
            (&rule("ports = '29999-20000'"), &no_range("29999-20000"), ports),
            (&rule("ports = '0-10'"), &no_range("0-10"), ports),
            (&rule("ports = ''"), &no_range(""), ports),
            (
                &(rule("out = 'wan0'") + &rule("")),
                "18: 10.0.0.0/24 is masqueraded out of `wan0` already: `nat.masquerade[0]` (`nat.masquerade[1]`)",
                "",
            ),
        ]);
    }

    #[test]
    fn the_host_may_have_interfaces_and_addresses_that_the_file_does_not_know() {
        let rule = rule("out = 'eth0'\naddress = '198.51.100.7'").replace("router", "host");
        let topology = office(&rule);
        assert_eq!(topology.gateways[0].uplinks[0].as_str(), "eth0");
    }
}
