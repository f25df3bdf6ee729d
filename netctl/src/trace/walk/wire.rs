//! From one place to the next, over cables and bridges.

use std::net::IpAddr;

use super::{Next, Walker};
use crate::{
    firewall::{self, Hook},
    model::Place,
    netlink::link::Link,
    trace::{
        End, Error, advice,
        segment::{self, Crossing, Reached},
    },
};

impl Walker<'_, '_> {
    /// Brings it to the neighbour that has an address.
    pub(super) fn cross(&mut self, place: &Place, link: &Link, via: IpAddr) -> Result<Next, Error> {
        if !link.up {
            let why = format!("`{}` is down", link.name);
            return Ok(self.die(place, "link", why, Some(advice::set_up(place, link))));
        }
        if link.kind.as_deref() == Some("dummy") {
            let why = format!("`{}` is a dummy: what is sent by it is gone", link.name);
            return Ok(self.die(place, "link", why, None));
        }
        let segment = segment::explore(self.world, place, link.index, self.size)?;
        let mut who = Vec::new();
        for end in &segment.ends {
            if self.world.ground(&end.place)?.answers_for(via, end.index) {
                who.push(end);
            }
        }
        let reached = who.iter().find(|end| !end.is_cut_off()).or_else(|| who.first());
        if let Some(reached) = reached {
            return self.follow(place, link, via, reached);
        }
        // Of what is cut off, the addresses may be gone: of IPv6, they go with the link.
        let cut_off = segment.ends.iter().find(|end| end.is_cut_off()).cloned();
        if !link.lower_up {
            let fault = cut_off.iter().flat_map(|end| &end.crossings).find_map(|its| its.fault.clone());
            let (why, fix) = fault.unwrap_or_else(|| {
                let why = if segment.unseen.is_empty() {
                    "nothing is plugged in"
                } else {
                    "its other end is down, where netctl cannot look"
                };
                (why.to_owned(), None)
            });
            return Ok(self.die(place, "link", format!("`{}` has no carrier: {why}", link.name), fix));
        }
        if let Some((last, by)) = segment.unseen.into_iter().next() {
            self.step(&last, "link", format!("{via} is behind what netctl cannot look at: it leaves {by}"));
            self.walk.end = End::Leaves { place: last, by, packet: self.packet };
            return Ok(Next::End);
        }
        if let Some(end) = cut_off {
            return self.follow(place, link, via, &end);
        }
        Ok(self.unanswered(place, link, via, &segment.ends))
    }

    fn unanswered(&mut self, place: &Place, link: &Link, via: IpAddr, ends: &[Reached]) -> Next {
        let asks = if via.is_ipv4() { "ARP" } else { "neighbour discovery" };
        let there: Vec<String> = ends.iter().map(|end| format!("`{}`", end.place)).collect();
        let who = if there.is_empty() {
            "nobody is there".to_owned()
        } else {
            format!("there: {}", there.join(", "))
        };
        let why = format!("nobody answers for {via} at `{}` ({asks}; {who})", link.name);
        let fix = format!(
            "give somebody there the address, or correct the route: `{} route ls`",
            advice::netctl(place)
        );
        self.die(place, "neighbour", why, Some(fix))
    }

    /// Goes the way to an interface, as far as it leads.
    fn follow(&mut self, place: &Place, link: &Link, via: IpAddr, reached: &Reached) -> Result<Next, Error> {
        if let Some(ended) = self.neighbour(place, link, via, reached)? {
            return Ok(ended);
        }
        for crossing in &reached.crossings {
            let Crossing { place, about, text, is_bridged, fault } = crossing;
            if let Some((why, fix)) = fault {
                return Ok(self.die(place, about, format!("{text}: {why}"), fix.clone()));
            }
            self.step(place, about, text);
            if *is_bridged && let Some(ended) = self.filter_bridged(place)? {
                return Ok(ended);
            }
        }
        Ok(Next::Arrive { place: reached.place.clone(), by: reached.index })
    }

    /// What the place knows of its neighbour.
    fn neighbour(
        &mut self,
        place: &Place,
        link: &Link,
        via: IpAddr,
        reached: &Reached,
    ) -> Result<Option<Next>, Error> {
        let ground = self.world.ground(place)?;
        let is_it = |its: &&crate::netlink::neigh::Neighbour| its.index == link.index && its.address == via;
        let Some(known) = ground.neighbours.iter().find(is_it) else { return Ok(None) };
        let there = self.world.ground(&reached.place)?.link(reached.index).and_then(|link| link.address);
        let is_set = known.state & libc::NUD_PERMANENT != 0;
        if is_set && known.mac.is_some() && known.mac != there {
            let why = format!("{via} is set by hand to a MAC address that `{}` does not have", reached.place);
            let inside = match place {
                Place::Host => String::new(),
                Place::Netns(name) => format!("netctl exec {name:#} -- "),
            };
            let fix = format!("{inside}ip neigh del {via} dev {}", link.name);
            return Ok(Some(self.die(place, "neighbour", why, Some(fix))));
        }
        Ok(None)
    }

    /// Where netfilter sees what bridges carry, its chains for what is forwarded do.
    fn filter_bridged(&mut self, place: &Place) -> Result<Option<Next>, Error> {
        let ipv4 = self.packet.to.is_ipv4();
        let key = format!("net.bridge.bridge-nf-call-{}", if ipv4 { "iptables" } else { "ip6tables" });
        if self.world.sysctl(place, &key)?.is_none_or(|value| value != "1") {
            return Ok(None);
        }
        let chains = firewall::chains(self.world.netns(place)?, Hook::Forward)?;
        for chain in chains.iter().filter(|chain| chain.drops && chain.family.sees(ipv4)) {
            let why = format!("{chain} sees what bridges carry, too ({key} is 1)");
            if chain.has_rules {
                self.warn(place, "filter", format!("{why}, and drops it unless one of its rules accepts it"));
            } else {
                let fix = advice::set_sysctl(place, &key, "0");
                return Ok(Some(self.die(place, "filter", format!("{why}, and drops it"), Some(fix))));
            }
        }
        Ok(None)
    }
}
