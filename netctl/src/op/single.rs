//! Operations that no topology needs and single commands do: links born down and unmarked, taking a link down, renaming
//! it, moving it, and routes by their link. All faces of them are here.

use std::{fmt, net::IpAddr};

use ipnet::IpNet;
use serde::Serialize;

use super::{At, Change, Destination, Lookup, Op, command};
use crate::{
    model::{IfName, Place},
    netlink::{
        Request,
        link::{self, NewLink, Peer},
        route::{self, NewRoute},
    },
};

/// One step of a single command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub enum Single {
    /// Makes a bridge that is down and nobody's.
    AddBridge {
        /// Where.
        place: Place,
        /// Its interface name.
        interface: IfName,
    },
    /// Makes a veth pair, each end born in its place, down and nobody's.
    AddCable {
        /// One end.
        a: End,
        /// The other end.
        b: End,
    },
    /// Sets a link down.
    SetDown {
        /// Where.
        place: Place,
        /// Its interface name.
        interface: IfName,
    },
    /// Gives a link another name.
    Rename {
        /// Where.
        place: Place,
        /// Its interface name.
        interface: IfName,
        /// The new name.
        name: IfName,
    },
    /// Moves a link to another place, where it is down, without addresses and in no bridge.
    Move {
        /// Where it is.
        place: Place,
        /// Its interface name.
        interface: IfName,
        /// Where it goes.
        to: Place,
        /// Its name there.
        name: IfName,
        /// What makes it again as it was, once it is back.
        #[serde(skip)]
        restore: Vec<Op>,
    },
    /// Sets a route.
    AddRouteBy {
        /// The route.
        route: RouteBy,
    },
    /// Removes a route.
    DeleteRouteBy {
        /// The route.
        route: RouteBy,
    },
}

/// One end of a cable to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct End {
    /// Where it is born.
    pub place: Place,
    /// Its interface name.
    pub interface: IfName,
}

/// A unicast route of the main table, with or without a next hop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RouteBy {
    /// Where it is set.
    pub place: Place,
    /// The destination, host bits zero; a prefix length of 0 is the default route.
    pub to: IpNet,
    /// The next hop.
    pub via: Option<IpAddr>,
    /// The link to send by.
    pub interface: Option<IfName>,
    /// The metric; the kernel's default when `None`.
    pub metric: Option<u32>,
}

impl Single {
    pub(super) fn place(&self) -> &Place {
        match self {
            Self::AddCable { a, .. } => &a.place,
            Self::AddBridge { place, .. }
            | Self::SetDown { place, .. }
            | Self::Rename { place, .. }
            | Self::Move { place, .. } => place,
            Self::AddRouteBy { route } | Self::DeleteRouteBy { route } => &route.place,
        }
    }

    pub(super) const fn change(&self) -> Change {
        match self {
            Self::AddBridge { .. } | Self::AddCable { .. } | Self::AddRouteBy { .. } => Change::Add,
            Self::SetDown { .. } | Self::Rename { .. } | Self::Move { .. } => Change::Modify,
            Self::DeleteRouteBy { .. } => Change::Remove,
        }
    }

    pub(super) fn inverse(self) -> Vec<Op> {
        match self {
            Self::AddBridge { place, interface } | Self::AddCable { a: End { place, interface }, .. } => {
                vec![Op::DeleteLink { place, interface, restore: Vec::new() }]
            }
            Self::SetDown { place, interface } => vec![Op::SetUp { place, interface }],
            Self::Rename { place, interface, name } => {
                vec![Op::Single(Self::Rename { place, interface: name, name: interface })]
            }
            Self::Move { place, interface, to, name, restore } => {
                let back = Self::Move {
                    place: to,
                    interface: name,
                    to: place,
                    name: interface,
                    restore: Vec::new(),
                };
                [vec![Op::Single(back)], restore].concat()
            }
            Self::AddRouteBy { route } => vec![Op::Single(Self::DeleteRouteBy { route })],
            Self::DeleteRouteBy { route } => vec![Op::Single(Self::AddRouteBy { route })],
        }
    }

    pub(super) fn needs_index(&self) -> Option<(&Place, &IfName)> {
        match self {
            Self::Rename { place, interface, .. } | Self::Move { place, interface, .. } => {
                Some((place, interface))
            }
            Self::AddRouteBy { route } | Self::DeleteRouteBy { route } => {
                Some((&route.place, route.interface.as_ref()?))
            }
            _ => None,
        }
    }

    pub(super) fn renumbers(&self) -> Vec<(&Place, &IfName)> {
        match self {
            Self::AddBridge { place, interface } => vec![(place, interface)],
            Self::AddCable { a, b } => vec![(&a.place, &a.interface), (&b.place, &b.interface)],
            Self::Rename { place, interface, name } => vec![(place, interface), (place, name)],
            Self::Move { place, interface, to, name, .. } => vec![(place, interface), (to, name)],
            Self::SetDown { .. } | Self::AddRouteBy { .. } | Self::DeleteRouteBy { .. } => Vec::new(),
        }
    }

    pub(super) fn request(&self, lookup: &impl Lookup) -> Option<Request> {
        Some(match self {
            Self::AddBridge { interface, .. } => link::create_bridge(&NewLink::named(interface)),
            Self::AddCable { a, b } => link::create_veth(
                &NewLink::named(&a.interface),
                &Peer {
                    name: &b.interface,
                    index: None,
                    mtu: None,
                    address: None,
                    netns: lookup.netns(&b.place)?,
                },
            ),
            Self::SetDown { interface, .. } => link::set_down(interface),
            Self::Rename { place, interface, name } => link::rename(lookup.index(place, interface)?, name),
            Self::Move { place, interface, to, name, .. } => {
                link::move_as(lookup.index(place, interface)?, lookup.netns(to)?, name)
            }
            Self::AddRouteBy { route } => route::add(&route.message(lookup)?),
            Self::DeleteRouteBy { route } => route::delete(&route.message(lookup)?),
        })
    }

    pub(super) fn commands(&self) -> Vec<String> {
        let ip = command::ip(self.place());
        vec![match self {
            Self::AddBridge { interface, .. } => format!("{ip} link add {interface} type bridge"),
            Self::AddCable { a, b } => {
                let netns = command::netns_words(&a.place, &b.place);
                format!("{ip} link add {} type veth peer name {}{netns}", a.interface, b.interface)
            }
            Self::SetDown { interface, .. } => format!("{ip} link set {interface} down"),
            Self::Rename { interface, name, .. } => format!("{ip} link set {interface} name {name}"),
            Self::Move { place, interface, to, name, .. } => {
                let renamed = if name == interface { String::new() } else { format!(" name {name}") };
                format!("{ip} link set {interface}{}{renamed}", command::netns_words(place, to))
            }
            Self::AddRouteBy { route } => {
                format!("{ip} {}route add {route}", command::family(&route.to.addr()))
            }
            Self::DeleteRouteBy { route } => {
                format!("{ip} {}route delete {route}", command::family(&route.to.addr()))
            }
        }]
    }
}

impl RouteBy {
    fn message(&self, lookup: &impl Lookup) -> Option<NewRoute> {
        let device = match &self.interface {
            Some(interface) => Some(lookup.index(&self.place, interface)?),
            None => None,
        };
        Some(NewRoute { destination: self.to, gateway: self.via, device, metric: self.metric })
    }
}

impl fmt::Display for RouteBy {
    /// As `ip route` takes and shows it, without the place.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Destination(&self.to).fmt(f)?;
        match self.via {
            // `ip` wants to be told that the next hop is of the other family.
            Some(via) if via.is_ipv6() != self.to.addr().is_ipv6() => write!(f, " via inet6 {via}")?,
            Some(via) => write!(f, " via {via}")?,
            None => {}
        }
        if let Some(interface) = &self.interface {
            write!(f, " dev {interface}")?;
        }
        self.metric.map_or(Ok(()), |metric| write!(f, " metric {metric}"))
    }
}

impl fmt::Display for Single {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddBridge { place, interface } => write!(f, "create bridge `{interface}` {}", At(place)),
            Self::AddCable { a, b } => {
                let (near, far) = (&a.interface, &b.interface);
                write!(f, "create cable `{near}` {} to `{far}` {}", At(&a.place), At(&b.place))
            }
            Self::SetDown { place, interface } => write!(f, "set link `{interface}` {} down", At(place)),
            Self::Rename { place, interface, name } => {
                write!(f, "rename link `{interface}` {} to `{name}`", At(place))
            }
            Self::Move { place, interface, to: Place::Host, .. } => {
                write!(f, "move link `{interface}` {} to the host", At(place))
            }
            Self::Move { place, interface, to, .. } => {
                write!(f, "move link `{interface}` {} to namespace `{to}`", At(place))
            }
            Self::AddRouteBy { route } => write!(f, "add route {route} {}", At(&route.place)),
            Self::DeleteRouteBy { route } => write!(f, "delete route {route} {}", At(&route.place)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn red() -> Place {
        Place::Netns("red".parse().unwrap())
    }

    fn interface(name: &str) -> IfName {
        name.parse().unwrap()
    }

    fn moved() -> Op {
        Op::Single(Single::Move {
            place: Place::Host,
            interface: interface("veth1"),
            to: red(),
            name: interface("eth0"),
            restore: vec![Op::SetUp { place: Place::Host, interface: interface("veth1") }],
        })
    }

    #[test]
    fn a_link_that_is_moved_back_is_made_as_it_was() {
        let [back, up] = <[Op; 2]>::try_from(moved().inverse()).unwrap();
        assert_eq!(back.to_string(), "move link `eth0` in namespace `red` to the host");
        assert_eq!(up.to_string(), "set link `veth1` on the host up");
    }

    #[test]
    fn each_is_one_ip_command() {
        let end = |place: Place, name| End { place, interface: interface(name) };
        let route = RouteBy {
            place: red(),
            to: "::/0".parse().unwrap(),
            via: Some("fe80::1".parse().unwrap()),
            interface: Some(interface("eth0")),
            metric: Some(7),
        };
        for (op, command) in [
            (moved(), "ip link set veth1 netns red name eth0"),
            (
                Op::Single(Single::AddCable { a: end(red(), "v0"), b: end(Place::Host, "v1") }),
                "ip -n red link add v0 type veth peer name v1 netns 1",
            ),
            (
                Op::Single(Single::AddRouteBy { route }),
                "ip -n red -6 route add default via fe80::1 dev eth0 metric 7",
            ),
        ] {
            assert_eq!(op.commands(), [command]);
        }
    }

    #[test]
    fn json_names_the_operation_as_the_others_do() {
        let down = Op::Single(Single::SetDown { place: red(), interface: interface("eth0") });
        assert_eq!(
            serde_json::to_string(&down).unwrap(),
            r#"{"op":"set-down","place":"red","interface":"eth0"}"#
        );
    }
}
