//! One case: steps drawn from a seed, played in a lab, and the dumps compared after each.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use super::{
    Class, Difference, Outcome, Weights,
    file::{File, Place},
    foreign::{self, BASE, Doing, On},
};
use crate::{
    lab::{Change, Dump, HOST, Item, Lab, Watcher, netctl},
    random::Random,
};

/// What happens to a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Success,
    /// The step fails, which `NETCTL_FAIL_AT` counts; 0 is one that the kernel refuses.
    Failure(usize),
    Kill(usize),
}

#[derive(Debug, Clone)]
enum Step {
    Do(Doing),
    Up(File, Fate),
    Down(Fate),
}

/// Drawn from a seed alone.
pub(super) struct Case {
    seed: u64,
    /// Another project, which is up meanwhile.
    neighbour: Option<File>,
    steps: Vec<Step>,
}

fn weighted<T: Copy>(random: &mut Random, of: &[(T, usize)]) -> Option<T> {
    let total: usize = of.iter().map(|(_, weight)| weight).sum();
    let mut at = if total == 0 { return None } else { random.below(total) };
    of.iter().find_map(|(one, weight)| {
        let is_it = at < *weight;
        at = at.saturating_sub(*weight);
        is_it.then_some(*one)
    })
}

/// An `up` that changes little has few steps.
fn some_step(random: &mut Random) -> usize {
    let limit = random.pick(&[4, 8, 16, 40]);
    1 + random.below(limit)
}

impl Case {
    pub(super) fn draw(seed: u64, weights: &Weights, can_fail: bool) -> Self {
        let mut random = Random::new(seed);
        let random = &mut random;
        let neighbour = random.percent(15).then(|| File::draw(random, 'b'));
        let mut file = File::draw(random, 'a');
        let (mut steps, mut doings) = (Vec::new(), 0);
        for turn in 0..2 + random.below(4) {
            for _ in 0..random.below(4) {
                doings += 1;
                let class = weighted(random, &weights.classes);
                let drawn = class.and_then(|class| foreign::draw(random, class, doings, &file));
                steps.extend(drawn.into_iter().flatten().map(Step::Do));
            }
            if turn > 0 {
                for _ in 0..1 + random.below(3) {
                    if let Some(edit) = weighted(random, &weights.edits) {
                        file = file.edited(random, edit);
                    }
                }
            }
            let fate = match random.below(100) {
                n if n < weights.failing => Fate::Failure(if can_fail { some_step(random) } else { 0 }),
                n if n < weights.failing + weights.killed => Fate::Kill(some_step(random)),
                _ => Fate::Success,
            };
            steps.push(Step::Up(file.clone(), fate));
            if fate != Fate::Success && random.percent(60) {
                steps.push(Step::Up(file.clone(), Fate::Success));
            }
        }
        if random.percent(weights.killed) {
            steps.push(Step::Down(Fate::Kill(1 + random.below(10))));
        }
        steps.push(Step::Down(Fate::Success));
        Self { seed, neighbour, steps }
    }

    /// The outcome of fewer steps that fail in the same way.
    pub(super) fn shrunk(&self, played: Outcome) -> Outcome {
        let kind = played.differences.keys().next().cloned();
        let (mut best, mut steps, mut neighbour) = (played, self.steps.clone(), self.neighbour.clone());
        let try_with = |steps: &[Step], neighbour: &Option<File>| {
            let case = Self { seed: self.seed, neighbour: neighbour.clone(), steps: steps.to_vec() };
            let lab = Lab::new();
            let (outcome, _) = Bench::new(&lab).play(&case);
            (outcome.differences.keys().next() == kind.as_ref()).then_some(outcome)
        };
        if let Some(mut outcome) = try_with(&steps, &None) {
            outcome.rounds = best.rounds;
            (best, neighbour) = (outcome, None);
        }
        let mut at = steps.len();
        while at > 0 {
            at -= 1;
            let mut fewer = steps.clone();
            fewer.remove(at);
            if let Some(outcome) = try_with(&fewer, &neighbour) {
                (best, steps) = (outcome, fewer);
            }
        }
        best
    }
}

/// A foreign object, or a foreign change of one of netctl's.
struct Planted {
    doing: Doing,
    item: Item,
    change: Change,
}

/// A lab to play cases in, as long as every case leaves it as it was.
pub(super) struct Bench<'a> {
    lab: &'a Lab,
    watcher: Watcher<'a>,
    /// How it looked when the last step was done.
    now: Dump,
    /// How it has to look without the topology.
    base: Dump,
}

/// What a case has come to.
struct Play<'a, 'b> {
    bench: &'b mut Bench<'a>,
    planted: Vec<Planted>,
    /// The file that is up.
    file: Option<File>,
    /// Files by which netctl was killed since.
    suspects: Vec<File>,
    /// Settings of others' links that were made later: what they began with came from the host.
    inherited: BTreeSet<Item>,
    /// What was done, to be told.
    log: String,
    outcome: Outcome,
}

/// A kind, and what was seen.
type Found = (String, String);

impl<'a> Bench<'a> {
    pub(super) fn new(lab: &'a Lab) -> Self {
        lab.host().run("sh", ["-e", "-c", BASE]).success();
        let _settled = lab.settle();
        let mut watcher = lab.watcher();
        let now = watcher.look();
        Self { lab, watcher, base: now.clone(), now }
    }

    /// What came of it, and the bench if it can be used again.
    pub(super) fn play(mut self, case: &Case) -> (Outcome, Option<Self>) {
        self.base = self.watcher.look();
        let clean = self.base.clone();
        let (planted, suspects, inherited, log) = Default::default();
        let mut play = Play {
            bench: &mut self,
            planted,
            file: None,
            suspects,
            inherited,
            log,
            outcome: Outcome::default(),
        };
        let found = play.neighbour(case).and_then(|()| play.steps(case));
        let (mut outcome, log) = (play.outcome, play.log);
        if let Err((kind, told)) = found {
            let told = format!("{told}\n--- seed {}\n{log}", case.seed);
            outcome.differences.insert(kind, vec![Difference { seed: case.seed, told }]);
            return (outcome, None);
        }
        // What others did to the host stays: a lab is used again only where nothing was done.
        let is_clean = case.neighbour.is_none() && clean.difference(&self.base).is_empty();
        (outcome, is_clean.then_some(self))
    }

    /// How it looks when the kernel has tidied up what a killed command began to remove.
    fn still(&mut self) -> Dump {
        let mut last = self.watcher.look();
        self.watcher.look_until(|now| {
            let is_still = *now == last;
            last.clone_from(now);
            is_still
        })
    }

    fn netctl(&self, fate: Fate, words: &[&str]) -> Option<i32> {
        let netctl = netctl();
        let variable = match fate {
            Fate::Success | Fate::Failure(0) => "NETCTL_NONE=1".to_owned(),
            Fate::Failure(step) => format!("NETCTL_FAIL_AT={step}"),
            Fate::Kill(step) => format!("NETCTL_KILL_AT={step}"),
        };
        self.lab.host().run("env", [&[variable.as_str(), &netctl, "-q"], words].concat()).code()
    }
}

impl Play<'_, '_> {
    fn neighbour(&mut self, case: &Case) -> Result<(), Found> {
        if let Some(file) = &case.neighbour {
            let path = self.bench.lab.file("b.toml", file.toml());
            let _ = writeln!(self.log, "up b.toml:\n{}", file.toml());
            if self.bench.netctl(Fate::Success, &["up", path.to_str().unwrap()]) == Some(0) {
                // Its settings of the host are in force meanwhile.
                let _settled = self.bench.lab.settle();
                self.bench.now = self.bench.watcher.look();
                self.bench.base = self.bench.now.clone();
            }
        }
        Ok(())
    }

    fn steps(&mut self, case: &Case) -> Result<(), Found> {
        for step in &case.steps {
            match step {
                Step::Do(doing) => self.plant(doing),
                Step::Up(file, fate) => self.up(file, *fate)?,
                Step::Down(fate) => self.down(*fate)?,
            }
        }
        Ok(())
    }

    fn plant(&mut self, doing: &Doing) {
        let Doing { class, place, command, on } = doing;
        let lab = self.bench.lab;
        let is_there = match on {
            On::Theirs => place == HOST,
            On::Link(at, name) => self.bench.now.get(at, &format!("link {name}")).is_some(),
            On::Namespace(at) => self.bench.now.get(at, "namespace").is_some(),
        };
        let is_there = is_there || *on == On::Theirs && self.bench.now.get(place, "namespace").is_some();
        if !is_there {
            return;
        }
        let at = if place == HOST { lab.host() } else { lab.ns(place) };
        let output = at.run("sh", ["-e", "-c", command]);
        if output.code() != Some(0) {
            return;
        }
        let _ = writeln!(self.log, "{class:?}: [{place}] {command}");
        let after = self.bench.watcher.look();
        for (item, mut change) in self.bench.now.changes(&after) {
            if let Change::Parts(parts) = &mut change {
                // The kernel fits a bridge's to its ports, netctl to the file.
                parts.retain(|(part, ..)| part != "mtu");
            }
            if *on == On::Theirs {
                match change {
                    Change::Added => self.inherited.insert(item.clone()),
                    _ => self.inherited.remove(&item),
                };
                self.bench.base.take(&item, &after);
            } else if *class != Class::Alias {
                // An alias takes netctl's mark away, which it may put back; it has to know its link by the others.
                self.planted.retain(|planted| planted.item != item || planted.change == Change::Added);
                self.planted.push(Planted { doing: doing.clone(), item, change });
            }
        }
        self.bench.now = after;
    }

    fn up(&mut self, file: &File, fate: Fate) -> Result<(), Found> {
        let text = if fate == Fate::Failure(0) { file.poisoned() } else { file.toml() };
        let path = self.bench.lab.file("a.toml", &text);
        let path = path.to_str().unwrap();
        let code = self.bench.netctl(fate, &["up", path]);
        let _ = writeln!(self.log, "up a.toml, {fate:?}, ended with {code:?}:\n{text}");
        self.outcome.rounds += 1;
        match (fate, code) {
            (Fate::Kill(_), None) => {
                self.outcome.kills += 1;
                self.suspects.push(file.clone());
                self.bench.now = self.bench.still();
                Ok(())
            }
            (_, Some(0)) => {
                self.is_up(file)?;
                let code = self.bench.netctl(Fate::Success, &["plan", path]);
                self.outcome.rounds += 1;
                let plan = || self.bench.lab.netctl(["plan", path]).stdout().to_owned();
                (code == Some(0))
                    .then_some(())
                    .ok_or_else(|| ("the plan is not empty after `up`".to_owned(), plan()))
            }
            // 130: as if the user had pressed Ctrl-C.
            (_, Some(code @ (1 | 2 | 130))) => {
                match (fate, code) {
                    (Fate::Failure(_), 1 | 130) => self.outcome.failures += 1,
                    _ => self.outcome.refused += 1,
                }
                let before = &self.bench.now;
                let changes = |now: &Dump| changes_but_for_leftovers(before, now);
                let after = self.bench.watcher.look_until(|now| changes(now).is_empty());
                let (changes, difference) = (changes(&after), before.difference(&after));
                self.bench.now = after;
                let kind = || format!("a failed `up` left a change of {}", kinds(changes.keys()));
                changes.is_empty().then_some(()).ok_or_else(|| (kind(), difference))
            }
            (fate, code) => Err((format!("`up` ended with {code:?}"), format!("{fate:?}"))),
        }
    }

    /// After an `up` that says that it succeeded.
    fn is_up(&mut self, file: &File) -> Result<(), Found> {
        let files: Vec<File> = self.file.iter().chain(&self.suspects).chain([file]).cloned().collect();
        let survives = |on: &On| match on {
            On::Theirs => true,
            On::Link(place, name) => {
                files.iter().all(|file| file.links().contains(&(place.clone(), name.clone())))
            }
            On::Namespace(place) => files.iter().all(|file| file.namespaces().contains(place)),
        };
        self.planted.retain(|planted| survives(&planted.doing.on));
        self.suspects.clear();
        self.file = Some(file.clone());

        let wrong = |now: &Dump| wrong(&self.planted, &self.bench.base, now, &files);
        let after = self.bench.watcher.look_until(|now| wrong(now).is_none());
        let found = wrong(&after);
        self.bench.now = after;
        found.map_or(Ok(()), Err)
    }

    fn down(&mut self, fate: Fate) -> Result<(), Found> {
        let code = self.bench.netctl(fate, &["down", "a"]);
        let _ = writeln!(self.log, "down a, {fate:?}, ended with {code:?}");
        self.outcome.rounds += 1;
        match (fate, code) {
            (Fate::Kill(_), None) => {
                self.outcome.kills += 1;
                Ok(())
            }
            // It was never up.
            (_, Some(2)) if self.file.is_none() && self.suspects.is_empty() => Ok(()),
            // Or killed before anything was done that is remembered.
            (_, Some(code)) if code == 0 || code == 2 && self.file.is_none() => {
                self.planted.clear();
                (self.file, self.suspects) = (None, Vec::new());
                let (base, inherited) = (&self.bench.base, &self.inherited);
                let changes = |now: &Dump| {
                    let mut changes = base.changes(now);
                    changes.retain(|item, change| !(inherited.contains(item) && is_turned_off(change)));
                    changes
                };
                let after = self.bench.watcher.look_until(|now| changes(now).is_empty());
                let (changes, difference) = (changes(&after), base.difference(&after));
                self.bench.now = after;
                let kind = || format!("`down` left a change of {}", kinds(changes.keys()));
                changes.is_empty().then_some(()).ok_or_else(|| (kind(), difference))
            }
            (_, code) => Err((format!("`down` ended with {code:?}"), String::new())),
        }
    }
}

/// What is not as others have it, once a file is up.
fn wrong(planted: &[Planted], base: &Dump, now: &Dump, files: &[File]) -> Option<Found> {
    for Planted { doing, item, change } in planted {
        let (place, name) = item;
        let holds = match (change, now.get(place, name)) {
            (Change::Added, there) => there.is_some(),
            (Change::Removed, there) => there.is_none(),
            (Change::Parts(_), None) => false,
            (Change::Parts(parts), Some(value)) => {
                let values = value.parts();
                parts.iter().all(|(part, _, wanted)| {
                    is_forwardings(part) || values.get(part).map_or("none", String::as_str) == wanted
                })
            }
        };
        if !holds {
            let why = remade(&doing.on, files);
            let told = format!("`{}` in {place} does not hold any more: {name}, {change:?}", doing.command);
            return Some((format!("`up` undid {:?}{why}", doing.class), told));
        }
    }
    let is_planted = |item: &Item| planted.iter().any(|planted| planted.item == *item);
    let changes: BTreeMap<Item, Change> = base
        .changes(now)
        .into_iter()
        .filter(|(item, change)| !is_netctls(item, change) && !is_planted(item))
        .collect();
    if changes.is_empty() {
        return None;
    }
    let mut told = String::new();
    for ((place, name), change) in &changes {
        let _ = writeln!(told, "{place}: {name}: {change:?}");
    }
    Some((format!("`up` changed others' {}", kinds(changes.keys())), told))
}

/// Whether a link was marked that a killed `up` had not come to mark: that is not undone.
fn is_mark(change: &Change) -> bool {
    let Change::Parts(parts) = change else { return false };
    let is_of_a_mark = |(part, before, after): &(String, String, String)| match part.as_str() {
        "alias" => before == "none" && after.starts_with("netctl:"),
        "index" | "peer" => after == "none",
        // A link keeps the qdisc that it got when it was first set up (`dev_activate` in net/sched/sch_generic.c).
        "qdisc" => before == "noop" && after == "noqueue",
        _ => false,
    };
    parts.iter().all(is_of_a_mark)
}

/// What differs, but for what becomes of a killed `up`'s doing: its links are marked, its files are taken away, and with
/// the last of them their directory.
fn changes_but_for_leftovers(before: &Dump, now: &Dump) -> BTreeMap<Item, Change> {
    let mut changes = before.changes(now);
    let is_gone = |item: &Item| changes.get(item) == Some(&Change::Removed);
    let is_last = changes.keys().any(|item| is_leftover(item) && is_gone(item));
    let was_never_up = |change: &Change| {
        let Change::Parts(parts) = change else { return false };
        parts.iter().any(|(part, before, _)| part == "qdisc" && before == "noop")
    };
    let first_qdisc = |(place, name): &Item| {
        let link = name.strip_prefix("link ")?.trim_end();
        Some((place.clone(), format!("qdisc noqueue dev {link} parent ffffffff")))
    };
    let first_qdiscs: Vec<Item> = changes
        .iter()
        .filter(|(_, change)| was_never_up(change))
        .filter_map(|(item, _)| first_qdisc(item))
        .collect();
    let is_of_the_directory = |name: &str| matches!(name, "file /run/netctl" | "file /run/netctl/lock");
    changes.retain(|item, change| {
        let goes_too = is_last && *change == Change::Removed && is_of_the_directory(item.1.trim_end());
        let is_first_qdisc = *change == Change::Added && first_qdiscs.contains(item);
        !is_mark(change) && !is_leftover(item) && !goes_too && !is_first_qdisc
    });
    changes
}

/// Whether a link of others that was made while netctl had the host forward lost what it had of that (`inet_forward_change`
/// in net/ipv4/devinet.c): without netctl it had never forwarded.
fn is_turned_off(change: &Change) -> bool {
    let Change::Parts(parts) = change else { return false };
    parts.iter().all(|(part, before, after)| part == "forwarding" && before == "1" && after == "0")
}

/// Whether it is a file that a killed `up` was writing: the next command takes it away.
fn is_leftover((_, name): &Item) -> bool {
    name.contains("/run/netctl/") && [".next", ".new"].iter().any(|end| name.ends_with(end))
}

/// Whether the link's other end was moved or renamed.
fn remade(on: &On, files: &[File]) -> &'static str {
    let On::Link(place, name) = on else { return "" };
    let link: (Place, String) = (place.clone(), name.clone());
    let mut peers = files.iter().map(|file| file.peer(&link));
    let first = peers.next();
    if peers.all(|peer| Some(peer) == first) { "" } else { ", whose peer moved" }
}

/// What netctl may do outside its own: add, and turn forwarding on with all that the kernel has follow from it.
fn is_netctls((place, name): &Item, change: &Change) -> bool {
    let is_forwarding =
        name.starts_with("sysctl ") && is_forwardings(name.rsplit('.').next().unwrap_or_default());
    let parts_are = |parts: &[(String, String, String)]| {
        parts.iter().all(|(part, ..)| is_forwardings(part) || part == "promiscuity")
    };
    match change {
        Change::Added => true,
        Change::Removed => false,
        Change::Parts(parts) => place == "machine" || is_forwarding || parts_are(parts),
    }
}

/// What turning forwarding on or off changes in the kernel, and what gateways set beside it.
fn is_forwardings(name: &str) -> bool {
    const NAMES: [&str; 6] = [
        "forwarding",
        "ip_forward",
        "accept_redirects",
        "accept_ra",
        "route_localnet",
        "nf_conntrack_tcp_be_liberal",
    ];
    NAMES.contains(&name)
}

/// The first words of items' names.
fn kinds<'a>(items: impl Iterator<Item = &'a Item>) -> String {
    let mut kinds: Vec<_> = items
        .map(|(place, name)| {
            let place = if place == HOST || place == "machine" { place } else { "a namespace" };
            format!("{} ({place})", name.split(' ').next().unwrap_or_default())
        })
        .collect();
    kinds.sort();
    kinds.dedup();
    kinds.join(", ")
}
