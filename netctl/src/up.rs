//! Bringing a topology up: look, plan, do, remember.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    thread,
    time::{Duration, Instant},
};

use crate::{
    apply::{self, Step, apply},
    fault,
    model::{At, NetnsName, Place, Topology, TopologyName},
    nat,
    netfilter::{self, Tool},
    netlink::route,
    netns::{Netns, NetnsError},
    observe::{self, Known, observe},
    observed::Observed,
    op::{AddressChange, Change, Op, SysctlChange},
    ownership,
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
    /// Something foreign is in the way.
    #[error(transparent)]
    Conflict(#[from] plan::Conflict),
    /// What is there could not be read.
    #[error(transparent)]
    Observe(#[from] observe::Error),
    /// An operation failed; what was done before it has been undone.
    #[error(transparent)]
    Apply(#[from] apply::Failure),
    /// The lasting state could not be read or written.
    #[error(transparent)]
    State(#[from] state::Error),
    /// The namespaces could not be listed.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// A place could not be entered.
    #[error(transparent)]
    Place(#[from] place::Error),
    /// The gateways could not be told their addresses.
    #[error("tell the gateways their addresses: {0}")]
    Addresses(nat::Error),
}

impl Error {
    /// What to do about it, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotRoot => Some("run it with sudo".to_owned()),
            Self::Conflict(conflict) => Some(conflict.hint()),
            Self::Apply(failure) => failure.hint(),
            Self::Observe(error) => error.hint(),
            Self::State(error) => error.hint(),
            Self::Netns(error) => error.hint(),
            Self::Place(error) => error.hint(),
            Self::Addresses(error) => error.hint().map(str::to_owned),
        }
    }
}

/// What [`up`] would do now.
///
/// # Errors
/// If what is there cannot be read, or something foreign is in the way.
pub fn preview(topology: &Topology, directories: &Directories) -> Result<Vec<Op>, Error> {
    require_root()?;
    let record = directories.record(&topology.name)?;
    Ok(prepare(topology, record.as_ref(), directories)?.ops)
}

/// Makes the kernel match `topology`, all of it or nothing, and returns what had to be done for that. `watch` is told of
/// every operation when it is done.
///
/// # Errors
/// If something is in the way or the kernel refuses; everything is then as before, unless the failure says otherwise.
pub fn up(
    topology: &Topology,
    directories: &Directories,
    watch: &mut dyn FnMut(Step<'_>),
) -> Result<Vec<Op>, Error> {
    require_root()?;
    let lock = directories.lock()?;
    let before = directories.record(&topology.name)?;
    let Prepared { mut places, ops, record } = prepare(topology, before.as_ref(), directories)?;
    if !ops.is_empty() || before.as_ref() != Some(&record) {
        lock.save(directories, &record.underway(before.as_ref()))?;
        fault::point();
        if let Err(failure) = apply(&ops, &topology.name, &mut places, directories, watch) {
            match (&before, failure.left.is_empty()) {
                (Some(before), true) => lock.save(directories, before)?,
                (None, true) => lock.forget(directories, &topology.name)?,
                (_, false) => {}
            }
            return Err(failure.into());
        }
        await_addresses(&ops, &mut places)?;
        lock.save(directories, &record)?;
        fault::point();
    }
    nat::tell_addresses(topology, &mut places, directories).map_err(Error::Addresses)?;
    Ok(ops)
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
}

fn prepare(
    topology: &Topology,
    before: Option<&Record>,
    directories: &Directories,
) -> Result<Prepared, Error> {
    let owned = match before {
        Some(record) => record.namespaces.clone(),
        None => owned_namespaces(&topology.name)?,
    };
    let mut places = Places::default();
    let known = Known {
        topology: before.map(|record| &record.topology),
        netfilter: suspected(topology, before, &owned),
        namespaces: owned,
    };
    let observed = observe(topology, &known, &mut places, directories)?;
    let mut ops = plan(topology, &observed)?;
    let host_sysctls = settle_host_sysctls(topology, before, &observed, &mut ops);
    let namespaces = topology.namespaces.iter().map(|namespace| namespace.name.clone()).collect();
    let by_tool = netfilter::wanted(topology).into_iter();
    let netfilter = by_tool.map(|(place, tools)| (place, tools.into_keys().collect())).collect();
    let record = Record { topology: topology.clone(), complete: true, namespaces, netfilter, host_sysctls };
    Ok(Prepared { places, ops, record })
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

/// Which of the host's sysctls were found how: what an earlier run found counts, and what this topology no longer sets
/// goes back.
fn settle_host_sysctls(
    topology: &Topology,
    before: Option<&Record>,
    observed: &Observed,
    ops: &mut Vec<Op>,
) -> BTreeMap<String, String> {
    let mut found = before.map(|record| record.host_sysctls.clone()).unwrap_or_default();
    for op in &*ops {
        if let Op {
            place: Place::Host,
            change: Change::Sysctl(SysctlChange { key, before: Some(before), .. }),
        } = op
        {
            found.entry(key.clone()).or_insert_with(|| before.clone());
        }
    }
    let seen = observed.places.get(&Place::Host).map(|host| &host.sysctls);
    found.retain(|key, value| {
        let stays = topology.sets_on_host(key);
        if !stays {
            let before = seen.and_then(|seen| seen.get(key)).cloned().flatten();
            let (key, value) = (key.clone(), value.clone());
            ops.push(Op::new(&Place::Host, SysctlChange { key, value, before }));
        }
        stays
    });
    found
}

impl Record {
    /// The record to keep while this one is being reached from `before`: after a kill, `down` then finds both.
    fn underway(&self, before: Option<&Self>) -> Self {
        let mut record = self.clone();
        record.complete = false;
        if let Some(before) = before {
            record.namespaces.extend(before.namespaces.iter().cloned());
            for (place, tools) in &before.netfilter {
                record.netfilter.entry(place.clone()).or_default().extend(tools);
            }
            for (key, value) in &before.host_sysctls {
                record.host_sysctls.insert(key.clone(), value.clone());
            }
        }
        record
    }
}

/// The namespaces that carry the topology's mark: what a lost record would have said.
///
/// # Errors
/// If a namespace cannot be looked into.
pub(crate) fn owned_namespaces(topology: &TopologyName) -> Result<BTreeSet<NetnsName>, Error> {
    let names = Netns::list()?;
    let owners = ownership::owners(&names)?.into_iter().collect::<Result<Vec<_>, _>>()?;
    let owned = names.into_iter().zip(owners).filter(|(_, owner)| owner.as_ref() == Some(topology));
    Ok(owned.map(|(name, _)| name).collect())
}
