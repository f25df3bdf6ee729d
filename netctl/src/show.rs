//! What is up, as it is now: what `netctl show` tells of a topology, a namespace or a link. Reads only.

mod foreign;
mod link;
mod nat;
mod object;
mod place;
mod sysctls;

use serde::{Serialize, Serializer};

use self::place::View;
pub use self::{
    foreign::{ShownAddress, ShownPolicy, ShownRoute},
    link::ShownLink,
    nat::{ShownNat, ShownRule},
    object::Object,
    place::ShownPlace,
    sysctls::ShownSysctl,
};
use crate::{
    hint::Advise,
    model::{IfName, Place, TopologyName},
    nat::{classic, ebpf},
    netlink,
    op::{Line, Op},
    ownership, place as open, single,
    state::{self, Directories, NotUp, Record},
    sysctl::SysctlError,
    up::{self, Wanted},
};

/// The number of the shape that [`Shown`] has as JSON: it is raised where a key goes or comes to mean something else,
/// and not where one is added.
pub const VERSION: u32 = 1;

/// Why something cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not up.
    #[error("{0}")]
    NotUp(#[from] NotUp),
    /// Nothing has that name.
    #[error("there is neither a topology nor a namespace `{name}`")]
    Unknown {
        /// The name.
        name: TopologyName,
        /// What may be meant.
        nearest: Option<String>,
    },
    /// A namespace or a link is not there, or may not be looked at.
    #[error("{0}")]
    Single(#[from] single::Error),
    /// This process may not look.
    #[error("{0}")]
    Up(#[from] up::Error),
    /// The record could not be read.
    #[error("{0}")]
    State(#[from] state::Error),
    /// A place could not be entered.
    #[error("{0}")]
    Place(#[from] open::Error),
    /// A place does not answer.
    #[error("{0}")]
    Netlink(#[from] netlink::Error),
    /// The maps could not be read.
    #[error("{0}")]
    Nat(#[from] ebpf::Error),
    /// Netfilter's rules could not be read.
    #[error("{0}")]
    Rules(#[from] classic::Error),
    /// A sysctl could not be read.
    #[error("{0}")]
    Sysctl(#[from] SysctlError),
}

impl Advise for Error {
    fn advice(&self) -> Option<String> {
        match self {
            Self::Unknown { nearest: Some(nearest), .. } => Some(format!("did you mean `{nearest}`?")),
            Self::Unknown { nearest: None, .. } => {
                Some("`netctl ls` lists the topologies that are up, `netctl ns ls` the namespaces".to_owned())
            }
            _ => None,
        }
    }
}

impl Error {
    /// Whether what was to be shown is not there.
    #[must_use]
    pub const fn is_absence(&self) -> bool {
        use single::Error::{NoInterface, NoNamespace};
        matches!(self, Self::NotUp(_) | Self::Unknown { .. })
            || matches!(self, Self::Single(NoNamespace { .. } | NoInterface { .. }))
    }
}

/// What there is to see of one object.
#[derive(Debug, Serialize)]
pub struct Shown {
    /// [`VERSION`].
    pub version: u32,
    /// The topology; `None` for a namespace of none.
    pub name: Option<TopologyName>,
    /// False after a command was killed half-way, and while one is at work.
    pub complete: bool,
    /// What bringing the topology up again would do, of what is shown.
    #[serde(serialize_with = "as_lines")]
    pub drift: Vec<Op>,
    /// Why that cannot be told, or would fail.
    pub conflict: Option<String>,
    /// The topology's namespaces, then the host if it has links there; or the one that was asked for.
    pub places: Vec<ShownPlace>,
}

fn as_lines<S: Serializer>(ops: &[Op], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(ops.iter().map(Line::new))
}

/// Looks at an object and everything that belongs to it.
///
/// # Errors
/// If it is not there, or something of it cannot be read.
pub fn show(object: &Object, directories: &Directories) -> Result<Shown, Error> {
    up::require_root()?;
    match object {
        Object::Topology(name) => {
            let record = directories.record(name)?.ok_or_else(|| NotUp(name.clone()))?;
            let view = View { topology: Some(&record.topology), link: None };
            let mut its = record.topology.places();
            if ownership::check_host(Some(&record)).is_err() {
                // Another host's links are not to be seen from here.
                its.retain(|place| *place != Place::Host);
            }
            let places = place::look(&its, view, directories)?;
            Ok(Shown::new(Some(&record), places, |_| true, directories))
        }
        Object::Place(place) => {
            let (record, places) = alone(place, None, directories)?;
            Ok(Shown::new(record.as_ref(), places, |op| op.place == *place, directories))
        }
        Object::Link(place, interface) => {
            let (record, places) = alone(place, Some(interface), directories)?;
            Ok(Shown::new(record.as_ref(), places, |op| op.is_about(interface, place), directories))
        }
    }
}

/// A place, or a link, that has to be there, with the record of the topology whose it is.
fn alone(
    place: &Place,
    link: Option<&IfName>,
    directories: &Directories,
) -> Result<(Option<Record>, Vec<ShownPlace>), Error> {
    let links = single::links(&mut open::Places::default(), place)?;
    let found = link.map(|link| single::find(links, place, link, "show link")).transpose()?;
    let record = match (place, found) {
        (Place::Netns(_), _) => owner(place, directories)?,
        // The host is nobody's, its links may be somebody's.
        (Place::Host, found) => match found.as_ref().and_then(single::owner_of) {
            Some(name) => directories.record(&name)?,
            None => None,
        },
    };
    let view = View { topology: record.as_ref().map(|record| &record.topology), link };
    let places = place::look(std::slice::from_ref(place), view, directories)?;
    Ok((record, places))
}

/// The record of the topology that a namespace is of.
fn owner(place: &Place, directories: &Directories) -> Result<Option<Record>, Error> {
    let mut records = directories.readable_records()?.into_iter();
    Ok(records.find(|record| record.topology.places().contains(place)))
}

impl Shown {
    fn new(
        record: Option<&Record>,
        places: Vec<ShownPlace>,
        is_shown: impl Fn(&Op) -> bool,
        directories: &Directories,
    ) -> Self {
        let topology = record.map(|record| &record.topology);
        let (drift, conflict) =
            match topology.map(|topology| up::preview(Wanted::again(topology), directories)) {
                None => (Vec::new(), None),
                Some(Ok(ops)) => (ops.into_iter().filter(is_shown).collect(), None),
                Some(Err(error)) => (Vec::new(), Some(error.to_string())),
            };
        Self {
            version: VERSION,
            name: topology.map(|topology| topology.name.clone()),
            complete: record.is_none_or(|record| record.complete),
            drift,
            conflict,
            places,
        }
    }
}
