//! Taking a topology down: everything that it made and nothing else, however far it had come.
//!
//! Failures are collected and do not stop it. Pins go last: what still forwards meanwhile is still translated.

use std::{collections::BTreeSet, iter::zip, path::Path, slice};

use nix::errno::Errno;

use crate::{
    fault,
    hint::Advise,
    model::{NetnsName, Place, TopologyName, keys},
    nat::{
        classic,
        ebpf::{self, Pins},
    },
    netfilter::{Rules, Tool},
    netlink::{self, Refusal, link},
    netns::{Netns, NetnsError},
    observe,
    op::{Change, Op, RouteChange, RuleChange},
    ownership::{
        self, Recorded,
        sysctls::{Fate, Others},
    },
    place::{self, Places},
    state::{self, Directories, Record},
    sysctl, tool,
    up::{owned_namespaces, require_root},
};

/// What could not be removed, or not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The lasting state could not be read or written, or this process may not.
    #[error("{0}")]
    Up(#[from] crate::up::Error),
    /// It is another host's.
    #[error("{0}")]
    Ownership(#[from] ownership::Error),
    /// The lasting state could not be read or written.
    #[error("{0}")]
    State(#[from] state::Error),
    /// The topology's own record could not be read; it is no source, since what its hint says is being done.
    #[error("{0}")]
    Record(state::Error),
    /// Links stay.
    #[error("delete the topology's links on the host: {refusal}")]
    Links {
        /// The kernel's reason.
        refusal: Refusal,
    },
    /// A route or a policy rule stays.
    #[error("{op}: {refusal}")]
    Route {
        /// What was tried.
        op: Box<Op>,
        /// The kernel's reason.
        refusal: Refusal,
    },
    /// The host could not be looked at.
    #[error("{0}")]
    Observe(#[from] observe::Error),
    /// The host could not be looked at.
    #[error("{0}")]
    Netlink(#[from] netlink::Error),
    /// The host could not be looked at.
    #[error("{0}")]
    Place(#[from] place::Error),
    /// A namespace stays.
    #[error("{0}")]
    Netns(#[from] NetnsError),
    /// A sysctl stays as it is.
    #[error("on the host: {0}")]
    Sysctl(#[from] sysctl::SysctlError),
    /// Pins stay.
    #[error("{0}")]
    Nat(#[from] ebpf::Error),
    /// Rules of netfilter's stay.
    #[error("remove the rules on the host: {0}")]
    Rules(#[from] classic::Error),
}

impl Advise for Error {
    fn advice(&self) -> Option<String> {
        let next = match self {
            Self::Rules(classic::Error::Tool(tool::Error::Absent { program: "nft" })) => {
                "install the package `nftables`, and `netctl down` again removes them"
            }
            Self::Rules(classic::Error::Tool(tool::Error::Absent { .. })) => {
                "install the package `iptables`, and `netctl down` again removes them"
            }
            Self::Rules(classic::Error::Refused { .. }) => "`netctl down` tries again",
            _ => return None,
        };
        Some(format!("the rules and the record stay: {next}"))
    }
}

/// What `down` did.
#[derive(Debug, Default)]
pub struct Report {
    /// Namespaces removed, with the processes that still live in them.
    pub namespaces: Vec<(NetnsName, Vec<u32>)>,
    /// Links removed from the host.
    pub links: Vec<String>,
    /// The steps that removed routes and policy rules from the host.
    pub routes: Vec<String>,
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
            && self.routes.is_empty()
            && self.sysctls.is_empty()
            && self.errors.is_empty()
            && !(self.nat || self.record)
    }

    fn note<T>(&mut self, result: Result<T, impl Into<Error>>) -> Option<T> {
        result.map_err(|error| self.errors.push(error.into())).ok()
    }
}

/// Removes what `topology` made. With `force` also where its host is another network namespace, whose part of it then
/// stays.
///
/// # Errors
/// If nothing could be tried at all, or that namespace is another one; what fails later is in the report.
pub fn down(topology: &TopologyName, force: bool, directories: &Directories) -> Result<Report, Error> {
    require_root()?;
    let lock = directories.lock()?;
    let mut report = Report::default();
    let record = directories.record(topology).map_err(|error| match error {
        state::Error::Record { .. } => Error::Record(error),
        error => error.into(),
    });
    let record = report.note(record).flatten();
    report.record = record.is_some();
    // Whose record cannot be read is known by the marks, and has no more use for it.
    let unreadable = report.errors.len();
    let host = match ownership::check_host(record.as_ref()) {
        Ok(host) => Some(host),
        Err(ownership::Error::Elsewhere { .. }) if force => None,
        Err(error) => return Err(error.into()),
    };

    let others = match (&record, host) {
        (Some(record), Some(host)) if record.sets_on_host() => {
            report.note(Others::of(topology, host, directories))
        }
        _ => Some(Others::default()),
    };
    if host.is_some() {
        remove_host_links(topology, &mut report);
        fault::point();
        if let (Some(record), Some(others)) = (&record, &others) {
            remove_host_routes(record, others, &mut report);
            fault::point();
        }
    }
    let namespaces = Vec::from_iter(namespaces_of(topology, record.as_ref(), &mut report));
    let mut processes = Netns::processes_in(&namespaces);
    for name in namespaces {
        if report.note(Netns::delete(&name)).is_some() {
            let holders = processes.remove(&name).unwrap_or_default();
            report.namespaces.push((name, holders));
        }
        fault::point();
    }
    if host.is_some() {
        if let (Some(record), Some(others)) = (&record, others) {
            restore_sysctls(record, others, &lock, directories, &mut report);
            fault::point();
        }
        remove_rules(topology, record.as_ref(), &mut report);
        fault::point();
    }
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

/// Deletes the routes and policy rules that the topology set on the host: those through links of its own have gone with
/// these. What another topology wants stays.
fn remove_host_routes(record: &Record, others: &Others, report: &mut Report) {
    let removed = host_leftover(record, others).and_then(|(mut places, ops)| {
        let requests: Vec<_> = ops.iter().filter_map(|op| op.request(&places)).collect();
        let answers =
            if requests.is_empty() { Vec::new() } else { places.socket(&Place::Host)?.execute(requests)? };
        Ok((ops, answers))
    });
    let Some((ops, answers)) = report.note(removed) else { return };
    for (op, answer) in zip(ops, answers) {
        match answer {
            // Somebody else was faster.
            Err(Refusal { errno: Errno::ESRCH | Errno::ENOENT, .. }) => {}
            Err(refusal) => report.errors.push(Error::Route { op: Box::new(op), refusal }),
            Ok(()) => report.routes.push(op.to_string()),
        }
    }
}

fn host_leftover(record: &Record, others: &Others) -> Result<(Places, Vec<Op>), Error> {
    let mut places = Places::default();
    places.open(&Place::Host)?;
    let (routes, rules) = observe::left_on_host(
        &Recorded::of(Some(record.into()), others.topologies.iter().map(|its| &its.topology).collect()),
        &mut places,
    )?;
    let routes = routes.into_iter().map(|seen| {
        let (route, protocol) = (seen.route, Some(seen.protocol));
        RouteChange::DeleteRoute { route, protocol }.into()
    });
    let rules = rules.into_iter().map(|rule| RuleChange::DeleteRule { rule, owned: true }.into());
    let changes: Vec<Change> = routes.chain(rules).collect();
    Ok((places, changes.into_iter().map(|change| Op::new(&Place::Host, change)).collect()))
}

/// Puts the host's sysctls back, but for those that somebody has changed since, and those that another topology wants
/// too, or a gateway made by hand: that one takes over how they were found.
fn restore_sysctls(
    record: &Record,
    mut others: Others,
    lock: &state::Lock,
    directories: &Directories,
    report: &mut Report,
) {
    let Some(ledger) = record.sysctls.get(&Place::Host).filter(|ledger| !ledger.is_empty()) else { return };
    let Some(netns) = report.note(Netns::current()) else { return };
    let mut restored = Vec::new();
    for (key, written) in ledger {
        let Some(parsed) = report.note(key.parse::<sysctl::Key>()) else { continue };
        let now = report.note(sysctl::read(&netns, slice::from_ref(&parsed)));
        let now = now.and_then(|mut values| values.pop().flatten());
        let fate = others.fate(key, written, now.as_deref());
        others.take_over(key, written, &fate);
        match fate {
            Fate::Back => restored.push((parsed, written.before.clone())),
            Fate::Passed { value: Some(value), .. } => restored.push((parsed, value)),
            Fate::Passed { value: None, .. } | Fate::PassedByHand | Fate::Left => {}
        }
    }
    // Who takes something over knows of it first.
    if report.note(others.save(lock, directories)).is_none() {
        return;
    }
    // What sets others, too, goes first.
    restored.sort_by_key(|(key, _)| keys::set_by(&key.to_string()).is_some());
    for (key, value) in restored {
        let text = key.to_string();
        if report.note(sysctl::write(&netns, &[(key, value)])).is_some() {
            report.sysctls.push(text);
        }
    }
}

/// Those on the host: all others have gone with their namespaces.
fn remove_rules(topology: &TopologyName, record: Option<&Record>, report: &mut Report) {
    type Read = fn(Tool, &TopologyName, &Netns) -> Result<Rules, classic::Error>;
    let (tools, read): (_, Read) = match record {
        Some(record) => {
            (record.netfilter.get(&Place::Host).cloned().unwrap_or_default(), classic::read_recorded)
        }
        None => (BTreeSet::from(Tool::ALL), classic::read),
    };
    for tool in tools {
        let removed = Netns::current().map_err(classic::Error::from).and_then(|host| {
            let rules = read(tool, topology, &host)?;
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
