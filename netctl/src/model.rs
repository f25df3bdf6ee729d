//! The checked topology: every name is valid, every reference resolves, every default is filled in. Pure.

mod address;
mod allot;
pub(crate) mod backend;
mod behaviour;
mod brought;
mod check;
mod circle;
mod claims;
mod endpoint;
mod error;
mod forward;
mod forwarding;
mod found;
mod gateway;
mod given;
#[cfg(test)]
mod golden;
pub(crate) mod hash;
mod ipv6;
pub(crate) mod keys;
mod leftover;
mod links;
mod masquerade;
pub mod name;
mod naming;
pub(crate) mod networks;
mod number;
mod place;
mod placed;
mod plug;
mod problem;
mod route;
mod rule;
mod side;
mod timeout;
#[cfg(test)]
mod trial;
mod unchecked;
mod vlan;
mod words;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub(crate) use self::{
    address::is_link_local,
    words::{At, Destination, Ports},
};
pub use self::{
    backend::Backend,
    behaviour::{Filtering, Mapping},
    error::{Error, FileError},
    found::{Found, Refused, listens_on},
    leftover::Leftover,
    links::{Seen, Veth},
    name::{FullName, IfName, NameError, NetnsName, TopologyName},
    problem::Problem,
    rule::{read_mark, read_table},
    side::Side,
    timeout::{Seconds, Timeout, Timeouts},
};

/// Whether conntrack takes segments outside of the window that it knows for valid.
pub(crate) const CONNTRACK_LIBERAL: &str = "net.netfilter.nf_conntrack_tcp_be_liberal";

/// The ports that sockets of a gateway take by themselves: its programs are loaded with them.
pub(crate) const LOCAL_PORTS: &str = "net.ipv4.ip_local_port_range";

/// A network as the user means it, complete and consistent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    /// Scopes everything that is made: owner's marks, pins, lasting state.
    pub name: TopologyName,
    /// In the order of the file.
    pub namespaces: Vec<Namespace>,
    /// Bridges, in the order of the file.
    pub bridges: Vec<Bridge>,
    /// Every veth pair: a bridge's ports (whose `a` end has the bridge as its master) and the file's own cables.
    pub cables: Vec<Cable>,
    /// The links that are neither, in the order of the file: what one is on top of comes before it.
    #[serde(default)]
    pub links: Vec<Link>,
    /// The default routes that plugging into a bridge brings, then the file's routes.
    pub routes: Vec<Route>,
    /// Policy rules, in the order of the file.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// `net.*` sysctls to set, by place: forwarding and what the file asks for. Keys in dotted form.
    pub sysctls: BTreeMap<Place, BTreeMap<String, String>>,
    /// The places that translate addresses, in the order in which the file's masquerade rules, then its forward rules
    /// first name them.
    pub gateways: Vec<Gateway>,
    /// How long the gateways' flows live, of every kind.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// How many flows a gateway has at once, at most.
    #[serde(default)]
    pub max_flows: u32,
    /// Where packets go straight, of gateways that have [ports](Gateway::ports).
    #[serde(default)]
    pub shortcut: Shortcut,
}

impl Topology {
    /// Its namespaces, in the order of the file, then the host if it has anything there.
    #[must_use]
    pub fn places(&self) -> Vec<Place> {
        let namespaces = self.namespaces.iter().map(|namespace| Place::Netns(namespace.name.clone()));
        namespaces.chain(self.uses_host().then_some(Place::Host)).collect()
    }

    fn uses_host(&self) -> bool {
        let links = self.interfaces().map(|its| its.place);
        let gateways = self.gateways.iter().map(|gateway| &gateway.place);
        let routes = self.routes.iter().map(|route| &route.place);
        let rules = self.rules.iter().map(|rule| &rule.place);
        links.chain(gateways).chain(routes).chain(rules).any(|place| *place == Place::Host)
    }

    /// Every interface that it makes: its bridges, the ends of its cables, and its other links.
    pub fn interfaces(&self) -> impl Iterator<Item = Interface<'_>> {
        let bridges = self.bridges.iter().map(|bridge| Interface {
            place: &bridge.place,
            interface: &bridge.name,
            full_name: bridge.full_name.as_ref(),
            addresses: &bridge.addresses,
            mtu: bridge.mtu,
        });
        let ends = self.cables.iter().flat_map(|cable| [&cable.a, &cable.b]).map(|end| Interface {
            place: &end.place,
            interface: &end.interface,
            full_name: end.full_name.as_ref(),
            addresses: &end.addresses,
            mtu: end.mtu,
        });
        let links = self.links.iter().map(|link| Interface {
            place: &link.place,
            interface: &link.interface,
            full_name: link.full_name.as_ref(),
            addresses: &link.addresses,
            mtu: link.mtu,
        });
        bridges.chain(ends).chain(links)
    }

    /// Its interface of that name at a place.
    #[must_use]
    pub fn interface(&self, place: &Place, name: &IfName) -> Option<Interface<'_>> {
        self.interfaces().find(|its| (its.place, its.interface) == (place, name))
    }

    /// Its interface that has an address, at the first place that has it.
    #[must_use]
    pub fn owner_of(&self, address: IpAddr) -> Option<Interface<'_>> {
        self.interfaces().find(|its| its.addresses.iter().any(|net| net.addr() == address))
    }

    /// Whether a place has shortcuts, beside which conntrack has to be liberal (`CONNTRACK_LIBERAL`).
    #[must_use]
    pub fn has_shortcuts(&self, place: &Place) -> bool {
        self.gateways.iter().any(|gateway| gateway.place == *place && !gateway.ports.is_empty())
    }

    /// Whether it sets on the host what other topologies may want there, too: sysctls, routes or policy rules.
    #[must_use]
    pub(crate) fn sets_on_host(&self) -> bool {
        self.sysctls.contains_key(&Place::Host)
            || self.routes.iter().any(|route| route.place == Place::Host)
            || self.rules.iter().any(|rule| rule.place == Place::Host)
    }

    /// Whether it is this topology's business what a sysctl is: the file sets it, or something that the file asks for
    /// needs it.
    #[must_use]
    pub(crate) fn sets(&self, place: &Place, key: &str) -> bool {
        let is_host = *place == Place::Host;
        let is_classic = |gateway: &Gateway| gateway.place == *place && gateway.backend != Backend::Ebpf;
        self.sysctl(place, key).is_some()
            || key == CONNTRACK_LIBERAL && self.has_shortcuts(place)
            || is_host && key.ends_with(".accept_ra") && self.forwards(place, false)
            || !is_host && backend::BRIDGED.contains(&key) && self.gateways.iter().any(is_classic)
    }

    /// What the file, or what it asks for, sets a sysctl to.
    #[must_use]
    pub(crate) fn sysctl(&self, place: &Place, key: &str) -> Option<&str> {
        self.sysctls.get(place)?.get(key).map(String::as_str)
    }

    /// Whether it has a place forward packets of IPv4, or of IPv6.
    #[must_use]
    pub fn forwards(&self, place: &Place, ipv4: bool) -> bool {
        let key = if ipv4 { keys::IPV4 } else { keys::IPV6 };
        self.sysctls.get(place).and_then(|sysctls| sysctls.get(key)).is_some_and(|value| value != "0")
    }
}

/// What all interfaces of a topology have.
#[derive(Debug, Clone, Copy)]
pub struct Interface<'a> {
    /// Where it lives.
    pub place: &'a Place,
    /// Its name.
    pub interface: &'a IfName,
    /// The name that `interface` is the shortened form of.
    pub full_name: Option<&'a FullName>,
    /// Its addresses, each with its subnet's prefix length.
    pub addresses: &'a [IpNet],
    /// Bytes; the kernel's default when `None`.
    pub mtu: Option<u32>,
}

impl<'a> Interface<'a> {
    /// As the file calls it.
    #[must_use]
    pub fn called(&self) -> &'a str {
        self.full_name.map_or(self.interface.as_str(), FullName::as_str)
    }
}

/// Where a link or a rule lives.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Place {
    /// The network namespace that netctl itself was started in.
    Host,
    /// A named network namespace.
    Netns(NetnsName),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("host"),
            Self::Netns(name) => name.fmt(f),
        }
    }
}

impl From<Place> for String {
    fn from(place: Place) -> Self {
        place.to_string()
    }
}

impl TryFrom<String> for Place {
    type Error = NameError;

    fn try_from(name: String) -> Result<Self, NameError> {
        if name == "host" { Ok(Self::Host) } else { name.parse().map(Self::Netns) }
    }
}

/// A network namespace to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespace {
    /// Its name below `/run/netns`.
    pub name: NetnsName,
}

/// A Linux bridge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bridge {
    /// Where it lives.
    pub place: Place,
    /// Its interface name.
    pub name: IfName,
    /// What the file calls it, where that is too long for an interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_name: Option<FullName>,
    /// The bridge's own addresses, each with its subnet's prefix length.
    pub addresses: Vec<IpNet>,
    /// Bytes; the kernel's default when `None`.
    pub mtu: Option<u32>,
}

impl Bridge {
    /// As the file calls it.
    #[must_use]
    pub fn called(&self) -> &str {
        self.full_name.as_ref().map_or(self.name.as_str(), FullName::as_str)
    }
}

/// A veth pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cable {
    /// One end; of a bridge's port, the bridge's end.
    pub a: End,
    /// The other end.
    pub b: End,
}

/// One end of a cable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Where it lives.
    pub place: Place,
    /// Its interface name.
    pub interface: IfName,
    /// The name that `interface` is the shortened form of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_name: Option<FullName>,
    /// Its addresses, each with its subnet's prefix length.
    pub addresses: Vec<IpNet>,
    /// Bytes; the kernel's default when `None`.
    pub mtu: Option<u32>,
    /// The bridge of the same place that it is plugged into.
    pub master: Option<IfName>,
}

/// A link that is neither a bridge nor a cable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Where it lives.
    pub place: Place,
    /// Its interface name.
    pub interface: IfName,
    /// The name that `interface` is the shortened form of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_name: Option<FullName>,
    /// What it is.
    pub kind: LinkKind,
    /// Its addresses, each with its subnet's prefix length.
    pub addresses: Vec<IpNet>,
    /// Bytes; the kernel's default when `None`.
    pub mtu: Option<u32>,
}

/// The kind of a [`Link`], with what the kernel needs to make one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkKind {
    /// Swallows what is sent by it.
    Dummy,
    /// One VLAN of another interface.
    Vlan {
        /// The interface of the same place whose packets have the tag; on the host, perhaps not of this topology.
        parent: IfName,
        /// The VLAN's number, from 1 to 4094.
        id: u16,
    },
}

/// `RT_TABLE_MAIN`.
const MAIN_TABLE: u32 = 254;

/// A route.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Route {
    /// Where it is set.
    pub place: Place,
    /// The destination, host bits zero; a prefix length of 0 is the default route.
    pub to: IpNet,
    /// What becomes of packets to it.
    #[serde(default, skip_serializing_if = "RouteKind::is_unicast")]
    pub kind: RouteKind,
    /// The next hop, perhaps of the other family; `None` where the destination is on `dev` itself, and where nothing is
    /// sent on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<IpAddr>,
    /// The interface that it leads out of; that of the next hop's subnet when `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dev: Option<IfName>,
    /// Whether the next hop is a neighbour at `dev` though it is in no subnet there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub onlink: bool,
    /// Of routes to one destination in one table, the lowest wins; the kernel's default (IPv4 0, IPv6 1024) when `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
    /// The routing table; the main one when `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<u32>,
}

impl Route {
    /// A route of the main table to `to` through `via`.
    #[must_use]
    pub fn through(place: Place, to: IpNet, via: IpAddr) -> Self {
        let (kind, dev, metric, table) = Default::default();
        Self { place, to, kind, via: Some(via), dev, onlink: false, metric, table }
    }

    /// The same route with everything left out that the kernel would fill in: its own metric, and the main table.
    #[must_use]
    pub fn canonical(&self) -> Self {
        let metric = self.metric.filter(|&metric| metric != 0 && metric != self.default_metric());
        let table = self.table.filter(|&table| table != MAIN_TABLE);
        Self { metric, table, ..self.clone() }
    }

    /// Whether a route that is there is this one; its interface counts only where this one names one.
    #[must_use]
    pub fn is(&self, seen: &Self) -> bool {
        let (mut wanted, seen) = (self.canonical(), seen.canonical());
        if wanted.dev.is_none() {
            wanted.dev.clone_from(&seen.dev);
        }
        wanted == seen
    }

    /// Whether it is of the main table.
    #[must_use]
    pub fn is_main(&self) -> bool {
        self.table.is_none_or(|table| table == MAIN_TABLE)
    }

    /// What no two routes of a place share: destination, table and metric.
    #[must_use]
    pub fn key(&self) -> (IpNet, u32, u32) {
        let metric = self.metric.filter(|&metric| metric != 0).unwrap_or_else(|| self.default_metric());
        (self.to, self.table.unwrap_or(MAIN_TABLE), metric)
    }

    /// `IP6_RT_PRIO_USER` in include/net/ip6_route.h; IPv4 has none.
    fn default_metric(&self) -> u32 {
        if self.to.addr().is_ipv6() { 1024 } else { 0 }
    }
}

/// What becomes of packets that a route is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RouteKind {
    /// They are sent on.
    #[default]
    Unicast,
    /// They are dropped.
    Blackhole,
    /// They are dropped, and the sender is told that there is no way.
    Unreachable,
    /// They are dropped, and the sender is told that it is forbidden.
    Prohibit,
}

impl RouteKind {
    /// Whether packets are sent on.
    #[must_use]
    pub fn is_unicast(&self) -> bool {
        *self == Self::Unicast
    }
}

/// A policy rule: which routing table decides about which packets.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rule {
    /// Where it is set.
    pub place: Place,
    /// Whose packets.
    pub family: Family,
    /// The lowest is asked first.
    pub priority: u32,
    /// Where they are from, host bits zero.
    pub from: Option<IpNet>,
    /// Where they are for, host bits zero.
    pub to: Option<IpNet>,
    /// The interface that they come in by.
    pub iif: Option<IfName>,
    /// The interface that their socket is bound to.
    pub oif: Option<IfName>,
    /// Their mark, and the bits of it that count.
    pub mark: Option<(u32, u32)>,
    /// What decides.
    pub action: RuleAction,
}

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

/// What a policy rule does with its packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RuleAction {
    /// This routing table decides, if it has a route.
    Table(u32),
    /// As [`RouteKind::Blackhole`].
    Blackhole,
    /// As [`RouteKind::Unreachable`].
    Unreachable,
    /// As [`RouteKind::Prohibit`].
    Prohibit,
}

/// Where packets of answered connections go straight between the uplink and the veths inside.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shortcut {
    /// Where nobody could tell: nothing on the skipped way looks at packets.
    #[default]
    Auto,
    /// For a second after a packet of the connection has gone the kernel's way, whoever looks at them there.
    Leased,
}

/// A place that translates addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gateway {
    /// Where it is.
    pub place: Place,
    /// What translates.
    #[serde(default)]
    pub backend: Backend,
    /// The outside interfaces, at least one: those that a masquerade rule goes out of. Without masquerade rules, those
    /// that no forward leads out of, or all where that leaves none. On the host, perhaps not of this topology.
    pub uplinks: Vec<IfName>,
    /// Its other layer-3 interfaces (no bridge ports, no loopback).
    pub insides: Vec<IfName>,
    /// The veths by which these are reached, where shortcuts lead to: they themselves, and their ports. None where there
    /// are to be no shortcuts.
    #[serde(default)]
    pub ports: Vec<IfName>,
    /// In the order of the file.
    pub masquerades: Vec<Masquerade>,
    /// In the order of the file.
    pub forwards: Vec<Forward>,
}

impl Gateway {
    /// Whether anyone is translated who calls an outside address of its: to a forward, or to an endpoint-independent
    /// mapping.
    #[must_use]
    pub fn lets_in(&self) -> bool {
        let is_open = |rule: &Masquerade| rule.mapping == Mapping::EndpointIndependent;
        !self.forwards.is_empty() || self.masquerades.iter().any(is_open)
    }
}

/// Source NAT of what leaves by an uplink: `iptables -t nat -A POSTROUTING -s SOURCE -o OUT -j MASQUERADE`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Masquerade {
    /// The inside network, host bits zero.
    pub source: IpNet,
    /// The uplinks it applies to; never empty.
    pub out: Vec<IfName>,
    /// The outside address to take; `None` asks the kernel's routing, as `ip route get` does.
    pub address: Option<IpAddr>,
    /// The ports to choose from, first to last; `None` keeps the port and else takes any free one.
    pub ports: Option<(u16, u16)>,
    /// Lets in what comes from outside straight to an inside address.
    pub routed: bool,
    /// What an inside endpoint's outside port depends on.
    #[serde(default)]
    pub mapping: Mapping,
    /// Who outside may send to a mapping; the default one unless the mapping is endpoint-independent.
    #[serde(default)]
    pub filtering: Filtering,
}

impl Masquerade {
    /// The same rule with its uplinks in the order of their names. The order says nothing: two rules are the same if
    /// they are so sorted.
    #[must_use]
    pub fn sorted(&self) -> Self {
        let mut rule = self.clone();
        rule.out.sort();
        rule
    }

    /// Whether this is the same rule.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.sorted() == other.sorted()
    }
}

/// Destination NAT of what reaches one of the gateway's addresses: `iptables -t nat -A PREROUTING … -j DNAT`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Forward {
    /// Listens on this address of the gateway; `None` on every local one of `to`'s family.
    pub address: Option<IpAddr>,
    /// The ports it listens on, first to last.
    pub ports: (u16, u16),
    /// The protocol.
    pub protocol: Protocol,
    /// Where it sends to.
    pub to: IpAddr,
    /// The port that the first of `ports` maps to; the others follow one by one.
    pub to_port: u16,
    /// The networks of those who may use it, host bits zero, of `to`'s family; `None` for everyone.
    pub allow: Option<BTreeSet<IpNet>>,
}

/// A transport protocol with ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP, protocol number 6.
    Tcp,
    /// UDP, protocol number 17.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}
