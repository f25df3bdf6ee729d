//! Translation by netfilter: what netctl's own rules would do. Netfilter cannot be asked without a packet, so flows that it
//! knows already, and rules of others, count for nothing here.

use std::net::{IpAddr, SocketAddr};

use super::{
    Error, Packet,
    nat::{Made, Passing, Way},
    world::{Ground, World},
};
use crate::{
    model::{Gateway, Protocol, Topology},
    netfilter::{
        insides,
        rule::{Hook, Match, Rule, Verdict, of_gateway},
    },
    netlink::route::Question,
};

/// A gateway.
pub(super) struct Netfilter {
    rules: Vec<Rule>,
    /// What has been translated.
    flows: Vec<Flow>,
}

/// A connection: its first packet as it came, and as it is by now.
struct Flow {
    original: Packet,
    now: Packet,
}

/// What a rule may look at.
struct Sight<'a> {
    packet: &'a Packet,
    ground: &'a Ground,
    came_by: Option<&'a str>,
    out: Option<&'a str>,
    is_forwarded: bool,
}

impl Netfilter {
    pub(super) fn of(topology: &Topology, gateway: &Gateway) -> Self {
        Self { rules: of_gateway(gateway, &insides(topology, gateway)), flows: Vec::new() }
    }

    /// What the rules make of a packet at an interface.
    pub(super) fn at(&mut self, world: &mut World<'_>, passing: &Passing<'_>) -> Result<Option<Made>, Error> {
        let Passing { place, link, way, came_by, packet } = *passing;
        let ground = world.ground(place)?;
        let came_by = came_by.map(|index| ground.name(index));
        if packet.is_answer {
            return Ok(self.answer(packet, way));
        }
        let sight =
            |is_forwarded, came_by, out| Sight { packet, ground: &ground, came_by, out, is_forwarded };
        if way == Way::In {
            let made = self.destination(Hook::Prerouting, &sight(false, Some(link.name.as_str()), None));
            return Ok(made);
        }
        let is_forwarded =
            self.flows.iter().any(|flow| flow.now == *packet && flow.now.to != flow.original.to);
        let sight = sight(is_forwarded, came_by.as_deref(), Some(link.name.as_str()));
        if came_by.is_some() && self.verdict(Hook::Forward, &sight) == Some(&Verdict::Drop) {
            let why = "a rule of netctl's drops it: from outside straight to an inside address".to_owned();
            let fix = "a forward to it (`netctl nat forward add`), or `routed = true` in the masquerade rule";
            return Ok(Some(Made::Dropped { why, fix: Some(fix.to_owned()) }));
        }
        let Some(&Verdict::Source { address, ports }) = self.verdict(Hook::Postrouting, &sight) else {
            return Ok(None);
        };
        let question = Question { to: packet.to.ip(), from: None, iif: None };
        let address = match address {
            Some(address) => Some(address),
            None => world.route(place, &question)?.ok().and_then(|route| route.source),
        };
        let Some(address) = address else { return Ok(None) };
        let port = match ports {
            Some((first, last)) if !(first..=last).contains(&packet.from.port()) => first,
            _ => packet.from.port(),
        };
        let after = Packet { from: SocketAddr::new(address, port), ..*packet };
        Ok(Some(self.translate(packet, after, "masquerade")))
    }

    /// What the rules make of a packet of the gateway's own, before it is routed.
    pub(super) fn own(&mut self, packet: &Packet, ground: &Ground) -> Option<Made> {
        let sight = Sight { packet, ground, came_by: None, out: None, is_forwarded: false };
        if packet.is_answer { self.answer(packet, Way::In) } else { self.destination(Hook::Output, &sight) }
    }

    fn verdict(&self, hook: Hook, sight: &Sight<'_>) -> Option<&Verdict> {
        let of_hook = self.rules.iter().filter(|rule| rule.hook == hook);
        let mut of_family = of_hook.filter(|rule| rule.ipv4 == sight.packet.to.is_ipv4());
        of_family.find(|rule| rule.matches.iter().all(|its| sight.is(its))).map(|rule| &rule.verdict)
    }

    fn destination(&mut self, hook: Hook, sight: &Sight<'_>) -> Option<Made> {
        let Some(&Verdict::Destination { to, ports, to_port, .. }) = self.verdict(hook, sight) else {
            return None;
        };
        let packet = sight.packet;
        let to = SocketAddr::new(to, packet.to.port() - ports.0 + to_port);
        Some(self.translate(packet, Packet { to, ..*packet }, "forward"))
    }

    fn translate(&mut self, packet: &Packet, after: Packet, rule: &str) -> Made {
        match self.flows.iter_mut().find(|flow| flow.now == *packet) {
            Some(flow) => flow.now = after,
            None => self.flows.push(Flow { original: *packet, now: after }),
        }
        Made::Translated {
            packet: after,
            by: format!("{rule}, by netctl's rules in netfilter"),
            forward: None,
        }
    }

    /// Destinations are undone on the way in, sources on the way out.
    pub(super) fn answer(&self, packet: &Packet, way: Way) -> Option<Made> {
        let undone = |flow: &Flow| {
            let original = flow.original.answer();
            match way {
                Way::In => (flow.now.answer() == *packet).then_some(Packet { to: original.to, ..*packet }),
                Way::Out => {
                    let is_its = packet.from == flow.now.to && packet.to == original.to;
                    is_its.then_some(Packet { from: original.from, ..*packet })
                }
            }
        };
        let after = self.flows.iter().find_map(undone).filter(|after| after != packet)?;
        Some(Made::Translated { packet: after, by: "undone".to_owned(), forward: None })
    }
}

impl Sight<'_> {
    fn is(&self, what: &Match) -> bool {
        let (from, to) = (self.packet.from.ip(), self.packet.to.ip());
        let is_of = |protocol: Protocol| self.packet.what.protocol() == Some(protocol);
        let is_named = |name: Option<&str>, wanted: &str| name.is_some_and(|name| name == wanted);
        let owns = |address: IpAddr| self.ground.owns(address);
        match what {
            Match::From(network) => network.contains(&from),
            Match::NotFrom(network) => !network.contains(&from),
            Match::To(network) => network.contains(&to),
            Match::NotTo(network) => !network.contains(&to),
            Match::FromLocal => owns(from),
            Match::ToLocal => owns(to),
            Match::In(name) => is_named(self.came_by, name.as_str()),
            Match::Out(name) => is_named(self.out, name.as_str()),
            Match::Protocol(protocol) => is_of(*protocol),
            Match::Ports(protocol, (first, last)) => {
                is_of(*protocol) && (*first..=*last).contains(&self.packet.to.port())
            }
            Match::New => true,
            Match::Stray => false,
            Match::Forwarded => self.is_forwarded,
            Match::NotForwarded => !self.is_forwarded,
        }
    }
}
