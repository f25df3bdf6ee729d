//! A topology as a picture: its places as boxes, its cables as wires between their interfaces. What `netctl graph` draws.
//!
//! This is what there is to draw, from the topology and, if it is up, from how it is. How it looks is up to the modules
//! below, one for each format. Pure.

mod alike;
pub mod dot;
mod layout;
pub mod mermaid;
mod scene;
pub mod svg;
pub mod text;

use serde::Serialize;

use crate::{
    model::Topology,
    show::{Shown, ShownLink},
    single,
};

/// A picture's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Graph {
    /// The topology's name.
    pub name: String,
    /// Whether the states are known.
    pub live: bool,
    /// Boxes.
    pub nodes: Vec<Node>,
    /// Wires.
    pub cables: Vec<Cable>,
    /// Forwarded ports whose server is in the picture.
    pub services: Vec<Service>,
}

/// A place, or several that are alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Node {
    /// `host` or the namespace; of several, the first and the last.
    pub name: String,
    /// How many places it stands for.
    pub count: usize,
    /// What it is beside a namespace.
    pub role: Role,
    /// Whether it has gone.
    pub missing: bool,
    /// Its layer-3 interfaces.
    pub links: Vec<Link>,
    /// Its masquerade rules.
    pub masquerades: Vec<String>,
    /// Its forwards: where each listens and where it leads.
    pub forwards: Vec<(String, String)>,
}

/// What a place is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A namespace among others.
    Namespace,
    /// It translates addresses.
    Gateway,
    /// It sends on what is for others.
    Router,
}

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Link {
    /// Its name, as the file has it.
    pub name: String,
    /// `bridge`, `veth`, `dummy` or `vlan`; `None` where it is not the topology's.
    pub kind: Option<&'static str>,
    /// Whether it is a bridge.
    pub bridge: bool,
    /// Of a VLAN, its number.
    pub vlan: Option<u16>,
    /// Of a VLAN, which of the box's links it hangs on: its parent or, if that is a port, the port's bridge.
    pub parent: Option<usize>,
    /// How many it hangs on, one below the other.
    #[serde(skip)]
    pub depth: usize,
    /// Whether what leaves by it gets another source.
    pub masquerades: bool,
    /// Its addresses; of several places, from the first to the last.
    pub addresses: Vec<String>,
    /// How it is.
    pub state: State,
}

/// How an interface is, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Nobody has looked.
    Unknown,
    /// Up.
    Up,
    /// Up, but its other end is not.
    NoCarrier,
    /// Down.
    Down,
    /// Gone.
    Missing,
}

impl Link {
    /// Its name, below that of its parent, and what it is unless a bridge or a cable. XML and HTML keep no other blanks
    /// than these at the beginning.
    fn called(&self) -> String {
        let hang = match self.depth.checked_sub(1) {
            Some(deeper) => format!("{}╰ ", "\u{a0}\u{a0}".repeat(deeper)),
            None => String::new(),
        };
        let what = match (self.kind, self.vlan) {
            (_, Some(id)) => format!(" vlan {id}"),
            (Some("dummy"), None) => " dummy".to_owned(),
            (_, None) => String::new(),
        };
        format!("{hang}{}{what}", self.name)
    }
}

impl State {
    /// What to say of it, if anything is wrong.
    #[must_use]
    pub fn complaint(self) -> Option<&'static str> {
        match self {
            Self::Unknown | Self::Up => None,
            Self::NoCarrier => Some("no carrier"),
            Self::Down => Some("down"),
            Self::Missing => Some("missing"),
        }
    }

    fn of(link: &ShownLink) -> Self {
        match link.its.state {
            single::link::State::Down => Self::Down,
            single::link::State::NoCarrier => Self::NoCarrier,
            single::link::State::Up => Self::Up,
        }
    }
}

/// One end of a wire: an interface of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Plug {
    /// Which node.
    pub node: usize,
    /// Which of its links.
    pub link: usize,
}

/// A wire, from inside to outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cable {
    /// The end further inside.
    pub inner: Plug,
    /// The end further outside.
    pub outer: Plug,
    /// The bridge's port that it is plugged into.
    pub port: Option<String>,
    /// The worse of its ends.
    pub state: State,
}

/// A server behind a forwarded port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Service {
    /// The gateway.
    pub gateway: usize,
    /// Which of its forwards, if there are several the first.
    pub rule: usize,
    /// The server's interface.
    pub server: Plug,
    /// `8080/tcp`
    pub listen: String,
    /// `80`
    pub to: String,
}

impl Node {
    /// What to call it beside its name.
    fn title(&self) -> Option<String> {
        match self.role {
            _ if self.count > 1 => Some(format!("{} namespaces", self.count)),
            Role::Namespace => None,
            Role::Gateway => Some("gateway".to_owned()),
            Role::Router => Some("router".to_owned()),
        }
    }
}

impl Graph {
    /// The picture of a topology, and of how it is.
    #[must_use]
    pub fn new(topology: &Topology, shown: Option<&Shown>) -> Self {
        alike::merged(scene::graph(topology, shown))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::QUICKSTART;

    pub(super) fn graph(text: &str) -> Graph {
        let topology = Topology::parse(text, "f", "trial".parse().unwrap());
        Graph::new(&topology.unwrap_or_else(|error| panic!("{error}\n{text}")), None)
    }

    /// `INNER LINK - OUTER LINK` of each cable.
    fn wires(graph: &Graph) -> Vec<String> {
        let plug = |plug: Plug| {
            let node = &graph.nodes[plug.node];
            format!("{} {}", node.name, node.links[plug.link].name)
        };
        graph.cables.iter().map(|cable| format!("{} - {}", plug(cable.inner), plug(cable.outer))).collect()
    }

    #[test]
    fn wires_lead_from_inside_to_outside() {
        let quickstart = graph(QUICKSTART);
        let expected =
            ["red eth0 - router v-net-0", "blue eth0 - router v-net-0", "router wan0 - internet eth0"];
        assert_eq!(wires(&quickstart), expected);
        let roles: Vec<Role> = quickstart.nodes.iter().map(|node| node.role).collect();
        assert_eq!(roles, [Role::Namespace, Role::Namespace, Role::Gateway, Role::Namespace]);
        let turned = "[namespaces.a]\n[namespaces.b]\n[[cables]]\n\
                      a = { namespace = 'b', interface = 'x', addresses = ['10.0.0.1/24'] }\n\
                      b = { namespace = 'a', interface = 'y', addresses = ['10.0.0.2/24'] }\n\
                      [[routes]]\nnamespace = 'a'\nto = 'default'\nvia = '10.0.0.1'";
        assert_eq!(wires(&graph(turned)), ["a y - b x"]);
    }

    #[test]
    fn a_forward_of_both_families_leads_to_its_server_once() {
        let services = graph(QUICKSTART).services;
        let [Service { gateway: 2, rule: 0, server, listen, to }] = &services[..] else {
            panic!("{services:?}")
        };
        assert_eq!((*server, listen.as_str(), to.as_str()), (Plug { node: 1, link: 0 }, "8080/tcp", "80"));
    }

    #[test]
    fn a_vlan_hangs_on_its_parent_or_the_bridge_of_its_port() {
        let text = "[namespaces.a]\n[namespaces.b]\n[bridges.lan]\nnamespace = 'b'\naddresses = ['10.0.0.1/24']\nports.a = {}\n\
                    [[cables]]\na = { namespace = 'b', interface = 'wan' }\nb = { namespace = 'a', interface = 'x' }\n\
                    [[links]]\nnamespace = 'b'\ninterface = 'inner'\nkind = 'vlan'\nparent = 'outer'\nid = 8\n\
                    [[links]]\nnamespace = 'b'\ninterface = 'outer'\nkind = 'vlan'\nparent = 'lan'\nid = 7\n\
                    [[links]]\nnamespace = 'b'\ninterface = 'aside'\nkind = 'vlan'\nparent = 'veth-a-br'\nid = 9\n\
                    [[links]]\nnamespace = 'b'\ninterface = 'd'\nkind = 'dummy'\naddresses = ['10.9.0.1/32']\n\
                    [[links]]\ninterface = 'eth0.5'\nkind = 'vlan'\nparent = 'eth0'\nid = 5";
        let graph = graph(text);
        let called = |node: usize| graph.nodes[node].links.iter().map(Link::called).collect::<Vec<_>>();
        assert_eq!(
            called(1),
            ["lan", "╰ outer vlan 7", "\u{a0}\u{a0}╰ inner vlan 8", "╰ aside vlan 9", "wan", "d dummy"]
        );
        assert_eq!(called(2), ["eth0", "╰ eth0.5 vlan 5"]);
        let parents: Vec<_> = graph.nodes[1].links.iter().map(|link| link.parent).collect();
        assert_eq!(parents, [None, Some(0), Some(1), Some(0), None, None]);
        let kinds: Vec<_> = graph.nodes[2].links.iter().map(|link| link.kind).collect();
        assert_eq!(kinds, [None, Some("vlan")]);
        assert_eq!(wires(&graph), ["a eth0 - b lan", "b wan - a x"]);
        for drawn in [dot::render(&graph), mermaid::render(&graph), svg::render(&graph)] {
            assert!(drawn.contains("╰ outer vlan 7") && drawn.contains("d dummy"), "{drawn}");
        }
    }

    #[test]
    fn a_forward_leads_to_the_server_behind_its_own_gateway() {
        let site = |n: u8| {
            format!(
                "[namespaces.in{n}]\n[namespaces.gate{n}]\n[bridges.lan{n}]\nnamespace = 'gate{n}'\naddresses = ['10.0.0.1/24']\n\
                 ports.in{n} = {{ addresses = ['10.0.0.2/24'] }}\n\
                 [[nat.forward]]\nnamespace = 'gate{n}'\nlisten = '80'\nto = '10.0.0.2'\n"
            )
        };
        let graph = graph(&[site(1), site(2)].concat());
        let name = |node: usize| graph.nodes[node].name.as_str();
        let served: Vec<_> =
            graph.services.iter().map(|its| (name(its.gateway), name(its.server.node))).collect();
        assert_eq!(served, [("gate1", "in1"), ("gate2", "in2")]);
    }

    #[test]
    fn places_that_are_alike_are_one_box() {
        let text = |count: u32| {
            format!(
                "[namespaces.a]\n[namespaces.w]\ncount = {count}\n[bridges.lan]\nnamespace = 'a'\n\
                 addresses = ['10.0.0.1/24']\nports.w = {{}}"
            )
        };
        let few = graph(&text(3));
        assert_eq!((few.nodes.len(), few.cables.len()), (4, 3));
        let many = graph(&text(40));
        assert_eq!(wires(&many), ["w-0 … w-39 eth0 - a lan"]);
        assert_eq!(
            (many.nodes[1].count, &many.nodes[1].links[0].addresses[0][..]),
            (40, "10.0.0.2 … 10.0.0.41/24")
        );
    }
}
