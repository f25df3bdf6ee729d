//! Open places: a namespace's handle, the netlink socket that is bound to it, and the interface indexes known there.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd as _, BorrowedFd},
};

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::{
    errno,
    hint::{Advise, DOCTOR},
    model::{IfName, NetnsName, Place},
    netlink::{self, Refusal, Socket, link, nsid},
    netns::{Netns, NetnsError},
    op::Lookup,
};

/// Why a place cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The namespace cannot be opened, entered or made.
    #[error("{0}")]
    Netns(#[from] NetnsError),
    /// Its netlink socket fails.
    #[error("{0}")]
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

impl Advise for Error {
    fn advice(&self) -> Option<String> {
        match self {
            Self::Netlink(netlink::Error::Socket { errno: Errno::EMFILE, .. }) => {
                Some("each namespace takes two files: `ulimit -n` is the limit".to_owned())
            }
            Self::Refused(Refusal { errno: Errno::EPERM, .. }) => Some(DOCTOR.to_owned()),
            _ => None,
        }
    }
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

impl Places {
    /// The index of an interface, as far as it is known.
    #[must_use]
    pub fn index(&self, place: &Place, interface: &IfName) -> Option<u32> {
        self.0.get(place)?.indexes.get(interface).copied()
    }

    /// The index of an interface, asked of the kernel if it is not known; `None` if there is none.
    ///
    /// # Errors
    /// If the place is not open or does not answer.
    pub fn find(&mut self, place: &Place, interface: &IfName) -> Result<Option<u32>, Error> {
        if self.index(place, interface).is_none() {
            self.refresh(place)?;
        }
        Ok(self.index(place, interface))
    }
}

impl Lookup for Places {
    fn index(&self, place: &Place, interface: &IfName) -> Option<u32> {
        Self::index(self, place, interface)
    }

    fn netns(&self, place: &Place) -> Option<BorrowedFd<'_>> {
        self.0.get(place).map(|open| open.netns.as_fd())
    }
}
