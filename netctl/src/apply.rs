//! Doing what was planned, all of it or nothing.
//!
//! Netlink messages for one place leave in one batch; the kernel answers each, so that a refusal names its own
//! operation. What was done is journalled, and undone in reverse when something fails. Before operations take something
//! down, the journal keeps how the kernel has it, since more may go with it than they say.

mod hint;
mod keep;
mod nat;

use std::{collections::BTreeSet, fmt, slice};

use nix::errno::Errno;

use self::keep::Kept;
use crate::{
    fault,
    hint::Advise,
    interrupt,
    model::{IfName, NetnsName, Place, TopologyName},
    nat::{self as translation, classic},
    netlink::{self, Refusal, Request, addr, link},
    netns::{Netns, NetnsError},
    op::{
        AddressChange, Change, Exchanged, LinkChange, NamespaceChange, NatChange, NeighbourChange, Op,
        RouteChange, RuleChange,
    },
    ownership::mark,
    place::{self, Places},
    state::Directories,
    sysctl,
};

/// Why one operation failed.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The kernel's no.
    #[error("{0}")]
    Refused(Refusal),
    /// The socket failed; how much of the batch was done is unknown.
    #[error("{0}")]
    Netlink(#[from] netlink::Error),
    /// An interface or a namespace that it names is not there.
    #[error("there is no such interface")]
    NoSuchInterface,
    /// The place cannot be used.
    #[error("{0}")]
    Place(#[from] place::Error),
    /// The namespace cannot be made or removed.
    #[error("{0}")]
    Netns(#[from] NetnsError),
    /// The sysctl cannot be written.
    #[error("{0}")]
    Sysctl(#[from] sysctl::SysctlError),
    /// Translation cannot be set up.
    #[error("{0}")]
    Nat(#[from] translation::Error),
    /// Rules of netfilter's cannot be changed.
    #[error("{0}")]
    Rules(#[from] classic::Error),
    /// The user thought better of it.
    #[error("interrupted")]
    Interrupted,
}

/// One operation's failure.
#[derive(Debug)]
pub struct Fault {
    /// What was tried.
    pub op: Box<Op>,
    /// Why it failed.
    pub cause: Cause,
}

impl fmt::Display for Fault {
    /// ``create bridge `v-net-0` in namespace `router`: File exists``; where the cause tells all of it, it alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::Sysctl(cause) => write!(f, "{}: {}", self.op, cause.reason()),
            Cause::Netns(cause) | Cause::Place(place::Error::Netns(cause)) => cause.fmt(f),
            Cause::Interrupted => write!(f, "interrupted before: {}", self.op),
            cause => write!(f, "{}: {cause}", self.op),
        }
    }
}

impl std::error::Error for Fault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

/// Why it was not done. What had been done was undone, but for what is left.
#[derive(Debug, thiserror::Error)]
#[error("{fault}")]
pub struct Failure {
    /// The operation that failed.
    #[source]
    pub fault: Fault,
    /// What could not be undone after it; empty when everything is as before.
    pub left: Vec<Fault>,
}

impl Advise for Failure {
    fn advice(&self) -> Option<String> {
        let left = self.left.first()?;
        Some(format!("some of it could not be undone ({left}); `netctl down` tries again"))
    }
}

/// Does `ops` in their order, and tells `watch` of each that is done.
///
/// # Errors
/// The first failure, after what was done has been undone.
pub fn apply(
    ops: &[Op],
    topology: &TopologyName,
    places: &mut Places,
    directories: &Directories,
    watch: &mut dyn FnMut(Step<'_>),
) -> Result<Vec<Exchanged>, Failure> {
    let (mark, gateways, exchanged) = (mark(topology), topology, Vec::new());
    let mut worker =
        Worker { mark, gateways, places, directories, undoing: false, exchanged, made: BTreeSet::new() };
    let mut journal = Journal::new(ops.len(), watch);
    let result = worker.run(ops, &mut journal);
    let entries = journal.entries;
    match result {
        Ok(()) => Ok(worker.exchanged),
        Err(fault) => Err(Failure { fault, left: worker.undo(&entries) }),
    }
}

/// How far it has come.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// Operations done.
    pub done: usize,
    /// Operations in all.
    pub total: usize,
    /// The last one done.
    pub op: &'a Op,
}

/// What was done, in order, and who is told of it.
struct Journal<'a> {
    entries: Vec<Entry>,
    done: usize,
    total: usize,
    watch: &'a mut dyn FnMut(Step<'_>),
}

/// A line of the journal.
enum Entry {
    /// It was done.
    Done(Box<Op>),
    /// It was so before what follows.
    Kept(Box<Kept>),
}

impl<'a> Journal<'a> {
    fn new(total: usize, watch: &'a mut dyn FnMut(Step<'_>)) -> Self {
        Self { entries: Vec::new(), done: 0, total, watch }
    }

    fn push(&mut self, op: Op) {
        self.done += 1;
        (self.watch)(Step { done: self.done, total: self.total, op: &op });
        self.entries.push(Entry::Done(Box::new(op)));
    }
}

/// Does `ops` one after the other, for nobody: what is made carries no mark. Those about translation are about that of
/// `gateways`. Nothing is tried after a failure, not even what a batch would have done with it, since not everything that
/// single commands do can be undone.
///
/// # Errors
/// Those of [`apply`].
pub fn apply_singly(
    ops: &[Op],
    gateways: &TopologyName,
    places: &mut Places,
    directories: &Directories,
) -> Result<(), Failure> {
    let (mark, exchanged) = (String::new(), Vec::new());
    let mut worker =
        Worker { mark, gateways, places, directories, undoing: false, exchanged, made: BTreeSet::new() };
    let mut unwatched = |_: Step<'_>| {};
    let mut journal = Journal::new(ops.len(), &mut unwatched);
    let result = ops.iter().try_for_each(|op| worker.run(slice::from_ref(op), &mut journal));
    let entries = journal.entries;
    result.map_err(|fault| Failure { fault, left: worker.undo(&entries) })
}

struct Worker<'a> {
    /// Whose a namespace that is made is; empty for nobody.
    mark: String,
    /// Whose the gateways are.
    gateways: &'a TopologyName,
    places: &'a mut Places,
    directories: &'a Directories,
    /// Then nothing is kept and no interrupt heeded.
    undoing: bool,
    /// What the kernel said of the sysctls that were set.
    exchanged: Vec<Exchanged>,
    /// The namespaces that were made.
    made: BTreeSet<Place>,
}

impl Worker<'_> {
    /// Does operations up to the first failure; those that were done are appended to the journal.
    fn run(&mut self, ops: &[Op], journal: &mut Journal<'_>) -> Result<(), Fault> {
        let mut batch = Batch::default();
        let mut rest = ops;
        // How many of the rest are kept from already.
        let mut kept = 0;
        while let Some((op, later)) = rest.split_first() {
            let _span = tracing::debug_span!("op", place = %op.place, %op).entered();
            let fault = |cause| Fault { op: Box::new(op.clone()), cause };
            if !self.undoing && interrupt::is_requested() {
                return Err(fault(Cause::Interrupted));
            }
            let names = leading_namespaces(rest);
            if !names.is_empty() {
                self.send(&mut batch, journal)?;
                self.create_namespaces(&names, journal)?;
                rest = &rest[names.len()..];
                continue;
            }
            if kept == 0 && !self.undoing {
                kept = keep::leading(rest);
                if kept > 0 {
                    self.send(&mut batch, journal)?;
                    let before = Kept::before(&rest[..kept], &self.made, self.places).map_err(fault)?;
                    journal.entries.extend(before.into_iter().map(|kept| Entry::Kept(Box::new(kept))));
                }
            }
            kept = kept.saturating_sub(1);
            if nat::together(rest) > 1 {
                self.send(&mut batch, journal)?;
            }
            let together = self.perform_together(rest);
            if !together.is_empty() {
                together.iter().for_each(|op| journal.push(op.clone()));
                rest = &rest[together.len()..];
                continue;
            }
            match self.prepare(op, &mut batch, journal)? {
                Some(request) => batch.push(op, request),
                None if op.is_message() => return Err(fault(Cause::NoSuchInterface)),
                None => {
                    tracing::debug!("perform");
                    match self.perform(op) {
                        Ok(()) => journal.push(op.clone()),
                        Err(cause) if is_done_already(op, &cause) => {}
                        Err(cause) => return Err(fault(cause)),
                    }
                    fault::point();
                }
            }
            rest = later;
        }
        self.send(&mut batch, journal)
    }

    /// Makes namespaces side by side; those that could be made are in the journal, whatever became of the others.
    fn create_namespaces(&mut self, names: &[NetnsName], journal: &mut Journal<'_>) -> Result<(), Fault> {
        let Some(first) = names.first() else { return Ok(()) };
        let create =
            |name: &NetnsName| Op::new(&Place::Netns(name.clone()), NamespaceChange::CreateNamespace);
        let fault =
            |name: &NetnsName, cause: place::Error| Fault { op: Box::new(create(name)), cause: cause.into() };
        let made = self.places.create(names, &self.mark).map_err(|cause| fault(first, cause))?;
        let mut failed = Ok(());
        for (name, made) in names.iter().zip(made) {
            match made {
                Ok(()) => {
                    self.made.insert(Place::Netns(name.clone()));
                    journal.push(create(name));
                }
                Err(cause) => failed = failed.and(Err(fault(name, cause))),
            }
        }
        fault::point();
        failed
    }

    /// The operation's message, if it is one. What it depends on is sent before.
    fn prepare(
        &mut self,
        op: &Op,
        batch: &mut Batch,
        journal: &mut Journal<'_>,
    ) -> Result<Option<Request>, Fault> {
        let unknown =
            op.needs_index().filter(|(place, interface)| self.places.index(place, interface).is_none());
        if !op.is_message()
            || unknown.is_some()
            || batch.place.as_ref() != Some(&op.place)
            || fault::is_armed()
        {
            self.send(batch, journal)?;
        }
        if let Some((place, _)) = unknown {
            let refreshed = self.places.refresh(place);
            refreshed.map_err(|cause| Fault { op: Box::new(op.clone()), cause: cause.into() })?;
        }
        let request = op.request(self.places);
        for (place, interface) in op.renumbers() {
            self.places.unlearn(place, interface);
        }
        Ok(request)
    }

    fn send(&mut self, batch: &mut Batch, journal: &mut Journal<'_>) -> Result<(), Fault> {
        let Batch { place: Some(place), ops, requests } = std::mem::take(batch) else { return Ok(()) };
        tracing::debug!(%place, messages = requests.len(), "send");
        let socket = self.places.socket(&place);
        let answers = socket.map_err(Cause::from).and_then(|socket| Ok(socket.execute(requests)?));
        let answers = match (answers, ops.first().cloned()) {
            (Ok(answers), _) => answers,
            (Err(cause), Some(first)) => {
                // Any of them may have been done.
                ops.into_iter().for_each(|op| journal.push(op));
                return Err(Fault { op: Box::new(first), cause });
            }
            (Err(_), None) => return Ok(()),
        };
        let mut fault = None;
        for (op, answer) in ops.into_iter().zip(answers) {
            match answer {
                Ok(()) => journal.push(op),
                Err(refusal) => {
                    let cause = Cause::Refused(refusal);
                    if !is_done_already(&op, &cause) {
                        fault.get_or_insert(Fault { op: Box::new(op), cause });
                    }
                }
            }
        }
        fault::point();
        fault.map_or(Ok(()), Err)
    }

    /// Does what is not sent in a batch.
    fn perform(&mut self, op: &Op) -> Result<(), Cause> {
        let place = &op.place;
        match &op.change {
            Change::Namespace(change) => self.change_namespace(place, *change),
            Change::Sysctl(change) => {
                let netns = self.places.netns(place)?;
                let key = change.key.parse()?;
                let exceptions = sysctl::exceptions(netns, &key)?;
                let (before, after) = sysctl::exchange(netns, &key, &change.value)?;
                let at = |key: String, before, after| Exchanged { place: place.clone(), key, before, after };
                self.exchanged.push(at(change.key.clone(), before, after.clone()));
                // Of what the kernel has set along with it.
                let others =
                    exceptions.into_iter().map(|(key, was)| at(key.to_string(), Some(was), after.clone()));
                self.exchanged.extend(others);
                Ok(())
            }
            Change::Nat(change) => Ok(self.change_nat(place, change)?),
            Change::Filter(change) => {
                let netns = self.places.netns(place)?;
                Ok(classic::change(change.tool, self.gateways, netns, &change.before, &change.rules)?)
            }
            Change::Address(AddressChange::DeleteAddress { interface, address, first: true }) => {
                let index = self.places.find(place, interface)?.ok_or(Cause::NoSuchInterface)?;
                self.without_its_others(place, interface, addr::delete(index, *address))
            }
            Change::Link(_)
            | Change::Address(_)
            | Change::Route(_)
            | Change::Rule(_)
            | Change::Neighbour(_) => {
                let request = op.request(self.places).ok_or(Cause::NoSuchInterface)?;
                self.execute(place, request)
            }
        }
    }

    fn change_namespace(&mut self, place: &Place, change: NamespaceChange) -> Result<(), Cause> {
        let Place::Netns(name) = place else { return Err(place::Error::NotOpen(place.clone()).into()) };
        match change {
            NamespaceChange::CreateNamespace => {
                let made = self.places.create(slice::from_ref(name), &self.mark)?;
                Ok(made.into_iter().collect::<Result<(), _>>()?)
            }
            NamespaceChange::DeleteNamespace => {
                self.places.close(place);
                Ok(Netns::delete(name)?)
            }
        }
    }

    /// Takes the first address of a subnet away and leaves its others, which the kernel takes along unless it is told to
    /// promote the next one (`__inet_del_ifa` in net/ipv4/devinet.c).
    fn without_its_others(
        &mut self,
        place: &Place,
        interface: &IfName,
        request: Request,
    ) -> Result<(), Cause> {
        let key: sysctl::Key =
            format!("net.ipv4.conf.{}.promote_secondaries", interface.as_str().replace('.', "/")).parse()?;
        let before = sysctl::read(self.places.netns(place)?, slice::from_ref(&key))?.pop().flatten();
        sysctl::write(self.places.netns(place)?, &[(key.clone(), "1".to_owned())])?;
        let done = self.execute(place, request);
        if let Some(before) = before {
            sysctl::write(self.places.netns(place)?, &[(key, before)])?;
        }
        done
    }

    fn execute(&mut self, place: &Place, request: Request) -> Result<(), Cause> {
        let answers = self.places.socket(place)?.execute(vec![request])?;
        answers.into_iter().collect::<Result<(), Refusal>>().map_err(Cause::Refused)
    }

    /// Undoes a journal; what stays behind is returned. What is in a namespace that was made goes with it, but for the
    /// pins, which are elsewhere.
    fn undo(&mut self, journal: &[Entry]) -> Vec<Fault> {
        self.undoing = true;
        let made = std::mem::take(&mut self.made);
        let goes_by_itself = |op: &Op| {
            let is_elsewhere = match &op.change {
                Change::Namespace(NamespaceChange::DeleteNamespace)
                | Change::Nat(NatChange::UnloadNat { .. }) => true,
                Change::Link(LinkChange::Move { to, .. }) => !made.contains(to),
                Change::Namespace(_)
                | Change::Link(_)
                | Change::Address(_)
                | Change::Route(_)
                | Change::Rule(_)
                | Change::Neighbour(_)
                | Change::Sysctl(_)
                | Change::Nat(_)
                | Change::Filter(_) => false,
            };
            made.contains(&op.place) && !is_elsewhere
        };
        let mut left = Vec::new();
        let mut rest = journal;
        while let Some((entry, earlier)) = rest.split_last() {
            if let Entry::Kept(kept) = entry {
                left.extend(kept.restore(self.places));
                rest = earlier;
                continue;
            }
            let done = rest.rsplit(|entry| matches!(entry, Entry::Kept(_))).next().unwrap_or_default();
            let ops = done.iter().rev().flat_map(|entry| match entry {
                Entry::Done(op) => op.inverse(),
                Entry::Kept(_) => Vec::new(),
            });
            left.extend(self.undo_with(&ops.filter(|op| !goes_by_itself(op)).collect::<Vec<_>>()));
            rest = &rest[..rest.len() - done.len()];
        }
        left
    }

    /// Does what undoes, as much of it as can be done.
    fn undo_with(&mut self, ops: &[Op]) -> Vec<Fault> {
        let mut left = Vec::new();
        let mut unwatched = |_: Step<'_>| {};
        let mut journal = Journal::new(0, &mut unwatched);
        let mut rest = ops;
        while let Some(op) = rest.first() {
            let links = leading_links(rest);
            if links.len() > 1 && self.delete_together(&op.place, &links).is_ok() {
                rest = &rest[links.len()..];
                continue;
            }
            let together = self.perform_together(rest);
            if !together.is_empty() {
                rest = &rest[together.len()..];
                continue;
            }
            left.extend(self.run(slice::from_ref(op), &mut journal).err());
            rest = &rest[1..];
        }
        left
    }

    /// Deletes links of a place, all or none: one by one, the kernel would wait for its readers every time.
    fn delete_together(&mut self, place: &Place, links: &[&IfName]) -> Result<(), Cause> {
        let socket = self.places.socket(place)?;
        let group = link::free_group(&link::dump(socket)?);
        let marked = socket.execute(links.iter().map(|name| link::set_group(*name, group)).collect())?;
        marked.into_iter().collect::<Result<(), Refusal>>().map_err(Cause::Refused)?;
        let deleted = socket.execute(vec![link::delete_group(group)])?;
        deleted.into_iter().collect::<Result<(), Refusal>>().map_err(Cause::Refused)?;
        links.iter().for_each(|name| self.places.unlearn(place, name));
        Ok(())
    }
}

/// Whether something that an operation was to take away is not there any more: the kernel, or somebody else, has done it.
fn is_done_already(op: &Op, cause: &Cause) -> bool {
    let errno = match cause {
        Cause::Refused(refusal) => refusal.errno,
        Cause::NoSuchInterface => Errno::ENODEV,
        Cause::Netns(NetnsError::NotFound { .. }) => Errno::ENOENT,
        _ => return false,
    };
    match &op.change {
        Change::Namespace(NamespaceChange::DeleteNamespace) => errno == Errno::ENOENT,
        Change::Link(LinkChange::DeleteLink { .. }) => errno == Errno::ENODEV,
        Change::Address(AddressChange::DeleteAddress { .. }) => {
            matches!(errno, Errno::EADDRNOTAVAIL | Errno::ENODEV)
        }
        Change::Route(RouteChange::DeleteRoute { .. }) => matches!(errno, Errno::ESRCH | Errno::ENODEV),
        Change::Rule(RuleChange::DeleteRule { .. })
        | Change::Neighbour(NeighbourChange::DeleteNeighbour { .. }) => errno == Errno::ENOENT,
        Change::Namespace(_)
        | Change::Link(_)
        | Change::Address(_)
        | Change::Route(_)
        | Change::Rule(_)
        | Change::Neighbour(_)
        | Change::Sysctl(_)
        | Change::Nat(_)
        | Change::Filter(_) => false,
    }
}

/// The links of one place that `ops` begin with deleting.
fn leading_links(ops: &[Op]) -> Vec<&IfName> {
    let Some(first) = ops.first() else { return Vec::new() };
    ops.iter()
        .take_while(|op| op.place == first.place)
        .map_while(|op| match &op.change {
            Change::Link(LinkChange::DeleteLink { interface, .. }) => Some(interface),
            _ => None,
        })
        .collect()
}

/// How many namespaces are made between checks for an interrupt.
const NAMESPACES_AT_ONCE: usize = 256;

/// The namespaces that `ops` begin with.
fn leading_namespaces(ops: &[Op]) -> Vec<NetnsName> {
    let name = |op: &Op| match (&op.place, &op.change) {
        (Place::Netns(name), Change::Namespace(NamespaceChange::CreateNamespace)) => Some(name.clone()),
        _ => None,
    };
    let most = if fault::is_armed() { 1 } else { NAMESPACES_AT_ONCE };
    ops.iter().map_while(name).take(most).collect()
}

/// Messages for one place that leave together.
#[derive(Default)]
struct Batch {
    place: Option<Place>,
    ops: Vec<Op>,
    requests: Vec<Request>,
}

impl Batch {
    fn push(&mut self, op: &Op, request: Request) {
        self.place.get_or_insert_with(|| op.place.clone());
        self.ops.push(op.clone());
        self.requests.push(request);
    }
}
