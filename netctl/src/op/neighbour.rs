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
    /// Sets a permanent neighbour in the place of one that the kernel knows.
    ReplaceNeighbour {
        /// The link's interface name.
        interface: IfName,
        /// Its address.
        address: IpAddr,
        /// Its MAC address.
        mac: Mac,
        /// The MAC address that was set before; `None` if the kernel had found out what there was.
        before: Option<Mac>,
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
            Self::ReplaceNeighbour { .. } => Effect::Modify,
            Self::DeleteNeighbour { .. } => Effect::Remove,
        })
    }

    fn describe(&self, place: &Place, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddNeighbour { interface, address, mac } => {
                write!(f, "add neighbour {address} at {mac} to `{interface}` {}", At(place))
            }
            Self::ReplaceNeighbour { interface, address, mac, .. } => {
                write!(f, "set neighbour {address} to {mac} at `{interface}` {}", At(place))
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
            Self::ReplaceNeighbour { interface, address, mac, .. } => {
                format!("{ip} neigh replace {address} lladdr {mac} dev {interface:#}")
            }
            Self::DeleteNeighbour { interface, address } => {
                format!("{ip} neigh delete {address} dev {interface:#}")
            }
        }]
    }

    fn inverse(&self, place: &Place) -> Vec<Op> {
        vec![match self.clone() {
            Self::AddNeighbour { interface, address, .. }
            | Self::ReplaceNeighbour { interface, address, before: None, .. } => {
                Op::new(place, Self::DeleteNeighbour { interface, address })
            }
            Self::ReplaceNeighbour { interface, address, mac, before: Some(before) } => {
                let back = Self::ReplaceNeighbour { interface, address, mac: before, before: Some(mac) };
                Op::new(place, back)
            }
            Self::DeleteNeighbour { .. } => return Vec::new(),
        }]
    }

    fn message(&self) -> Option<&dyn Message> {
        Some(self)
    }

    fn link(&self) -> Option<&IfName> {
        match self {
            Self::AddNeighbour { interface, .. }
            | Self::ReplaceNeighbour { interface, .. }
            | Self::DeleteNeighbour { interface, .. } => Some(interface),
        }
    }
}

impl Message for NeighbourChange {
    fn needs_index(&self) -> Option<&IfName> {
        self.link()
    }

    fn request(&self, place: &Place, lookup: &dyn Lookup) -> Option<Request> {
        let index = lookup.index(place, self.link()?)?;
        let new = |address: IpAddr, mac: Mac| NewNeighbour { index, address, mac: mac.0, protocol: None };
        Some(match self {
            Self::AddNeighbour { address, mac, .. } => neigh::add(&new(*address, *mac)),
            Self::ReplaceNeighbour { address, mac, .. } => neigh::replace(&new(*address, *mac)),
            Self::DeleteNeighbour { address, .. } => neigh::delete(index, *address),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_set_before_comes_back_and_what_was_found_out_goes() {
        let place = Place::Netns("red".parse().unwrap());
        let (old, new) = (Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]));
        let replace = |mac, before| {
            let (interface, address) = ("eth0".parse().unwrap(), [10, 0, 0, 7].into());
            Op::new(&place, NeighbourChange::ReplaceNeighbour { interface, address, mac, before })
        };
        let command = "ip -n red neigh replace 10.0.0.7 lladdr 02:00:00:00:00:02 dev eth0";
        assert_eq!(replace(new, Some(old)).commands(), [command]);
        assert_eq!(replace(new, Some(old)).inverse(), [replace(old, Some(new))]);
        let [inverse] = <[Op; 1]>::try_from(replace(new, None).inverse()).unwrap();
        assert_eq!(inverse.commands(), ["ip -n red neigh delete 10.0.0.7 dev eth0"]);
    }
}
