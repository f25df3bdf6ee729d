//! What is in a topology's way.

use std::fmt;

use ipnet::IpNet;

use crate::{
    hint::{Advise, switch},
    model::{At, IfName, NetnsName, Place, Route, Rule, TopologyName},
    observed::{HostRoute, ObservedRoute},
};

/// Why a topology cannot be brought up: something that is not its own is in its way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// A namespace of that name exists.
    #[error("create namespace `{name}`: it exists already and {}", whose(owner.as_ref()))]
    Namespace {
        /// Its name.
        name: NetnsName,
        /// Whose it is, if netctl made it.
        owner: Option<TopologyName>,
    },
    /// An interface of that name exists.
    #[error("create link `{interface}` {}: it exists already and {}", At(place), whose(owner.as_ref()))]
    Link {
        /// Where.
        place: Place,
        /// Its name.
        interface: IfName,
        /// Whose it is, if netctl made it.
        owner: Option<TopologyName>,
    },
    /// A subnet that the host knows already.
    #[error("{0}")]
    Subnet(Box<Overlap>),
    /// Somebody else has set a route where the topology wants one.
    #[error("add route {wanted} {}: there is {} already, and this topology did not set it", At(&wanted.place), seen.route)]
    Route {
        /// The topology's.
        wanted: Box<Route>,
        /// The one that is there.
        seen: Box<ObservedRoute>,
    },
    /// Another topology has put a policy rule in force that the kernel could not tell from the topology's.
    #[error("add policy rule {wanted} {}: another topology has {seen}", At(&wanted.place))]
    Rule {
        /// The topology's.
        wanted: Box<Rule>,
        /// The one that is there.
        seen: Box<Rule>,
    },
}

/// A subnet that the host knows already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlap {
    /// The topology's subnet.
    pub subnet: IpNet,
    /// The link of the host that it would be on, as the file calls it.
    pub link: String,
    /// What it overlaps.
    pub neighbour: Neighbour,
    /// A subnet of the same size that is free.
    pub free: Option<IpNet>,
}

impl fmt::Display for Overlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subnet, link, neighbour, .. } = self;
        write!(f, "put {subnet} on the host (`{link}`): it overlaps {neighbour}")
    }
}

/// What the host has beside the topology.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Neighbour {
    /// An address of an interface.
    Address {
        /// The interface.
        interface: IfName,
        /// The address and its subnet's prefix length.
        address: IpNet,
        /// Whose interface it is, if netctl made it.
        owner: Option<TopologyName>,
    },
    /// A route.
    Route(HostRoute),
}

impl fmt::Display for Neighbour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address { interface, address, owner } => {
                write!(f, "the address {address} of `{interface}`")?;
                owner.iter().try_for_each(|owner| write!(f, ", which belongs to the topology `{owner}`"))
            }
            Self::Route(HostRoute { to, via, interface, .. }) => {
                write!(f, "the host's route to {to}")?;
                via.iter().try_for_each(|via| write!(f, " via {via}"))?;
                interface.iter().try_for_each(|interface| write!(f, " dev {interface}"))
            }
        }
    }
}

fn whose(owner: Option<&TopologyName>) -> String {
    owner.map_or_else(
        || "was not made by netctl".to_owned(),
        |owner| format!("belongs to the topology `{owner}`"),
    )
}

impl Advise for Conflict {
    fn advice(&self) -> Option<String> {
        let owner = match self {
            Self::Namespace { owner, .. } | Self::Link { owner, .. } => owner.as_ref(),
            Self::Subnet(_) | Self::Route { .. } | Self::Rule { .. } => None,
        };
        Some(match (self, owner) {
            (_, Some(owner)) => format!("`netctl down {owner:#}` removes that topology"),
            (Self::Namespace { name, .. }, None) => {
                format!("choose another name in the file, or remove it with `netctl ns del {name:#}`")
            }
            (Self::Link { .. }, None) => "choose another interface name in the file".to_owned(),
            (Self::Route { wanted, .. }, None) => format!(
                "give the file's route another `metric`, or see who sets that one: `netctl{} route ls`",
                switch(&wanted.place)
            ),
            (Self::Rule { .. }, None) => "give the file's rule another `priority`".to_owned(),
            (Self::Subnet(overlap), None) => match overlap.free {
                Some(free) => format!("{free} is free"),
                None => "choose another subnet in the file".to_owned(),
            },
        })
    }
}
