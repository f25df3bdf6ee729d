//! Which sysctls netctl set, how each was found, and what becomes of those that nobody wants any more: they go back, as
//! long as the kernel has the value that netctl wrote. One that somebody else has changed since is left alone.

use std::{borrow::Cow, collections::BTreeSet};

use crate::{
    model::{CONNTRACK_LIBERAL, Place, Topology, TopologyName, keys},
    observed::Observed,
    op::{Change, Exchanged, Op, SysctlChange},
    state::{self, ByHand, Directories, HostNetns, Ledgers, Lock, Record, Written},
};

/// Who else has a use for the host's sysctls.
#[derive(Debug, Default)]
pub struct Others {
    /// The records of the other topologies with the same host.
    pub topologies: Vec<Record>,
    /// The gateway that single commands made on the host.
    pub by_hand: Option<ByHand>,
    /// Those that took something over.
    heirs: BTreeSet<TopologyName>,
}

/// What becomes of one of the host's sysctls that a topology no longer wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It goes back to how it was found.
    Back,
    /// Somebody has changed it since: it stays as it is.
    Left,
    /// Another topology wants it, whose business it now is.
    Passed {
        /// That one.
        to: TopologyName,
        /// The value that it wants, where the kernel has another one.
        value: Option<String>,
    },
    /// A gateway made by hand wants it.
    PassedByHand,
}

impl Others {
    /// Those beside `topology` whose host is `host`. What cannot be read is nobody's wish.
    ///
    /// # Errors
    /// If the records cannot be listed.
    pub fn of(
        topology: &TopologyName,
        host: HostNetns,
        directories: &Directories,
    ) -> Result<Self, state::Error> {
        let mut topologies = directories.readable_records()?;
        topologies.retain(|record| {
            record.topology.name != *topology && record.host.is_none_or(|its| its.is_same(host))
        });
        let by_hand = match directories.by_hand(&Place::Host) {
            Ok(gateway) => gateway.filter(|gateway| gateway.netns_cookie == host.cookie),
            Err(error) => {
                tracing::warn!("{error}");
                None
            }
        };
        Ok(Self { topologies, by_hand, heirs: BTreeSet::new() })
    }

    /// The topologies alone.
    #[must_use]
    pub fn without_by_hand(self) -> Self {
        Self { by_hand: None, ..self }
    }

    /// Remembers what others took over.
    ///
    /// # Errors
    /// If a record cannot be written.
    pub fn save(&self, lock: &Lock, directories: &Directories) -> Result<(), state::Error> {
        for record in self.topologies.iter().filter(|its| self.heirs.contains(&its.topology.name)) {
            lock.save(directories, record)?;
        }
        match &self.by_hand {
            Some(gateway) if self.heirs.contains(&TopologyName::by_hand()) => {
                lock.save_by_hand(directories, gateway)
            }
            _ => Ok(()),
        }
    }

    /// What becomes of a sysctl of the host whose value is `now`.
    #[must_use]
    pub fn fate(&self, key: &str, written: &Written, now: Option<&str>) -> Fate {
        let Some(now) = now.filter(|now| written.is_still(now)) else { return Fate::Left };
        // Whoever has the kernel set it for all links has it set for this one.
        let asked = keys::set_by(key).unwrap_or(key);
        let wants = |other: &&Record| {
            other.topology.sets(&Place::Host, key) || other.topology.sets(&Place::Host, asked)
        };
        if let Some(other) = self.topologies.iter().find(wants) {
            let value = other.topology.sysctl(&Place::Host, key).filter(|value| *value != now);
            return Fate::Passed { to: other.topology.name.clone(), value: value.map(str::to_owned) };
        }
        match &self.by_hand {
            Some(_) if by_hand_may_want(key) => Fate::PassedByHand,
            _ => Fate::Back,
        }
    }

    /// Has whoever wants it put it back one day. Of two findings the first counts.
    pub fn take_over(&mut self, key: &str, written: &Written, fate: &Fate) {
        let taken = |wrote: Option<&str>| Written {
            before: written.before.clone(),
            wrote: wrote.map(str::to_owned).or_else(|| written.wrote.clone()),
            reads: wrote.is_none().then(|| written.reads.clone()).flatten(),
        };
        match fate {
            Fate::Passed { to, value } => {
                let heir = self.topologies.iter_mut().find(|other| other.topology.name == *to);
                let ledger = heir.map(|heir| heir.sysctls.entry(Place::Host).or_default());
                if let Some(ledger) = ledger {
                    self.heirs.insert(to.clone());
                    ledger.entry(key.to_owned()).or_insert_with(|| taken(value.as_deref()));
                }
            }
            Fate::PassedByHand => {
                if let Some(gateway) = &mut self.by_hand {
                    self.heirs.insert(TopologyName::by_hand());
                    gateway.sysctls.entry(key.to_owned()).or_insert_with(|| taken(None));
                }
            }
            Fate::Back | Fate::Left => {}
        }
    }

    /// The sysctls of the host of which another topology wants a different value.
    #[must_use]
    pub fn disagreements(&self, topology: &Topology) -> Vec<Disagreement> {
        let wanted = topology.sysctls.get(&Place::Host).into_iter().flatten();
        let differing = wanted.flat_map(|(key, value)| {
            self.topologies.iter().filter_map(move |other| {
                let theirs = other.topology.sysctl(&Place::Host, key).filter(|theirs| theirs != value)?;
                Some(Disagreement {
                    key: key.clone(),
                    value: value.clone(),
                    other: other.topology.name.clone(),
                    theirs: theirs.to_owned(),
                })
            })
        });
        differing.collect()
    }
}

/// Two topologies that want different values of one sysctl of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disagreement {
    /// The sysctl.
    pub key: String,
    /// What this topology wants, which is now in force.
    pub value: String,
    /// The other topology.
    pub other: TopologyName,
    /// What that one wants.
    pub theirs: String,
}

/// The sysctls that a gateway made by hand may need, whether or not it had to set them.
fn by_hand_may_want(key: &str) -> bool {
    matches!(key, keys::IPV4 | keys::IPV6 | CONNTRACK_LIBERAL) || key.ends_with(".accept_ra")
}

/// What becomes of the sysctls that a topology set before, and of those that it sets now.
#[derive(Debug, Default)]
pub struct Settlement {
    /// What was set before and is no longer wanted, where the place is still there.
    leftover: Ledgers,
    /// What was set before and still is.
    kept: Ledgers,
}

impl Settlement {
    /// Compares what was set with what is wanted. What was set in a namespace that goes is forgotten with it.
    #[must_use]
    pub fn of(topology: &Topology, before: Option<&Record>) -> Self {
        let mut all = Self::default();
        let there = |place: &Place| match place {
            Place::Host => true,
            Place::Netns(name) => topology.namespaces.iter().any(|namespace| namespace.name == *name),
        };
        let ledgers = before.into_iter().flat_map(|record| &record.sysctls);
        for (place, ledger) in ledgers.filter(|(place, _)| there(place)) {
            for (key, written) in ledger {
                let is_set_along = keys::set_by(key).is_some_and(|by| topology.sets(place, by));
                let stays = topology.sets(place, key) || is_set_along;
                let side = if stays { &mut all.kept } else { &mut all.leftover };
                side.entry(place.clone()).or_default().insert(key.clone(), written.clone());
            }
        }
        all
    }

    /// The topology with what was set before and is no longer wanted at the value that was found.
    #[must_use]
    pub fn with_leftovers<'a>(&self, topology: &'a Topology) -> Cow<'a, Topology> {
        let mut topology = Cow::Borrowed(topology);
        for (place, ledger) in &self.leftover {
            let wanted = topology.to_mut().sysctls.entry(place.clone()).or_default();
            wanted.extend(ledger.iter().map(|(key, written)| (key.clone(), written.before.clone())));
        }
        topology
    }

    /// Whether the host has sysctls that may go back.
    #[must_use]
    pub fn concerns_host(&self) -> bool {
        self.leftover.contains_key(&Place::Host)
    }

    /// Takes out of `asked` what is not to go back: what somebody changed since, and what others of the host want, who
    /// take it over.
    pub fn decide(&self, asked: &mut Cow<'_, Topology>, observed: &Observed, others: &mut Others) {
        for (place, ledger) in &self.leftover {
            let seen = observed.places.get(place).map(|there| &there.sysctls);
            for (key, written) in ledger {
                let now = seen.and_then(|seen| seen.get(key)).and_then(Option::as_deref);
                let fate = match place {
                    Place::Host => others.fate(key, written, now),
                    Place::Netns(_) if now.is_some_and(|now| written.is_still(now)) => Fate::Back,
                    Place::Netns(_) => Fate::Left,
                };
                others.take_over(key, written, &fate);
                let value = match fate {
                    Fate::Back => continue,
                    Fate::Passed { value, .. } => value,
                    Fate::Left | Fate::PassedByHand => None,
                };
                if let Some(wanted) = asked.to_mut().sysctls.get_mut(place) {
                    match value {
                        Some(value) => wanted.insert(key.clone(), value),
                        None => wanted.remove(key),
                    };
                }
            }
        }
    }

    /// What to remember: `ops` are about to be done, or have been and were answered so.
    #[must_use]
    pub fn ledgers(&self, topology: &Topology, ops: &[Op], exchanged: &[Exchanged]) -> Ledgers {
        let mut ledgers = self.kept.clone();
        for (place, ledger) in &mut ledgers {
            for (key, written) in ledger.iter_mut().filter(|(_, written)| written.wrote.is_none()) {
                // It has that value, unless one of `ops` is about it.
                written.wrote = topology.sysctl(place, key).map(str::to_owned);
            }
        }
        for op in ops {
            let Change::Sysctl(SysctlChange { key, value, before }) = &op.change else { continue };
            let place = &op.place;
            if !topology.sets(place, key) {
                continue;
            }
            let answer = exchanged.iter().find(|answer| answer.place == *place && answer.key == *key);
            let found = before.clone().or_else(|| answer.and_then(|answer| answer.before.clone()));
            let Some(found) = found else { continue };
            let ledger = ledgers.entry(place.clone()).or_default();
            let written = ledger.entry(key.clone()).or_insert_with(|| Written::new(found, value));
            written.wrote = answer.map(|_| value.clone());
            written.reads = answer.and_then(|answer| answer.after.clone()).filter(|after| after != value);
        }
        // What the host's links had for themselves before the kernel set it for all of them.
        let is_asked = |answer: &Exchanged| {
            let is_about = |op: &Op| matches!(&op.change, Change::Sysctl(change) if change.key == answer.key);
            ops.iter().any(|op| op.place == answer.place && is_about(op))
        };
        for answer in exchanged.iter().filter(|answer| answer.place == Place::Host && !is_asked(answer)) {
            let (Some(before), Some(after)) = (&answer.before, &answer.after) else { continue };
            let ledger = ledgers.entry(Place::Host).or_default();
            ledger.entry(answer.key.clone()).or_insert_with(|| Written::new(before, after));
        }
        ledgers
    }
}

/// Has what the kernel prints for a value that netctl wrote count as that value.
pub fn recognise(topology: &Topology, before: Option<&Record>, observed: &mut Observed) {
    for (place, ledger) in before.into_iter().flat_map(|record| &record.sysctls) {
        let (Some(there), Some(wanted)) = (observed.places.get_mut(place), topology.sysctls.get(place))
        else {
            continue;
        };
        for (key, written) in ledger.iter().filter(|(_, written)| written.reads.is_some()) {
            let (Some(Some(now)), Some(value)) = (there.sysctls.get_mut(key), wanted.get(key)) else {
                continue;
            };
            if written.reads_as(value, now) {
                now.clone_from(value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::state::Ledger;

    fn topology(text: &str) -> Topology {
        Topology::parse(text, "office.toml", "office".parse().unwrap()).unwrap()
    }

    fn record(topology: Topology, sysctls: Ledgers) -> Record {
        Record { sysctls, ..Record::new(topology, None, None) }
    }

    const KEY: &str = "net.ipv4.conf.all.rp_filter";

    fn red(sysctls: &str) -> Topology {
        topology(&format!("[namespaces.red]\nsysctls = {{ {sysctls} }}\n[namespaces.blue]\n"))
    }

    fn place(name: &str) -> Place {
        Place::Netns(name.parse().unwrap())
    }

    fn observed(value: &str) -> Observed {
        let mut observed = Observed::default();
        let there = observed.places.entry(place("red")).or_default();
        there.sysctls.insert(KEY.to_owned(), Some(value.to_owned()));
        observed
    }

    #[test]
    fn what_the_file_no_longer_sets_goes_back_unless_somebody_changed_it() {
        let ledger = Ledger::from([(KEY.to_owned(), Written::new("0", "2"))]);
        let before = record(red(&format!("'{KEY}' = '2'")), Ledgers::from([(place("red"), ledger)]));
        let without = red("");
        let settlement = Settlement::of(&without, Some(&before));
        for (now, goes_back) in [("2", true), ("1", false)] {
            let mut asked = settlement.with_leftovers(&without);
            assert_eq!(asked.sysctl(&place("red"), KEY), Some("0"));
            settlement.decide(&mut asked, &observed(now), &mut Others::default());
            assert_eq!(asked.sysctl(&place("red"), KEY).is_some(), goes_back, "{now}");
        }
        assert!(settlement.ledgers(&without, &[], &[]).is_empty());
        let still = red(&format!("'{KEY}' = '1'"));
        let kept = Settlement::of(&still, Some(&before)).ledgers(&still, &[], &[]);
        assert_eq!(kept, before.sysctls);
    }

    #[test]
    fn the_first_finding_counts_and_the_last_value_written() {
        let topology = red(&format!("'{KEY}' = '1'"));
        let set = |before: Option<&str>| {
            let (key, value, before) = (KEY.to_owned(), "1".to_owned(), before.map(str::to_owned));
            Op::new(&place("red"), SysctlChange { key, value, before })
        };
        let answer = Exchanged {
            place: place("red"),
            key: KEY.to_owned(),
            before: Some("9".to_owned()),
            after: Some("1".to_owned()),
        };
        let fresh = Settlement::of(&topology, None);
        assert!(fresh.ledgers(&topology, &[set(None)], &[]).is_empty(), "not known before it is done");
        let answers = std::slice::from_ref(&answer);
        let known = fresh.ledgers(&topology, &[set(None)], answers);
        assert_eq!(known[&place("red")][KEY], Written::new("9", "1"));
        let ledger = Ledger::from([(KEY.to_owned(), Written::new("0", "2"))]);
        let before = record(topology.clone(), Ledgers::from([(place("red"), ledger)]));
        let again = Settlement::of(&topology, Some(&before)).ledgers(&topology, &[set(Some("2"))], answers);
        assert_eq!(again[&place("red")][KEY], Written::new("0", "1"));
        let underway = Settlement::of(&topology, Some(&before)).ledgers(&topology, &[set(Some("2"))], &[]);
        assert_eq!(underway[&place("red")][KEY].wrote, None, "either of the two");
        // Killed, and found done.
        let killed = record(topology.clone(), underway);
        let completed = Settlement::of(&topology, Some(&killed)).ledgers(&topology, &[], &[]);
        assert_eq!(completed[&place("red")][KEY], Written::new("0", "1"));
    }

    #[test]
    fn the_host_s_sysctl_passes_to_whoever_wants_it() {
        let wants = |name: &str, value: &str| {
            let mut topology = Topology::empty(name.parse().unwrap());
            let sysctls = BTreeMap::from([(keys::IPV4.to_owned(), value.to_owned())]);
            topology.sysctls.insert(Place::Host, sysctls);
            topology
        };
        let written = Written::new("0", "1");
        let fate = |others: &Others, now: &str| others.fate(keys::IPV4, &written, Some(now));
        let mut others = Others::default();
        assert_eq!(fate(&others, "1"), Fate::Back);
        assert_eq!(fate(&others, "2"), Fate::Left);
        others.by_hand = Some(ByHand { place: Place::Host, netns_cookie: 1, sysctls: Ledger::new() });
        assert_eq!(fate(&others, "1"), Fate::PassedByHand);
        assert_eq!(others.fate(KEY, &written, Some("1")), Fate::Back, "none that such a gateway needs");
        others.topologies.push(record(wants("lab", "1"), Ledgers::new()));
        let passed = fate(&others, "1");
        assert_eq!(passed, Fate::Passed { to: "lab".parse().unwrap(), value: None });
        others.take_over(keys::IPV4, &written, &passed);
        assert_eq!(others.topologies[0].sysctls[&Place::Host][keys::IPV4], written);
        assert!(others.disagreements(&wants("office", "1")).is_empty());
        let [told] = <[Disagreement; 1]>::try_from(others.disagreements(&wants("office", "0"))).unwrap();
        assert_eq!((told.value.as_str(), told.theirs.as_str()), ("0", "1"));
    }
}
