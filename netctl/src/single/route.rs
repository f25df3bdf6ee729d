//! Routes of the main table: `netctl route`.

use std::net::IpAddr;

use neli::consts::rtnl::{Rtn, Rtprot};
use serde::Serialize;

use super::{Error, Session, addr::scope_name, links, name_of};
use crate::{
    model::{Destination, IfName, Place, Route},
    netlink::{link, route},
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
    /// Who set it: `kernel`, `boot` (by hand), `static`, ..
    pub protocol: &'static str,
    /// How far away the destination is.
    pub scope: &'static str,
    /// The source address it prefers.
    pub source: Option<IpAddr>,
    /// The metric; the smallest wins.
    pub metric: u32,
}

/// Sets a route: `ip route add TO [via GATEWAY] [dev IF] [metric N]`.
///
/// # Errors
/// If its link is not there, or the kernel refuses.
pub fn add(session: &mut Session<'_>, route: &Route) -> Result<Vec<Op>, Error> {
    session.check(route, "add a route by")?;
    session.apply(vec![Op::new(&route.place, RouteChange::AddRoute { route: route.clone(), owned: false })])
}

/// Removes the first route that fits; what is left open is not compared: `ip route del TO ..`.
///
/// # Errors
/// If there is none, a topology wants it, or the kernel refuses.
pub fn delete(session: &mut Session<'_>, route: &Route) -> Result<Vec<Op>, Error> {
    let links = session.check(route, "delete a route by")?;
    let there = route::dump(session.places.socket(&route.place)?)?;
    let found = there.iter().find(|its| fits(its, route, &links)).map(|its| exactly(its, route, &links));
    let op = |route: &Route| Op::new(&route.place, RouteChange::DeleteRoute { route: route.clone() });
    let Some(found) = found else {
        return Err(Error::NoRoute { op: Box::new(op(route)), place: route.place.clone() });
    };
    let owner = session.who_wants(|record| record.topology.routes.iter().any(|wanted| wanted.is(&found)))?;
    let op = op(&found);
    session.refuse_owned(&op, owner)?;
    session.apply(vec![op])
}

impl Session<'_> {
    /// Opens the route's place and sees that its link is there.
    fn check(&mut self, route: &Route, action: &'static str) -> Result<Vec<link::Link>, Error> {
        if let Some(interface) = &route.dev {
            self.link(&route.place, interface, action)?;
        }
        self.links(&route.place)
    }
}

fn fits(its: &route::Route, wanted: &Route, links: &[link::Link]) -> bool {
    let by = |name: &IfName| its.oif.is_some_and(|index| name_of(links, index) == name.as_str());
    its.is_main()
        && its.destination == wanted.to
        && wanted.via.is_none_or(|via| its.gateway == Some(via))
        && wanted.dev.as_ref().is_none_or(by)
        && wanted.metric.is_none_or(|metric| its.metric.unwrap_or(0) == metric)
}

/// The route that is there.
fn exactly(its: &route::Route, wanted: &Route, links: &[link::Link]) -> Route {
    Route {
        via: its.gateway,
        dev: its.oif.and_then(|index| name_of(links, index).parse().ok()),
        metric: its.metric,
        ..wanted.clone()
    }
}

/// The main table's routes, IPv4 first, each family's default routes first.
///
/// # Errors
/// If the place is not there or may not be looked at.
pub fn ls(place: &Place) -> Result<Vec<Listed>, Error> {
    let mut places = Places::default();
    let links = links(&mut places, place)?;
    Ok(listed(route::dump(places.socket(place)?)?, &links))
}

/// Those of the main table, in that order.
pub(crate) fn listed(mut routes: Vec<route::Route>, links: &[link::Link]) -> Vec<Listed> {
    routes.retain(route::Route::is_main);
    routes.sort_by_key(|its| (its.destination.addr().is_ipv6(), its.destination, its.metric));
    let listed = |its: route::Route| Listed {
        to: Destination(&its.destination).to_string(),
        kind: kind_name(its.kind),
        via: its.gateway,
        interface: its.oif.map(|index| name_of(links, index)),
        multipath: its.is_multipath(),
        protocol: protocol_name(its.protocol),
        scope: if its.destination.addr().is_ipv6() { "global" } else { scope_name(its.scope) },
        source: its.source,
        metric: its.metric.unwrap_or(0),
    };
    routes.into_iter().map(listed).collect()
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

/// As `ip route` has it (`/etc/iproute2/rt_protos`); the routing daemons' own numbers are `other`.
fn protocol_name(protocol: Rtprot) -> &'static str {
    match protocol {
        Rtprot::Unspec => "none",
        Rtprot::Redirect => "redirect",
        Rtprot::Kernel => "kernel",
        Rtprot::Boot => "boot",
        Rtprot::Static => "static",
        // RTPROT_RA and RTPROT_DHCP
        Rtprot::UnrecognizedConst(9) => "ra",
        Rtprot::UnrecognizedConst(16) => "dhcp",
        _ => "other",
    }
}
