//! Bringing a topology up: look, plan, do, remember.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use crate::{
    apply::{self, Step, apply},
    fault,
    hint::Advise,
    model::{At, Leftover, NetnsName, Place, Topology, TopologyName},
    nat,
    netfilter::{self, Tool},
    netlink::route,
    netns::{Netns, NetnsError},
    observe::{self, Known, observe},
    op::{AddressChange, Change, NamespaceChange, Op},
    ownership::{
        self,
        sysctls::{Disagreement, Others, Settlement, recognise},
    },
    place::{self, Places},
    plan::{self, plan},
    state::{self, Directories, Record},
};

/// Why a topology is not up, or not planned.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Only root may.
    #[error("netctl needs root: it makes namespaces and loads eBPF programs")]
    NotRoot,
    /// It is another file's, or another host's.
    #[error("{0}")]
    Ownership(#[from] ownership::Error),
    /// Something foreign is in the way.
    #[error("{0}")]
    Conflict(#[from] plan::Conflict),
    /// What is there could not be read.
    #[error("{0}")]
    Observe(#[from] observe::Error),
    /// An operation failed; what was done before it has been undone.
    #[error("{0}")]
    Apply(#[from] apply::Failure),
    /// The lasting state could not be read or written.
    #[error("{0}")]
    State(#[from] state::Error),
    /// The namespaces could not be listed.
    #[error("{0}")]
    Netns(#[from] NetnsError),
    /// A place could not be entered.
    #[error("{0}")]
    Place(#[from] place::Error),
    /// The gateways could not be told their addresses.
    #[error("tell the gateways their addresses: {0}")]
    Addresses(#[source] nat::Error),
}

impl Advise for Error {
    fn advice(&self) -> Option<String> {
        matches!(self, Self::NotRoot).then(|| "run it with sudo".to_owned())
    }
}

/// A topology to bring up.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// What it shall be.
    pub topology: &'a Topology,
    /// The file that it was read from, by its absolute path; `None` of the built-in quickstart and of what is no file.
    pub file: Option<&'a Path>,
    /// Whether it may replace a topology of the same name that another file has.
    pub force: bool,
}

impl<'a> Wanted<'a> {
    /// The topology, whatever file it is from.
    #[must_use]
    pub const fn again(topology: &'a Topology) -> Self {
        Self { topology, file: None, force: true }
    }
}

/// What was done to bring a topology up.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Step by step; empty if it was as it should be.
    pub ops: Vec<Op>,
    /// Namespaces that lost their names, with the processes that still live in them.
    pub residents: Vec<(NetnsName, Vec<u32>)>,
    /// The host's sysctls that another topology wants otherwise.
    pub disagreements: Vec<Disagreement>,
}

/// What [`up`] would do now.
///
/// # Errors
/// If what is there cannot be read, or something foreign is in the way.
pub fn preview(wanted: Wanted<'_>, directories: &Directories) -> Result<Vec<Op>, Error> {
    require_root()?;
    let record = directories.record(&wanted.topology.name)?;
    Ok(prepare(wanted, record.as_ref(), directories)?.ops)
}

/// Makes the kernel match a topology, all of it or nothing, and returns what had to be done for that. `watch` is told of
/// every operation when it is done.
///
/// # Errors
/// If something is in the way or the kernel refuses; everything is then as before, unless the failure says otherwise.
pub fn up(
    wanted: Wanted<'_>,
    directories: &Directories,
    watch: &mut dyn FnMut(Step<'_>),
) -> Result<Outcome, Error> {
    require_root()?;
    let lock = directories.lock()?;
    let topology = wanted.topology;
    let before = directories.record(&topology.name)?;
    let Prepared { mut places, ops, mut record, settlement, others } =
        prepare(wanted, before.as_ref(), directories)?;
    let mut outcome =
        Outcome { disagreements: others.disagreements(topology), residents: residents(&ops), ops };
    if !outcome.ops.is_empty() || before.as_ref() != Some(&record) {
        let ops = &outcome.ops;
        others.save(&lock, directories)?;
        // From here on no save can fail for want of room.
        let size = record.size()?.max(before.as_ref().map_or(Ok(0), Record::size)?);
        let mut room = lock.reserve(directories, &topology.name, size + room_for_findings(ops))?;
        fault::point();
        lock.save(directories, &record.underway(before.as_ref()))?;
        fault::point();
        match apply(ops, &topology.name, &mut places, directories, watch) {
            Ok(exchanged) => record.sysctls = settlement.ledgers(topology, ops, &exchanged),
            Err(failure) => {
                let remembered = match (&before, failure.left.is_empty()) {
                    (Some(before), true) => room.save(before),
                    (None, true) => lock.forget(directories, &topology.name),
                    (_, false) => Ok(()),
                };
                if let Err(error) = remembered {
                    tracing::warn!("{error}");
                }
                return Err(failure.into());
            }
        }
        if let Err(error) = await_addresses(ops, &mut places) {
            tracing::warn!("the new addresses may not be ready yet: {error}");
        }
        room.save(&record)?;
        fault::point();
    } else {
        outcome.residents.clear();
    }
    nat::tell_addresses(topology, &mut places, directories).map_err(Error::Addresses)?;
    Ok(outcome)
}

/// How many bytes a record may grow by when it is known how sysctls were found.
fn room_for_findings(ops: &[Op]) -> usize {
    /// A place, a key, and values as the kernel prints them; most take a tenth of it.
    const EACH: usize = 1024;
    ops.iter().filter(|op| matches!(op.change, Change::Sysctl(_))).count() * EACH
}

/// The processes that live in namespaces that are about to be deleted.
fn residents(ops: &[Op]) -> Vec<(NetnsName, Vec<u32>)> {
    let deleted = |op: &Op| match (&op.place, &op.change) {
        (Place::Netns(name), Change::Namespace(NamespaceChange::DeleteNamespace)) => Some(name.clone()),
        _ => None,
    };
    let names: Vec<NetnsName> = ops.iter().filter_map(deleted).collect();
    if names.is_empty() { Vec::new() } else { Netns::processes_in(&names).into_iter().collect() }
}

/// Waits until the new IPv6 addresses can be used. The kernel sets an address's own route a moment later, from a queue
/// (`addrconf_dad_work` in net/ipv6/addrconf.c), and until then does not take its packets.
fn await_addresses(ops: &[Op], places: &mut Places) -> Result<(), Error> {
    /// More than a loaded machine ever needed.
    const PATIENCE: Duration = Duration::from_secs(1);
    const PAUSE: Duration = Duration::from_millis(1);

    let mut missing: BTreeMap<Place, Vec<IpAddr>> = BTreeMap::new();
    for op in ops {
        if let Change::Address(AddressChange::AddAddress { address, .. }) = &op.change
            && address.addr().is_ipv6()
        {
            missing.entry(op.place.clone()).or_default().push(address.addr());
        }
    }
    let deadline = Instant::now() + PATIENCE;
    for (place, mut addresses) in missing {
        loop {
            let routes = route::dump(places.socket(&place)?).map_err(place::Error::from)?;
            addresses.retain(|address| !routes.iter().any(|route| route.is_local(*address)));
            if addresses.is_empty() || Instant::now() > deadline {
                break;
            }
            thread::sleep(PAUSE);
        }
        for address in addresses {
            tracing::warn!("address {address} {} is not ready yet", At(&place));
        }
    }
    Ok(())
}

/// Whether this process may do it at all.
///
/// # Errors
/// [`Error::NotRoot`].
pub fn require_root() -> Result<(), Error> {
    if nix::unistd::geteuid().is_root() { Ok(()) } else { Err(Error::NotRoot) }
}

struct Prepared {
    places: Places,
    ops: Vec<Op>,
    /// What to remember when they are done.
    record: Record,
    settlement: Settlement,
    others: Others,
}

fn prepare(
    wanted: Wanted<'_>,
    before: Option<&Record>,
    directories: &Directories,
) -> Result<Prepared, Error> {
    let topology = wanted.topology;
    let host = ownership::check_host(before)?;
    if !wanted.force {
        ownership::check_file(before, wanted.file)?;
    }
    let owned = match before {
        Some(record) => record.namespaces.clone(),
        None => owned_namespaces(&topology.name)?,
    };
    let mut places = Places::default();
    let settlement = Settlement::of(topology, before);
    let mut others = Others::default();
    if topology.sets_on_host() || before.is_some_and(Record::sets_on_host) {
        others = Others::of(&topology.name, host, directories)?;
    }
    let mut asked = settlement.with_leftovers(topology);
    let known = Known {
        record: before,
        others: &others.topologies,
        netfilter: suspected(topology, before, &owned),
        namespaces: owned,
    };
    let mut observed = observe(&asked, &known, &mut places, directories)?;
    recognise(topology, before, &mut observed);
    settlement.decide(&mut asked, &observed, &mut others);
    let ops = plan(&asked, &observed)?;
    let by_tool = netfilter::wanted(topology).into_iter();
    let mut record = Record::new(topology.clone(), wanted.file.map(Path::to_owned), Some(host));
    record.netfilter = by_tool.map(|(place, tools)| (place, tools.into_keys().collect())).collect();
    record.sysctls = settlement.ledgers(topology, &ops, &[]);
    Ok(Prepared { places, ops, record, settlement, others })
}

/// Where to look for rules of netfilter's, and by which tools: where there shall be some, where the record has some and,
/// without one, wherever there may be.
fn suspected(
    topology: &Topology,
    before: Option<&Record>,
    owned: &BTreeSet<NetnsName>,
) -> BTreeMap<Place, BTreeSet<Tool>> {
    let mut suspected = before.map(|record| record.netfilter.clone()).unwrap_or_default();
    if before.is_none() {
        let translates = |place: &Place| topology.gateways.iter().any(|gateway| gateway.place == *place);
        let left = owned.iter().cloned().map(Place::Netns);
        let places = left.chain([Place::Host].into_iter().filter(translates));
        suspected.extend(places.map(|place| (place, BTreeSet::from(Tool::ALL))));
    }
    for gateway in &topology.gateways {
        let tools = Tool::of(gateway.backend);
        if !tools.is_empty() {
            suspected.entry(gateway.place.clone()).or_default().extend(tools);
        }
    }
    suspected
}

impl Record {
    /// The record to keep while this one is being reached from `before`: after a kill, `down` then finds both.
    fn underway(&self, before: Option<&Self>) -> Self {
        let mut record = self.clone();
        record.complete = false;
        if let Some(before) = before {
            record.namespaces.extend(before.namespaces.iter().cloned());
            let mut left = before.left.clone().unwrap_or_default();
            let its = Leftover::of(&before.topology);
            left.routes.extend(its.routes);
            left.rules.extend(its.rules);
            record.left = Some(left);
            for (place, tools) in &before.netfilter {
                record.netfilter.entry(place.clone()).or_default().extend(tools);
            }
            for (place, ledger) in &before.sysctls {
                let its = record.sysctls.entry(place.clone()).or_default();
                for (key, written) in ledger {
                    its.entry(key.clone()).or_insert_with(|| written.clone());
                }
            }
        }
        record
    }
}

/// The namespaces that carry the topology's mark: what a lost record would have said. One that cannot be looked into is
/// taken for somebody else's.
///
/// # Errors
/// If the namespaces cannot be listed.
pub(crate) fn owned_namespaces(topology: &TopologyName) -> Result<BTreeSet<NetnsName>, Error> {
    let names = Netns::list()?;
    let owners = ownership::owners(&names)?.into_iter().map(|owner| {
        owner.unwrap_or_else(|error| {
            tracing::warn!("{error}");
            None
        })
    });
    let owned = names.iter().cloned().zip(owners).filter(|(_, owner)| owner.as_ref() == Some(topology));
    Ok(owned.map(|(name, _)| name).collect())
}

/// How to have a topology as it was made.
pub(crate) fn again(topology: &TopologyName) -> String {
    format!("`netctl up` again, with the file of `{topology}`")
}
