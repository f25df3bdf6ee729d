//! The routes of the file.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use super::{
    IfName, Place, Problem, Route, RouteKind,
    address::{default_of, is_link_local, is_unicast, parse_ip, parse_network},
    behaviour::{Word, word},
    error::Error,
    links::{Interface, Links},
    networks::Networks,
    number::within,
    place::Places,
    route::{LOCAL_TABLE, MAIN_TABLE},
};
use crate::spec::{self, KeyPath, key_path};

impl Word for RouteKind {
    const ALL: &'static [Self] = &[Self::Unicast, Self::Blackhole, Self::Unreachable, Self::Prohibit];

    fn as_str(self) -> &'static str {
        match self {
            Self::Unicast => "unicast",
            Self::Blackhole => "blackhole",
            Self::Unreachable => "unreachable",
            Self::Prohibit => "prohibit",
        }
    }
}

/// In the order of the file.
pub(super) fn routes(specs: &[spec::Route], places: &Places, links: &Links) -> Result<Vec<Route>, Error> {
    let mut routes: Vec<Route> = Vec::new();
    let mut known: BTreeMap<(Place, IpNet, Option<u32>, u32), usize> = BTreeMap::new();
    // What a place reaches without a next hop by routes that come before the others.
    let mut near: BTreeMap<Place, Networks<IfName>> = BTreeMap::new();
    for (index, spec) in specs.iter().enumerate() {
        let path = key_path!["routes", index];
        let place = places.resolve(&spec.namespace, &path.key("namespace"))?;
        let route = parse(spec, place, &path, links)?;
        check_next_hop(&route, near.get(&route.place), links)
            .map_err(|problem| Error::new(path.key("via"), problem))?;
        let refuse = |problem| Error::new(path.key("to"), problem);
        let key = (route.place.clone(), route.to, route.table, route.metric());
        if let Some(other) = known.insert(key, index) {
            let (place, to, other) = (route.place.clone(), route.to, key_path!["routes", other]);
            return Err(refuse(Problem::DuplicateRoute { place, to, other }));
        }
        check_unconnected(&route, links).map_err(refuse)?;
        if let (None, Some(dev), None) = (route.via, &route.dev, route.table) {
            near.entry(route.place.clone()).or_default().insert(route.to, dev.clone());
        }
        routes.push(route);
    }
    Ok(routes)
}

fn parse(spec: &spec::Route, place: Place, path: &KeyPath, links: &Links) -> Result<Route, Error> {
    let refuse = |key: &str, problem| Error::new(path.key(key), problem);
    let kind: RouteKind = word(spec.kind.as_deref(), &path.key("type"))?;
    check_keys(spec, kind, path)?;
    let via = spec.via.as_ref().map(|via| parse_ip(via, &path.key("via"))).transpose()?;
    let to = match (spec.to.as_str(), via) {
        ("default", Some(via)) => default_of(via),
        ("default", None) => return Err(refuse("to", Problem::DefaultFamily)),
        (to, _) => parse_network(to, &path.key("to"))?,
    };
    // Only IPv4 has routes whose next hop is of the other family (`RTA_VIA`, RFC 8950).
    if let Some(via) = via.filter(|via| via.is_ipv4() && to.addr().is_ipv6()) {
        let (one, other) = (to.to_string(), via.to_string());
        return Err(refuse("via", Problem::Families { one, other }));
    }
    let dev = spec.dev.as_ref().map(|dev| links.layer3(&place, dev, ""));
    let dev = dev.transpose().map_err(|problem| refuse("dev", problem))?;
    let metric = within("metric", spec.metric, 0, u32::MAX, path)?;
    let table = within("table", spec.table, 1, u32::MAX, path)?.filter(|&table| table != MAIN_TABLE);
    if table == Some(LOCAL_TABLE) {
        return Err(refuse("table", Problem::LocalTable));
    }
    let mut route = Route { place, to, kind, via, dev, onlink: spec.onlink, metric: None, table };
    // To the kernel, a metric of 0 is none.
    route.metric = metric.filter(|&metric| metric != 0 && metric != route.metric());
    Ok(route)
}

/// A route leads somewhere, or says what becomes of packets instead.
fn check_keys(spec: &spec::Route, kind: RouteKind, path: &KeyPath) -> Result<(), Error> {
    if !kind.is_unicast() {
        let given = [("via", spec.via.is_some()), ("dev", spec.dev.is_some()), ("onlink", spec.onlink)];
        return match given.into_iter().find(|(_, is_given)| *is_given) {
            Some((key, _)) => {
                Err(Error::new(path.key(key), Problem::LeadsNowhere { kind: kind.as_str(), key }))
            }
            None => Ok(()),
        };
    }
    if spec.via.is_none() && spec.dev.is_none() {
        return Err(Error::new(path.clone(), Problem::NoNextHop));
    }
    if spec.onlink {
        let missing = [("via", spec.via.is_none()), ("dev", spec.dev.is_none())];
        if let Some((key, _)) = missing.into_iter().find(|(_, is_missing)| *is_missing) {
            return Err(Error::new(path.key("onlink"), Problem::OnlinkNeeds { key }));
        }
    }
    Ok(())
}

/// A next hop is a neighbour. The host may have neighbours that the file does not know of.
fn check_next_hop(route: &Route, near: Option<&Networks<IfName>>, links: &Links) -> Result<(), Problem> {
    let (Route { place, dev, .. }, Some(via)) = (route, route.via) else { return Ok(()) };
    if !is_unicast(via) {
        return Err(Problem::Unspecified { address: via, verb: "have as the next hop" });
    }
    let at = dev.as_ref().and_then(|dev| links.named(place, dev.as_str()));
    if is_link_local(via) {
        if dev.is_none() {
            return Err(Problem::LinkLocalNextHop { via });
        }
        let is_own = at.is_some_and(|at| at.addresses.iter().any(|net| net.addr() == via));
        return if is_own { Err(Problem::OwnNextHop { via, place: place.clone() }) } else { Ok(()) };
    }
    if links.owns(place, via) {
        return Err(Problem::OwnNextHop { via, place: place.clone() });
    }
    let direct = links.towards(place, via).map(|link| &link.name);
    let direct = direct.or_else(|| near.and_then(|near| near.longest(via)).map(|(_, name)| name));
    match (direct, dev) {
        // IPv6 takes no next hop on the link that is known to be on another (`ip6_route_check_nh_onlink`).
        (Some(there), Some(dev)) if there != dev && !(route.onlink && via.is_ipv4()) => {
            let (there, dev) = (there.to_string(), dev.to_string());
            Err(Problem::NextHopElsewhere { via, there, dev })
        }
        (Some(_), _) => Ok(()),
        (None, _) if route.onlink => Ok(()),
        // Of a link of the file, the file knows all subnets.
        (None, Some(_)) if at.is_none() && links.are_not_all(place) => Ok(()),
        (None, None) if links.are_not_all(place) => Ok(()),
        (None, _) => {
            let of: Vec<&Interface> = at.map_or_else(|| links.of(place).collect(), |at| vec![at]);
            let subnets: BTreeSet<IpNet> =
                of.into_iter().flat_map(|link| &link.addresses).map(IpNet::trunc).collect();
            let is_alike = |subnet: &IpNet| subnet.addr().is_ipv4() == via.is_ipv4();
            let subnets = subnets.into_iter().filter(is_alike).collect();
            Err(Problem::Unreachable { via, place: place.clone(), subnets })
        }
    }
}

/// The kernel makes its own route to each network that a place is connected to.
fn check_unconnected(route: &Route, links: &Links) -> Result<(), Problem> {
    let (place, to) = (route.place.clone(), route.to);
    let connected = links.connected(&place).is_some_and(|subnets| subnets.get(&to).is_some());
    if connected && route.is_usual() {
        return Err(Problem::ConnectedRoute { place, to });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::trial::{assert_office_refused, office, topology};

    fn route(namespace: &str, to: &str, via: &str) -> String {
        format!("[[routes]]\nnamespace = '{namespace}'\nto = '{to}'\nvia = '{via}'\n")
    }

    /// A route of `red`, whose keys begin on line 16 of the office.
    fn of_red(keys: &str) -> String {
        format!("[[routes]]\nnamespace = 'red'\n{keys}\n")
    }

    #[test]
    fn a_route_that_the_kernel_would_not_take_is_refused() {
        let twice = route("red", "10.9.0.0/16", "10.0.0.5") + &route("red", "10.9.0.0/16", "10.0.0.2");
        assert_office_refused(&[
            (
                &route("red", "192.168.1.7/24", "10.0.0.5"),
                "16: 192.168.1.7/24 has host bits set (`routes[0].to`)",
                "the network is `192.168.1.0/24`",
            ),
            (
                &route("red", "192.168.1.7", "10.0.0.5"),
                "16: `192.168.1.7` is not a network with a prefix length (`routes[0].to`)",
                "write `192.168.1.7/32`",
            ),
            (
                &route("red", "192.168.1.0/24", "internet"),
                "17: `internet` is not an IP address (`routes[0].via`)",
                "",
            ),
            (
                &route("red", "2001:db8:1::/48", "10.0.0.5"),
                "17: 2001:db8:1::/48 and 10.0.0.5 are of different address families (`routes[0].via`)",
                "",
            ),
            (
                &route("blue", "192.168.1.0/24", "10.0.1.5"),
                "17: next hop 10.0.1.5 is in no subnet that `blue` is connected to (`routes[0].via`)",
                "it is connected to 10.0.0.0/24",
            ),
            (
                &route("red", "192.168.1.0/24", "10.0.0.1"),
                "17: next hop 10.0.0.1 is an address of `red` itself (`routes[0].via`)",
                "",
            ),
            (&twice, "20: `red` has a route to 10.9.0.0/16 already: `routes[0]` (`routes[1].to`)", ""),
            (
                &route("red", "10.0.0.0/24", "10.0.0.2"),
                "16: `red` is connected to 10.0.0.0/24, so it has a route to it already (`routes[0].to`)",
                "",
            ),
        ]);
    }

    #[test]
    fn the_host_may_have_neighbours_that_the_file_does_not_know() {
        office(&route("host", "10.9.0.0/16", "172.30.0.1"));
    }

    #[test]
    fn a_route_has_what_the_kernel_takes() {
        for (keys, there) in [
            ("to = '10.9.0.0/16'\ndev = 'eth0'", "10.9.0.0/16 dev eth0"),
            ("to = 'default'\nvia = 'fe80::1'\ndev = 'eth0'", "default via fe80::1 dev eth0"),
            ("to = '0.0.0.0/0'\nvia = 'fe80::1'\ndev = 'eth0'", "default via inet6 fe80::1 dev eth0"),
            ("to = '10.9.0.0/16'\nvia = 'fd15::5'", "10.9.0.0/16 via inet6 fd15::5"),
            (
                "to = '10.9.0.0/16'\nvia = '192.0.2.1'\ndev = 'eth0'\nonlink = true",
                "10.9.0.0/16 via 192.0.2.1 dev eth0 onlink",
            ),
            ("to = '10.9.0.0/16'\ntype = 'blackhole'", "blackhole 10.9.0.0/16"),
            ("to = '::/0'\ntype = 'unreachable'", "unreachable default"),
            ("to = '10.0.0.9/32'\ntype = 'prohibit'", "prohibit 10.0.0.9/32"),
            (
                "to = '10.9.0.0/16'\nvia = '10.0.0.5'\ntable = 7\nmetric = 5",
                "10.9.0.0/16 via 10.0.0.5 table 7 metric 5",
            ),
            // What the kernel would do without being told is left out.
            ("to = '10.9.0.0/16'\nvia = '10.0.0.5'\ntable = 254\nmetric = 0", "10.9.0.0/16 via 10.0.0.5"),
            ("to = 'fd09::/16'\nvia = 'fd15::5'\nmetric = 1024\ntype = 'unicast'", "fd09::/16 via fd15::5"),
            ("to = 'fd09::/16'\nvia = 'fd15::5'\nmetric = 0", "fd09::/16 via fd15::5"),
            // Beside the kernel's own route.
            ("to = '10.0.0.0/24'\nvia = '10.0.0.2'\nmetric = 5", "10.0.0.0/24 via 10.0.0.2 metric 5"),
        ] {
            let routes = office(&of_red(keys)).routes;
            assert_eq!(routes.last().unwrap().to_string(), there);
        }
    }

    #[test]
    fn a_next_hop_may_be_reached_by_a_route_that_comes_before() {
        let device = of_red("to = '192.0.2.1/32'\ndev = 'eth0'");
        let through = of_red("to = '10.9.0.0/16'\nvia = '192.0.2.1'");
        office(&format!("{device}{through}"));
        assert_office_refused(&[(
            &format!("{through}{device}"),
            "17: next hop 192.0.2.1 is in no subnet that `red` is connected to (`routes[0].via`)",
            "it is connected to 10.0.0.0/24",
        )]);
    }

    #[test]
    fn two_routes_to_one_network_differ_in_table_or_metric() {
        let one = "to = '10.9.0.0/16'\nvia = '10.0.0.5'";
        let other = "to = '10.9.0.0/16'\nvia = '10.0.0.2'";
        for more in ["metric = 5", "table = 7"] {
            office(&(of_red(one) + &of_red(&format!("{other}\n{more}"))));
            let twice = of_red(&format!("{one}\n{more}")) + &of_red(&format!("{other}\n{more}"));
            assert_office_refused(&[(
                &twice,
                "21: `red` has a route to 10.9.0.0/16 already: `routes[0]` (`routes[1].to`)",
                "",
            )]);
        }
    }

    #[test]
    fn a_route_that_contradicts_itself_is_refused() {
        let nowhere =
            "set `via` to the next hop, `dev` where it is a neighbour itself, or `type = \"blackhole\"`";
        let onlink = "`via` is the next hop, and `dev` the interface that it is on the link of";
        for (keys, message, hint) in [
            ("to = '10.9.0.0/16'", "14: this route leads nowhere (`routes[0]`)", nowhere),
            (
                "to = '10.9.0.0/16'\nvia = '10.0.0.5'\ntype = 'blackhole'",
                "17: a route of type `blackhole` sends nothing on, so it has no `via` (`routes[0].via`)",
                "leave `type` or `via` out",
            ),
            (
                "to = '10.9.0.0/16'\ndev = 'eth0'\ntype = 'prohibit'",
                "17: a route of type `prohibit` sends nothing on, so it has no `dev` (`routes[0].dev`)",
                "leave `type` or `dev` out",
            ),
            (
                "to = '10.9.0.0/16'\ntype = 'local'",
                "17: `local` is not one of the words here (`routes[0].type`)",
                "write `unicast` or `blackhole` or `unreachable` or `prohibit`",
            ),
            (
                "to = '10.9.0.0/16'\ndev = 'eth0'\nonlink = true",
                "18: `onlink` without `via` (`routes[0].onlink`)",
                onlink,
            ),
            (
                "to = '10.9.0.0/16'\nvia = '192.0.2.1'\nonlink = true",
                "18: `onlink` without `dev` (`routes[0].onlink`)",
                onlink,
            ),
            (
                "to = 'default'\ndev = 'eth0'",
                "16: `default` could be IPv4 or IPv6 here (`routes[0].to`)",
                "write `0.0.0.0/0` or `::/0`",
            ),
            (
                "to = 'default'\nvia = 'fe80::1'",
                "17: next hop fe80::1 is link-local, so it takes the interface that it is at (`routes[0].via`)",
                "set `dev` to that interface",
            ),
            (
                "to = 'default'\nvia = 'ff02::1'\ndev = 'eth0'",
                "17: ff02::1 is not an address that one can have as the next hop (`routes[0].via`)",
                "",
            ),
            (
                "to = '10.9.0.0/16'\nvia = '10.0.0.1'\ndev = 'eth0'\nonlink = true",
                "17: next hop 10.0.0.1 is an address of `red` itself (`routes[0].via`)",
                "",
            ),
            (
                "to = '10.9.0.0/16'\nvia = '192.0.2.1'\ndev = 'eth0'",
                "17: next hop 192.0.2.1 is in no subnet that `red` is connected to (`routes[0].via`)",
                "it is connected to 10.0.0.0/24",
            ),
            (
                "to = '10.9.0.0/16'\ndev = 'eth1'",
                "17: `red` has no interface `eth1` (`routes[0].dev`)",
                "did you mean `eth0`?",
            ),
            (
                "to = '10.9.0.0/16'\nvia = '10.0.0.5'\nmetric = -1",
                "18: a metric of -1 is not between 0 and 4294967295 (`routes[0].metric`)",
                "",
            ),
            (
                "to = '10.9.0.0/16'\nvia = '10.0.0.5'\ntable = 0",
                "18: a table of 0 is not between 1 and 4294967295 (`routes[0].table`)",
                "",
            ),
            (
                "to = '10.9.0.0/16'\nvia = '10.0.0.5'\ntable = 255",
                "18: table 255 is the kernel's, for the addresses of the place itself (`routes[0].table`)",
                "",
            ),
        ] {
            assert_office_refused(&[(&of_red(keys), message, hint)]);
        }
        let of_router = |keys: &str| of_red(keys).replace("'red'", "'router'");
        assert_office_refused(&[
            (
                &of_router("to = '10.9.0.0/16'\ndev = 'veth-red-br'"),
                "17: `veth-red-br` is a port of bridge `br0` (`routes[0].dev`)",
                "use `br0`",
            ),
            (
                &of_router("to = '10.9.0.0/16'\nvia = '10.0.0.1'\ndev = 'wan0'"),
                "17: next hop 10.0.0.1 is at `br0`, not at `wan0` (`routes[0].via`)",
                "leave `dev` out, or set it to `br0`",
            ),
        ]);
    }

    #[test]
    fn the_host_may_have_interfaces_that_the_file_does_not_know() {
        let of_host = |keys: &str| of_red(keys).replace("'red'", "'host'");
        office(&of_host("to = '10.9.0.0/16'\ndev = 'enp1s0'"));
        office(&of_host("to = '10.9.0.0/16'\nvia = '172.30.0.1'\ndev = 'enp1s0'"));
        office(&of_host("to = 'default'\nvia = 'fe80::1'\ndev = 'enp1s0'"));
        // Of the file's own, all subnets are known.
        let bridge = "[bridges.lan]\naddresses = ['10.7.0.1/24']\n";
        let through = of_host("to = '10.9.0.0/16'\nvia = '172.30.0.1'\ndev = 'lan'");
        assert_office_refused(&[(
            &format!("{bridge}{through}"),
            "19: next hop 172.30.0.1 is in no subnet that `host` is connected to (`routes[0].via`)",
            "it is connected to 10.7.0.0/24",
        )]);
    }

    #[test]
    fn what_is_next_hop_at_an_interface_forwards() {
        let text = "[namespaces.a]\n[namespaces.b]\n[[cables]]\n\
                    a = { namespace = 'a', interface = 'x', addresses = ['fe80::1/64'] }\n\
                    b = { namespace = 'b', interface = 'y', addresses = ['fe80::2/64'] }\n\
                    [[routes]]\nnamespace = 'a'\nto = '0.0.0.0/0'\nvia = 'fe80::2'\ndev = 'x'";
        let topology = topology(text);
        let b = topology.namespaces[1].name.clone();
        assert!(topology.forwards(&crate::model::Place::Netns(b), true));
    }
}
