//! Where a place sends a packet, or why nowhere.

use std::net::IpAddr;

use ipnet::IpNet;
use neli::consts::rtnl::Rtn;
use nix::errno::Errno;

use super::{Last, Next, Walker};
use crate::{
    model::Place,
    netlink::{
        Refusal,
        link::Link,
        route::{Question, Route},
    },
    sysctl::reverse_path,
    trace::{Error, What, advice, packet::unspecified, segment},
};

/// `RT_TABLE_UNSPEC`
const UNKNOWN_TABLE: u32 = 0;
/// `RT_TABLE_DEFAULT`, before the main one.
const DEFAULT_TABLE: u32 = 253;
/// `RT_TABLE_LOCAL`, behind the main one.
const LOCAL_TABLE: u32 = 255;

impl Walker<'_, '_> {
    /// Routes a packet of a place's own, whose source may have been chosen for it.
    pub(super) fn route_own(&mut self, place: &Place, chosen: Option<IpAddr>) -> Result<Next, Error> {
        let (to, from) = (self.packet.to.ip(), self.packet.from.ip());
        // An echo by IPv4 is routed once, before it has a source (`raw_sendmsg`).
        let is_routed_once = chosen.is_some() && self.packet.what == What::Echo && to.is_ipv4();
        let from = Some(from).filter(|from| !from.is_unspecified() && !is_routed_once);
        let question = Question { to, from, iif: None };
        match self.world.route(place, &question)? {
            Ok(route) => {
                let words = chosen.map_or_else(String::new, |source| format!(", from {source}"));
                self.along(place, &route, &words, None)
            }
            Err(refusal) => self.nowhere(place, &refusal, &question, None),
        }
    }

    /// Routes a packet that has come in.
    pub(super) fn route_arrived(&mut self, place: &Place, link: &Link) -> Result<Next, Error> {
        let (to, from, ipv4) = (self.packet.to.ip(), self.packet.from.ip(), self.packet.to.is_ipv4());
        let question = Question { to, from: Some(from), iif: Some(link.index) };
        let answer = self.world.route(place, &question)?;
        let is_local = answer.as_ref().is_ok_and(|route| route.kind == Rtn::Local);
        let is_refused =
            matches!(&answer, Err(refusal) if matches!(refusal.errno, Errno::EXDEV | Errno::EINVAL));
        let (forwards, sysctl) = self.world.forwards(place, ipv4, &link.name)?;
        if !is_local && !is_refused && !forwards {
            let family = if ipv4 { "IPv4" } else { "IPv6" };
            let why = format!("`{place}` has no address {to}, and does not forward {family}: {sysctl} is 0");
            return Ok(self.die(place, "forward", why, Some(advice::set_sysctl(place, &sysctl, "1"))));
        }
        match answer {
            Ok(route) => self.along(place, &route, "", Some(link.index)),
            Err(refusal) => self.nowhere(place, &refusal, &question, Some(link)),
        }
    }

    fn along(
        &mut self,
        place: &Place,
        route: &Route,
        words: &str,
        came_by: Option<u32>,
    ) -> Result<Next, Error> {
        let to = self.packet.to.ip();
        match route.kind {
            Rtn::Local => {
                self.step(place, "route", format!("{to} is its own{words}"));
                self.deliver(place)
            }
            Rtn::Unicast => {
                let Some(out) = route.oif else { return Ok(self.vanished(place)) };
                let name = self.world.ground(place)?.name(out);
                let via = route.gateway.unwrap_or(to);
                let hop = if via == to { "straight".to_owned() } else { format!("via {via}") };
                let table = match route.table {
                    UNKNOWN_TABLE | DEFAULT_TABLE..=LOCAL_TABLE => String::new(),
                    table => format!(", by table {table}"),
                };
                self.step(place, "route", format!("{to} {hop} out of `{name}`{table}{words}"));
                Ok(Next::Leave { place: place.clone(), out, via, came_by })
            }
            Rtn::Broadcast | Rtn::Multicast | Rtn::Anycast => {
                let why = format!("{to} is for many: netctl follows what is for one");
                Ok(self.die(place, "route", why, None))
            }
            _ => {
                let from = Some(self.packet.from.ip()).filter(|from| !from.is_unspecified());
                let by = self.world.refusal(place, &Question { to, from, iif: came_by })?;
                Ok(self.forbidden(place, &by.unwrap_or_else(|| "route that has it dropped".to_owned())))
            }
        }
    }

    /// Why the kernel sends it nowhere.
    fn nowhere(
        &mut self,
        place: &Place,
        refusal: &Refusal,
        question: &Question,
        came_by: Option<&Link>,
    ) -> Result<Next, Error> {
        let is_route = refusal.errno != Errno::EXDEV;
        if let Some(by) = is_route.then(|| self.world.refusal(place, question)).transpose()?.flatten() {
            return Ok(self.forbidden(place, &by));
        }
        match (refusal.errno, came_by) {
            (Errno::EXDEV | Errno::EINVAL, Some(link)) => self.refused_source(place, link),
            (Errno::EINVAL, None) => Ok(self.forbidden(place, "`blackhole` route")),
            (Errno::EACCES, _) => Ok(self.forbidden(place, "`prohibit` route")),
            (Errno::ENETUNREACH | Errno::EHOSTUNREACH, _) => self.no_route(place),
            _ => Ok(self.die(place, "route", refusal.to_string(), None)),
        }
    }

    fn forbidden(&mut self, place: &Place, what: &str) -> Next {
        let why = format!("a {what} is in the way of {}", self.packet.to.ip());
        let fix = format!("`netctl show {place}` has the routes and policy rules");
        self.die(place, "route", why, Some(fix))
    }

    /// The kernel takes no packet from this source by this link. Up to 6.13 it says apart (`EXDEV`) that it is for its
    /// reverse path filter.
    fn refused_source(&mut self, place: &Place, link: &Link) -> Result<Next, Error> {
        let (from, to) = (self.packet.from.ip(), self.packet.to.ip());
        if self.world.ground(place)?.owns(from) {
            let why = format!("its source {from} is an address of `{place}` itself");
            return Ok(self.die(place, "route", why, None));
        }
        let [own, all] = [link.name.as_str(), "all"].map(reverse_path::key);
        let number = |value: Option<String>| value.and_then(|value| value.parse().ok()).unwrap_or(0_u8);
        let (is, is_everywhere) =
            (number(self.world.sysctl(place, &own)?), number(self.world.sysctl(place, &all)?));
        let question = Question { to: from, from: None, iif: None };
        let back = self.world.route(place, &question)?.ok().and_then(|route| route.oif);
        match (is.max(is_everywhere), back) {
            (1.., None) => {
                let fix = advice::add_route(place, &from.to_string(), self.near_router(place)?);
                let why = format!("rp_filter: `{place}` has no route back to {from}");
                Ok(self.die(place, "rp_filter", why, Some(fix)))
            }
            (1, Some(back)) if back != link.index => {
                let key = if is == 1 { &own } else { &all };
                let why = format!(
                    "strict rp_filter: it comes by `{}`, and the way back to {from} is by `{}` ({key} is 1)",
                    link.name,
                    self.world.ground(place)?.name(back)
                );
                Ok(self.die(place, "rp_filter", why, Some(advice::set_sysctl(place, &all, "2"))))
            }
            _ => {
                let why = format!("nothing can come by `{}` from {from} to {to}", link.name);
                Ok(self.die(place, "route", why, None))
            }
        }
    }

    fn no_route(&mut self, place: &Place) -> Result<Next, Error> {
        let to = self.packet.to.ip();
        let ground = self.world.ground(place)?;
        let has_address = |link: &&Link| {
            let own = ground.addresses.iter().any(|own| own.index == link.index);
            own || ground.owner(link).is_some()
        };
        let down = ground.links.iter().filter(|link| !link.up && link.name != "lo" && link.master.is_none());
        if let Some(link) = down.clone().find(has_address) {
            let why = format!("`{}` is down, and there is no route to {to}", link.name);
            return Ok(self.die(place, "link", why, Some(advice::set_up(place, link))));
        }
        let why = format!("no route to {to}");
        let last = self.last.clone().filter(|last| self.packet.is_answer && !last.is_translated);
        let private = last.filter(|_| is_private(to)).map(|last| self.masquerade(to, &last)).transpose()?;
        let fix = match private.flatten() {
            Some(fix) => fix,
            None => {
                let via = self.near_router(place)?;
                advice::add_route(place, "default", via)
            }
        };
        Ok(self.die(place, "route", why, Some(fix)))
    }

    /// Has the source of what came here translated where it was passed on last.
    fn masquerade(&mut self, source: IpAddr, last: &Last) -> Result<Option<String>, Error> {
        let Some((asker, _)) = &self.expected else { return Ok(None) };
        let ground = self.world.ground(&asker.clone())?;
        let own = ground.addresses.iter().map(|own| own.address).find(|own| own.addr() == source);
        let network: IpNet = own.unwrap_or_else(|| source.into());
        Ok(Some(advice::masquerade(&last.place, network, &last.out)))
    }

    /// An address of a neighbour that forwards.
    fn near_router(&mut self, place: &Place) -> Result<Option<IpAddr>, Error> {
        let ground = self.world.ground(place)?;
        let ipv4 = self.packet.to.is_ipv4();
        let own = ground.addresses.iter().filter(|own| own.address.addr().is_ipv4() == ipv4);
        for own in own.filter(|own| own.address.prefix_len() < own.address.max_prefix_len()) {
            if own.address.addr().is_loopback() || crate::model::is_link_local(own.address.addr()) {
                continue;
            }
            for end in segment::explore(self.world, place, own.index, 0)?.ends {
                let there = self.world.ground(&end.place)?;
                if !self.world.forwards(&end.place, ipv4, &there.name(end.index))?.0 {
                    continue;
                }
                let mut its = there.addresses.iter().filter(|its| its.index == end.index);
                if let Some(its) = its.find(|its| own.address.contains(&its.address.addr())) {
                    return Ok(Some(its.address.addr()));
                }
            }
        }
        Ok(None)
    }
}

/// Nobody outside has a route to it (RFC 1918, RFC 4193).
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_private(),
        IpAddr::V6(v6) => v6.is_unique_local() || v6 == unspecified(address),
    }
}
