//! What the kernel has in all network namespaces of a lab, so that a test can tell what a command changed.
//!
//! It is canonical: two dumps are equal unless somebody changed something. Counters, ages, what the kernel learns or sets by
//! itself and the carrier's doings are left out, and so are the indexes of netctl's own links, which it may have to make
//! anew. It is the kernel's own account, not netctl's, and it takes milliseconds.

mod control;
mod files;
mod link;
mod netlink;
mod route;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs::{self, File},
    os::unix::fs::MetadataExt as _,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use nix::{
    sched::{CloneFlags, setns},
    sys::socket::SockProtocol,
};

use self::files::Seen;
use super::{Lab, patience};

/// The place of what is in no namespace, and what the host is called.
const MACHINE: &str = "machine";
/// The lab outside its named namespaces.
pub const HOST: &str = "host";

/// Everything there is, by place and name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dump(BTreeMap<Item, Value>);

/// Something that is there: its place and its name, such as `host` and `route ipv4 unicast default table 254 dev up0`.
pub type Item = (String, String);

/// What it is like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `name=value` and so on.
    Words(String),
    /// An array of integers with their names.
    Numbers(&'static [&'static str], Vec<u8>),
}

impl Value {
    /// Name and value of each of its parts.
    #[must_use]
    pub fn parts(&self) -> BTreeMap<String, String> {
        match self {
            Self::Words(words) => {
                let part = |word: &str| match word.split_once('=') {
                    Some((name, value)) => (name.to_owned(), value.to_owned()),
                    None => (word.to_owned(), String::new()),
                };
                words.split(' ').filter(|word| !word.is_empty()).map(part).collect()
            }
            Self::Numbers(names, bytes) => {
                let name = |at: usize| names.get(at).map_or_else(|| at.to_string(), |&name| name.to_owned());
                let value = |bytes: &[u8]| i32::from_ne_bytes(bytes.try_into().unwrap()).to_string();
                bytes.chunks_exact(4).enumerate().map(|(at, bytes)| (name(at), value(bytes))).collect()
            }
        }
    }
}

/// Where the items of one place go.
struct Items<'a> {
    place: &'a str,
    dump: &'a mut BTreeMap<Item, Value>,
}

impl Items<'_> {
    /// Items of one name, such as two rules of one priority, are numbered in their order.
    fn add(&mut self, name: String, value: Value) {
        let mut item = (self.place.to_owned(), name);
        let mut number = 1;
        while self.dump.contains_key(&item) {
            number += 1;
            let end = item.1.rfind(" (").filter(|_| number > 2).unwrap_or(item.1.len());
            item.1.truncate(end);
            let _ = write!(item.1, " ({number})");
        }
        self.dump.insert(item, value);
    }
}

/// How one item differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// These of its parts differ: name, before, after.
    Parts(Vec<(String, String, String)>),
}

impl Dump {
    /// What the lab has now.
    fn of(lab: &Lab, seen: &mut Seen, sysctls: Sysctls) -> Self {
        // The lab's own /proc does not know this thread.
        let proc = File::open("/proc").expect("open /proc");
        lab.host().enter(|| {
            let mut dump = BTreeMap::new();
            let mut machine = Items { place: MACHINE, dump: &mut dump };
            files::files(&mut machine);
            files::processes(&mut machine);
            let items = &mut Items { place: HOST, dump: &mut dump };
            namespace(items);
            seen.sysctls(items, inode(&lab.network));
            seen.rules(items, &proc);
            let names = fs::read_dir("/run/netns").into_iter().flatten().flatten();
            for name in names.map(|entry| entry.file_name()) {
                let name = name.to_string_lossy();
                let items = &mut Items { place: &name, dump: &mut dump };
                // It may go meanwhile.
                let Ok(file) = File::open(Path::new("/run/netns").join(&*name)) else { continue };
                let inode = inode(&file);
                if setns(&file, CloneFlags::CLONE_NEWNET).is_err() {
                    items.add("no network namespace".to_owned(), Value::Words(format!("inode={inode}")));
                    continue;
                }
                namespace(items);
                // Netctl's own may be made anew.
                let loopback = items.dump.get(&(name.clone().into_owned(), "link lo".to_owned()));
                let is_netctls =
                    matches!(loopback, Some(Value::Words(words)) if words.contains(" alias=netctl:"));
                let identity = if is_netctls { String::new() } else { format!("inode={inode}") };
                items.add("namespace".to_owned(), Value::Words(identity));
                match sysctls {
                    Sysctls::FewOfNetctls if is_netctls => files::few_sysctls(items),
                    Sysctls::All | Sysctls::FewOfNetctls => seen.sysctls(items, inode),
                }
                seen.rules(items, &proc);
            }
            Self(dump)
        })
    }

    /// The items and their values.
    pub fn items(&self) -> impl Iterator<Item = (&Item, &Value)> {
        self.0.iter()
    }

    /// What an item is like.
    #[must_use]
    pub fn get(&self, place: &str, name: &str) -> Option<&Value> {
        self.0.get(&(place.to_owned(), name.to_owned()))
    }

    /// Takes over what `item` is like in `other`, also that it is not there.
    pub fn take(&mut self, item: &Item, other: &Self) {
        match other.0.get(item) {
            Some(value) => self.0.insert(item.clone(), value.clone()),
            None => self.0.remove(item),
        };
    }

    /// How `after` differs from it.
    #[must_use]
    pub fn changes(&self, after: &Self) -> BTreeMap<Item, Change> {
        let items: BTreeSet<&Item> = self.0.keys().chain(after.0.keys()).collect();
        let change = |item: &Item| match (self.0.get(item), after.0.get(item)) {
            // Those that come with a module that is loaded meanwhile are nobody's.
            (None, Some(_)) if is_of_a_module(item) => None,
            (None, _) => Some(Change::Added),
            (_, None) => Some(Change::Removed),
            (Some(before), Some(after)) if before == after => None,
            (Some(before), Some(after)) => Some(Change::Parts(differing(before, after))),
        };
        items.into_iter().filter_map(|item| Some((item.clone(), change(item)?))).collect()
    }

    /// The same in words, a line each; empty if they are equal.
    #[must_use]
    pub fn difference(&self, after: &Self) -> String {
        let changes = self.changes(after);
        let line = |(item, change): (&Item, &Change)| line(item, change, self, after);
        changes.iter().map(line).collect()
    }
}

fn inode(file: &File) -> u64 {
    file.metadata().expect("a namespace's inode").ino()
}

/// Which sysctls to read.
#[derive(Clone, Copy)]
enum Sysctls {
    All,
    /// In namespaces of netctl's, which come and go, only [`files::FEW`].
    FewOfNetctls,
}

/// One who looks at a lab again and again, and is quick about it.
pub struct Watcher<'a> {
    lab: &'a Lab,
    seen: Seen,
}

impl Watcher<'_> {
    /// The machine as it is now; of the sysctls in netctl's own namespaces only some.
    #[must_use]
    pub fn look(&mut self) -> Dump {
        Dump::of(self.lab, &mut self.seen, Sysctls::FewOfNetctls)
    }

    /// The machine as soon as it is right, or as it is after a while.
    pub fn look_until(&mut self, mut is_right: impl FnMut(&Dump) -> bool) -> Dump {
        const PATIENCE: Duration = Duration::from_millis(1500);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = self.look();
            if is_right(&now) || Instant::now() > deadline {
                return now;
            }
            thread::park_timeout(Duration::from_millis(5));
        }
    }
}

fn line(item: &Item, change: &Change, before: &Dump, after: &Dump) -> String {
    let (place, name) = item;
    let whole = |dump: &Dump| match dump.0.get(item) {
        Some(Value::Words(words)) => words.clone(),
        Some(Value::Numbers(..)) | None => String::new(),
    };
    match change {
        Change::Added => format!("+ {place}: {name}  {}\n", whole(after)),
        Change::Removed => format!("- {place}: {name}  {}\n", whole(before)),
        Change::Parts(parts) => {
            let parts: Vec<_> =
                parts.iter().map(|(part, before, after)| format!("{part} {before} -> {after}")).collect();
            format!("~ {place}: {name}  {}\n", parts.join(", "))
        }
    }
}

fn differing(before: &Value, after: &Value) -> Vec<(String, String, String)> {
    let (before, after) = (before.parts(), after.parts());
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let part = |name: &String| {
        let of =
            |parts: &BTreeMap<String, String>| parts.get(name).cloned().unwrap_or_else(|| "none".to_owned());
        (name.clone(), of(&before), of(&after))
    };
    names.into_iter().map(part).filter(|(_, before, after)| before != after).collect()
}

fn is_of_a_module(item: &Item) -> bool {
    ["sysctl net.netfilter.", "sysctl net.bridge.", "sysctl net.nf_conntrack_max"]
        .iter()
        .any(|start| item.1.starts_with(start))
}

/// What the thread's namespace has.
fn namespace(items: &mut Items<'_>) {
    let netlink = netlink::Netlink::open(SockProtocol::NetlinkRoute).expect("open a netlink socket");
    let (links, names) = link::dump(&netlink, items);
    route::dump(&netlink, items, &names);
    control::dump(&netlink, items, &links, &names);
}

impl Lab {
    /// The machine as it is now.
    #[must_use]
    pub fn snapshot(&self) -> Dump {
        Dump::of(self, &mut Seen::default(), Sysctls::All)
    }

    /// Somebody to look at the machine many times.
    #[must_use]
    pub fn watcher(&self) -> Watcher<'_> {
        Watcher { lab: self, seen: Seen::default() }
    }

    /// Waits until the kernel has done what it does by itself, such as giving a new link its addresses.
    pub fn settle(&self) -> Dump {
        const STILL: u32 = 3;
        let deadline = Instant::now() + patience();
        let (mut last, mut still) = (self.snapshot(), 0);
        while still < STILL {
            let now = self.snapshot();
            let difference = last.difference(&now);
            assert!(Instant::now() < deadline, "the machine does not settle:\n{difference}");
            still = if difference.is_empty() { still + 1 } else { 0 };
            last = now;
        }
        last
    }

    /// The machine is as it was, at the latest when the kernel has tidied up.
    #[track_caller]
    pub fn assert_unchanged_since(&self, before: &Dump) {
        let deadline = Instant::now() + patience();
        loop {
            let difference = before.difference(&self.snapshot());
            if difference.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "not as it was:\n{difference}");
            thread::park_timeout(Duration::from_millis(10));
        }
    }
}
