//! Namespaces: `netctl ns`.

use std::iter::zip;

use serde::Serialize;

use super::{Error, Session};
use crate::{
    model::{NetnsName, Place, TopologyName},
    netns::{Netns, NetnsError},
    op::{NamespaceChange, NatChange, Op},
    ownership,
};

/// How a name below `/run/netns` stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It stands for a namespace.
    Present,
    /// It does, but this process may not look into it.
    Closed,
    /// It is a file that a crash has left: no namespace is mounted on it.
    Stale,
}

/// A line of `netctl ns ls`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Its name.
    pub name: NetnsName,
    /// How it stands.
    pub state: State,
    /// The topology that made it; `null` for others, and where this process may not look.
    pub owner: Option<TopologyName>,
    /// How many processes live in it, of those that this process may see.
    pub processes: usize,
}

/// A namespace that was deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Deleted {
    /// Its name.
    pub name: NetnsName,
    /// The processes that still live in it, which keeps it alive without a name.
    pub processes: Vec<u32>,
}

/// The namespace of that name.
///
/// # Errors
/// If there is none, with what may be meant, or it may not be opened.
pub fn open(name: &NetnsName) -> Result<Netns, Error> {
    match Netns::open(name) {
        Err(NetnsError::NotFound { .. }) => Err(Error::no_namespace(name)?),
        opened => Ok(opened?),
    }
}

fn op(name: &NetnsName, change: NamespaceChange) -> Op {
    Op::new(&Place::Netns(name.clone()), change)
}

/// Makes namespaces, their loopback up: `ip netns add NAME` and `ip -n NAME link set lo up`.
///
/// # Errors
/// If one is there already; then none is made.
pub fn add(session: &mut Session<'_>, names: &[NetnsName]) -> Result<Vec<Op>, Error> {
    session.apply(names.iter().map(|name| op(name, NamespaceChange::CreateNamespace)).collect())
}

/// Deletes namespaces, or the stale files that are left of them.
///
/// # Errors
/// If one is not there or a topology's; then none is deleted.
pub fn delete(session: &mut Session<'_>, names: &[NetnsName]) -> Result<Vec<Deleted>, Error> {
    let stale = Netns::list_stale()?;
    let owners = ownership::owners(names)?;
    let mut deleted = Vec::new();
    for (name, owner) in zip(names, owners) {
        let op = op(name, NamespaceChange::DeleteNamespace);
        let mut processes = Vec::new();
        if !stale.contains(name) {
            super::open(&mut session.places, &Place::Netns(name.clone()))?;
            session.refuse_owned(&op, owner?)?;
            processes = Netns::open(name)?.processes()?;
        }
        deleted.push(Deleted { name: name.clone(), processes });
    }
    let places = || names.iter().map(|name| Place::Netns(name.clone()));
    let mut ops = Vec::new();
    for place in places() {
        if session.directories.by_hand(&place)?.is_some() {
            ops.push(Op::new(&place, NatChange::UnloadNat { restore: Vec::new() }));
        }
    }
    ops.extend(names.iter().map(|name| op(name, NamespaceChange::DeleteNamespace)));
    session.apply(ops)?;
    places().try_for_each(|place| session.lock.forget_by_hand(session.directories, &place))?;
    Ok(deleted)
}

/// Every name below `/run/netns`, sorted.
///
/// # Errors
/// If that, or `/proc`, cannot be read, or no namespace could be tried.
pub fn ls() -> Result<Vec<Listed>, Error> {
    let processes = Netns::all_processes()?;
    let names = Netns::list()?;
    let owners = ownership::owners(&names)?;
    let mut listed = Vec::new();
    for (name, owner) in zip(names, owners) {
        let netns = match Netns::open(&name) {
            Err(NetnsError::NotFound { .. }) => continue, // gone meanwhile
            netns => netns.ok(),
        };
        let inside = netns.and_then(|netns| processes.get(&netns.identity()));
        let owner = owner.ok();
        listed.push(Listed {
            state: if owner.is_some() { State::Present } else { State::Closed },
            owner: owner.flatten(),
            processes: inside.map_or(0, Vec::len),
            name,
        });
    }
    let stale = Netns::list_stale()?.into_iter();
    listed.extend(stale.map(|name| Listed { name, state: State::Stale, owner: None, processes: 0 }));
    listed.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(listed)
}
