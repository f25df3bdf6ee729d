//! A gateway as it is found, whoever made its links: single rules are checked there as a file's rules are. Pure.

use std::collections::BTreeMap;

use netctl_ebpf::config::MAX_FLOWS;

use super::{
    Backend, Error, Forward, Gateway, IfName, Masquerade, Place, Problem, Protocol, Route, Shortcut,
    Topology, TopologyName, forward, forwarding,
    gateway::{self, Rules},
    links::{Links, Seen},
    masquerade,
    route::Routes,
};
use crate::hint::Advise;
use crate::spec::{self, KeyPath};

/// Why a rule is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It could not be in a file either.
    #[error("{}{}", .0.problem, switch(.0))]
    Problem(#[from] Error),
    /// A forward that is there would take its packets, or the other way round.
    #[error("{protocol} port {port} is forwarded already: {there}")]
    Overlap {
        /// Whose.
        protocol: Protocol,
        /// The one that is there.
        there: Box<Forward>,
        /// The first port that both listen on.
        port: u16,
    },
    /// There is a rule for that already.
    #[error("{} is masqueraded out of `{out}` already: {there}", there.source)]
    Duplicate {
        /// The uplink.
        out: IfName,
        /// The one that is there.
        there: Box<Masquerade>,
    },
}

impl Advise for Refused {
    fn advice(&self) -> Option<String> {
        match self {
            Self::Problem(_) => None,
            Self::Overlap { there, .. } => Some(format!("end that one first: `--listen {}`", there.listen())),
            Self::Duplicate { there, .. } => Some(format!("end that one first: `--source {}`", there.source)),
        }
    }
}

/// The switch that has the value at fault, where it is one's.
fn switch(error: &Error) -> String {
    if error.path.is_root() { String::new() } else { format!(" (`--{}`)", error.path) }
}

/// A place, its links and its routes.
pub struct Found {
    place: Place,
    links: Links,
    routes: Routes,
}

impl Found {
    /// A place with these links and the routes that it has beside what it is connected to.
    ///
    /// # Errors
    /// If one of the interfaces is the loopback.
    pub fn new(place: &Place, seen: Seen, routes: impl IntoIterator<Item = Route>) -> Result<Self, Refused> {
        let links = Links::found(place, seen)?;
        Ok(Self { place: place.clone(), links, routes: routes.into_iter().collect() })
    }

    /// The masquerade rules that `spec` means: one, or one of each family where it has no source. Its namespace does not
    /// count.
    ///
    /// # Errors
    /// If they could never work, or one of `there` says already how its source leaves.
    pub fn masquerades(
        &self,
        spec: &spec::Masquerade,
        there: &[Masquerade],
    ) -> Result<Vec<Masquerade>, Refused> {
        let rules = masquerade::parse(spec, &self.place, &KeyPath::default(), &self.links)?;
        for rule in &rules {
            let same = there.iter().filter(|other| other.source == rule.source);
            let mut taken =
                same.filter_map(|other| Some((rule.out.iter().find(|o| other.out.contains(o))?, other)));
            if let Some((out, other)) = taken.next() {
                return Err(Refused::Duplicate { out: out.clone(), there: Box::new(other.clone()) });
            }
        }
        Ok(rules)
    }

    /// The forwards that `spec` means, one for each protocol; its namespace does not count.
    ///
    /// # Errors
    /// If they could never work, or one of `there` listens there already.
    pub fn forwards(&self, spec: &spec::Forward, there: &[&Forward]) -> Result<Vec<Forward>, Refused> {
        let rules = forward::checked(spec, &self.place, &KeyPath::default(), &self.links, &self.routes)?;
        for new in &rules {
            if let Some((other, port)) = forward::overlapping(new, there) {
                return Err(Refused::Overlap {
                    protocol: new.protocol,
                    there: Box::new(other.clone()),
                    port,
                });
            }
        }
        Ok(rules)
    }

    /// The place as a gateway with these rules, at least one.
    ///
    /// # Errors
    /// If it has no interface that leads outside.
    pub fn gateway(&self, masquerades: Vec<Masquerade>, forwards: Vec<Forward>) -> Result<Gateway, Refused> {
        let (place, path) = (self.place.clone(), KeyPath::default());
        let rules = Rules { place, path, masquerades, forwards };
        Ok(gateway::face(rules, Backend::Ebpf, &self.links, &self.routes)?)
    }
}

impl Topology {
    /// Nothing but one gateway, and the forwarding that it needs.
    #[must_use]
    pub fn of_gateway(name: TopologyName, gateway: Gateway) -> Self {
        let sysctls = BTreeMap::from([(gateway.place.clone(), forwarding::of_gateway(&gateway))]);
        Self { sysctls, gateways: vec![gateway], ..Self::empty(name) }
    }

    /// Nothing at all; timeouts stay as they are.
    #[must_use]
    pub fn empty(name: TopologyName) -> Self {
        let (namespaces, bridges, cables, links, routes, rules) = Default::default();
        let (sysctls, gateways, timeouts) = Default::default();
        let max_flows = MAX_FLOWS;
        Self {
            name,
            namespaces,
            bridges,
            cables,
            links,
            routes,
            rules,
            sysctls,
            gateways,
            timeouts,
            max_flows,
            shortcut: Shortcut::default(),
        }
    }
}

/// The form of `[ADDRESS:]PORT[-PORT][/tcp|udp|tcp+udp]`: whether a forward listens there and nowhere else.
///
/// # Errors
/// If the text has not that form.
pub fn listens_on(text: &str) -> Result<impl Fn(&Forward) -> bool + use<>, Problem> {
    let listen = super::endpoint::listen(text).ok_or_else(|| Problem::Listen { text: text.to_owned() })?;
    Ok(move |rule: &Forward| {
        rule.address == listen.address
            && rule.ports == listen.ports
            && listen.protocols.contains(&rule.protocol)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advice;

    fn found() -> Found {
        let addresses = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        let interfaces = BTreeMap::from([
            ("br0".parse().unwrap(), addresses(&["10.0.0.1/24"])),
            ("wan0".parse().unwrap(), addresses(&["203.0.113.1/24"])),
        ]);
        let connected = vec![("172.16.0.0/16".parse().unwrap(), "br0".parse().unwrap())];
        let ports = BTreeMap::from([("eth1".parse().unwrap(), "br0".parse().unwrap())]);
        let bare = ["tun0".parse().unwrap()].into();
        let seen = Seen { interfaces, ports, bare, connected, veths: Vec::new() };
        Found::new(&Place::Host, seen, []).unwrap()
    }

    fn masquerade(source: &str) -> spec::Masquerade {
        spec::Masquerade {
            namespace: "host".to_owned(),
            source: Some(source.to_owned()),
            out: None,
            address: None,
            ports: None,
            routed: false,
            mapping: None,
            filtering: None,
        }
    }

    fn forward(listen: &str, to: &str) -> spec::Forward {
        let (namespace, allow) = ("host".to_owned(), None);
        spec::Forward { namespace, listen: listen.to_owned(), to: to.to_owned(), allow }
    }

    #[test]
    fn of_a_host_that_is_found_all_is_known() {
        let found = found();
        let rules = found.masquerades(&masquerade("10.0.0.0/24"), &[]).unwrap();
        assert_eq!(rules[0].to_string(), "10.0.0.0/24 out wan0");
        let gateway = found.gateway(rules, Vec::new()).unwrap();
        let names = |names: &[IfName]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            (names(&gateway.uplinks), names(&gateway.insides)),
            (vec!["wan0".into()], vec!["br0".into()])
        );

        assert!(
            found.forwards(&forward("80", "172.16.0.9"), &[]).is_ok(),
            "there is a route without next hop"
        );
        for (listen, to, problem) in [
            ("203.0.113.9:80", "10.0.0.2", "203.0.113.9 is not an address of `host`"),
            ("80", "192.0.2.1", "`host` has no route to 192.0.2.1"),
        ] {
            let refused = found.forwards(&forward(listen, to), &[]).unwrap_err();
            assert!(refused.to_string().contains(problem), "{refused}");
        }
    }

    #[test]
    fn an_interface_that_is_there_and_no_uplink_is_refused_with_the_reason() {
        for (out, problem, hint) in [
            ("eth1", "`eth1` is a port of bridge `br0` (`--out`)", "use `br0`"),
            (
                "tun0",
                "`tun0` carries no Ethernet frames (`--out`)",
                "`backend = \"nftables\"` in `[nat]` of a file translates at any interface",
            ),
            ("wan1", "`host` has no interface `wan1` to go out of (`--out`)", "did you mean `wan0`?"),
        ] {
            let rule = spec::Masquerade { out: Some(out.to_owned()), ..masquerade("10.0.0.0/24") };
            let refused = found().masquerades(&rule, &[]).unwrap_err();
            assert_eq!((&*refused.to_string(), &*advice::of(&refused).unwrap()), (problem, hint));
        }
    }

    #[test]
    fn what_is_there_is_not_there_a_second_time() {
        let found = found();
        let rules = found.masquerades(&masquerade("10.0.0.0/24"), &[]).unwrap();
        let refused = found.masquerades(&masquerade("10.0.0.0/24"), &rules).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "10.0.0.0/24 is masqueraded out of `wan0` already: 10.0.0.0/24 out wan0"
        );
    }

    #[test]
    fn row_29_a_forward_that_crosses_another_is_refused_and_that_one_named() {
        let found = found();
        let there = found.forwards(&forward("203.0.113.1:8000-8009/tcp", "10.0.0.2:80"), &[]).unwrap();
        for (listen, port) in [
            ("203.0.113.1:8000", Some(8000)),
            ("203.0.113.1:7990-8003", Some(8000)),
            ("8005/tcp+udp", Some(8005)),
            ("8005/udp", None),
            ("10.0.0.1:8005", None),
            ("203.0.113.1:8010", None),
        ] {
            let there: Vec<&Forward> = there.iter().collect();
            let refused = found.forwards(&forward(listen, "10.0.0.3"), &there).err().map(|e| e.to_string());
            let words = |port| {
                format!("tcp port {port} is forwarded already: 203.0.113.1:8000-8009/tcp to 10.0.0.2:80-89")
            };
            assert_eq!(refused, port.map(words), "{listen}");
        }
    }

    #[test]
    fn a_forward_is_found_by_where_it_listens() {
        let rules = found().forwards(&forward("8000-8009/tcp+udp", "10.0.0.2:80"), &[]).unwrap();
        let count = |text: &str| rules.iter().filter(|rule| listens_on(text).unwrap()(rule)).count();
        assert_eq!(["8000-8009", "8000-8009/tcp+udp", "8000", "10.0.0.1:8000-8009"].map(count), [1, 2, 0, 0]);
        assert!(listens_on("http").is_err());
    }
}
