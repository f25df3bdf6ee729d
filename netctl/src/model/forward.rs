//! Forward rules: where they listen, where they lead, and that no two want the same packets.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;

use super::{
    Forward, Place, Problem, Protocol, address, endpoint, error::Error, links::Links, place::Places,
    placed::Placed, route::Routes,
};
use crate::spec::{self, KeyPath, key_path};

/// The file's forward rules, one for each protocol, each with its place.
pub(super) fn resolve(
    specs: &[spec::Forward],
    places: &Places,
    links: &Links,
    routes: &Routes,
) -> Result<Vec<Placed<Forward>>, Error> {
    let mut rules: Vec<Placed<Forward>> = Vec::new();
    let mut listeners = Listeners::default();
    for (index, spec) in specs.iter().enumerate() {
        let path = key_path!["nat", "forward", index];
        let place = places.resolve(&spec.namespace, &path.key("namespace"))?;
        for rule in checked(spec, &place, &path, links, routes)? {
            let rule = Placed { place: place.clone(), rule, path: path.clone() };
            if let Some((earlier, port)) = listeners.add(&rule.place, &rule.rule, rules.len()) {
                let (protocol, one, other) = (rule.rule.protocol, rules[earlier].path.clone(), path.clone());
                let problem = Problem::OverlappingForwards { protocol, port, one, other };
                return Err(Error::new(path.key("listen"), problem));
            }
            rules.push(rule);
        }
    }
    Ok(rules)
}

/// The rules of one table of the file, one for each protocol.
pub(super) fn checked(
    spec: &spec::Forward,
    place: &Place,
    path: &KeyPath,
    links: &Links,
    routes: &Routes,
) -> Result<Vec<Forward>, Error> {
    let rules: Vec<Forward> = parse(spec, path)?.collect();
    for rule in &rules {
        check_listen(rule, place, links).map_err(|problem| Error::new(path.key("listen"), problem))?;
        check_target(rule, place, links, routes).map_err(|problem| Error::new(path.key("to"), problem))?;
    }
    Ok(rules)
}

/// The first of `there`, all of one place, that would take packets of `new`, or the other way round; and the first port
/// of those.
pub(super) fn overlapping<'a>(new: &Forward, there: &[&'a Forward]) -> Option<(&'a Forward, u16)> {
    let other = there.iter().find(|there| there.overlaps(new))?;
    Some((other, new.ports.0.max(other.ports.0)))
}

impl Forward {
    /// Whether there are packets that both are for.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        let either_any = self.address.is_none() || other.address.is_none();
        self.protocol == other.protocol
            && self.to.is_ipv4() == other.to.is_ipv4()
            && (either_any || self.address == other.address)
            && self.ports.0 <= other.ports.1
            && other.ports.0 <= self.ports.1
    }
}

fn parse(spec: &spec::Forward, path: &KeyPath) -> Result<impl Iterator<Item = Forward>, Error> {
    let refuse = |key: &str, problem| Error::new(path.key(key), problem);
    let listen = endpoint::listen(&spec.listen)
        .ok_or_else(|| refuse("listen", Problem::Listen { text: spec.listen.clone() }))?;
    let (to, to_port) =
        endpoint::target(&spec.to).ok_or_else(|| refuse("to", Problem::Target { text: spec.to.clone() }))?;
    let (address, ports) = (listen.address, listen.ports);
    if let Some(address) = address.filter(|address| address.is_ipv4() != to.is_ipv4()) {
        let (one, other) = (address.to_string(), to.to_string());
        return Err(refuse("to", Problem::Families { one, other }));
    }
    let to_port = to_port.unwrap_or(ports.0);
    if to_port.checked_add(ports.1 - ports.0).is_none() {
        let count = u32::from(ports.1 - ports.0) + 1;
        return Err(refuse("to", Problem::BeyondLastPort { first: to_port, count }));
    }
    let allow = spec.allow.as_deref().map(|texts| allowed(texts, to, &path.key("allow"))).transpose()?;
    let rule = move |&protocol| Forward { address, ports, protocol, to, to_port, allow: allow.clone() };
    Ok(listen.protocols.iter().map(rule))
}

/// Networks, or single addresses, of the family of `to`.
fn allowed(texts: &[String], to: IpAddr, path: &KeyPath) -> Result<BTreeSet<IpNet>, Error> {
    let network = |(index, text): (usize, &String)| {
        let refuse = |problem| Error::new(path.index(index), problem);
        let network: IpNet = text
            .parse()
            .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
            .map_err(|_| refuse(Problem::Network { text: text.clone() }))?;
        if network.addr().is_ipv4() != to.is_ipv4() {
            let (one, other) = (network.to_string(), to.to_string());
            return Err(refuse(Problem::Families { one, other }));
        }
        Ok(network.trunc())
    };
    if texts.is_empty() {
        return Err(Error::new(path.clone(), Problem::NobodyAllowed));
    }
    texts.iter().enumerate().map(network).collect()
}

/// A gateway listens on its own addresses; the host may have others than the file's.
fn check_listen(rule: &Forward, place: &Place, links: &Links) -> Result<(), Problem> {
    let Some(address) = rule.address else {
        return Ok(());
    };
    if !address::is_unicast(address) {
        return Err(Problem::Unspecified { address, verb: "listen on" });
    }
    if links.are_not_all(place) || links.owns(place, address) {
        return Ok(());
    }
    let own = links.of(place).flat_map(|link| &link.addresses).map(IpNet::addr);
    let own: Vec<IpAddr> = own.filter(|own| own.is_ipv4() == address.is_ipv4()).collect();
    Err(Problem::ForeignAddress { address, place: place.clone(), out: None, own })
}

/// A gateway knows the way to where it forwards; the host may know more than the file.
fn check_target(rule: &Forward, place: &Place, links: &Links, routes: &Routes) -> Result<(), Problem> {
    let to = rule.to;
    if !address::is_unicast(to) {
        return Err(Problem::Unspecified { address: to, verb: "forward to" });
    }
    if links.are_not_all(place) || routes.interface_towards(to, place, links).is_some() {
        return Ok(());
    }
    Err(Problem::NoRouteTo { to, place: place.clone() })
}

/// The address that a forward listens on, `None` for every one of a family; with place, protocol and whether IPv4.
type Socket = (Place, Protocol, bool, Option<IpAddr>);

/// The ports that are listened on, as far as rules have come: for each socket ranges that do not overlap, by their
/// first port, with their last port and their rule's index.
#[derive(Default)]
struct Listeners(BTreeMap<Socket, BTreeMap<u16, (u16, usize)>>);

impl Listeners {
    /// Adds a rule, or tells the earlier one that would take its packets, and the first port of which.
    fn add(&mut self, place: &Place, forward: &Forward, index: usize) -> Option<(usize, u16)> {
        let socket = |address| (place.clone(), forward.protocol, forward.to.is_ipv4(), address);
        let shared = match forward.address {
            Some(_) => {
                [None, forward.address].into_iter().filter_map(|a| self.within(&socket(a), forward)).min()
            }
            None => {
                let same = |other: &&Socket| {
                    (&other.0, other.1, other.2) == (place, forward.protocol, forward.to.is_ipv4())
                };
                let others = self.0.range(socket(None)..).map(|(socket, _)| socket).take_while(same);
                others.filter_map(|socket| self.within(socket, forward)).min()
            }
        };
        self.0.entry(socket(forward.address)).or_default().insert(forward.ports.0, (forward.ports.1, index));
        shared
    }

    fn within(&self, socket: &Socket, forward: &Forward) -> Option<(usize, u16)> {
        let ranges = self.0.get(socket)?;
        let (first, last) = forward.ports;
        let before = ranges.range(..=first).next_back().filter(|(_, (end, _))| *end >= first);
        let (&start, &(_, index)) = before.or_else(|| ranges.range(first..=last).next())?;
        Some((index, start.max(first)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        Protocol,
        trial::{assert_office_refused, office},
    };

    fn rule(listen: &str, to: &str) -> String {
        format!("[[nat.forward]]\nnamespace = 'router'\nlisten = '{listen}'\nto = '{to}'\n")
    }

    #[test]
    fn a_forward_of_both_protocols_is_two() {
        let topology = office(&rule("8000-8010/tcp+udp", "10.0.0.2:80"));
        let [tcp, udp] = &topology.gateways[0].forwards[..] else { panic!("{:?}", topology.gateways) };
        assert_eq!((tcp.protocol, udp.protocol), (Protocol::Tcp, Protocol::Udp));
        assert_eq!((tcp.address, tcp.ports, tcp.to_port), (None, (8000, 8010), 80));
    }

    #[test]
    fn the_port_is_kept_unless_the_target_has_one() {
        let topology = office(&(rule("203.0.113.1:443", "10.0.0.2") + &rule("[2001:db8::1]:443", "fd15::1")));
        let to: Vec<_> = topology.gateways[0].forwards.iter().map(|rule| rule.to_port).collect();
        assert_eq!(to, [443, 443]);
    }

    #[test]
    fn a_rule_that_could_never_work_is_refused() {
        let listen = "write `[ADDRESS:]PORT[-PORT][/tcp|udp|tcp+udp]`, an IPv6 address in brackets";
        assert_office_refused(&[
            (
                &rule("http", "10.0.0.2"),
                "16: `http` does not say where to listen (`nat.forward[0].listen`)",
                listen,
            ),
            (
                &rule("80", "fd15::2:http"),
                "17: `fd15::2:http` does not say where to forward to (`nat.forward[0].to`)",
                "write `ADDRESS[:PORT]`, an IPv6 address with a port in brackets",
            ),
            (
                &rule("203.0.113.1:80", "fd15::1"),
                "17: 203.0.113.1 and fd15::1 are of different address families (`nat.forward[0].to`)",
                "",
            ),
            (
                &rule("203.0.113.9:80", "10.0.0.2"),
                "16: 203.0.113.9 is not an address of `router` (`nat.forward[0].listen`)",
                "it has 10.0.0.5, 203.0.113.1",
            ),
            (
                &rule("0.0.0.0:80", "10.0.0.2"),
                "16: 0.0.0.0 is not an address that one can listen on (`nat.forward[0].listen`)",
                "leave the address out to listen on every one",
            ),
            (
                &rule("80", "0.0.0.0"),
                "17: 0.0.0.0 is not an address that one can forward to (`nat.forward[0].to`)",
                "",
            ),
            (
                &rule("80-90", "10.0.0.2:65530"),
                "17: 11 ports from 65530 on go beyond 65535 (`nat.forward[0].to`)",
                "",
            ),
            (
                &rule("80", "172.16.0.1"),
                "17: `router` has no route to 172.16.0.1 (`nat.forward[0].to`)",
                "add a route that leads there, or an address in its subnet",
            ),
        ]);
    }

    fn allowing(networks: &str, to: &str) -> String {
        rule("443", to) + &format!("allow = [{networks}]\n")
    }

    #[test]
    fn allow_is_a_set_of_networks_without_host_bits() {
        let allow = |networks: &str, to: &str| {
            let topology = office(&allowing(networks, to));
            let allow = topology.gateways[0].forwards[0].allow.clone().unwrap();
            allow.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            allow("'198.51.100.7/24', '192.0.2.9', '198.51.100.0/24', '10.0.0.0/8'", "10.0.0.2"),
            "10.0.0.0/8 192.0.2.9/32 198.51.100.0/24"
        );
        assert_eq!(allow("'0.0.0.0/0'", "10.0.0.2"), "0.0.0.0/0");
        assert_eq!(allow("'2001:DB8::1/32', '::1'", "fd15::1"), "::1/128 2001:db8::/32");
        assert_eq!(office(&rule("443", "10.0.0.2")).gateways[0].forwards[0].allow, None);
    }

    #[test]
    fn an_allow_that_lets_nobody_in_is_refused() {
        let everyone = "leave `allow` out for everyone, or remove the forward";
        assert_office_refused(&[
            (
                &allowing("", "10.0.0.2"),
                "18: nobody could use this forward (`nat.forward[0].allow`)",
                everyone,
            ),
            (
                &allowing("'10.0.0.0/8', 'fd00::/8'", "10.0.0.2"),
                "18: fd00::/8 and 10.0.0.2 are of different address families (`nat.forward[0].allow[1]`)",
                "",
            ),
            (
                &allowing("'10.0.0.0/33'", "10.0.0.2"),
                "18: `10.0.0.0/33` is not a network with a prefix length (`nat.forward[0].allow[0]`)",
                "write it as `192.168.1.0/24`",
            ),
        ]);
    }

    #[test]
    fn row_37_ports_are_from_1_to_65535_and_what_is_none_is_refused_at_its_key() {
        for listen in ["1", "53", "443", "65535", "1-65535", "65535-65535", "203.0.113.1:1/udp"] {
            office(&rule(listen, "10.0.0.2"));
        }
        for to in ["10.0.0.2:1", "10.0.0.2:65535", "10.0.0.2"] {
            office(&rule("65535", to));
        }
        let at_listen = "write `[ADDRESS:]PORT[-PORT][/tcp|udp|tcp+udp]`, an IPv6 address in brackets";
        for listen in [
            "0",
            "65536",
            "-1",
            "",
            "80-",
            "-",
            "0-80",
            "80-65536",
            "90-80",
            "80-80-80",
            "203.0.113.1:0",
            "203.0.113.1:",
            "203.0.113.256:80",
            "203.0.113:80",
            "2001:db8::1:80",
            "[2001:db8::g]:80",
            "80/icmp",
        ] {
            let message = format!("16: `{listen}` does not say where to listen (`nat.forward[0].listen`)");
            assert_office_refused(&[(&rule(listen, "10.0.0.2"), &message, at_listen)]);
        }
        let at_to = "write `ADDRESS[:PORT]`, an IPv6 address with a port in brackets";
        for to in [
            "",
            ":80",
            "10.0.0.2:",
            "10.0.0.2:0",
            "10.0.0.2:65536",
            "10.0.0.256:80",
            "10.0.0:80",
            "red:80",
            "[fd15::2",
        ] {
            let message = format!("17: `{to}` does not say where to forward to (`nat.forward[0].to`)");
            assert_office_refused(&[(&rule("80", to), &message, at_to)]);
        }
    }

    #[test]
    fn rows_22_37_a_range_ends_at_the_last_port_at_the_latest() {
        let topology = office(&rule("1-65535", "10.0.0.2:1"));
        let forward = &topology.gateways[0].forwards[0];
        assert_eq!((forward.ports, forward.to_port), ((1, 65535), 1));
        office(&rule("80-90", "10.0.0.2:65525"));
        assert_office_refused(&[(
            &rule("80-90", "10.0.0.2:65526"),
            "17: 11 ports from 65526 on go beyond 65535 (`nat.forward[0].to`)",
            "",
        )]);
    }

    #[test]
    fn rows_23_24_29_protocols_families_and_addresses_have_their_own_ports() {
        let file =
            |rules: &[(&str, &str)]| rules.iter().map(|(listen, to)| rule(listen, to)).collect::<String>();
        let (red, red6) = ("10.0.0.1", "fd15::1");
        for rules in [
            [("8080/tcp", red), ("8080/udp", red)],
            [("8080", red), ("8080", red6)],
            [("203.0.113.1:8080", red), ("10.0.0.5:8080", red)],
            [("203.0.113.1:8080", red), ("[2001:db8::1]:8080", red6)],
            [("203.0.113.1:8080", red), ("8080", red6)],
            [("8000-8079/tcp+udp", red), ("8080-8090/tcp+udp", red)],
        ] {
            let forwards = office(&file(&rules)).gateways.remove(0).forwards;
            assert!(forwards.len() >= 2, "{rules:?}");
        }
        for (rules, protocol, port) in [
            ([("8080", red), ("203.0.113.1:8080", red)], "tcp", 8080),
            ([("203.0.113.1:8080", red), ("8080", red)], "tcp", 8080),
            ([("8080", red6), ("[2001:db8::1]:8080", red6)], "tcp", 8080),
            ([("8080/udp", red), ("8080/tcp+udp", red)], "udp", 8080),
            ([("8000-8080", red), ("8080-9000", red)], "tcp", 8080),
            ([("8000-9000", red), ("8080", red)], "tcp", 8080),
        ] {
            assert_office_refused(&[(
                &file(&rules),
                &format!(
                    "20: two forwards of {protocol} port {port}: `nat.forward[0]` and `nat.forward[1]` \
                     (`nat.forward[1].listen`)"
                ),
                "",
            )]);
        }
    }

    #[test]
    fn row_29_who_may_use_a_forward_does_not_tell_it_from_another() {
        let one = rule("443", "10.0.0.2") + "allow = ['192.0.2.0/24']\n";
        let other = rule("443", "10.0.0.1") + "allow = ['198.51.100.0/24']\n";
        assert_office_refused(&[(
            &(one + &other),
            "21: two forwards of tcp port 443: `nat.forward[0]` and `nat.forward[1]` (`nat.forward[1].listen`)",
            "",
        )]);
    }

    #[test]
    fn row_29_two_forwards_do_not_want_the_same_packets() {
        let first = rule("8000-8010/tcp+udp", "10.0.0.2");
        for listen in ["8010", "203.0.113.1:7000-8000/udp", "8005/tcp"] {
            let (protocol, port) = if listen.ends_with("udp") { ("udp", 8000) } else { ("tcp", 8010) };
            let port = if listen.starts_with("8005") { 8005 } else { port };
            assert_office_refused(&[(
                &(first.clone() + &rule(listen, "10.0.0.1")),
                &format!(
                    "20: two forwards of {protocol} port {port}: `nat.forward[0]` and `nat.forward[1]` \
                     (`nat.forward[1].listen`)"
                ),
                "",
            )]);
        }
        for (listen, to) in [("8011", "10.0.0.1"), ("8000", "fd15::1"), ("[2001:db8::1]:8000", "fd15::1")] {
            office(&(first.clone() + &rule(listen, to)));
        }
        office(&(rule("203.0.113.1:80", "10.0.0.1") + &rule("10.0.0.5:80", "10.0.0.1")));
    }

    #[test]
    fn a_gateway_forwards_where_its_routes_lead_and_the_host_anywhere() {
        let route = "[[routes]]\nnamespace = 'router'\nto = '172.16.0.0/12'\nvia = '10.0.0.2'\n";
        office(&(rule("80", "172.16.0.1") + route));
        let out = "[[nat.masquerade]]\nnamespace = 'host'\nsource = '10.0.0.0/24'\nout = 'eth0'\n";
        office(&(rule("198.51.100.7:80", "172.16.0.1").replace("router", "host") + out));
    }
}
