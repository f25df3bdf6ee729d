//! What is netctl's own: who made an object, whether it is still as netctl wrote it, and how it was before.
//!
//! | object | known by |
//! | --- | --- |
//! | namespace | the mark on its loopback |
//! | link | the mark, or the MAC address that only its topology gives it on this machine |
//! | address, route, policy rule | netctl's protocol number, in a namespace of the topology; elsewhere the record, too |
//! | sysctl | the record: what was found and what was written |
//! | netfilter rule | the topology's chains or table, and a mark a rule |
//!
//! What is known by none of these is somebody else's, and stays.

mod mark;
mod protocol;
pub mod sysctls;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

pub use self::{
    mark::{full_name, mark, mark_in_full, owner, owner_of},
    protocol::{Past, Recorded},
};
use crate::{
    hint::Advise,
    model::{NetnsName, TopologyName},
    netlink::{Socket, link},
    netns::{Netns, NetnsError},
    op::Machine,
    place,
    state::{HostNetns, Record, VERSION, Whereabouts},
};

/// The machine that this process runs on, by systemd's machine-id(5) or D-Bus's; [`Machine::UNKNOWN`] where there is
/// neither, as in many containers.
#[must_use]
pub fn this_machine() -> Machine {
    static MACHINE: OnceLock<Machine> = OnceLock::new();
    *MACHINE.get_or_init(|| {
        let id = ["/etc/machine-id", "/var/lib/dbus/machine-id"]
            .iter()
            .find_map(|path| fs::read_to_string(path).ok());
        id.map_or(Machine::UNKNOWN, |id| Machine::called(id.trim()))
    })
}

impl<'a> From<&'a Record> for Past<'a> {
    fn from(record: &'a Record) -> Self {
        let is_older = record.version < VERSION;
        Self { topology: &record.topology, left: record.left.as_ref(), is_older }
    }
}

/// Whose namespaces these are, by the marks on their loopbacks, each in its place; `None` also if it is not there.
///
/// # Errors
/// If none could be tried. Each: if it cannot be looked into.
pub fn owners(names: &[NetnsName]) -> Result<Vec<Result<Option<TopologyName>, place::Error>>, place::Error> {
    let read_mark = || {
        let links = link::dump(&mut Socket::open()?)?;
        let loopback = links.into_iter().find(link::Link::is_loopback);
        Ok::<_, place::Error>(loopback.and_then(|link| link.alias).as_deref().and_then(owner))
    };
    let owner = |looked: Result<(Netns, Option<TopologyName>), place::Error>| match looked {
        Err(place::Error::Netns(NetnsError::NotFound { .. })) => Ok(None),
        looked => looked.map(|(_, owner)| owner),
    };
    Ok(Netns::open_all(names, read_mark)?.into_iter().map(owner).collect())
}

/// Why a topology is not this command's to change.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It was brought up in another network namespace, which it calls the host.
    #[error(
        "topology `{topology}` belongs to {theirs}, and this command runs in {here}: nothing was changed"
    )]
    Elsewhere {
        /// The topology.
        topology: TopologyName,
        /// Its host.
        theirs: Box<Whereabouts>,
        /// This command's.
        here: Box<Whereabouts>,
    },
    /// It was brought up from another file.
    #[error(
        "topology `{topology}` is up from {}, and {} has the same name: nothing was changed",
        origin(Some(theirs)),
        origin(ours.as_deref())
    )]
    OtherFile {
        /// The topology.
        topology: TopologyName,
        /// The file that it is up from.
        theirs: PathBuf,
        /// The file that was to be brought up; `None` of the built-in quickstart and of what is no file.
        ours: Option<PathBuf>,
    },
    /// It is not known which namespace this is.
    #[error("{0}")]
    Netns(#[from] NetnsError),
}

impl Advise for Error {
    fn advice(&self) -> Option<String> {
        match self {
            Self::Elsewhere { topology, theirs, .. } => Some(way_down(theirs, topology)),
            Self::OtherFile { topology, ours, .. } => {
                let rename = ours.as_ref().map_or("", |_| "begin this file with another `name = \"NAME\"`, ");
                Some(format!(
                    "{rename}`netctl down {topology}` first, or replace it with `netctl up --force`"
                ))
            }
            Self::Netns(_) => None,
        }
    }
}

/// How to take a topology down where it is.
fn way_down(theirs: &Whereabouts, topology: &TopologyName) -> String {
    match (&theirs.name, theirs.process) {
        (Some(name), _) => format!("`netctl exec {name} -- netctl down {topology}` takes it down there"),
        (None, Some(pid)) => {
            format!("`nsenter --net=/proc/{pid}/ns/net netctl down {topology}` takes it down there")
        }
        (None, None) => format!(
            "no process is left there: `netctl down {topology} --force` removes what can be reached from here"
        ),
    }
}

fn origin(file: Option<&Path>) -> String {
    file.map_or_else(|| "one that is from no file".to_owned(), |file| format!("`{}`", file.display()))
}

/// Refuses a topology that was brought up in another network namespace than the calling thread's, and returns that one.
///
/// # Errors
/// [`Error::Elsewhere`].
pub fn check_host(record: Option<&Record>) -> Result<HostNetns, Error> {
    let here = HostNetns::current()?;
    let Some((record, theirs)) = record.and_then(|record| Some((record, record.host?))) else {
        return Ok(here);
    };
    if theirs.is_same(here) {
        return Ok(here);
    }
    Err(Error::Elsewhere {
        topology: record.topology.name.clone(),
        theirs: Box::new(theirs.whereabouts()),
        here: Box::new(here.whereabouts()),
    })
}

/// Refuses a topology that was brought up from another file. The built-in quickstart is nobody's file: a changed copy of
/// it may follow.
///
/// # Errors
/// [`Error::OtherFile`].
pub fn check_file(record: Option<&Record>, file: Option<&Path>) -> Result<(), Error> {
    let theirs = record.and_then(|record| Some((&record.topology.name, record.file.as_deref()?)));
    match theirs {
        Some((topology, theirs)) if Some(theirs) != file => Err(Error::OtherFile {
            topology: topology.clone(),
            theirs: theirs.to_owned(),
            ours: file.map(Path::to_owned),
        }),
        _ => Ok(()),
    }
}
