//! What can be looked at, and how it is named.

use std::fmt;

use super::Error;
use crate::{
    model::{IfName, NetnsName, Place, TopologyName},
    netns::Netns,
    single,
    spec::nearest,
    state::Directories,
};

/// What to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Object {
    /// A topology that is up.
    Topology(TopologyName),
    /// A namespace, or the host: everything that is there, whoever made it.
    Place(Place),
    /// One link.
    Link(Place, IfName),
}

impl Object {
    /// A topology that is up or else a namespace of that name; `host` is the host.
    ///
    /// # Errors
    /// If there is neither.
    pub fn named(name: &TopologyName, directories: &Directories) -> Result<Self, Error> {
        if directories.record(name)?.is_some() {
            return Ok(Self::Topology(name.clone()));
        }
        let namespaces = Netns::list().map_err(single::Error::from)?;
        match Place::try_from(name.to_string()) {
            Ok(place @ Place::Host) => return Ok(Self::Place(place)),
            Ok(place @ Place::Netns(_)) if namespaces.iter().any(|its| its.as_str() == name.as_str()) => {
                return Ok(Self::Place(place));
            }
            _ => {}
        }
        let topologies = directories.topologies()?;
        let known =
            topologies.iter().map(TopologyName::as_str).chain(namespaces.iter().map(NetnsName::as_str));
        let link = || {
            let interface: IfName = name.as_str().parse().ok()?;
            Some(Self::Link(single::whereabouts(&interface, None)?, interface).to_string())
        };
        let nearest = nearest(name.as_str(), known).map(str::to_owned).or_else(link);
        Err(Error::Unknown { name: name.clone(), nearest })
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topology(name) => name.fmt(f),
            Self::Place(place) => place.fmt(f),
            Self::Link(place, interface) => write!(f, "{place}:{interface}"),
        }
    }
}
