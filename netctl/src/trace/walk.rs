//! A packet's way through the IP layers of the places it comes to.

mod deliver;
mod route;
mod wire;

use std::{collections::HashSet, net::IpAddr};

use neli::consts::rtnl::RtScope;

use super::{
    End, Error, Packet, Step, Verdict, Walk, advice,
    nat::{Made, Nat, Passing, Way},
    world::World,
};
use crate::{
    firewall::{self, Hook},
    holder,
    model::Place,
    netlink::{link::Link, route::Question},
};

/// How many places it may come through (the default of `net.ipv4.ip_default_ttl`).
const HOPS: usize = 64;

/// Who follows one packet.
pub(super) struct Walker<'w, 'd> {
    world: &'w mut World<'d>,
    nat: &'w mut Nat,
    pub(super) walk: Walk,
    packet: Packet,
    size: u32,
    next: Next,
    seen: HashSet<(Place, u32, Packet)>,
    /// As it came out of its socket.
    sent: Packet,
    /// Of an answer: where it is waited for, and as what.
    expected: Option<(Place, Packet)>,
    /// Who passed the packet on last; of an answer, what it answers.
    last: Option<Last>,
}

/// Who passed a packet on last, and out of which link.
#[derive(Clone)]
struct Last {
    place: Place,
    out: String,
    /// Whether its source is another one by then.
    is_translated: bool,
}

/// What comes next.
enum Next {
    /// It goes out of a link, for a neighbour.
    Leave { place: Place, out: u32, via: IpAddr, came_by: Option<u32> },
    /// It comes in by a link.
    Arrive { place: Place, by: u32 },
    /// Nothing.
    End,
}

impl<'w, 'd> Walker<'w, 'd> {
    pub(super) fn new(world: &'w mut World<'d>, nat: &'w mut Nat, packet: Packet, size: u32) -> Self {
        let end = End::Dies { place: Place::Host, why: String::new(), fix: None };
        let walk = Walk { packet, steps: Vec::new(), end };
        let (next, seen) = (Next::End, HashSet::new());
        Self { world, nat, walk, packet, size, next, seen, sent: packet, expected: None, last: None }
    }

    /// It is the answer to what has come this way from `place`.
    pub(super) fn answers(&mut self, place: &Place, there: &Walked) {
        self.expected = Some((place.clone(), there.sent.answer()));
        self.last = there.last.clone();
    }

    /// Follows it to its end.
    pub(super) fn walk(mut self) -> Result<Walked, Error> {
        loop {
            self.next = match std::mem::replace(&mut self.next, Next::End) {
                Next::Leave { place, out, via, came_by } => self.leave(&place, out, via, came_by)?,
                Next::Arrive { place, by } => self.arrive(&place, by)?,
                Next::End => return Ok(Walked { walk: self.walk, sent: self.sent, last: self.last }),
            };
        }
    }

    /// Sends it from a socket of a place.
    pub(super) fn send(&mut self, place: &Place, has_source: bool) -> Result<(), Error> {
        self.next = self.output(place, has_source)?;
        Ok(())
    }

    fn output(&mut self, place: &Place, has_source: bool) -> Result<Next, Error> {
        let ground = self.world.ground(place)?;
        if has_source && !ground.owns(self.packet.from.ip()) {
            let why =
                format!("{} is no address of `{place}`: nothing is sent from it", self.packet.from.ip());
            let command = format!("{} addr ls", advice::netctl(place));
            return Ok(self.die(place, "source", why, Some(format!("`{command}` lists those it has"))));
        }
        if let Some((packet, by)) = self.nat.led(self.world, place, &self.packet)? {
            let (was, is) = (self.packet.end(self.packet.to), packet.end(packet.to));
            self.step(place, "nat", format!("a socket that connects to {was} is led to {is}: {by}"));
            self.packet = packet;
            self.sent = packet;
        }
        let chosen = if has_source { None } else { self.choose_source(place)? };
        if let Some(made) = self.nat.own(self.world, place, &self.packet)?
            && let Some(ended) = self.take(place, made)?
        {
            return Ok(ended);
        }
        let next = self.route_own(place, chosen)?;
        if let Next::Leave { .. } = next
            && let Some(ended) = self.filter(place, Hook::Output)?
        {
            return Ok(ended);
        }
        Ok(next)
    }

    /// Gives it the source that a socket gets which is bound to none.
    fn choose_source(&mut self, place: &Place) -> Result<Option<IpAddr>, Error> {
        let to = self.packet.to.ip();
        let source = match self.world.route(place, &Question { to, from: None, iif: None })? {
            Ok(route) => route.source,
            Err(_) if to.is_ipv6() => self.source_for_rules(place, to)?,
            Err(_) => None,
        };
        if let Some(source) = source {
            for packet in [&mut self.packet, &mut self.sent, &mut self.walk.packet] {
                packet.from.set_ip(source);
            }
        }
        Ok(source)
    }

    /// The source that an IPv6 socket gets where there is no way without one: a policy rule may want it
    /// (`ip6_dst_lookup_tail`).
    fn source_for_rules(&mut self, place: &Place, to: IpAddr) -> Result<Option<IpAddr>, Error> {
        let ground = self.world.ground(place)?;
        let own = ground.addresses.iter().filter(|own| own.scope == RtScope::Universe);
        let Some(from) = own.map(|own| own.address.addr()).find(IpAddr::is_ipv6) else { return Ok(None) };
        let answer = self.world.route(place, &Question { to, from: Some(from), iif: None })?;
        Ok(answer.is_ok().then_some(from))
    }

    fn arrive(&mut self, place: &Place, by: u32) -> Result<Next, Error> {
        let ground = self.world.ground(place)?;
        if !self.seen.insert((place.clone(), by, self.packet)) || self.seen.len() > HOPS {
            let why = "it goes in circles until its hops are used up".to_owned();
            return Ok(self.die(
                place,
                "hops",
                why,
                Some(format!("look at `{} route ls`", advice::netctl(place))),
            ));
        }
        let Some(link) = ground.link(by) else { return Ok(self.vanished(place)) };
        if let Some(ended) = self.translate(place, link, Way::In, None)? {
            return Ok(ended);
        }
        self.route_arrived(place, link)
    }

    fn leave(&mut self, place: &Place, out: u32, via: IpAddr, came_by: Option<u32>) -> Result<Next, Error> {
        let ground = self.world.ground(place)?;
        let Some(link) = ground.link(out) else { return Ok(self.vanished(place)) };
        if came_by.is_some()
            && let Some(ended) = self.filter(place, Hook::Forward)?
        {
            return Ok(ended);
        }
        if let Some(ended) = self.fits(place, link, came_by.is_some()) {
            return Ok(ended);
        }
        let before = self.packet.from;
        if let Some(ended) = self.translate(place, link, Way::Out, came_by)? {
            return Ok(ended);
        }
        if came_by.is_some() {
            let was = self.last.as_ref().is_some_and(|last| last.is_translated);
            let is_translated = was || before != self.packet.from;
            self.last = Some(Last { place: place.clone(), out: link.name.clone(), is_translated });
        }
        self.cross(place, link, via)
    }

    /// Whether it is short enough for a link; cut into parts where it begins.
    fn fits(&mut self, place: &Place, link: &Link, is_forwarded: bool) -> Option<Next> {
        if self.size <= link.mtu || link.mtu == 0 {
            return None;
        }
        let (size, mtu, name) = (self.size, link.mtu, &link.name);
        if !is_forwarded {
            self.warn(place, "mtu", format!("{size} bytes are sent in parts: mtu of `{name}` is {mtu}"));
            self.size = mtu;
            return None;
        }
        let word = if self.packet.to.is_ipv4() { "fragmentation needed" } else { "packet too big" };
        let why = format!(
            "{size} bytes are too long for `{name}` (mtu {mtu}): `{place}` answers with ICMP's \"{word}\", and the sender \
             has to send less"
        );
        Some(self.die(place, "mtu", why, Some(advice::set_mtu(place, name, size))))
    }

    /// Has it translated at a link.
    fn translate(
        &mut self,
        place: &Place,
        link: &Link,
        way: Way,
        came_by: Option<u32>,
    ) -> Result<Option<Next>, Error> {
        let packet = self.packet;
        let passing = Passing { place, link, way, came_by, packet: &packet };
        match self.nat.at(self.world, &passing)? {
            None => Ok(None),
            Some(made) => {
                if let Made::Untouched = made {
                    let (name, from) = (&link.name, packet.from.ip());
                    self.step(
                        place,
                        "nat",
                        format!("out of `{name}` as it is: no masquerade rule is for {from}"),
                    );
                }
                self.take(place, made)
            }
        }
    }

    /// Goes on with what translation has made of it.
    fn take(&mut self, place: &Place, made: Made) -> Result<Option<Next>, Error> {
        match made {
            Made::Untouched => Ok(None),
            Made::Dropped { why, fix } => Ok(Some(self.die(place, "nat", why, fix))),
            Made::Translated { packet, by, forward } => {
                let mut changes = Vec::new();
                if packet.from != self.packet.from {
                    let (was, is) = (self.packet.end(self.packet.from), packet.end(packet.from));
                    changes.push(format!("source {was} becomes {is}"));
                }
                if packet.to != self.packet.to {
                    let (was, is) = (self.packet.end(self.packet.to), packet.end(packet.to));
                    changes.push(format!("destination {was} becomes {is}"));
                }
                self.step(place, "nat", format!("{}: {by}", changes.join(", ")));
                if let Some(rule) = forward {
                    let held = holder::of_port(self.world.netns(place)?, [&rule]);
                    if let Ok(Some(held)) = held {
                        self.warn(
                            place,
                            "socket",
                            format!("{held}, and gets nothing: the forward has the port"),
                        );
                    }
                }
                self.packet = packet;
                Ok(None)
            }
        }
    }

    /// Passes the packet filters of others.
    fn filter(&mut self, place: &Place, hook: Hook) -> Result<Option<Next>, Error> {
        let ipv4 = self.packet.to.is_ipv4();
        let chains = firewall::chains(self.world.netns(place)?, hook)?;
        for chain in chains.iter().filter(|chain| chain.family.sees(ipv4)) {
            match (chain.drops, chain.has_rules) {
                (true, false) => {
                    let why = format!("{chain} drops it, and has no rule that accepts any");
                    return Ok(Some(self.die(place, "filter", why, Some(chain.remedy(place)))));
                }
                (true, true) => {
                    let remedy = chain.remedy(place);
                    self.warn(
                        place,
                        "filter",
                        format!(
                            "{chain} drops it unless one of its rules accepts it; if none does: {remedy}"
                        ),
                    );
                }
                (false, true) => {
                    self.warn(place, "filter", format!("{chain} has rules: they may drop it"));
                }
                (false, false) => {}
            }
        }
        Ok(None)
    }

    fn step(&mut self, place: &Place, about: &'static str, text: impl Into<String>) {
        self.note(place, about, text.into(), Verdict::Ok);
    }

    fn warn(&mut self, place: &Place, about: &'static str, text: impl Into<String>) {
        self.note(place, about, text.into(), Verdict::Warning);
    }

    fn note(&mut self, place: &Place, about: &'static str, text: String, verdict: Verdict) {
        self.walk.steps.push(Step { place: place.clone(), about, text, verdict });
    }

    fn die(&mut self, place: &Place, about: &'static str, why: String, fix: Option<String>) -> Next {
        self.note(place, about, why.clone(), Verdict::Problem);
        self.walk.end = End::Dies { place: place.clone(), why, fix };
        Next::End
    }

    fn vanished(&mut self, place: &Place) -> Next {
        self.die(place, "link", "its link has gone in this moment".to_owned(), None)
    }
}

/// A way that has been gone.
pub(super) struct Walked {
    pub(super) walk: Walk,
    sent: Packet,
    last: Option<Last>,
}
