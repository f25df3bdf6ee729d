//! What the model has to make of the file, beside what the file says by itself. Pure.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use crate::model::{IfName, Place};

/// What is there, for those keys that may be left out.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// The interfaces that the file makes.
    pub(super) interfaces: BTreeSet<(Place, IfName)>,
    /// The names of bridges, by their keys.
    pub(super) bridges: BTreeMap<String, IfName>,
    /// The names of both ends of ports, the bridge's first: by the bridge's place and name, and the place plugged in.
    pub(super) ports: BTreeMap<(Place, IfName, Place), (IfName, IfName)>,
    /// The names of other links, by what the file calls them.
    pub(super) links: BTreeMap<(Place, String), IfName>,
    /// The default routes that ports bring.
    pub(super) brought: BTreeSet<(Place, IpNet)>,
    /// The uplinks of masquerade rules that have several.
    pub(super) uplinks: BTreeMap<(Place, IpNet), BTreeSet<IfName>>,
    /// Whether there are no shortcuts.
    pub(super) is_without_shortcuts: bool,
    /// The sysctls of each place that are not as in a new namespace, without forwarding.
    pub(super) sysctls: BTreeMap<Place, BTreeMap<String, String>>,
    /// Whether each place forwards IPv4 and IPv6, and whether a new namespace would.
    pub(super) forwarding: BTreeMap<Place, Forwarding>,
}

/// Whether a place forwards packets: of IPv4, then of IPv6.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Forwarding {
    pub(super) found: [bool; 2],
    pub(super) usual: [bool; 2],
}
