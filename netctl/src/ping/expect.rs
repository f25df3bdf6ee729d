//! Who should reach whom: a packet followed through the topology on paper, there and back. Pure.
//!
//! At each place the steps are those of a kernel with netctl's programs: untranslate what belongs to a flow, hand on
//! what a forward takes, refuse what comes from outside straight to an inside network, deliver, route, masquerade. Only
//! the topology counts: what the host has beside it, and what others have changed since, is not known here.

use std::{fmt, net::IpAddr};

use super::network::{Hop, Network, Nowhere, Question, Seat};
use crate::model::{Backend, Forward, IfName, Masquerade, Place, Protocol};

/// More places than any packet goes through.
const HOPS: u32 = 64;

/// Why a packet is not expected to get there, or its answer back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// A place has no route.
    NoRoute {
        /// Which.
        place: Place,
    },
    /// A route or a policy rule of a place has it dropped.
    Refused {
        /// Which place.
        place: Place,
        /// The route or the rule: `route blackhole 10.9.0.0/16`.
        by: String,
    },
    /// A place has no address to send from.
    NoSource {
        /// Which.
        place: Place,
    },
    /// A place has no such neighbour.
    Nobody {
        /// Which.
        place: Place,
    },
    /// A place does not forward.
    NotForwarding {
        /// Which.
        place: Place,
    },
    /// A gateway drops what comes from outside straight to an inside address.
    Unsolicited {
        /// Which gateway.
        place: Place,
    },
    /// A forward is not for this client.
    NotAllowed {
        /// The client, as the gateway sees it.
        client: IpAddr,
    },
    /// Another place has the address that was called, and gets it.
    Namesake {
        /// Which.
        place: Place,
    },
    /// Somebody else gets it.
    Elsewhere {
        /// Who.
        place: Place,
    },
    /// The answer does not come by the gateway that translated the question.
    Past {
        /// Which gateway.
        place: Place,
    },
    /// It goes in a circle.
    Circle,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoute { place } => write!(f, "`{place}` has no route"),
            Self::Refused { place, by } => write!(f, "`{place}` has {by}"),
            Self::NoSource { place } => write!(f, "`{place}` has no address of that family"),
            Self::Nobody { place } => write!(f, "`{place}` has no such neighbour"),
            Self::NotForwarding { place } => write!(f, "`{place}` does not forward"),
            Self::Unsolicited { place } => {
                write!(f, "`{place}` drops what comes from outside straight to an inside address")
            }
            Self::NotAllowed { client } => write!(f, "the forward does not allow {client}"),
            Self::Namesake { place } => write!(f, "`{place}` has that address, too, and gets it"),
            Self::Elsewhere { place } => write!(f, "it ends at `{place}`"),
            Self::Past { place } => write!(f, "the answer passes `{place}` by"),
            Self::Circle => f.write_str("it goes in a circle"),
        }
    }
}

/// Whether `from` should reach an address by ICMP echo, at `to` if it matters where that is.
pub(super) fn echo(
    network: &Network<'_>,
    from: &Place,
    to: Option<&Place>,
    address: IpAddr,
) -> Result<(), Why> {
    there_and_back(network, from, to, Packet { src: None, dst: address, port: None })
}

/// Whether `from` should reach a server by TCP, at the address and port where a forward listens.
pub(super) fn connect(network: &Network<'_>, from: &Place, to: IpAddr, port: u16) -> Result<(), Why> {
    there_and_back(network, from, None, Packet { src: None, dst: to, port: Some(port) })
}

impl Network<'_> {
    /// Where what a place sends to an address ends, if anywhere.
    pub(crate) fn end(&self, from: &Place, to: IpAddr) -> Option<Place> {
        let mut way = Way { network: self, flows: Vec::new(), is_answer: false };
        way.follow(from, &mut Packet { src: None, dst: to, port: None }).ok()
    }
}

/// A packet under way.
struct Packet {
    /// Not yet known while its sender has not routed it.
    src: Option<IpAddr>,
    dst: IpAddr,
    /// Of TCP, on the way there.
    port: Option<u16>,
}

/// What a gateway has translated: addresses before and after.
struct Flow {
    place: Place,
    before: (IpAddr, IpAddr),
    after: (IpAddr, IpAddr),
}

/// Whether a packet arrives, if it matters where at `to`, and its answer comes back.
fn there_and_back(
    network: &Network<'_>,
    from: &Place,
    to: Option<&Place>,
    mut packet: Packet,
) -> Result<(), Why> {
    let mut way = Way { network, flows: Vec::new(), is_answer: false };
    let end = way.follow(from, &mut packet)?;
    if to.is_some_and(|to| *to != end) {
        return Err(Why::Namesake { place: end });
    }
    let Some(src) = packet.src else { return Ok(()) }; // it never left
    let mut answer = Packet { src: Some(packet.dst), dst: src, port: None };
    way.is_answer = true;
    let back = way.follow(&end, &mut answer)?;
    match way.flows.pop() {
        Some(flow) => Err(Why::Past { place: flow.place }),
        None if back != *from => Err(Why::Elsewhere { place: back }),
        None => Ok(()),
    }
}

/// One exchange.
struct Way<'a> {
    network: &'a Network<'a>,
    flows: Vec<Flow>,
    is_answer: bool,
}

impl Way<'_> {
    /// The place where the packet ends.
    fn follow(&mut self, from: &Place, packet: &mut Packet) -> Result<Place, Why> {
        let (mut place, mut arrived): (&Place, Option<&IfName>) = (from, None);
        for _ in 0..HOPS {
            let missing = || Why::Elsewhere { place: place.clone() };
            let seat = self.network.seat(place).ok_or_else(missing)?;
            self.inwards(place, seat, arrived, packet)?;
            if seat.owns(packet.dst) {
                return Ok(place.clone());
            }
            if arrived.is_some() && !seat.forwards(packet.dst.is_ipv4()) {
                return Err(Why::NotForwarding { place: place.clone() });
            }
            let hop = route(place, seat, arrived, packet)?;
            self.outwards(place, seat, &hop, packet)?;
            let nobody = || Why::Nobody { place: place.clone() };
            let (next, by) = self.network.neighbour(&hop).ok_or_else(nobody)?;
            (place, arrived) = (next, Some(by));
        }
        Err(Why::Circle)
    }

    /// What a gateway does before it routes.
    fn inwards(
        &mut self,
        place: &Place,
        seat: &Seat<'_>,
        arrived: Option<&IfName>,
        packet: &mut Packet,
    ) -> Result<(), Why> {
        let Some(gateway) = seat.gateway else { return Ok(()) };
        if self.is_answer {
            let last = |flow: &Flow, packet: &Packet| {
                flow.place == *place && (flow.after.0, Some(flow.after.1)) == (packet.dst, packet.src)
            };
            while let Some(flow) = self.flows.pop_if(|flow| last(flow, packet)) {
                (packet.dst, packet.src) = (flow.before.0, Some(flow.before.1));
            }
            return Ok(());
        }
        let is_outside = arrived.is_some_and(|interface| gateway.uplinks.contains(interface));
        if let Some(port) = packet.port.filter(|_| seat.owns(packet.dst)) {
            let takes = |rule: &&Forward| takes(rule, packet.dst, port);
            if let Some(rule) = gateway.forwards.iter().find(takes) {
                packet.port = Some(rule.to_port.saturating_add(port - rule.ports.0));
                return self.forward(place, rule, is_outside, packet);
            }
        }
        let covers = |rule: &&Masquerade| rule.source.contains(&packet.dst);
        let covering = gateway.masquerades.iter().filter(covers);
        let is_kept = match gateway.backend {
            // A rule for all addresses has the gateway's own among them, which are its business.
            Backend::Ebpf => {
                let is_own = |rule: &Masquerade| rule.source.prefix_len() == 0 && seat.owns(packet.dst);
                is_outside && covering.clone().any(|rule| !rule.routed && !is_own(rule))
            }
            // Netfilter's rules are about what is forwarded, and about the rule's own uplinks.
            Backend::Iptables | Backend::Nftables => {
                let by_its_uplink = |rule: &&Masquerade| arrived.is_some_and(|by| rule.out.contains(by));
                let rule = covering.filter(by_its_uplink).max_by_key(|rule| rule.source.prefix_len());
                rule.is_some_and(|rule| !rule.routed) && !seat.owns(packet.dst)
            }
        };
        if is_kept { Err(Why::Unsolicited { place: place.clone() }) } else { Ok(()) }
    }

    /// Hands on what a forward takes. A client inside is seen with the address that it called, one outside with its own.
    fn forward(
        &mut self,
        place: &Place,
        rule: &Forward,
        is_outside: bool,
        packet: &mut Packet,
    ) -> Result<(), Why> {
        let called = std::mem::replace(&mut packet.dst, rule.to);
        // From the gateway itself, which takes an address when it routes.
        let Some(client) = packet.src else { return Ok(()) };
        if rule.allow.as_ref().is_some_and(|allow| !allow.iter().any(|net| net.contains(&client))) {
            return Err(Why::NotAllowed { client });
        }
        let seen = if is_outside { client } else { called };
        packet.src = Some(seen);
        self.flows.push(Flow { place: place.clone(), before: (client, called), after: (seen, rule.to) });
        Ok(())
    }

    /// The source that a packet leaves with.
    fn outwards(
        &mut self,
        place: &Place,
        seat: &Seat<'_>,
        hop: &Hop<'_>,
        packet: &mut Packet,
    ) -> Result<(), Why> {
        let source = seat.source(hop, packet.dst.is_ipv4());
        let own = || source.ok_or_else(|| Why::NoSource { place: place.clone() });
        let src = packet.src.map_or_else(own, Ok)?;
        packet.src = Some(src);
        let covers = |rule: &&Masquerade| rule.source.contains(&src) && rule.out.contains(hop.out);
        let rules = seat.gateway.iter().flat_map(|gateway| &gateway.masquerades);
        let rule = rules.filter(covers).max_by_key(|rule| rule.source.prefix_len());
        let Some(rule) = rule.filter(|_| !self.is_answer && !seat.owns(src)) else { return Ok(()) };
        let outside = rule.address.map_or_else(own, Ok)?;
        let (before, after) = ((src, packet.dst), (outside, packet.dst));
        self.flows.push(Flow { place: place.clone(), before, after });
        packet.src = Some(outside);
        Ok(())
    }
}

/// Where a place sends a packet. One of its own has no source yet, by which a policy rule could know it: a connection is
/// routed again with the one that it gets (`ip_route_connect`), an echo by IPv6 if there is no way without
/// (`ip6_dst_lookup_tail`).
fn route<'a>(
    place: &Place,
    seat: &Seat<'a>,
    iif: Option<&IfName>,
    packet: &mut Packet,
) -> Result<Hop<'a>, Why> {
    let (to, ipv4) = (packet.dst, packet.dst.is_ipv4());
    let ask = |from| seat.hop(Question { to, from, iif });
    let mut found = ask(packet.src);
    if packet.src.is_none() {
        packet.src = match &found {
            Ok(hop) if packet.port.is_some() => seat.source(hop, ipv4),
            Err(_) if !ipv4 => seat.addresses().find(|own| !own.is_ipv4()),
            Ok(_) | Err(_) => None,
        };
        if packet.src.is_some() {
            found = ask(packet.src);
        }
    }
    found.map_err(|nowhere| match nowhere {
        Nowhere::NoRoute => Why::NoRoute { place: place.clone() },
        Nowhere::Refused(by) => Why::Refused { place: place.clone(), by },
    })
}

/// Whether a forward takes TCP for this address and port of its gateway.
fn takes(rule: &Forward, address: IpAddr, port: u16) -> bool {
    rule.protocol == Protocol::Tcp
        && (rule.ports.0..=rule.ports.1).contains(&port)
        && rule.to.is_ipv4() == address.is_ipv4()
        && rule.address.is_none_or(|own| own == address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::Topology, spec::QUICKSTART};

    fn topology(text: &str) -> Topology {
        Topology::parse(text, "f", "trial".parse().unwrap()).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    /// What is said of each `FROM TO` (an address) or `FROM TO PORT`; `yes` if an answer is expected.
    fn said(text: &str, cases: &[(&str, &str)]) {
        let topology = topology(text);
        let network = Network::new(&topology);
        for (case, expected) in cases {
            let words: Vec<&str> = case.split(' ').collect();
            let from = Place::try_from(words[0].to_owned()).unwrap();
            let to = words[1].parse().unwrap();
            let answer = match words.get(2) {
                None => {
                    let owner = topology.owner_of(to).map_or(&from, |its| its.place);
                    echo(&network, &from, Some(owner), to)
                }
                Some(port) => connect(&network, &from, to, port.parse().unwrap()),
            };
            let answer = answer.map_or_else(|why| why.to_string(), |()| "yes".to_owned());
            assert_eq!(answer, *expected, "{case}\n{text}");
        }
    }

    const NO_ROUTE: &str = "`internet` has no route";
    const CLOSED: &str = "`router` drops what comes from outside straight to an inside address";

    #[test]
    fn inside_reaches_outside_by_masquerade_and_outside_has_no_way_in() {
        said(
            QUICKSTART,
            &[
                ("red 192.168.15.2", "yes"),
                ("red fd15::2", "yes"),
                ("red 192.168.15.5", "yes"),
                ("red 203.0.113.1", "yes"),
                ("red 203.0.113.2", "yes"),
                ("red 2001:db8:113::2", "yes"),
                ("router 203.0.113.2", "yes"),
                ("internet 203.0.113.1", "yes"),
                ("internet 192.168.15.1", NO_ROUTE),
                ("internet fd15::5", NO_ROUTE),
                ("red 192.168.15.77", "`red` has no such neighbour"),
            ],
        );
    }

    #[test]
    fn without_masquerade_the_answer_has_no_way_back() {
        let start = QUICKSTART.find("[[nat.masquerade]]").unwrap();
        let text =
            QUICKSTART[..start].replace("[namespaces.router] ", "[namespaces.router]\nforwarding = true ");
        said(
            &text,
            &[("red 203.0.113.2", NO_ROUTE), ("red 203.0.113.1", "yes"), ("red 192.168.15.2", "yes")],
        );
        let closed = text.replace("forwarding = true", "forwarding = false");
        said(&closed, &[("red 203.0.113.2", "`router` does not forward"), ("red 203.0.113.1", "yes")]);
    }

    #[test]
    fn straight_in_gets_who_has_a_route_and_a_routed_rule() {
        let route = "[[routes]]\nnamespace = 'internet'\nto = '192.168.15.0/24'\nvia = '203.0.113.1'\n";
        let text = format!("{QUICKSTART}\n{route}");
        said(&text, &[("internet 192.168.15.1", CLOSED), ("internet 192.168.15.5", CLOSED)]);
        said(&text, &[("red 203.0.113.2", "yes"), ("internet 203.0.113.1 8080", "yes")]);
        let routed =
            text.replace("source = \"192.168.15.0/24\"", "source = \"192.168.15.0/24\"\nrouted = true");
        said(&routed, &[("internet 192.168.15.1", "yes"), ("red 203.0.113.2", "yes")]);
        for backend in ["nftables", "iptables"] {
            let netfilter = |text: &str| format!("{text}\n[nat]\nbackend = '{backend}'");
            let cases = [("internet 192.168.15.1", CLOSED), ("internet 192.168.15.5", "yes")];
            said(&netfilter(&text), &[&cases[..], &[("red 203.0.113.2", "yes")]].concat());
            said(&netfilter(&routed), &[("internet 192.168.15.1", "yes"), ("red 203.0.113.2", "yes")]);
        }
    }

    #[test]
    fn a_forward_is_reached_from_everywhere_by_those_that_it_allows() {
        let everyone = ["red", "blue", "router", "internet"];
        for (address, port) in [("203.0.113.1", 8080), ("2001:db8:113::1", 8080)] {
            for from in everyone {
                said(QUICKSTART, &[(&format!("{from} {address} {port}"), "yes")]);
            }
        }
        let some = QUICKSTART.replace("8080/tcp\"\n", "8080/tcp\"\nallow = [\"203.0.113.0/24\"]\n");
        let some = some.replacen("[\"203.0.113.0/24\"]\nto = \"[fd", "[\"fd15::/64\"]\nto = \"[fd", 1);
        let refused = |client: &str| format!("the forward does not allow {client}");
        said(
            &some,
            &[
                ("internet 203.0.113.1 8080", "yes"),
                ("red 203.0.113.1 8080", &refused("192.168.15.1")),
                ("red 2001:db8:113::1 8080", "yes"),
                ("internet 2001:db8:113::1 8080", &refused("2001:db8:113::2")),
            ],
        );
    }

    /// `a` and `c` on both sides of `b`, which forwards.
    const ROW: &str = "[namespaces.a]\n[namespaces.b]\nforwarding = true\n[namespaces.c]\n\
                       [[cables]]\na = { namespace = 'a', interface = 'x', addresses = ['10.0.0.1/24', 'fd00::1/64'] }\n\
                       b = { namespace = 'b', interface = 'x', addresses = ['10.0.0.2/24', 'fd00::2/64'] }\n\
                       [[cables]]\na = { namespace = 'b', interface = 'y', addresses = ['10.0.1.2/24', 'fd01::2/64'] }\n\
                       b = { namespace = 'c', interface = 'y', addresses = ['10.0.1.3/24', 'fd01::3/64'] }\n\
                       [[routes]]\nnamespace = 'c'\nto = 'default'\nvia = '10.0.1.2'\n\
                       [[routes]]\nnamespace = 'c'\nto = 'default'\nvia = 'fd01::2'\n";

    fn with(tables: &[&str]) -> String {
        format!("{ROW}{}", tables.join("\n"))
    }

    #[test]
    fn of_routes_to_one_network_the_lowest_metric_leads_and_those_to_nowhere_do_not() {
        let route = "[[routes]]\nnamespace = 'a'\nto = '10.0.1.0/24'\nvia = '10.0.0.2'\nmetric = 20";
        let none = |kind: &str, metric: u32| {
            format!("[[routes]]\nnamespace = 'a'\nto = '10.0.1.0/24'\ntype = '{kind}'\nmetric = {metric}")
        };
        said(&with(&[route]), &[("a 10.0.1.3", "yes"), ("a fd01::3", "`a` has no route")]);
        said(&with(&[&none("blackhole", 30), route]), &[("a 10.0.1.3", "yes")]);
        for kind in ["blackhole", "unreachable", "prohibit"] {
            let why = format!("`a` has route {kind} 10.0.1.0/24 metric 10");
            said(&with(&[route, &none(kind, 10)]), &[("a 10.0.1.3", &why), ("a 10.0.0.2", "yes")]);
        }
    }

    #[test]
    fn a_route_by_an_interface_asks_for_the_destination_itself_there() {
        let dev = |more: &str| format!("[[routes]]\nnamespace = 'a'\nto = '10.0.1.0/24'\ndev = 'x'\n{more}");
        // `b` answers for all its addresses, but not for those of others.
        said(&with(&[&dev("")]), &[("a 10.0.1.2", "yes"), ("a 10.0.1.3", "`a` has no such neighbour")]);
        said(&with(&[&dev("via = '10.0.0.2'")]), &[("a 10.0.1.3", "yes")]);
        said(&with(&[&dev("via = '10.0.1.2'\nonlink = true")]), &[("a 10.0.1.3", "yes")]);
    }

    #[test]
    fn policy_rules_are_asked_in_their_order_before_the_main_table() {
        let table = "[[routes]]\nnamespace = 'a'\nto = 'default'\nvia = '10.0.0.2'\ntable = 7";
        let rule = |priority: u32, what: &str| {
            format!("[[rules]]\nnamespace = 'a'\nfamily = 'ipv4'\npriority = {priority}\n{what}")
        };
        let far = ("a 10.0.1.3", "yes");
        let none = ("a 10.0.1.3", "`a` has no route");
        said(&with(&[table]), &[none]);
        said(&with(&[table, &rule(10, "table = 7")]), &[far]);
        said(&with(&[table, &rule(10, "to = '10.0.1.0/24'\ntable = 7")]), &[far, ("a 10.0.0.2", "yes")]);
        // Not by what nobody's echo is: marked, or of a socket that is bound to an interface.
        said(&with(&[table, &rule(10, "fwmark = '0x1'\ntable = 7")]), &[none]);
        said(&with(&[table, &rule(10, "oif = 'x'\ntable = 7")]), &[none]);
        said(&with(&[table, &rule(10, "iif = 'lo'\ntable = 7")]), &[far]);
        // An echo has no source when it is routed, its answer has.
        said(&with(&[table, &rule(10, "from = '10.0.0.0/24'\ntable = 7")]), &[none, ("c 10.0.0.1", "yes")]);
        let refused = ("a 10.0.1.3", "`a` has policy rule priority 5 to 10.0.1.3/32 prohibit");
        said(
            &with(&[table, &rule(10, "table = 7"), &rule(5, "to = '10.0.1.3/32'\ntype = 'prohibit'")]),
            &[refused],
        );
        said(&with(&[table, &rule(10, "table = 7"), &rule(15, "type = 'blackhole'")]), &[far]);
        // A table without a route leaves it to the next one.
        said(&with(&[table, &rule(5, "table = 8"), &rule(10, "table = 7")]), &[far]);
    }

    #[test]
    fn what_is_forwarded_is_known_to_policy_rules_by_where_it_comes_in() {
        let way = "[[routes]]\nnamespace = 'a'\nto = 'default'\nvia = '10.0.0.2'";
        let rule =
            |what: &str| format!("[[rules]]\nnamespace = 'b'\npriority = 9\n{what}\ntype = 'unreachable'");
        let why = |what: &str| format!("`b` has policy rule priority 9 {what} unreachable");
        said(
            &with(&[way, &rule("iif = 'x'\nfamily = 'ipv4'")]),
            &[("a 10.0.1.3", &why("iif x")), ("a 10.0.0.2", "yes")],
        );
        said(&with(&[way, &rule("from = '10.0.0.1/32'")]), &[("a 10.0.1.3", &why("from 10.0.0.1/32"))]);
        // The answer is what is refused.
        said(&with(&[way, &rule("iif = 'y'\nfamily = 'ipv4'")]), &[("a 10.0.1.3", &why("iif y"))]);
    }

    #[test]
    fn an_ipv6_route_that_needs_a_source_is_found_with_it() {
        let text = with(&[
            "[[routes]]\nnamespace = 'a'\nto = '::/0'\nvia = 'fd00::2'\ntable = 7",
            "[[rules]]\nnamespace = 'a'\npriority = 9\nfrom = 'fd00::/64'\ntable = 7",
        ]);
        said(&text, &[("a fd01::3", "yes")]);
    }

    #[test]
    fn addresses_of_dummies_and_vlans_are_reached_as_others_are() {
        let text = with(&[
            "[[links]]\nnamespace = 'b'\ninterface = 'd'\nkind = 'dummy'\naddresses = ['10.9.0.1/32', 'fd09::1/128']",
            "[[links]]\nnamespace = 'b'\ninterface = 'y.7'\nkind = 'vlan'\nparent = 'y'\nid = 7\naddresses = ['10.7.0.1/24']",
            "[[links]]\nnamespace = 'c'\ninterface = 'y.7'\nkind = 'vlan'\nparent = 'y'\nid = 7\naddresses = ['10.7.0.2/24']",
            "[[routes]]\nnamespace = 'a'\nto = '10.0.0.0/8'\nvia = '10.0.0.2'",
        ]);
        said(
            &text,
            &[("a 10.9.0.1", "yes"), ("c fd09::1", "yes"), ("c 10.7.0.1", "yes"), ("a 10.7.0.2", "yes")],
        );
        said(&text, &[("b 10.9.0.2", "`b` has no route"), ("b 10.7.0.3", "`b` has no such neighbour")]);
    }

    #[test]
    fn of_two_places_with_one_address_the_one_that_gets_it_is_named() {
        let text = "[namespaces.a]\n[namespaces.b]\n[namespaces.c]\n[namespaces.d]\n\
                    [[cables]]\na = { namespace = 'a', interface = 'x', addresses = ['10.0.0.1/24'] }\n\
                    b = { namespace = 'b', interface = 'x', addresses = ['10.0.0.2/24'] }\n\
                    [[cables]]\na = { namespace = 'c', interface = 'x', addresses = ['10.0.0.1/24'] }\n\
                    b = { namespace = 'd', interface = 'x', addresses = ['10.0.0.2/24'] }";
        let topology = topology(text);
        let network = Network::new(&topology);
        let place = |name: &str| Place::try_from(name.to_owned()).unwrap();
        let ask = |from: &str, to: &str, address: &str| {
            echo(&network, &place(from), Some(&place(to)), address.parse().unwrap())
        };
        assert_eq!(ask("a", "b", "10.0.0.2"), Ok(()));
        assert_eq!(ask("a", "d", "10.0.0.2"), Err(Why::Namesake { place: place("b") }));
        assert_eq!(ask("a", "c", "10.0.0.1"), Err(Why::Namesake { place: place("a") }));
    }

    #[test]
    fn a_server_that_answers_by_another_way_is_not_reached() {
        let text = "[namespaces.a]\n[namespaces.gate]\n[namespaces.server]\n\
                    [[cables]]\na = { namespace = 'a', interface = 'x', addresses = ['10.0.0.2/24'] }\n\
                    b = { namespace = 'gate', interface = 'x', addresses = ['10.0.0.1/24'] }\n\
                    [[cables]]\na = { namespace = 'server', interface = 'x', addresses = ['10.1.0.2/24'] }\n\
                    b = { namespace = 'gate', interface = 'y', addresses = ['10.1.0.1/24'] }\n\
                    [[cables]]\na = { namespace = 'server', interface = 'y', addresses = ['10.2.0.2/24'] }\n\
                    b = { namespace = 'a', interface = 'y', addresses = ['10.2.0.1/24'] }\n\
                    [[routes]]\nnamespace = 'server'\nto = '10.0.0.0/24'\nvia = '10.2.0.1'\n\
                    [[nat.forward]]\nnamespace = 'gate'\nlisten = '10.0.0.1:80'\nto = '10.1.0.2'";
        said(text, &[("a 10.0.0.1 80", "the answer passes `gate` by"), ("gate 10.0.0.1 80", "yes")]);
        said(text, &[("a 10.2.0.2", "yes"), ("a 10.1.0.2", "`a` has no route")]);
    }
}
