//! The topology as packets find it: who has which address on which segment, and where each place sends what. Pure.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;

use super::segments::segments;
use crate::model::{
    Family, Gateway, IfName, Place, Route, Rule, RuleAction, Topology, is_link_local, networks::Networks,
};

/// `RT_TABLE_DEFAULT`, which the kernel's last rule asks.
const DEFAULT_TABLE: u32 = 253;
/// `RT_TABLE_MAIN`, which the kernel's rule before that asks.
const MAIN_TABLE: u32 = 254;

/// A topology's places and what joins them.
pub(crate) struct Network<'a> {
    seats: BTreeMap<Place, Seat<'a>>,
    /// Who answers to an address on a segment, and by which interface.
    neighbours: BTreeMap<(usize, IpAddr), (&'a Place, &'a IfName)>,
    /// The layer-3 interfaces on each segment.
    members: BTreeMap<usize, Vec<(&'a Place, &'a IfName)>>,
}

/// One place.
#[derive(Default)]
pub(super) struct Seat<'a> {
    pub(super) gateway: Option<&'a Gateway>,
    /// Its addresses, but for link-local ones, with their interfaces.
    addresses: Vec<(IpNet, &'a IfName)>,
    /// The segment of each layer-3 interface.
    segments: BTreeMap<&'a IfName, usize>,
    /// By table.
    tables: BTreeMap<u32, Networks<Vec<Entry<'a>>>>,
    /// Its policy rules, in the order in which they are asked; without the kernel's own.
    rules: Vec<&'a Rule>,
    forwards_ipv4: bool,
    forwards_ipv6: bool,
}

/// What a table has for a network.
enum Entry<'a> {
    /// It is an interface's own subnet.
    Connected(&'a IfName),
    /// There is a route to it.
    Routed(&'a Route),
}

impl Entry<'_> {
    /// The lowest wins. A subnet's own is the kernel's (`IP6_RT_PRIO_ADDRCONF` for IPv6).
    fn metric(&self, net: &IpNet) -> u32 {
        match self {
            Self::Connected(_) if net.addr().is_ipv4() => 0,
            Self::Connected(_) => 256,
            Self::Routed(route) => route.key().2,
        }
    }
}

/// What a place routes by.
#[derive(Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) to: IpAddr,
    /// `None` for a packet whose sender waits for routing to choose its source.
    pub(crate) from: Option<IpAddr>,
    /// Where it came in; `None` for the place's own.
    pub(crate) iif: Option<&'a IfName>,
}

/// Where a place sends a packet.
pub(super) struct Hop<'a> {
    /// The interface that it leaves by.
    pub(super) out: &'a IfName,
    /// What that interface is plugged into; `None` where it is not the topology's.
    segment: Option<usize>,
    /// The neighbour that it is for.
    pub(super) via: IpAddr,
}

/// Why a place sends a packet nowhere.
pub(super) enum Nowhere {
    /// No table that is asked has a route.
    NoRoute,
    /// A route or a policy rule, in its words, has it dropped.
    Refused(String),
}

impl<'a> Network<'a> {
    pub(crate) fn new(topology: &'a Topology) -> Self {
        let seat = |place: Place| {
            let [forwards_ipv4, forwards_ipv6] = [true, false].map(|ipv4| topology.forwards(&place, ipv4));
            (place, Seat { forwards_ipv4, forwards_ipv6, ..Seat::default() })
        };
        let seats = topology.places().into_iter().map(seat).collect();
        let mut network = Self { seats, neighbours: BTreeMap::new(), members: BTreeMap::new() };
        let segments = segments(topology);
        for its in topology.interfaces() {
            if let Some(&segment) = segments.get(&(its.place, its.interface)) {
                network.add(its.place, its.interface, its.addresses, segment);
            }
        }
        for route in &topology.routes {
            let seat = network.seats.get_mut(&route.place);
            seat.into_iter().for_each(|seat| seat.insert(route.key().1, route.to, Entry::Routed(route)));
        }
        for rule in &topology.rules {
            network.seats.get_mut(&rule.place).into_iter().for_each(|seat| seat.rules.push(rule));
        }
        network.seats.values_mut().for_each(|seat| seat.rules.sort_by_key(|rule| rule.priority));
        for gateway in &topology.gateways {
            let seat = network.seats.get_mut(&gateway.place);
            seat.into_iter().for_each(|seat| seat.gateway = Some(gateway));
        }
        network
    }

    fn add(&mut self, place: &'a Place, name: &'a IfName, addresses: &'a [IpNet], segment: usize) {
        let Some(seat) = self.seats.get_mut(place) else { return };
        seat.segments.insert(name, segment);
        self.members.entry(segment).or_default().push((place, name));
        for net in addresses {
            self.neighbours.entry((segment, net.addr())).or_insert((place, name));
            if !is_link_local(net.addr()) {
                seat.addresses.push((*net, name));
                seat.insert(MAIN_TABLE, *net, Entry::Connected(name));
            }
        }
    }

    pub(super) fn seat(&self, place: &Place) -> Option<&Seat<'a>> {
        self.seats.get(place)
    }

    /// Whom a hop reaches, and by which of its interfaces: who has the address there or, of IPv4, anywhere (`arp_ignore`
    /// is 0).
    pub(super) fn neighbour(&self, hop: &Hop<'_>) -> Option<(&'a Place, &'a IfName)> {
        let segment = hop.segment?;
        let exact = self.neighbours.get(&(segment, hop.via)).copied();
        let owns = |place: &Place| self.seat(place).is_some_and(|seat| seat.owns(hop.via));
        let elsewhere = || self.members.get(&segment)?.iter().copied().find(|(place, _)| owns(place));
        exact.or_else(|| elsewhere().filter(|_| hop.via.is_ipv4()))
    }
}

impl<'a> Seat<'a> {
    fn insert(&mut self, table: u32, to: IpNet, entry: Entry<'a>) {
        let table = self.tables.entry(table).or_default();
        let metric = entry.metric(&to);
        match table.get_mut(&to.trunc()) {
            Some(entries) => {
                let at = entries.partition_point(|other| other.metric(&to) <= metric);
                entries.insert(at, entry);
            }
            None => table.insert(to, vec![entry]),
        }
    }

    /// Its addresses, but for link-local ones.
    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.iter().map(|(net, _)| net.addr())
    }

    /// Those of one interface.
    pub(super) fn addresses_of(&self, interface: &IfName) -> impl Iterator<Item = IpAddr> {
        self.addresses.iter().filter(move |(_, name)| *name == interface).map(|(net, _)| net.addr())
    }

    pub(super) fn owns(&self, address: IpAddr) -> bool {
        self.addresses().any(|own| own == address)
    }

    /// Whether it sends on what is not for itself.
    pub(super) fn forwards(&self, ipv4: bool) -> bool {
        if ipv4 { self.forwards_ipv4 } else { self.forwards_ipv6 }
    }

    /// Where it sends a packet: its policy rules are asked in their order, then the tables that every place has. The
    /// first that has a route decides, be it that there is no way.
    pub(super) fn hop(&self, question: Question<'_>) -> Result<Hop<'a>, Nowhere> {
        for rule in self.rules.iter().filter(|rule| covers(rule, question)) {
            match rule.action {
                RuleAction::Table(table) => {
                    if let Some(found) = self.look_up(table, question.to) {
                        return found;
                    }
                }
                RuleAction::Blackhole | RuleAction::Unreachable | RuleAction::Prohibit => {
                    return Err(Nowhere::Refused(format!("policy rule {rule}")));
                }
            }
        }
        let mut usual = [MAIN_TABLE, DEFAULT_TABLE].into_iter();
        usual.find_map(|table| self.look_up(table, question.to)).unwrap_or(Err(Nowhere::NoRoute))
    }

    /// What a table says of a destination: the narrowest network, the lowest metric.
    fn look_up(&self, table: u32, to: IpAddr) -> Option<Result<Hop<'a>, Nowhere>> {
        let (_, entries) = self.tables.get(&table)?.longest(to)?;
        Some(match entries.first()? {
            Entry::Connected(out) => Ok(self.by(out, to)),
            Entry::Routed(route) if !route.kind.is_unicast() => {
                Err(Nowhere::Refused(format!("route {route}")))
            }
            Entry::Routed(route) => {
                let via = route.via.unwrap_or(to);
                match route.dev.as_ref().or_else(|| self.near(via)) {
                    Some(out) => Ok(self.by(out, via)),
                    None => Err(Nowhere::NoRoute),
                }
            }
        })
    }

    fn by(&self, out: &'a IfName, via: IpAddr) -> Hop<'a> {
        Hop { out, segment: self.segments.get(out).copied(), via }
    }

    /// The interface by which a next hop is a neighbour.
    fn near(&self, via: IpAddr) -> Option<&'a IfName> {
        let mut covering = self.tables.get(&MAIN_TABLE)?.covering(via.into());
        covering.find_map(|(_, entries)| {
            entries.iter().find_map(|entry| match entry {
                Entry::Connected(out) => Some(*out),
                Entry::Routed(route) => route.dev.as_ref().filter(|_| route.via.is_none()),
            })
        })
    }

    /// The address that it takes for what it sends to a hop: one of the next hop's subnet, else the first of that
    /// interface, else the first of any.
    pub(super) fn source(&self, hop: &Hop<'_>, ipv4: bool) -> Option<IpAddr> {
        let all = || self.addresses.iter().filter(|(net, _)| net.addr().is_ipv4() == ipv4);
        let own = || all().filter(|(_, name)| *name == hop.out);
        let near = own().find(|(net, _)| net.contains(&hop.via));
        near.or_else(|| own().next()).or_else(|| all().next()).map(|(net, _)| net.addr())
    }
}

/// The route or the policy rule of a place, in its words, that has a packet dropped, if it is one.
pub(crate) fn refusal(routes: &[Route], rules: &[Rule], question: Question<'_>) -> Option<String> {
    let mut seat = Seat { rules: rules.iter().collect(), ..Seat::default() };
    seat.rules.sort_by_key(|rule| rule.priority);
    for route in routes {
        seat.insert(route.key().1, route.to, Entry::Routed(route));
    }
    match seat.hop(question) {
        Err(Nowhere::Refused(by)) => Some(by),
        Ok(_) | Err(Nowhere::NoRoute) => None,
    }
}

/// Whether a policy rule is for a packet that no socket option and no mark tells from others.
fn covers(rule: &Rule, question: Question<'_>) -> bool {
    let family = if question.to.is_ipv4() { Family::Ipv4 } else { Family::Ipv6 };
    let is_from = |net: IpNet| match question.from {
        Some(from) => net.contains(&from),
        None => net.prefix_len() == 0,
    };
    let comes_by = |name: &IfName| match question.iif {
        Some(iif) => name == iif,
        // What the place sends itself comes, to the kernel, from its loopback.
        None => name.as_str() == "lo",
    };
    rule.family == family
        && rule.from.is_none_or(is_from)
        && rule.to.is_none_or(|net| net.contains(&question.to))
        && rule.iif.as_ref().is_none_or(comes_by)
        && rule.oif.is_none()
        && rule.mark.is_none_or(|(value, mask)| value & mask == 0)
}
