//! Random files, random edits, random doings of others, and failures and kills at random steps: what is not netctl's stays
//! as it is, and what is netctl's is there whole or not at all.
//!
//! A case is drawn from a seed and is a list of steps; a round is one `up`, `plan` or `down` of them, after which the dumps
//! of all namespaces are compared. [`CLASSES`] and [`EDITS`] say how often each kind is drawn.

mod case;
mod file;
mod foreign;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
};

use self::case::{Bench, Case};
pub use self::file::File;
use crate::lab::Lab;

/// A kind of thing that others do. `Host…`: to what is theirs; `…Inside`: in netctl's namespaces; the rest: to netctl's
/// links.
#[expect(missing_docs, reason = "`foreign` has the commands")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    HostLease,
    HostRoute,
    HostRule,
    HostNeighbour,
    HostAlias,
    HostSysctl,
    HostLinkSysctl,
    HostLinkForwarding,
    HostFirewall,
    HostIptables,
    HostLink,
    HostQdisc,
    HostNamespace,
    Lease,
    Address,
    Lease6,
    Address6,
    DaemonRoute,
    DaemonDefault,
    RouteByHand,
    RouteByHandVia,
    DaemonRoute6,
    Neighbour,
    Qdisc,
    Filter,
    Alias,
    QueueLength,
    LinkSysctl,
    NeighbourSysctl,
    Enslaved,
    LinkInside,
    RuleInside,
    FirewallInside,
    SysctlInside,
    BlackholeInside,
}

/// An edit of a file.
#[expect(missing_docs, reason = "they are what they say")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Edit {
    AddNamespace,
    RemoveNamespace,
    AddBridge,
    RemoveBridge,
    AddPort,
    RemovePort,
    RenamePort,
    ChangeMtu,
    ChangeAddress,
    ChangeFamilies,
    AddCable,
    RemoveCable,
    MoveEnd,
    AddRoute,
    RemoveRoute,
    ChangeSysctl,
    ChangeForwarding,
    Nftables,
    Ebpf,
    RemoveNat,
}

/// How often others do what; 0 turns a class off.
pub const CLASSES: [(Class, usize); 35] = [
    (Class::HostLease, 3),
    (Class::HostRoute, 3),
    (Class::HostRule, 2),
    (Class::HostNeighbour, 2),
    (Class::HostAlias, 2),
    (Class::HostSysctl, 2),
    (Class::HostLinkSysctl, 2),
    (Class::HostLinkForwarding, 1),
    (Class::HostFirewall, 1),
    (Class::HostIptables, 0),
    (Class::HostLink, 2),
    (Class::HostQdisc, 2),
    (Class::HostNamespace, 1),
    (Class::Lease, 4),
    (Class::Address, 3),
    (Class::Lease6, 3),
    (Class::Address6, 3),
    (Class::DaemonRoute, 4),
    (Class::DaemonDefault, 2),
    (Class::RouteByHand, 3),
    (Class::RouteByHandVia, 3),
    (Class::DaemonRoute6, 3),
    (Class::Neighbour, 3),
    (Class::Qdisc, 3),
    (Class::Filter, 2),
    (Class::Alias, 2),
    (Class::QueueLength, 2),
    (Class::LinkSysctl, 3),
    (Class::NeighbourSysctl, 2),
    (Class::Enslaved, 3),
    (Class::LinkInside, 3),
    (Class::RuleInside, 2),
    (Class::FirewallInside, 1),
    (Class::SysctlInside, 2),
    (Class::BlackholeInside, 2),
];

/// How often files change how; 0 turns an edit off.
pub const EDITS: [(Edit, usize); 20] = [
    (Edit::AddNamespace, 4),
    (Edit::RemoveNamespace, 3),
    (Edit::AddBridge, 4),
    (Edit::RemoveBridge, 3),
    (Edit::AddPort, 5),
    (Edit::RemovePort, 4),
    (Edit::RenamePort, 4),
    (Edit::ChangeMtu, 5),
    (Edit::ChangeAddress, 5),
    (Edit::ChangeFamilies, 3),
    (Edit::AddCable, 4),
    (Edit::RemoveCable, 3),
    (Edit::MoveEnd, 4),
    (Edit::AddRoute, 5),
    (Edit::RemoveRoute, 4),
    (Edit::ChangeSysctl, 5),
    (Edit::ChangeForwarding, 3),
    (Edit::Nftables, 1),
    (Edit::Ebpf, 1),
    (Edit::RemoveNat, 1),
];

/// What to play.
pub struct Campaign {
    /// Played first, one case each.
    pub kept: &'static [u64],
    /// Where the new seeds begin.
    pub seed: u64,
    /// How many rounds at least.
    pub rounds: usize,
    /// Labs side by side.
    pub labs: usize,
    /// What to draw from.
    pub weights: Weights,
    /// Go on after a failing case, to count the kinds of failures.
    pub goes_on: bool,
}

/// What to draw from.
#[derive(Clone)]
pub struct Weights {
    /// As [`CLASSES`].
    pub classes: Vec<(Class, usize)>,
    /// As [`EDITS`].
    pub edits: Vec<(Edit, usize)>,
    /// How many of a hundred `up`s fail, and how many are killed.
    pub failing: usize,
    /// See there.
    pub killed: usize,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// `up`s, `plan`s and `down`s that were compared.
    pub rounds: usize,
    /// `up`s that were made to fail, and did.
    pub failures: usize,
    /// Of netctl, at some step.
    pub kills: usize,
    /// Files that netctl refused as a whole.
    pub refused: usize,
    /// Cases that did not hold, by their kind.
    pub differences: BTreeMap<String, Vec<Difference>>,
}

/// A case that did not hold.
#[derive(Debug)]
pub struct Difference {
    /// Which case.
    pub seed: u64,
    /// What was found, after which steps.
    pub told: String,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let differences: usize = self.differences.values().map(Vec::len).sum();
        let Self { rounds, failures, kills, .. } = self;
        write!(
            f,
            "ownership: {rounds} rounds, {failures} failures injected, {kills} kills, {differences} differences"
        )
    }
}

impl Outcome {
    fn add(&mut self, other: Self) {
        self.rounds += other.rounds;
        self.failures += other.failures;
        self.kills += other.kills;
        self.refused += other.refused;
        for (kind, mut differences) in other.differences {
            self.differences.entry(kind).or_default().append(&mut differences);
        }
    }
}

impl Campaign {
    /// Plays until there are enough rounds, or a case does not hold.
    #[must_use]
    pub fn play(&self) -> Outcome {
        let (kept, fresh, rounds) = (AtomicUsize::new(0), AtomicU64::new(self.seed), AtomicUsize::new(0));
        let (outcome, can_fail) = (Mutex::new(Outcome::default()), can_fail());
        let next = || {
            let kept = self.kept.get(kept.fetch_add(1, Ordering::Relaxed)).copied();
            let is_enough = kept.is_none() && rounds.load(Ordering::Relaxed) >= self.rounds;
            (!is_enough).then(|| kept.unwrap_or_else(|| fresh.fetch_add(1, Ordering::Relaxed)))
        };
        let work = || {
            let mut seed = next();
            while seed.is_some() {
                let lab = Lab::new();
                let mut bench = Some(Bench::new(&lab));
                while let (Some(here), Some(now)) = (bench.take(), seed) {
                    let case = Case::draw(now, &self.weights, can_fail);
                    let (played, still) = here.play(&case);
                    bench = still;
                    rounds.fetch_add(played.rounds, Ordering::Relaxed);
                    let ends = !played.differences.is_empty() && !self.goes_on;
                    if ends {
                        rounds.fetch_add(self.rounds, Ordering::Relaxed);
                    }
                    outcome.lock().unwrap().add(if ends { case.shrunk(played) } else { played });
                    seed = next();
                }
            }
        };
        thread::scope(|scope| {
            for _ in 0..self.labs {
                scope.spawn(work);
            }
        });
        outcome.into_inner().unwrap()
    }
}

/// Whether the netctl under test knows `NETCTL_FAIL_AT`.
#[must_use]
pub fn can_fail() -> bool {
    let lab = Lab::new();
    let file = lab.file("a.toml", "[namespaces.an0]\n");
    let words =
        ["NETCTL_FAIL_AT=1", &crate::lab::netctl(), "-q", "up", file.to_str().unwrap()].map(str::to_owned);
    lab.host().run("env", words.iter().map(String::as_str)).code() != Some(0)
}
