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

use std::{fs, sync::OnceLock};

pub use self::{
    mark::{full_name, mark, mark_in_full, owner, owner_of},
    protocol::Recorded,
};
use crate::{
    model::{NetnsName, TopologyName},
    netlink::{Socket, link},
    netns::{Netns, NetnsError},
    op::Machine,
    place::Error,
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

/// Whose namespaces these are, by the marks on their loopbacks, each in its place; `None` also if it is not there.
///
/// # Errors
/// If none could be tried. Each: if it cannot be looked into.
pub fn owners(names: &[NetnsName]) -> Result<Vec<Result<Option<TopologyName>, Error>>, Error> {
    let read_mark = || {
        let links = link::dump(&mut Socket::open()?)?;
        let loopback = links.into_iter().find(link::Link::is_loopback);
        Ok::<_, Error>(loopback.and_then(|link| link.alias).as_deref().and_then(owner))
    };
    let owner = |looked: Result<(Netns, Option<TopologyName>), Error>| match looked {
        Err(Error::Netns(NetnsError::NotFound { .. })) => Ok(None),
        looked => looked.map(|(_, owner)| owner),
    };
    Ok(Netns::open_all(names, read_mark)?.into_iter().map(owner).collect())
}
