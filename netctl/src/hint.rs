//! What error types need that give hints, and words that hints share: what to do about an error. Pure.

use crate::model::Place;

/// An error that knows what to do about it. What it comes from speaks for itself: see [`crate::advice`].
pub(crate) trait Advise: Listed {
    /// The next step, where there is one to say here.
    fn advice(&self) -> Option<String>;
}

/// An error that is in the list of [`crate::advice`], which alone implements this.
pub(crate) trait Listed {}

/// For whoever lacks a right.
pub(crate) const DOCTOR: &str = "`netctl doctor` tells which right is missing";

/// The words that name a place on the command line.
pub(crate) fn switch(place: &Place) -> String {
    match place {
        Place::Host => String::new(),
        Place::Netns(name) => format!(" -n {name:#}"),
    }
}

/// Reasons for drops that somebody can do something about, and what.
const REMEDIES: [(&str, &str); 4] = [
    ("no-port", "a wider `ports` of the rule, or another `address` beside it"),
    ("no-address", "an address of that family at the uplink"),
    ("table-full", "`[nat] max-flows`, or shorter `[nat.timeouts]`"),
    ("rewrite", "tell us, with the kernel's version"),
];

/// What to do about packets that were dropped for this reason.
pub(crate) fn of_drop(reason: &str) -> Option<&'static str> {
    REMEDIES.iter().find(|(its, _)| *its == reason).map(|(_, remedy)| *remedy)
}

/// Who keeps packets from going straight, and how they would.
const WATCHERS: [(&str, &str); 8] = [
    ("unknown", "`shortcut = \"leased\"` goes by no such knowledge"),
    ("netfilter", "if no rule is needed: `nft list ruleset`, and delete the tables; empty ones count, too"),
    ("netfilter-bridge", "if no rule is needed: `nft list tables bridge`, and delete them"),
    ("netfilter-netdev", "if no rule is needed: `nft list tables netdev`, and delete them"),
    ("qdisc", "if nothing is to be shaped: `tc qdisc show`, and `tc qdisc del dev IF root`"),
    ("program", "if it is not needed: `bpftool net` and `tc filter show dev IF ingress` tell which"),
    ("xfrm", "if nothing is to be encrypted: `ip xfrm policy`"),
    ("capture", "they go straight again when it ends"),
];

/// What to do about a watcher of this name.
pub(crate) fn of_watcher(by: &str) -> &'static str {
    WATCHERS.iter().find(|(its, _)| *its == by).map_or("", |(_, remedy)| *remedy)
}
