//! Who should reach whom: a packet followed through the topology on paper, there and back. Pure.
//!
//! At each place the steps are those of a kernel with netctl's programs: untranslate what belongs to a flow, hand on
//! what a forward takes, refuse what comes from outside straight to an inside network, deliver, route, masquerade. Only
//! the topology counts: what the host has beside it, and what others have changed since, is not known here.

use std::{fmt, net::IpAddr};

use super::network::{Hop, Network, Seat};
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
    /// A place has no address to send from.
    NoSource {
        /// Which.
        place: Place,
        /// The interface that it would send by.
        out: IfName,
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
            Self::NoSource { place, out } => write!(f, "`{out}` of `{place}` has no address of that family"),
            Self::Nobody { place } => write!(f, "`{place}` has no such neighbour"),
            Self::NotForwarding { place } => write!(f, "`{place}` does not forward"),
            Self::Unsolicited { place } => {
                write!(f, "`{place}` drops what comes from outside straight to an inside address")
            }
            Self::NotAllowed { client } => write!(f, "the forward does not allow {client}"),
            Self::Elsewhere { place } => write!(f, "it ends at `{place}`"),
            Self::Past { place } => write!(f, "the answer passes `{place}` by"),
            Self::Circle => f.write_str("it goes in a circle"),
        }
    }
}

/// Whether `from` should reach `to` by ICMP echo.
pub(super) fn echo(network: &Network<'_>, from: &Place, to: IpAddr) -> Result<(), Why> {
    there_and_back(network, from, Packet { src: None, dst: to, port: None })
}

/// Whether `from` should reach a server by TCP, at the address and port where a forward listens.
pub(super) fn connect(network: &Network<'_>, from: &Place, to: IpAddr, port: u16) -> Result<(), Why> {
    there_and_back(network, from, Packet { src: None, dst: to, port: Some(port) })
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

fn there_and_back(network: &Network<'_>, from: &Place, mut packet: Packet) -> Result<(), Why> {
    let mut way = Way { network, flows: Vec::new(), is_answer: false };
    let end = way.follow(from, &mut packet)?;
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
            let hop = seat.hop(packet.dst).ok_or_else(|| Why::NoRoute { place: place.clone() })?;
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
            Backend::Ebpf => is_outside && covering.clone().any(|rule| !rule.routed),
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
        let own =
            || seat.source(hop).ok_or_else(|| Why::NoSource { place: place.clone(), out: hop.out.clone() });
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
                None => echo(&network, &from, to),
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
