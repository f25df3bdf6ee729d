//! Doing what was planned, all of it or nothing.
//!
//! Netlink messages for one place leave in one batch; the kernel answers each, so that a refusal names its own
//! operation. What was done is journalled, and undone in reverse when something fails.

mod hint;

use std::{collections::BTreeSet, fmt, iter, slice};

pub(crate) use self::hint::{DOCTOR, switch};
use crate::{
    fault, interrupt,
    model::{IfName, NetnsName, Place, TopologyName},
    nat,
    netlink::{self, Refusal, Request, link},
    netns::{Netns, NetnsError},
    op::{Lookup as _, Op},
    place::{self, Places, mark},
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
    #[error(transparent)]
    Netlink(#[from] netlink::Error),
    /// An interface or a namespace that it names is not there.
    #[error("there is no such interface")]
    NoSuchInterface,
    /// The place cannot be used.
    #[error(transparent)]
    Place(#[from] place::Error),
    /// The namespace cannot be made or removed.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// The sysctl cannot be written.
    #[error(transparent)]
    Sysctl(#[from] sysctl::SysctlError),
    /// Translation cannot be set up.
    #[error(transparent)]
    Nat(#[from] nat::Error),
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

/// Why nothing was changed, or what could not be changed back.
#[derive(Debug, thiserror::Error)]
#[error("{fault}")]
pub struct Failure {
    /// The operation that failed.
    pub fault: Fault,
    /// What could not be undone after it; empty when everything is as before.
    pub left: Vec<Fault>,
}

impl Failure {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        if let Some(left) = self.left.first() {
            return Some(format!("some of it could not be undone ({left}); `netctl down` tries again"));
        }
        self.fault.hint()
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
) -> Result<(), Failure> {
    let (mark, gateways) = (mark(topology), topology);
    let mut worker = Worker { mark, gateways, places, directories, heeds_interrupts: true };
    let mut journal = Journal { done: Vec::new(), total: ops.len(), watch };
    let result = worker.run(ops, &mut journal);
    let done = journal.done;
    result.map_err(|fault| Failure { fault, left: worker.undo(&done) })
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
    done: Vec<Op>,
    total: usize,
    watch: &'a mut dyn FnMut(Step<'_>),
}

impl Journal<'_> {
    fn push(&mut self, op: Op) {
        (self.watch)(Step { done: self.done.len() + 1, total: self.total, op: &op });
        self.done.push(op);
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
    let mut worker = Worker { mark: String::new(), gateways, places, directories, heeds_interrupts: true };
    let mut journal = Journal { done: Vec::new(), total: ops.len(), watch: &mut |_| {} };
    let result = ops.iter().try_for_each(|op| worker.run(slice::from_ref(op), &mut journal));
    let done = journal.done;
    result.map_err(|fault| Failure { fault, left: worker.undo(&done) })
}

struct Worker<'a> {
    /// Whose a namespace that is made is; empty for nobody.
    mark: String,
    /// Whose the gateways are.
    gateways: &'a TopologyName,
    places: &'a mut Places,
    directories: &'a Directories,
    /// Not while undoing.
    heeds_interrupts: bool,
}

impl Worker<'_> {
    /// Does operations up to the first failure; those that were done are appended to the journal.
    fn run(&mut self, ops: &[Op], journal: &mut Journal<'_>) -> Result<(), Fault> {
        let mut batch = Batch::default();
        let mut rest = ops;
        while let Some((op, later)) = rest.split_first() {
            let _span = tracing::debug_span!("op", place = %op.place(), %op).entered();
            let fault = |cause| Fault { op: Box::new(op.clone()), cause };
            if self.heeds_interrupts && interrupt::is_requested() {
                return Err(fault(Cause::Interrupted));
            }
            let names = leading_namespaces(rest);
            if !names.is_empty() {
                self.send(&mut batch, journal)?;
                self.create_namespaces(&names, journal)?;
                rest = &rest[names.len()..];
                continue;
            }
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
                    self.perform(op).map_err(fault)?;
                    journal.push(op.clone());
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
        let fault = |name: &NetnsName, cause: place::Error| Fault {
            op: Box::new(Op::CreateNamespace { name: name.clone() }),
            cause: cause.into(),
        };
        let made = self.places.create(names, &self.mark).map_err(|cause| fault(first, cause))?;
        let mut failed = Ok(());
        for (name, made) in names.iter().zip(made) {
            match made {
                Ok(()) => journal.push(Op::CreateNamespace { name: name.clone() }),
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
        if !op.is_message() || unknown.is_some() || batch.place != Some(op.place()) || fault::is_armed() {
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
        let answers = match (answers, ops.first()) {
            (Ok(answers), _) => answers,
            (Err(cause), Some(first)) => return Err(Fault { op: Box::new(first.clone()), cause }),
            (Err(_), None) => return Ok(()),
        };
        let mut fault = None;
        for (op, answer) in ops.into_iter().zip(answers) {
            match answer {
                Ok(()) => journal.push(op),
                Err(refusal) => {
                    let cause = Cause::Refused(refusal);
                    fault.get_or_insert(Fault { op: Box::new(op), cause });
                }
            }
        }
        fault::point();
        fault.map_or(Ok(()), Err)
    }

    /// Does what is not a netlink message.
    fn perform(&mut self, op: &Op) -> Result<(), Cause> {
        match op {
            Op::DeleteNamespace { name } => {
                self.places.close(&Place::Netns(name.clone()));
                Netns::delete(name)?;
            }
            Op::SetSysctl { place, key, value, .. } => {
                sysctl::write(self.places.netns(place)?, &[(key.parse()?, value.clone())])?;
            }
            _ => {
                nat::perform(op, self.gateways, self.places, self.directories)?;
            }
        }
        Ok(())
    }

    /// Does operations that `ops` begin with together, and tells which: half as many where one of them fails, down to
    /// those before it, and none where it is the first, which by itself then says why.
    fn perform_together<'a>(&self, ops: &'a [Op]) -> &'a [Op] {
        let halves = iter::successors(Some(nat::together(ops)), |count| Some(count / 2));
        halves
            .take_while(|count| *count > 1)
            .map(|count| &ops[..count])
            .find(|ops| nat::perform_together(ops, self.gateways, self.directories).is_ok())
            .unwrap_or_default()
    }

    /// Undoes a journal; what stays behind is returned. What is in a namespace that was made goes with it, but for the
    /// pins, which are elsewhere.
    fn undo(&mut self, journal: &[Op]) -> Vec<Fault> {
        self.heeds_interrupts = false;
        let made: BTreeSet<Place> =
            journal.iter().filter(|op| matches!(op, Op::CreateNamespace { .. })).map(Op::place).collect();
        let goes_by_itself = |op: &Op| {
            made.contains(&op.place()) && !matches!(op, Op::DeleteNamespace { .. } | Op::UnloadNat { .. })
        };
        let ops: Vec<Op> =
            journal.iter().rev().flat_map(Op::inverse).filter(|op| !goes_by_itself(op)).collect();
        let mut left = Vec::new();
        let mut unwatched = Journal { done: Vec::new(), total: 0, watch: &mut |_| {} };
        let mut rest = ops.as_slice();
        while let Some(op) = rest.first() {
            let links = leading_links(rest);
            if links.len() > 1 && self.delete_together(&op.place(), &links).is_ok() {
                rest = &rest[links.len()..];
                continue;
            }
            let together = self.perform_together(rest);
            if !together.is_empty() {
                rest = &rest[together.len()..];
                continue;
            }
            left.extend(self.run(slice::from_ref(op), &mut unwatched).err());
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

/// The links of one place that `ops` begin with deleting for good.
fn leading_links(ops: &[Op]) -> Vec<&IfName> {
    let first = ops.first().map(Op::place);
    let link = |op: &Op| matches!(op, Op::DeleteLink { restore, .. } if restore.is_empty());
    ops.iter()
        .take_while(|op| link(op) && Some(op.place()) == first)
        .filter_map(|op| match op {
            Op::DeleteLink { interface, .. } => Some(interface),
            _ => None,
        })
        .collect()
}

/// How many namespaces are made between two looks at whether the user thought better of it.
const NAMESPACES_AT_ONCE: usize = 256;

/// The namespaces that `ops` begin with.
fn leading_namespaces(ops: &[Op]) -> Vec<NetnsName> {
    let name = |op: &Op| match op {
        Op::CreateNamespace { name } => Some(name.clone()),
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
        self.place.get_or_insert_with(|| op.place());
        self.ops.push(op.clone());
        self.requests.push(request);
    }
}
