//! Routes.

use std::fmt;

use ipnet::IpNet;
use neli::consts::rtnl::Rtn;
use serde::Serialize;

use super::{Effect, Faces, Lookup, Message, Op, command, family, link::index};
use crate::{
    model::{At, IfName, Place, Route, RouteKind},
    netlink::{
        Request,
        route::{self, NewRoute, RTPROT_NETCTL},
    },
};

/// A change of a place's routes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub enum RouteChange {
    /// Sets a route.
    AddRoute {
        /// The route.
        route: Route,
        /// Whether it carries netctl's protocol number: a topology made it.
        #[serde(skip)]
        owned: bool,
    },
    /// Sets a route in the place of another one of its destination, table and metric. What was kept of the place brings
    /// that one back.
    ReplaceRoute {
        /// The route.
        route: Route,
        /// The one that it takes the place of.
        before: Route,
    },
    /// Removes a route. What was kept of the place brings it back.
    DeleteRoute {
        /// The route.
        route: Route,
        /// Who set it (`rtm_protocol`); anybody when `None`.
        #[serde(skip)]
        protocol: Option<u8>,
    },
}

/// `RTPROT_BOOT`: somebody set it by hand.
const BY_HAND: u8 = 3;

impl RouteChange {
    const fn route(&self) -> &Route {
        match self {
            Self::AddRoute { route, .. }
            | Self::ReplaceRoute { route, .. }
            | Self::DeleteRoute { route, .. } => route,
        }
    }
}

impl Faces for RouteChange {
    fn effect(&self) -> Option<Effect> {
        Some(match self {
            Self::AddRoute { .. } => Effect::Add,
            Self::ReplaceRoute { .. } => Effect::Modify,
            Self::DeleteRoute { .. } => Effect::Remove,
        })
    }

    fn describe(&self, place: &Place, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddRoute { route, .. } => write!(f, "add route {route} {}", At(place)),
            Self::ReplaceRoute { route, before } => {
                write!(f, "replace route {before} {} by {route}", At(place))
            }
            Self::DeleteRoute { route, .. } => write!(f, "delete route {route} {}", At(place)),
        }
    }

    fn commands(&self, place: &Place) -> Vec<String> {
        let (ip, family) = (command::ip(place), family(&self.route().to.addr()));
        vec![match self {
            Self::AddRoute { route, .. } => format!("{ip} {family}route add {route:#}"),
            Self::ReplaceRoute { route, .. } => format!("{ip} {family}route replace {route:#}"),
            Self::DeleteRoute { route, .. } => format!("{ip} {family}route delete {route:#}"),
        }]
    }

    fn inverse(&self, place: &Place) -> Vec<Op> {
        let (route, owned) = match self.clone() {
            Self::AddRoute { route, owned } => (route, owned),
            Self::ReplaceRoute { route, .. } => (route, false),
            Self::DeleteRoute { .. } => return Vec::new(),
        };
        let protocol = Some(if owned { RTPROT_NETCTL } else { BY_HAND });
        vec![Op::new(place, Self::DeleteRoute { route, protocol })]
    }

    fn message(&self) -> Option<&dyn Message> {
        Some(self)
    }
}

impl Message for RouteChange {
    fn needs_index(&self) -> Option<&IfName> {
        self.route().dev.as_ref()
    }

    fn request(&self, place: &Place, lookup: &dyn Lookup) -> Option<Request> {
        let route = self.route();
        let new = NewRoute {
            kind: Some(kind(route.kind)),
            gateway: route.via,
            device: index(lookup, place, route.dev.as_ref())?,
            on_link: route.onlink,
            metric: route.metric,
            table: route.table,
            ..NewRoute::to(route.to)
        };
        Some(match self {
            Self::AddRoute { owned, .. } => {
                route::add(&NewRoute { protocol: owned.then_some(RTPROT_NETCTL), ..new })
            }
            Self::ReplaceRoute { .. } => route::replace(&new),
            Self::DeleteRoute { protocol, .. } => {
                let metric = route.metric.or(usual_metric(route.to));
                route::delete(&NewRoute { protocol: *protocol, metric, ..new })
            }
        })
    }
}

/// The metric that the kernel gives a route of which none was said. Where a deletion says none, it takes the lowest that
/// there is, which of IPv6 may be another route's (`ip6_route_del` in net/ipv6/route.c).
fn usual_metric(to: IpNet) -> Option<u32> {
    /// `IP6_RT_PRIO_USER`
    const USER: u32 = 1024;
    to.addr().is_ipv6().then_some(USER)
}

/// The kernel's number for it.
const fn kind(kind: RouteKind) -> Rtn {
    match kind {
        RouteKind::Unicast => Rtn::Unicast,
        RouteKind::Blackhole => Rtn::Blackhole,
        RouteKind::Unreachable => Rtn::Unreachable,
        RouteKind::Prohibit => Rtn::Prohibit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_one_ip_command() {
        let place = Place::Netns("red".parse().unwrap());
        let route = Route {
            dev: Some("eth0".parse().unwrap()),
            metric: Some(7),
            ..Route::through(place.clone(), "::/0".parse().unwrap(), "fe80::1".parse().unwrap())
        };
        assert_eq!(
            Op::new(&place, RouteChange::AddRoute { route, owned: true }).commands(),
            ["ip -n red -6 route add default via fe80::1 dev eth0 metric 7"]
        );
    }
}
