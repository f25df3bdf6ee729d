//! The routes of a topology: the file's, and the default routes that plugging into a bridge brings.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::IpNet;

use super::{
    IfName, Place, Problem, Route, circle,
    error::Error,
    links::{Links, Port},
    networks::Networks,
    place::Places,
};
use crate::spec::{self, KeyPath, Spec, key_path};

/// The routes, in order and by where they are set and lead.
#[derive(Default)]
pub(super) struct Routes {
    pub(super) all: Vec<Route>,
    /// As indexes of `all`.
    by_place: BTreeMap<Place, Networks<usize>>,
}

impl Routes {
    /// The routes of a place.
    pub(super) fn of(&self, place: &Place) -> Option<&Networks<usize>> {
        self.by_place.get(place)
    }

    fn find(&self, place: &Place, to: &IpNet) -> Option<usize> {
        self.of(place)?.get(to).copied()
    }

    pub(super) fn push(&mut self, route: Route) {
        self.by_place.entry(route.place.clone()).or_default().insert(route.to, self.all.len());
        self.all.push(route);
    }

    /// The interface by which `place` sends to `to`: the one that is connected to it, else the one that leads to the
    /// next hop of the most specific route. `None` also where the host alone knows.
    pub(super) fn interface_towards<'a>(
        &self,
        to: IpAddr,
        place: &Place,
        links: &'a Links,
    ) -> Option<&'a IfName> {
        let connected = |address| links.towards(place, address).map(|link| &link.name);
        connected(to).or_else(|| {
            let (_, &best) = self.of(place)?.longest(to)?;
            connected(self.all[best].via?)
        })
    }
}

/// All routes: first those of the bridges, then the file's, each in the order of the file.
pub(super) fn resolve(spec: &Spec, places: &Places, links: &Links) -> Result<Routes, Error> {
    let given = given(&spec.routes, places, links)?;
    let mut routes = Routes::default();
    for route in brought(links, &given)? {
        routes.push(route);
    }
    let first = routes.all.len();
    for route in given.all {
        routes.push(route);
    }
    circle::check(&routes, first, links)?;
    Ok(routes)
}

/// The file's routes.
fn given(specs: &[spec::Route], places: &Places, links: &Links) -> Result<Routes, Error> {
    let mut routes = Routes::default();
    for (index, spec) in specs.iter().enumerate() {
        let path = key_path!["routes", index];
        let place = places.resolve(&spec.namespace, &path.key("namespace"))?;
        let route = parse(spec, place, &path)?;
        check_next_hop(&route, links).map_err(|problem| Error::new(path.key("via"), problem))?;
        check_new(&route, &routes, links).map_err(|problem| Error::new(path.key("to"), problem))?;
        routes.push(route);
    }
    Ok(routes)
}

fn parse(spec: &spec::Route, place: Place, path: &KeyPath) -> Result<Route, Error> {
    let via: IpAddr = parse_ip(&spec.via, &path.key("via"))?;
    let to = match spec.to.as_str() {
        "default" => default_of(via),
        to => parse_network(to, &path.key("to"))?,
    };
    if to.addr().is_ipv4() != via.is_ipv4() {
        let (one, other) = (to.to_string(), via.to_string());
        return Err(Error::new(path.key("via"), Problem::Families { one, other }));
    }
    Ok(Route::through(place, to, via))
}

/// Reads an address without a prefix length.
pub(super) fn parse_ip(text: &str, path: &KeyPath) -> Result<IpAddr, Error> {
    text.parse().map_err(|_| Error::new(path.clone(), Problem::Ip { text: text.to_owned() }))
}

/// Reads a network, whose host bits are zero.
pub(super) fn parse_network(text: &str, path: &KeyPath) -> Result<IpNet, Error> {
    let given: IpNet =
        text.parse().map_err(|_| Error::new(path.clone(), Problem::Network { text: text.to_owned() }))?;
    if given != given.trunc() {
        return Err(Error::new(path.clone(), Problem::HostBits { given }));
    }
    Ok(given)
}

/// The default route's destination, in the family of `via`.
fn default_of(via: IpAddr) -> IpNet {
    let any = match via {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    IpNet::new_assert(any, 0)
}

/// A next hop is a neighbour. The host may have neighbours that the file does not know of.
fn check_next_hop(Route { place, via, .. }: &Route, links: &Links) -> Result<(), Problem> {
    let Some(via) = *via else { return Ok(()) };
    if links.owns(place, via) {
        return Err(Problem::OwnNextHop { via, place: place.clone() });
    }
    if *place == Place::Host || links.towards(place, via).is_some() {
        return Ok(());
    }
    let subnets: BTreeSet<IpNet> =
        links.of(place).flat_map(|link| &link.addresses).map(IpNet::trunc).collect();
    let subnets = subnets.into_iter().filter(|subnet| subnet.addr().is_ipv4() == via.is_ipv4()).collect();
    Err(Problem::Unreachable { via, place: place.clone(), subnets })
}

/// The kernel takes one route to a network, and makes its own to each network that a place is connected to.
fn check_new(route: &Route, earlier: &Routes, links: &Links) -> Result<(), Problem> {
    let (place, to) = (route.place.clone(), route.to);
    if let Some(index) = earlier.find(&place, &to) {
        let other = key_path!["routes", index];
        return Err(Problem::DuplicateRoute { place, to, other });
    }
    if links.connected(&place).is_some_and(|subnets| subnets.get(&to).is_some()) {
        return Err(Problem::ConnectedRoute { place, to });
    }
    Ok(())
}

/// The default routes that ports bring to their namespaces. A default route of the file wins over them; the host,
/// which has its own, gets one only where the file says `default-route = true`.
fn brought(links: &Links, given: &Routes) -> Result<Vec<Route>, Error> {
    let mut routes = Vec::new();
    let mut from: BTreeMap<(&Place, IpNet), usize> = BTreeMap::new();
    for port in &links.ports {
        let place = &links.interfaces[port.end].place;
        if !port.default_route.unwrap_or(*place != Place::Host) {
            continue;
        }
        for via in gateways(port, links)? {
            let route = Route::through(place.clone(), default_of(via), via);
            if given.find(place, &route.to).is_some() {
                continue;
            }
            if let Some(one) = from.insert((place, route.to), port.bridge) {
                return Err(two_default_routes(place, via, one, port, links));
            }
            routes.push(route);
        }
    }
    Ok(routes)
}

/// The bridge's first address in each family that the port has a subnet for.
fn gateways(port: &Port, links: &Links) -> Result<Vec<IpAddr>, Error> {
    let (bridge, end) = (&links.bridges[port.bridge], &links.interfaces[port.end]);
    let gateways = bridge.gateways(|via| end.subnet_of(via).is_some());
    if gateways.is_empty() && port.default_route == Some(true) {
        let bridge = bridge.called().to_owned();
        return Err(Error::new(end.path.key("default-route"), Problem::NoDefaultRoute { bridge }));
    }
    Ok(gateways)
}

fn two_default_routes(place: &Place, via: IpAddr, one: usize, port: &Port, links: &Links) -> Error {
    let bridge = |index: usize| links.bridges[index].called().to_owned();
    let problem =
        Problem::TwoDefaultRoutes { place: place.clone(), via, one: bridge(one), other: bridge(port.bridge) };
    Error::new(links.interfaces[port.end].path.clone(), problem)
}

#[cfg(test)]
mod tests {
    use super::super::{
        Route,
        trial::{assert_office_refused, office, topology},
    };

    fn shown(routes: &[Route]) -> Vec<String> {
        let show = |route: &Route| format!("{}: {route}", route.place);
        routes.iter().map(show).collect()
    }

    fn route(namespace: &str, to: &str, via: &str) -> String {
        format!("[[routes]]\nnamespace = '{namespace}'\nto = '{to}'\nvia = '{via}'\n")
    }

    #[test]
    fn a_port_brings_default_routes_for_its_families() {
        assert_eq!(
            shown(&office("").routes),
            ["red: default via 10.0.0.5", "red: default via fd15::5", "blue: default via 10.0.0.5"]
        );
    }

    #[test]
    fn a_default_route_of_the_file_wins_in_its_family() {
        assert_eq!(
            shown(&office(&route("red", "default", "10.0.0.2")).routes),
            ["red: default via fd15::5", "blue: default via 10.0.0.5", "red: default via 10.0.0.2"]
        );
    }

    #[test]
    fn the_default_route_takes_the_first_address_that_the_port_reaches_and_can_be_left_out() {
        let with = |port: &str| {
            let text = format!(
                "[namespaces.a]\n[bridges.b]\naddresses = ['10.0.0.5/24', '10.0.1.5/24', '10.0.1.6/24']\n\
                 ports.a = {{ {port} }}"
            );
            shown(&topology(&text).routes)
        };
        assert_eq!(with("addresses = ['10.0.1.1/24']"), ["a: default via 10.0.1.5"]);
        for none in [
            "addresses = ['10.0.0.1/24'], default-route = false",
            "addresses = ['10.0.0.1/32']",
            "addresses = ['fd15::1/64']",
            "addresses = []",
        ] {
            assert!(with(none).is_empty(), "{none}");
        }
    }

    #[test]
    fn the_host_gets_a_default_route_only_when_asked() {
        let with = |port: &str| {
            let text = format!(
                "[namespaces.a]\n[bridges.b]\nnamespace = 'a'\naddresses = ['10.0.0.5/24']\n\
                 ports.host = {{ addresses = ['10.0.0.1/24'], interface = 'x'{port} }}"
            );
            shown(&topology(&text).routes)
        };
        assert!(with("").is_empty());
        assert_eq!(with(", default-route = true"), ["host: default via 10.0.0.5"]);
    }

    #[test]
    fn two_bridges_do_not_both_bring_a_default_route() {
        let bridge = "[bridges.br1]\nnamespace = 'router'\naddresses = ['10.1.0.5/24']\n\
                      ports.red = { addresses = ['10.1.0.1/24'], port = 'p'";
        assert_office_refused(&[
            (
                &format!("{bridge} }}"),
                "17: `red` gets two IPv4 default routes: from bridges `br0` and `br1` (`bridges.br1.ports.red`)",
                "set `default-route = false` on one of the ports",
            ),
            (
                "[bridges.br1]\nnamespace = 'router'\nports.red = { addresses = [], port = 'p', default-route = true }",
                "16: bridge `br1` has no address that this port could have its default route through \
                 (`bridges.br1.ports.red.default-route`)",
                "leave `default-route` out, or give bridge and port addresses of one subnet",
            ),
        ]);
        office(&format!("{bridge}, default-route = false }}"));
        office(&format!("{bridge} }}\n{}", route("red", "default", "10.1.0.5")));
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
                &route("red", "192.168.1.0/24", "fd15::5"),
                "17: 192.168.1.0/24 and fd15::5 are of different address families (`routes[0].via`)",
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
}
