//! The default routes that plugging into a bridge brings.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;

use super::{
    Place, Problem, Route,
    address::default_of,
    error::Error,
    links::{Links, Port},
};

/// The default routes that ports bring to their namespaces. A default route of the file wins over them; the host,
/// which has its own, gets one only where the file says `default-route = true`.
pub(super) fn routes(links: &Links, given: &[Route]) -> Result<Vec<Route>, Error> {
    let mut routes = Vec::new();
    let mut from: BTreeMap<(&Place, IpNet), usize> = BTreeMap::new();
    let usual = given.iter().filter(|route| route.is_usual());
    let given: BTreeSet<(&Place, IpNet)> = usual.map(|route| (&route.place, route.to)).collect();
    for port in &links.ports {
        let place = &links.interfaces[port.end].place;
        if !port.default_route.unwrap_or(*place != Place::Host) {
            continue;
        }
        for via in gateways(port, links)? {
            let route = Route::through(place.clone(), default_of(via), via);
            if given.contains(&(place, route.to)) {
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
    fn a_default_route_with_a_metric_or_of_another_table_comes_beside_the_ports() {
        let red = |more: &str| {
            let topology = office(&(route("red", "default", "10.0.0.2") + more));
            let routes = topology.routes.into_iter();
            let red = routes.filter(|route| route.place.to_string() == "red" && route.to.addr().is_ipv4());
            red.map(|route| route.to_string()).collect::<Vec<_>>()
        };
        for more in ["metric = 5", "table = 7"] {
            assert_eq!(
                red(more),
                ["default via 10.0.0.5", &format!("default via 10.0.0.2 {}", more.replace(" =", ""))]
            );
        }
        assert_eq!(red("metric = 0"), ["default via 10.0.0.2"]);
    }
}
