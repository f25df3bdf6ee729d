//! Taking a topology down: everything that it made and nothing else, however far it had come.
//!
//! Failures are collected and do not stop it. Pins go last: what still forwards meanwhile is still translated.

use std::{
    collections::{BTreeMap, BTreeSet},
    iter::zip,
    path::Path,
};

use nix::errno::Errno;

use crate::{
    fault,
    model::{NetnsName, Place, TopologyName},
    nat::{
        classic,
        ebpf::{self, Pins},
    },
    netfilter::{Rules, Tool},
    netlink::{self, Refusal, link},
    netns::{Netns, NetnsError},
    ownership,
    place::{self, Places},
    state::{self, Directories, Record},
    sysctl,
    up::{owned_namespaces, require_root},
};

/// What could not be removed, or not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The lasting state could not be read or written, or this process may not.
    #[error(transparent)]
    Up(#[from] crate::up::Error),
    /// The lasting state could not be read or written.
    #[error(transparent)]
    State(#[from] state::Error),
    /// Links stay.
    #[error("delete the topology's links on the host: {refusal}")]
    Links {
        /// The kernel's reason.
        refusal: Refusal,
    },
    /// The host could not be looked at.
    #[error(transparent)]
    Netlink(#[from] netlink::Error),
    /// The host could not be looked at.
    #[error(transparent)]
    Place(#[from] place::Error),
    /// A namespace stays.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// A sysctl stays as it is.
    #[error("on the host: {0}")]
    Sysctl(#[from] sysctl::SysctlError),
    /// Pins stay.
    #[error(transparent)]
    Nat(#[from] ebpf::Error),
    /// Rules of netfilter's stay.
    #[error("remove the rules on the host: {0}")]
    Rules(#[from] classic::Error),
}

/// What `down` did.
#[derive(Debug, Default)]
pub struct Report {
    /// Namespaces removed, with the processes that still live in them.
    pub namespaces: Vec<(NetnsName, Vec<u32>)>,
    /// Links removed from the host.
    pub links: Vec<String>,
    /// Whether programs and maps were removed.
    pub nat: bool,
    /// The host's sysctls put back.
    pub sysctls: Vec<String>,
    /// Whether there was a record.
    pub record: bool,
    /// What failed.
    pub errors: Vec<Error>,
}

impl Report {
    /// Whether there was nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.namespaces.is_empty()
            && self.links.is_empty()
            && self.sysctls.is_empty()
            && self.errors.is_empty()
            && !(self.nat || self.record)
    }

    fn note<T>(&mut self, result: Result<T, impl Into<Error>>) -> Option<T> {
        result.map_err(|error| self.errors.push(error.into())).ok()
    }
}

/// Removes what `topology` made.
///
/// # Errors
/// If nothing could be tried at all; what fails later is in the report.
pub fn down(topology: &TopologyName, directories: &Directories) -> Result<Report, Error> {
    require_root()?;
    let lock = directories.lock()?;
    let mut report = Report::default();
    let record = report.note(directories.record(topology)).flatten();
    report.record = record.is_some();
    // Whose record cannot be read is known by the marks, and has no more use for it.
    let unreadable = report.errors.len();

    remove_host_links(topology, &mut report);
    fault::point();
    let namespaces = Vec::from_iter(namespaces_of(topology, record.as_ref(), &mut report));
    let mut processes = processes_in(&namespaces);
    for name in namespaces {
        if report.note(Netns::delete(&name)).is_some() {
            let holders = processes.remove(&name).unwrap_or_default();
            report.namespaces.push((name, holders));
        }
        fault::point();
    }
    if let Some(record) = &record {
        restore_sysctls(record, &lock, directories, &mut report);
        fault::point();
    }
    remove_rules(topology, record.as_ref(), &mut report);
    fault::point();
    remove_pins(&directories.bpffs, topology, &mut report);
    fault::point();
    if report.errors.len() == unreadable {
        report.note(lock.forget(directories, topology));
    }
    Ok(report)
}

/// Those that carry the mark, and files that a killed `up` left where a namespace was to be.
fn namespaces_of(
    topology: &TopologyName,
    record: Option<&Record>,
    report: &mut Report,
) -> BTreeSet<NetnsName> {
    let Some(record) = record else { return report.note(owned_namespaces(topology)).unwrap_or_default() };
    let names = Vec::from_iter(record.namespaces.iter().cloned());
    let owners = report.note(ownership::owners(&names)).unwrap_or_default();
    let stale = BTreeSet::from_iter(report.note(Netns::list_stale()).unwrap_or_default());
    let is_ours =
        |(name, owner)| stale.contains(name) || report.note(owner).flatten().as_ref() == Some(topology);
    let ours = zip(&names, owners).map(is_ours).collect::<Vec<_>>();
    zip(names, ours).filter_map(|(name, ours)| ours.then_some(name)).collect()
}

/// The processes that live in them.
fn processes_in(namespaces: &[NetnsName]) -> BTreeMap<NetnsName, Vec<u32>> {
    let mut all = Netns::all_processes().unwrap_or_default();
    let of = |name: &NetnsName| Some((name.clone(), all.remove(&Netns::open(name).ok()?.identity())?));
    namespaces.iter().filter_map(of).collect()
}

/// Puts the host's links into a group of their own and deletes that: one by one, the kernel would wait for its readers
/// every time, 38 ms a link.
fn remove_host_links(topology: &TopologyName, report: &mut Report) {
    let removed = host_links(topology).and_then(|(mut places, links, group)| {
        let mut requests: Vec<_> = links.iter().map(|link| link::set_group(link.index, group)).collect();
        if !requests.is_empty() {
            requests.push(link::delete_group(group));
        }
        let answers = places.socket(&Place::Host)?.execute(requests)?;
        Ok((links, answers))
    });
    let Some((links, answers)) = report.note(removed) else { return };
    // The last answer is the group's; a link that went meanwhile is no failure.
    let refusal = answers.into_iter().filter_map(Result::err).find(|refusal| refusal.errno != Errno::ENODEV);
    match refusal {
        None => report.links = links.into_iter().map(|link| link.name).collect(),
        Some(refusal) => report.errors.push(Error::Links { refusal }),
    }
}

/// The host's links that are the topology's, and a group that no link is in.
fn host_links(topology: &TopologyName) -> Result<(Places, Vec<link::Link>, u32), Error> {
    let mut places = Places::default();
    places.open(&Place::Host)?;
    let mut links = link::dump(places.socket(&Place::Host)?)?;
    let free = link::free_group(&links);
    links.retain(|link| {
        ownership::owner_of(link, &Place::Host, topology, ownership::this_machine()).as_ref()
            == Some(topology)
    });
    Ok((places, links, free))
}

/// Puts the host's sysctls back, but for those that another topology wants too, or a gateway made by hand: that one
/// takes over how they were found.
fn restore_sysctls(record: &Record, lock: &state::Lock, directories: &Directories, report: &mut Report) {
    let mut others = report.note(other_records(record, directories)).unwrap_or_default();
    let mut by_hand = report.note(directories.by_hand(&Place::Host)).flatten();
    for (key, value) in &record.host_sysctls {
        if let Some(other) = others.iter_mut().find(|other| other.topology.sets_on_host(key)) {
            other.host_sysctls.entry(key.clone()).or_insert_with(|| value.clone());
            report.note(lock.save(directories, other));
        } else if let Some(gateway) = &mut by_hand {
            gateway.sysctls.entry(key.clone()).or_insert_with(|| value.clone());
            report.note(lock.save_by_hand(directories, gateway));
        } else if report.note(write_sysctl(key, value)).is_some() {
            report.sysctls.push(key.clone());
        }
    }
}

fn other_records(record: &Record, directories: &Directories) -> Result<Vec<Record>, Error> {
    let mut others = Vec::new();
    for name in directories.topologies()?.into_iter().filter(|name| *name != record.topology.name) {
        others.extend(directories.record(&name)?);
    }
    Ok(others)
}

fn write_sysctl(key: &str, value: &str) -> Result<(), Error> {
    let key = key.parse()?;
    Ok(sysctl::write(&Netns::current()?, &[(key, value.to_owned())])?)
}

/// Those on the host: all others have gone with their namespaces.
fn remove_rules(topology: &TopologyName, record: Option<&Record>, report: &mut Report) {
    let tools = match record {
        Some(record) => record.netfilter.get(&Place::Host).cloned().unwrap_or_default(),
        None => BTreeSet::from(Tool::ALL),
    };
    for tool in tools {
        let removed = Netns::current().map_err(classic::Error::from).and_then(|host| {
            let rules = classic::read(tool, topology, &host)?;
            if !rules.is_empty() {
                classic::change(tool, topology, &host, &rules, &Rules::default())?;
            }
            Ok(!rules.is_empty())
        });
        report.nat |= report.note(removed).unwrap_or_default();
    }
}

fn remove_pins(bpffs: &Path, topology: &TopologyName, report: &mut Report) {
    if Pins::topology(bpffs, topology).exists() {
        report.nat |= report.note(ebpf::remove_topology(bpffs, topology)).is_some();
    }
}
