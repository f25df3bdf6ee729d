//! Neighbours that somebody sets, so that nobody has to ask for their MAC addresses.

use std::{fmt, net::IpAddr};

use serde::Serialize;

use super::{Effect, Faces, Lookup, Mac, Message, Op, command};
use crate::{
    model::{At, IfName, Place},
    netlink::{
        Request,
        neigh::{self, NewNeighbour},
    },
};

/// A change of a link's permanent neighbours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub enum NeighbourChange {
    /// Sets a permanent neighbour.
    AddNeighbour {
        /// The link's interface name.
        interface: IfName,
        /// Its address.
        address: IpAddr,
        /// Its MAC address.
        mac: Mac,
    },
    /// Forgets a neighbour.
    DeleteNeighbour {
        /// The link's interface name.
        interface: IfName,
        /// Its address.
        address: IpAddr,
    },
}

impl Faces for NeighbourChange {
    fn effect(&self) -> Option<Effect> {
        Some(match self {
            Self::AddNeighbour { .. } => Effect::Add,
            Self::DeleteNeighbour { .. } => Effect::Remove,
        })
    }

    fn describe(&self, place: &Place, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddNeighbour { interface, address, mac } => {
                write!(f, "add neighbour {address} at {mac} to `{interface}` {}", At(place))
            }
            Self::DeleteNeighbour { interface, address } => {
                write!(f, "delete neighbour {address} of `{interface}` {}", At(place))
            }
        }
    }

    fn commands(&self, place: &Place) -> Vec<String> {
        let ip = command::ip(place);
        vec![match self {
            Self::AddNeighbour { interface, address, mac } => {
                format!("{ip} neigh add {address} lladdr {mac} dev {interface:#}")
            }
            Self::DeleteNeighbour { interface, address } => {
                format!("{ip} neigh delete {address} dev {interface:#}")
            }
        }]
    }

    fn inverse(&self, place: &Place) -> Vec<Op> {
        match self.clone() {
            Self::AddNeighbour { interface, address, .. } => {
                vec![Op::new(place, Self::DeleteNeighbour { interface, address })]
            }
            Self::DeleteNeighbour { .. } => Vec::new(),
        }
    }

    fn message(&self) -> Option<&dyn Message> {
        Some(self)
    }

    fn link(&self) -> Option<&IfName> {
        match self {
            Self::AddNeighbour { interface, .. } | Self::DeleteNeighbour { interface, .. } => Some(interface),
        }
    }
}

impl Message for NeighbourChange {
    fn needs_index(&self) -> Option<&IfName> {
        self.link()
    }

    fn request(&self, place: &Place, lookup: &dyn Lookup) -> Option<Request> {
        Some(match self {
            Self::AddNeighbour { interface, address, mac } => neigh::add(&NewNeighbour {
                index: lookup.index(place, interface)?,
                address: *address,
                mac: mac.0,
                protocol: None,
            }),
            Self::DeleteNeighbour { interface, address } => {
                neigh::delete(lookup.index(place, interface)?, *address)
            }
        })
    }
}
