//! Open places: a namespace's handle, the netlink socket that is bound to it, and the interface indexes known there.
//! Also the owner's mark, by which netctl knows its own.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd as _, BorrowedFd},
};

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::{
    apply::DOCTOR,
    errno,
    model::{IfName, NetnsName, Place, TopologyName},
    netlink::{self, Refusal, Socket, link, nsid},
    netns::{Netns, NetnsError},
    op::{Lookup, Mac},
};

/// Why a place cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The namespace cannot be opened, entered or made.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// Its netlink socket fails.
    #[error(transparent)]
    Netlink(#[from] netlink::Error),
    /// The kernel refuses a new namespace's first messages.
    #[error("{0}")]
    Refused(Refusal),
    /// There is no descriptor left.
    #[error("open a namespace again: {}", errno::Io(.0))]
    Descriptor(io::Error),
    /// It was never opened.
    #[error("there is no namespace `{0}`")]
    NotOpen(Place),
}

impl Error {
    /// What to do about it, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Netns(error) => error.hint(),
            Self::Netlink(netlink::Error::Socket { errno: Errno::EMFILE, .. }) => {
                Some("each namespace takes two files: `ulimit -n` is the limit".to_owned())
            }
            Self::Refused(Refusal { errno: Errno::EPERM, .. }) => Some(DOCTOR.to_owned()),
            _ => None,
        }
    }
}

const MARK: &str = "netctl:";

/// What `IFLA_IFALIAS` takes: `IFALIASZ` without the closing NUL.
const ALIAS: usize = 255;

/// The mark that every link of a topology carries as its alias, and the loopback of every namespace that it owns:
/// `netctl:TOPOLOGY`.
#[must_use]
pub fn mark(topology: &TopologyName) -> String {
    format!("{MARK}{topology}")
}

/// The mark of a link that the kernel has a shortened name of: `netctl:TOPOLOGY/FULL-NAME`, cut where an alias ends.
#[must_use]
pub fn mark_in_full(topology: &TopologyName, full_name: &str) -> String {
    let mut alias = format!("{}/{full_name}", mark(topology));
    alias.truncate(alias.floor_char_boundary(ALIAS));
    alias
}

/// Whose mark an alias is.
#[must_use]
pub fn owner(alias: &str) -> Option<TopologyName> {
    let rest = alias.strip_prefix(MARK)?;
    rest.split_once('/').map_or(rest, |(topology, _)| topology).parse().ok()
}

/// Whose a link of `place` is: by its mark or, if it has no alias at all, by the MAC address that only `topology` gives a
/// link of that name. The address travels in the message that creates a link, the mark in the next one: a netctl that is
/// killed between the two still leaves nothing that it would not know again.
#[must_use]
pub fn owner_of(link: &link::Link, place: &Place, topology: &TopologyName) -> Option<TopologyName> {
    match &link.alias {
        Some(alias) => owner(alias),
        None => {
            let own = Mac::of(topology, place, &link.name.parse().ok()?);
            (link.address == Some(own.0)).then(|| topology.clone())
        }
    }
}

/// The full name in a link's mark, if there is one.
#[must_use]
pub fn full_name(alias: &str) -> Option<&str> {
    owner(alias)?;
    alias.split_once('/').map(|(_, full_name)| full_name)
}

/// Whose namespaces these are, by the marks on their loopbacks, each in its place; `None` also if it is not there.
///
/// # Errors
/// If none could be tried. Each: if it cannot be looked into.
pub fn owners(names: &[NetnsName]) -> Result<Vec<Result<Option<TopologyName>, Error>>, Error> {
    let read_mark = || {
        let links = link::dump(&mut Socket::open()?)?;
        let loopback = links.into_iter().find(|link| link.kind.is_none() && link.name == "lo");
        Ok::<_, Error>(loopback.and_then(|link| link.alias).as_deref().and_then(owner))
    };
    let owner = |looked: Result<(Netns, Option<TopologyName>), Error>| match looked {
        Err(Error::Netns(NetnsError::NotFound { .. })) => Ok(None),
        looked => looked.map(|(_, owner)| owner),
    };
    Ok(Netns::open_all(names, read_mark)?.into_iter().map(owner).collect())
}

/// One open place.
struct Open {
    netns: Netns,
    socket: Socket,
    indexes: BTreeMap<IfName, u32>,
}

impl Open {
    /// Opens the socket on a thread inside; it stays bound there.
    fn new(netns: Netns) -> Result<Self, Error> {
        let socket = netns.run(|| Socket::open().map_err(Error::from))?;
        Ok(Self { netns, socket, indexes: BTreeMap::new() })
    }
}

/// The places opened so far.
#[derive(Default)]
pub struct Places(BTreeMap<Place, Open>);

impl Places {
    /// Opens a place, if it is not open yet; false if there is no such namespace.
    ///
    /// # Errors
    /// If it is there and cannot be entered.
    pub fn open(&mut self, place: &Place) -> Result<bool, Error> {
        if self.0.contains_key(place) {
            return Ok(true);
        }
        let netns = match place {
            Place::Host => Netns::current(),
            Place::Netns(name) => Netns::open(name),
        };
        let netns = match netns {
            Err(NetnsError::NotFound { .. }) => return Ok(false),
            netns => netns?,
        };
        self.0.insert(place.clone(), Open::new(netns)?);
        Ok(true)
    }

    /// Opens those of the namespaces that exist and are not open yet, side by side.
    ///
    /// # Errors
    /// If one is there and cannot be entered.
    pub fn open_all(&mut self, names: &[NetnsName]) -> Result<(), Error> {
        let is_new = |name: &&NetnsName| !self.0.contains_key(&Place::Netns((*name).clone()));
        let names: Vec<NetnsName> = names.iter().filter(is_new).cloned().collect();
        if names.is_empty() {
            return Ok(());
        }
        self.allow_open_files(names.len());
        let opened = Netns::open_all(&names, || Socket::open().map_err(Error::from))?;
        for (name, opened) in names.iter().zip(opened) {
            match opened {
                Ok(opened) => self.keep(name, opened),
                Err(Error::Netns(NetnsError::NotFound { .. })) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Makes namespaces whose loopbacks are up and marked before anyone can see them; each one's outcome is in its
    /// place.
    ///
    /// # Errors
    /// If none could be tried. Each: if the name is taken or the kernel refuses.
    pub fn create(&mut self, names: &[NetnsName], mark: &str) -> Result<Vec<Result<(), Error>>, Error> {
        let prepare = || {
            let mut socket = Socket::open()?;
            // The loopback of every namespace has index 1 (LOOPBACK_IFINDEX).
            for answer in socket.execute(vec![link::set_alias(1, mark), link::set_up(1)])? {
                answer.map_err(Error::Refused)?;
            }
            Ok::<_, Error>(socket)
        };
        self.allow_open_files(names.len());
        let made = Netns::create_all(names, prepare)?;
        Ok(names.iter().zip(made).map(|(name, made)| made.map(|made| self.keep(name, made))).collect())
    }

    /// Raises the soft limit of open files as far as so many more places need it and the hard limit lets it: each takes
    /// two, and a shell allows 1024. What stays too low is said by the call that then fails.
    fn allow_open_files(&self, more: usize) {
        /// For all that is not a place.
        const SPARE: usize = 256;
        let wanted = ((self.0.len() + more) * 2 + SPARE) as u64;
        if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
            && soft < wanted
        {
            let _ = setrlimit(Resource::RLIMIT_NOFILE, wanted.min(hard), hard);
        }
    }

    fn keep(&mut self, name: &NetnsName, (netns, socket): (Netns, Socket)) {
        let open = Open { netns, socket, indexes: BTreeMap::new() };
        self.0.insert(Place::Netns(name.clone()), open);
    }

    /// Closes a place.
    pub fn close(&mut self, place: &Place) {
        self.0.remove(place);
    }

    /// The namespace of an open place.
    ///
    /// # Errors
    /// If it is not open.
    pub fn netns(&self, place: &Place) -> Result<&Netns, Error> {
        self.0.get(place).map(|open| &open.netns).ok_or_else(|| Error::NotOpen(place.clone()))
    }

    /// The socket of an open place.
    ///
    /// # Errors
    /// If it is not open.
    pub fn socket(&mut self, place: &Place) -> Result<&mut Socket, Error> {
        self.0.get_mut(place).map(|open| &mut open.socket).ok_or_else(|| Error::NotOpen(place.clone()))
    }

    /// The number that one open place has for the namespace of another; `None` if they have nothing to do with each
    /// other.
    ///
    /// # Errors
    /// If one of them is not open or does not answer.
    pub fn number_of(&mut self, other: &Place, place: &Place) -> Result<Option<i32>, Error> {
        // The same file again, so that the socket can be had beside it.
        let netns = self.netns(other)?.as_fd().try_clone_to_owned().map_err(Error::Descriptor)?;
        Ok(nsid::of(self.socket(place)?, netns.as_fd())?)
    }

    /// Takes the indexes from a dump.
    pub fn learn(&mut self, place: &Place, links: &[link::Link]) {
        if let Some(open) = self.0.get_mut(place) {
            let named = links.iter().filter_map(|link| Some((link.name.parse().ok()?, link.index)));
            open.indexes = named.collect();
        }
    }

    /// Forgets an index that is about to change.
    pub fn unlearn(&mut self, place: &Place, interface: &IfName) {
        if let Some(open) = self.0.get_mut(place) {
            open.indexes.remove(interface);
        }
    }

    /// Asks the kernel for the indexes again.
    ///
    /// # Errors
    /// If the place is not open or does not answer.
    pub fn refresh(&mut self, place: &Place) -> Result<(), Error> {
        let links = link::dump(self.socket(place)?)?;
        self.learn(place, &links);
        Ok(())
    }
}

impl Lookup for Places {
    fn index(&self, place: &Place, interface: &IfName) -> Option<u32> {
        self.0.get(place)?.indexes.get(interface).copied()
    }

    fn netns(&self, place: &Place) -> Option<BorrowedFd<'_>> {
        self.0.get(place).map(|open| open.netns.as_fd())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_names_its_owner() {
        let office: TopologyName = "office".parse().unwrap();
        assert_eq!(owner(&mark(&office)), Some(office));
        assert_eq!(owner("uplink to netctl:office"), None);
        assert_eq!(owner("netctl:"), None);
        assert_eq!(full_name("netctl:office"), None);
    }

    #[test]
    fn a_mark_has_the_full_name_of_a_shortened_one_as_far_as_it_goes() {
        let office: TopologyName = "office".parse().unwrap();
        let alias = mark_in_full(&office, "the-office/network");
        assert_eq!(alias, "netctl:office/the-office/network");
        assert_eq!((owner(&alias), full_name(&alias)), (Some(office), Some("the-office/network")));
        assert_eq!(full_name("somebody's/alias"), None);
        let longest: TopologyName = "x".repeat(200).parse().unwrap();
        let alias = mark_in_full(&longest, &"é".repeat(100));
        assert_eq!((alias.len(), owner(&alias)), (254, Some(longest)));
    }
}
