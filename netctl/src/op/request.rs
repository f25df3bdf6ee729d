//! The face for the kernel: which netlink message an operation is.

use std::os::fd::BorrowedFd;

use super::{CableEnd, Op};
use crate::{
    model::{IfName, Place},
    netlink::{
        Request,
        addr::{self, NewAddress},
        link::{self, NewLink, Peer},
        route::{self, NewRoute},
    },
};

/// What messages need and only the kernel knows.
pub trait Lookup {
    /// The index of an interface.
    fn index(&self, place: &Place, interface: &IfName) -> Option<u32>;
    /// The namespace of a place.
    fn netns(&self, place: &Place) -> Option<BorrowedFd<'_>>;
}

impl Op {
    /// The interface whose index its message needs, if any.
    #[must_use]
    pub fn needs_index(&self) -> Option<(&Place, &IfName)> {
        match self {
            Self::CreateCable { a: CableEnd { place, master: Some(master), .. }, .. }
            | Self::SetMaster { place, master: Some(master), .. } => Some((place, master)),
            Self::AddAddress { place, interface, .. } | Self::DeleteAddress { place, interface, .. } => {
                Some((place, interface))
            }
            Self::Single(single) => single.needs_index(),
            _ => None,
        }
    }

    /// The interfaces that have another index, or none, after it.
    #[must_use]
    pub fn renumbers(&self) -> Vec<(&Place, &IfName)> {
        match self {
            Self::CreateBridge { place, interface, .. } | Self::DeleteLink { place, interface, .. } => {
                vec![(place, interface)]
            }
            Self::CreateCable { a, b } => vec![(&a.place, &a.interface), (&b.place, &b.interface)],
            Self::Single(single) => single.renumbers(),
            _ => Vec::new(),
        }
    }

    /// Whether it is a netlink message at all.
    #[must_use]
    pub const fn is_message(&self) -> bool {
        matches!(
            self,
            Self::CreateBridge { .. }
                | Self::CreateCable { .. }
                | Self::DeleteLink { .. }
                | Self::MarkLink { .. }
                | Self::SetUp { .. }
                | Self::SetMaster { .. }
                | Self::SetMtu { .. }
                | Self::AddAddress { .. }
                | Self::DeleteAddress { .. }
                | Self::AddRoute { .. }
                | Self::DeleteRoute { .. }
                | Self::Single(_)
        )
    }

    /// Its message, to be sent in [`Op::place`]. `None` for what is no message, and while `lookup` does not know what
    /// the message needs.
    #[must_use]
    pub fn request(&self, lookup: &impl Lookup) -> Option<Request> {
        Some(match self {
            Self::CreateBridge { interface, mtu, mac, .. } => link::create_bridge(&NewLink {
                mtu: *mtu,
                address: Some(mac.0),
                up: true,
                ..NewLink::named(interface)
            }),
            Self::CreateCable { a, b } => link::create_veth(
                &NewLink {
                    mtu: a.mtu,
                    address: Some(a.mac.0),
                    master: match &a.master {
                        Some(master) => Some(lookup.index(&a.place, master)?),
                        None => None,
                    },
                    up: true,
                    ..NewLink::named(&a.interface)
                },
                &Peer {
                    name: &b.interface,
                    index: None,
                    mtu: b.mtu,
                    address: Some(b.mac.0),
                    netns: lookup.netns(&b.place)?,
                },
            ),
            Self::DeleteLink { interface, .. } => link::delete(interface),
            Self::MarkLink { interface, alias, .. } => link::set_alias(interface, alias),
            Self::SetUp { interface, .. } => link::set_up(interface),
            Self::SetMaster { place, interface, master, .. } => {
                let master = match master {
                    Some(master) => Some(lookup.index(place, master)?),
                    None => None,
                };
                link::set_master(interface, master)
            }
            Self::SetMtu { interface, mtu, .. } => link::set_mtu(interface, *mtu),
            Self::AddAddress { place, interface, address } => addr::add(&NewAddress {
                index: lookup.index(place, interface)?,
                address: *address,
                broadcast: None,
                no_dad: true,
            }),
            Self::DeleteAddress { place, interface, address } => {
                addr::delete(lookup.index(place, interface)?, *address)
            }
            Self::AddRoute { route } => route::add(&new_route(route)),
            Self::DeleteRoute { route } => route::delete(&new_route(route)),
            Self::Single(single) => return single.request(lookup),
            _ => return None,
        })
    }
}

fn new_route(route: &crate::model::Route) -> NewRoute {
    NewRoute { destination: route.to, gateway: route.via, device: None, metric: route.metric }
}
