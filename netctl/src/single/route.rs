//! Routes: `netctl route`.

use std::net::IpAddr;

use neli::consts::rtnl::{Rtn, Rtprot};
use serde::Serialize;

use super::{Error, Session, addr::scope_name, find, links, name_of};
use crate::{
    model::{Destination, Place, Route, TopologyName},
    netlink::{
        link,
        route::{self, RTPROT_NETCTL},
    },
    observe::administered_route,
    op::{Op, RouteChange},
    place::Places,
};

/// A line of `netctl route ls`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// `default` or the destination.
    pub to: String,
    /// `unicast`, `blackhole`, ..
    pub kind: &'static str,
    /// The next hop; `null` for what is on the link itself.
    pub via: Option<IpAddr>,
    /// The link to send by.
    pub interface: Option<String>,
    /// Whether it has several next hops, which are not listed.
    pub multipath: bool,
    /// Who set it: `kernel`, `boot` (by hand), `netctl` (for a topology), `static`, ..
    pub protocol: &'static str,
    /// How far away the destination is.
    pub scope: &'static str,
    /// The source address it prefers.
    pub source: Option<IpAddr>,
    /// The metric; the smallest wins.
    pub metric: u32,
    /// The routing table: 254 is the main one, 255 has the place's own addresses.
    pub table: u32,
}

/// Which routes to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tables {
    /// Those of one table.
    One(u32),
    /// Those of every table.
    All,
}

impl Tables {
    /// The main one's, as `ip route` has them.
    pub const MAIN: Self = Self::One(254);

    const fn have(self, route: &route::Route) -> bool {
        match self {
            Self::One(table) => route.table == table,
            Self::All => true,
        }
    }
}

/// Sets a route: `ip route add [TYPE] TO [via GATEWAY] [dev IF] [onlink] [metric N] [table N]`.
///
/// # Errors
/// If its link is not there, or the kernel refuses.
pub fn add(session: &mut Session<'_>, route: &Route) -> Result<Vec<Op>, Error> {
    session.there(route, "add a route by")?;
    session.apply(vec![Op::new(&route.place, RouteChange::AddRoute { route: route.clone(), owned: false })])
}

/// Sets a route, in the place of one of its destination, table and metric if there is one: `ip route replace ..`. Where
/// there is that very route, nothing is done.
///
/// # Errors
/// If its link is not there, a topology wants the other one, or the kernel refuses.
pub fn replace(session: &mut Session<'_>, route: &Route) -> Result<Vec<Op>, Error> {
    let there = session.there(route, "set a route by")?;
    let Some((before, _)) = there.into_iter().find(|(seen, _)| seen.key() == route.key()) else {
        return add(session, route);
    };
    if route.is(&before) {
        return Ok(Vec::new());
    }
    let owner = session.who_wants_route(&before)?;
    let op = Op::new(&route.place, RouteChange::ReplaceRoute { route: route.clone(), before });
    session.refuse_owned(&op, owner)?;
    session.apply(vec![op])
}

/// Removes the first route that fits, and that one alone: `ip route del ..`. What is left open is not compared; with
/// `any_kind`, neither is its type.
///
/// # Errors
/// If there is none, a topology wants it, or the kernel refuses.
pub fn delete(session: &mut Session<'_>, route: &Route, any_kind: bool) -> Result<Vec<Op>, Error> {
    let there = session.there(route, "delete a route by")?;
    let found = there.into_iter().find(|(seen, _)| fits(seen, route, any_kind));
    let op =
        |route: Route, protocol| Op::new(&route.place.clone(), RouteChange::DeleteRoute { route, protocol });
    let Some((found, protocol)) = found else {
        let op = Box::new(op(route.clone(), None));
        return Err(Error::NoRoute { op, place: route.place.clone() });
    };
    let owner = session.who_wants_route(&found)?;
    let op = op(found, Some(protocol));
    session.refuse_owned(&op, owner)?;
    session.apply(vec![op])
}

impl Session<'_> {
    /// The place's routes, in the kernel's order, and who set each; the route's own link is to be there for `action`.
    fn there(&mut self, route: &Route, action: &'static str) -> Result<Vec<(Route, u8)>, Error> {
        let place = &route.place;
        let links = self.links(place)?;
        if let Some(interface) = &route.dev {
            find(links.clone(), place, interface, action)?;
        }
        let names = links.iter().filter_map(|link| Some((link.index, link.name.parse().ok()?))).collect();
        let seen = route::dump(self.places.socket(place)?)?;
        let read = |seen: &route::Route| {
            let route = administered_route(place, seen, &names)?;
            // Its own metric, though it be the usual one: there may be a lower one beside it.
            Some((Route { metric: seen.metric, ..route }, seen.protocol.into()))
        };
        Ok(seen.iter().filter_map(read).collect())
    }

    fn who_wants_route(&self, route: &Route) -> Result<Option<TopologyName>, Error> {
        self.who_wants(|record| record.topology.routes.iter().any(|wanted| wanted.is(route)))
    }
}

fn fits(seen: &Route, sought: &Route, any_kind: bool) -> bool {
    let (is, of) = (seen.canonical(), sought.canonical());
    is.to == of.to
        && is.table == of.table
        && (any_kind || is.kind == of.kind)
        && of.via.is_none_or(|via| is.via == Some(via))
        && of.dev.is_none_or(|dev| is.dev == Some(dev))
        && (!of.onlink || is.onlink)
        && sought.metric.is_none_or(|metric| seen.metric.unwrap_or(0) == metric)
}

/// A place's routes, by table, IPv4 first, each family's default routes first.
///
/// # Errors
/// If the place is not there or may not be looked at.
pub fn ls(place: &Place, tables: Tables) -> Result<Vec<Listed>, Error> {
    let mut places = Places::default();
    let links = links(&mut places, place)?;
    let mut routes = route::dump(places.socket(place)?)?;
    routes.retain(|route| tables.have(route));
    sort(&mut routes);
    Ok(routes.iter().map(|its| Listed::new(its, &links)).collect())
}

/// By table, IPv4 first, each family's default routes first.
pub(crate) fn sort(routes: &mut [route::Route]) {
    routes.sort_by_key(|its| (its.table, its.destination.addr().is_ipv6(), its.destination, its.metric));
}

impl Listed {
    /// A route of a place with these links.
    pub(crate) fn new(its: &route::Route, links: &[link::Link]) -> Self {
        Self {
            to: Destination(&its.destination).to_string(),
            kind: kind_name(its.kind),
            via: its.gateway,
            interface: its.oif.map(|index| name_of(links, index)),
            multipath: its.is_multipath(),
            protocol: protocol_name(its.protocol),
            scope: if its.destination.addr().is_ipv6() { "global" } else { scope_name(its.scope) },
            source: its.source,
            metric: its.metric.unwrap_or(0),
            table: its.table,
        }
    }
}

/// As `ip route` has it.
fn kind_name(kind: Rtn) -> &'static str {
    match kind {
        Rtn::Unicast => "unicast",
        Rtn::Local => "local",
        Rtn::Broadcast => "broadcast",
        Rtn::Anycast => "anycast",
        Rtn::Multicast => "multicast",
        Rtn::Blackhole => "blackhole",
        Rtn::Unreachable => "unreachable",
        Rtn::Prohibit => "prohibit",
        Rtn::Throw => "throw",
        _ => "unknown",
    }
}

/// As `ip route` has it (`/etc/iproute2/rt_protos`), and netctl's own; the routing daemons' numbers are `other`.
pub(super) fn protocol_name(protocol: Rtprot) -> &'static str {
    match protocol {
        Rtprot::Unspec => "none",
        Rtprot::Redirect => "redirect",
        Rtprot::Kernel => "kernel",
        Rtprot::Boot => "boot",
        Rtprot::Static => "static",
        // RTPROT_RA and RTPROT_DHCP
        Rtprot::UnrecognizedConst(9) => "ra",
        Rtprot::UnrecognizedConst(16) => "dhcp",
        Rtprot::UnrecognizedConst(RTPROT_NETCTL) => "netctl",
        _ => "other",
    }
}
