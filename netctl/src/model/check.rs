//! From the file as written to the topology as meant: the order in which things are looked at.

use super::{
    Problem, Topology, TopologyName, brought, circle, claims,
    error::{Error, FileError},
    forwarding, gateway, given, ipv6,
    links::Links,
    place::Places,
    route::Routes,
    rule, timeout,
};
use crate::spec::{Spec, key_path};

impl Topology {
    /// Checks the file and fills in its defaults; the first problem found ends it.
    pub fn from_spec(spec: &Spec, default_name: TopologyName) -> Result<Self, Error> {
        let name = match &spec.name {
            Some(name) => {
                name.parse().map_err(|error| Error::new(key_path!["name"], Problem::Name(error)))?
            }
            None => default_name,
        };
        let places = Places::declare(&spec.namespaces)?;
        let links = Links::lay(spec, &places)?;
        claims::check(&links)?;
        let given = given::routes(&spec.routes, &places, &links)?;
        let brought = brought::routes(&links, &given)?;
        let first = brought.len();
        let routes: Routes = brought.into_iter().chain(given).collect();
        let rules = rule::resolve(&spec.rules, &places, &links)?;
        circle::check(&routes, first, &rules, &links)?;
        let gateways = gateway::resolve(&spec.nat, &places, &links, &routes)?;
        let timeouts = timeout::resolve(&spec.nat.timeouts)?;
        let max_flows = gateway::max_flows(spec.nat.max_flows)?;
        let shortcut = gateway::shortcut(&spec.nat)?.unwrap_or_default();
        ipv6::check(spec, &places, &links, &gateways)?;
        let sysctls = forwarding::sysctls(spec, &places, &links, &routes, &gateways)?;
        Ok(Self {
            name,
            namespaces: places.into_namespaces(),
            bridges: links.bridges,
            cables: links.cables,
            links: links.alone,
            routes: routes.all,
            rules,
            sysctls,
            gateways,
            timeouts,
            max_flows,
            shortcut,
        })
    }

    /// Reads and checks the text of a topology file; `source_name` is what errors call it.
    pub fn parse(text: &str, source_name: &str, default_name: TopologyName) -> Result<Self, FileError> {
        let spec = Spec::parse(text, source_name)?;
        Self::from_spec(&spec, default_name).map_err(|error| FileError::locate(error, text, source_name))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        model::{Forward, Gateway, Protocol, Route},
        spec::QUICKSTART,
    };

    fn quickstart() -> Topology {
        Topology::parse(QUICKSTART, "quickstart", "unnamed".parse().unwrap()).unwrap()
    }

    fn gateway() -> Gateway {
        let [gateway] = <[Gateway; 1]>::try_from(quickstart().gateways).unwrap();
        gateway
    }

    #[test]
    fn the_quickstart_has_four_namespaces_a_bridge_and_three_cables() {
        let topology = quickstart();
        let names: Vec<_> = topology.namespaces.iter().map(|n| n.name.as_str()).collect();
        assert_eq!(topology.name.as_str(), "quickstart");
        assert_eq!(names, ["red", "blue", "router", "internet"]);
        assert_eq!(topology.bridges.len(), 1);
        let ends: Vec<_> = topology
            .cables
            .iter()
            .flat_map(|cable| [&cable.a, &cable.b])
            .map(|end| format!("{}:{}", end.place, end.interface))
            .collect();
        assert_eq!(
            ends,
            [
                "router:veth-red-br",
                "red:eth0",
                "router:veth-blue-br",
                "blue:eth0",
                "router:wan0",
                "internet:eth0"
            ]
        );
    }

    #[test]
    fn the_quickstart_routes_red_and_blue_through_the_router() {
        let show = |route: &Route| format!("{} {route}", route.place);
        let topology = quickstart();
        assert_eq!(
            topology.routes.iter().map(show).collect::<Vec<_>>(),
            [
                "red default via 192.168.15.5",
                "red default via fd15::5",
                "blue default via 192.168.15.5",
                "blue default via fd15::5"
            ]
        );
        let sysctls: Vec<_> =
            topology.sysctls.iter().map(|(place, keys)| (place.to_string(), keys.len())).collect();
        assert_eq!(sysctls, [("router".to_owned(), 2)]);
    }

    #[test]
    fn the_quickstart_translates_in_the_router() {
        let gateway = gateway();
        assert_eq!(gateway.place.to_string(), "router");
        assert_eq!(gateway.uplinks, ["wan0".parse().unwrap()]);
        assert_eq!(gateway.insides, ["v-net-0".parse().unwrap()]);
        let sources: Vec<_> = gateway.masquerades.iter().map(|rule| rule.source.to_string()).collect();
        assert_eq!(sources, ["192.168.15.0/24", "fd15::/64"]);
        let forward = |address: &str, to: &str| Forward {
            address: Some(address.parse().unwrap()),
            ports: (8080, 8080),
            protocol: Protocol::Tcp,
            to: to.parse().unwrap(),
            to_port: 80,
            allow: None,
        };
        assert_eq!(
            gateway.forwards,
            [forward("203.0.113.1", "192.168.15.2"), forward("2001:db8:113::1", "fd15::2")]
        );
    }

    #[test]
    fn a_file_without_a_name_takes_the_default_one() {
        assert_eq!(Topology::parse("", "f", "office".parse().unwrap()).unwrap().name.as_str(), "office");
    }

    proptest! {
        #[test]
        fn a_slip_of_the_fingers_never_panics_the_checks(
            at in 0..QUICKSTART.len(), cut in 0..4usize, typed in ".{0,3}",
        ) {
            let end = (at + cut).min(QUICKSTART.len());
            if QUICKSTART.is_char_boundary(at) && QUICKSTART.is_char_boundary(end) {
                let mut text = QUICKSTART.to_owned();
                text.replace_range(at..end, &typed);
                let _ = Topology::parse(&text, "any", "any".parse().unwrap());
            }
        }
    }
}
