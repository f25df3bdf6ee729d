//! Addresses of links.

use std::fmt;

use ipnet::IpNet;
use serde::Serialize;

use super::{Effect, Faces, Lookup, Message, Op, command};
use crate::{
    model::{At, IfName, Place},
    netlink::{
        Request,
        addr::{self, NewAddress},
        route::RTPROT_NETCTL,
    },
};

/// A change of a link's addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub enum AddressChange {
    /// Gives a link an address.
    AddAddress {
        /// The link's interface name.
        interface: IfName,
        /// The address and its subnet's prefix length.
        address: IpNet,
        /// Whether it carries netctl's protocol number: a topology made it.
        #[serde(skip)]
        owned: bool,
    },
    /// Takes an address from a link. What was kept of the place brings it back.
    DeleteAddress {
        /// The link's interface name.
        interface: IfName,
        /// The address and its subnet's prefix length.
        address: IpNet,
        /// Whether the kernel would take others, that stay, along with it: later IPv4 addresses of its subnet.
        #[serde(skip)]
        first: bool,
    },
}

impl AddressChange {
    /// Gives a link an address, for nobody.
    #[must_use]
    pub const fn add(interface: IfName, address: IpNet) -> Self {
        Self::AddAddress { interface, address, owned: false }
    }

    /// Takes an address from a link which has those of `found`, in the kernel's order, and is to lose those that `goes` tells
    /// of: with an IPv4 address the kernel would take those of its subnet that came after it (`__inet_del_ifa` in
    /// net/ipv4/devinet.c).
    #[must_use]
    pub fn delete(interface: IfName, address: IpNet, found: &[IpNet], goes: impl Fn(&IpNet) -> bool) -> Self {
        let mut beside = found.iter().filter(|other| other.trunc() == address.trunc());
        let first =
            address.addr().is_ipv4() && beside.next() == Some(&address) && beside.any(|other| !goes(other));
        Self::DeleteAddress { interface, address, first }
    }
}

impl Faces for AddressChange {
    fn effect(&self) -> Option<Effect> {
        Some(match self {
            Self::AddAddress { .. } => Effect::Add,
            Self::DeleteAddress { .. } => Effect::Remove,
        })
    }

    fn describe(&self, place: &Place, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddAddress { interface, address, .. } => {
                write!(f, "add address {address} to `{interface}` {}", At(place))
            }
            Self::DeleteAddress { interface, address, .. } => {
                write!(f, "delete address {address} of `{interface}` {}", At(place))
            }
        }
    }

    fn commands(&self, place: &Place) -> Vec<String> {
        let ip = command::ip(place);
        vec![match self {
            Self::AddAddress { interface, address, .. } => {
                let no_dad = if address.addr().is_ipv6() { " nodad" } else { "" };
                format!("{ip} addr add {address} dev {interface:#}{no_dad}")
            }
            Self::DeleteAddress { interface, address, .. } => {
                format!("{ip} addr delete {address} dev {interface:#}")
            }
        }]
    }

    fn inverse(&self, place: &Place) -> Vec<Op> {
        match self.clone() {
            Self::AddAddress { interface, address, .. } => {
                vec![Op::new(place, Self::DeleteAddress { interface, address, first: false })]
            }
            Self::DeleteAddress { .. } => Vec::new(),
        }
    }

    fn message(&self) -> Option<&dyn Message> {
        match self {
            Self::AddAddress { .. } | Self::DeleteAddress { first: false, .. } => Some(self),
            Self::DeleteAddress { first: true, .. } => None,
        }
    }

    fn link(&self) -> Option<&IfName> {
        match self {
            Self::AddAddress { interface, .. } | Self::DeleteAddress { interface, .. } => Some(interface),
        }
    }
}

impl Message for AddressChange {
    fn needs_index(&self) -> Option<&IfName> {
        self.link()
    }

    fn request(&self, place: &Place, lookup: &dyn Lookup) -> Option<Request> {
        Some(match self {
            Self::AddAddress { interface, address, owned } => addr::add(&NewAddress {
                no_dad: true,
                protocol: owned.then_some(RTPROT_NETCTL),
                ..NewAddress::of(lookup.index(place, interface)?, *address)
            }),
            Self::DeleteAddress { interface, address, .. } => {
                addr::delete(lookup.index(place, interface)?, *address)
            }
        })
    }
}
