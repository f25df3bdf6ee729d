//! What a machine looks like, so that a test can tell that nothing was left behind.

use std::{collections::BTreeMap, thread, time::Instant};

use super::{Lab, patience};

/// Everything that netctl might leave behind, and who can tell. The directory `/run/netns` itself belongs to iproute2,
/// which never takes it away; the kernel's own files in a bpffs and connection tracking's sysctls, which come with its
/// module, are nobody's.
const ASPECTS: [(&str, &str); 10] = [
    ("namespaces", "ip netns list"),
    ("links", "ip -j link"),
    ("addresses", "ip -j address"),
    ("routes", "ip -j route show table all; ip -j -6 route show table all"),
    ("traffic control", "tc -j qdisc show"),
    ("processes of netctl", "pgrep -l netctl"),
    ("rules", "ip -j rule; ip -j -6 rule"),
    ("qdiscs", "tc qdisc"),
    ("files", "find /run /sys/fs/bpf -mindepth 1 -not -path /run/netns -not -name '*.debug' | sort"),
    ("sysctls", "sysctl -a --pattern '^net\\.' 2> /dev/null | grep -v netfilter"),
];

/// A machine as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot(BTreeMap<&'static str, String>);

impl Snapshot {
    fn of(lab: &Lab) -> Self {
        let tell = |command| lab.host().run("sh", ["-c", command]).stdout().to_owned();
        Self(ASPECTS.map(|(aspect, command)| (aspect, tell(command))).into())
    }

    /// The lines that only one of the two has.
    fn difference(&self, other: &Self) -> String {
        let lines = |snapshot: &Self, aspect| -> Vec<String> {
            snapshot.0[aspect].lines().map(str::to_owned).collect()
        };
        let only = |sign: char, aspect: &str, these: &[String], those: &[String]| -> Vec<String> {
            let news = these.iter().filter(|line| !those.contains(line));
            news.map(|line| format!("{sign} {aspect}: {line}")).collect()
        };
        let changes = ASPECTS.iter().flat_map(|(aspect, _)| {
            let (before, after) = (lines(self, aspect), lines(other, aspect));
            [only('-', aspect, &before, &after), only('+', aspect, &after, &before)].concat()
        });
        changes.collect::<Vec<_>>().join("\n")
    }
}

impl Lab {
    /// The machine as it is now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::of(self)
    }

    /// The machine is as it was, at the latest when the kernel has tidied up.
    #[track_caller]
    pub fn assert_unchanged_since(&self, before: &Snapshot) {
        let deadline = Instant::now() + patience();
        loop {
            let now = self.snapshot();
            if now == *before {
                return;
            }
            assert!(Instant::now() < deadline, "left behind:\n{}", before.difference(&now));
            thread::park_timeout(std::time::Duration::from_millis(50));
        }
    }
}
