//! A gateway's rules in netfilter's words, for `iptables` and `ip6tables` or for `nft`. Pure; `nat::classic` runs the tools.
//!
//! They are in chains (iptables) or in a table (nftables) named after the topology, so that nobody else's rules are
//! touched, and change in one transaction. Each rule carries a mark that only exactly it has: what is there is compared
//! with what is wanted by the marks, since no two versions of the tools list a rule with the same words.

pub(crate) mod iptables;
pub(crate) mod nftables;
pub(crate) mod rule;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub(crate) use self::iptables::arguments;
use crate::model::{Backend, Gateway, Interface, Place, Topology, TopologyName, hash::fnv1a};

/// Who writes and lists rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tool {
    /// `iptables`, for IPv4.
    Iptables,
    /// `ip6tables`, for IPv6.
    Ip6tables,
    /// `nft`, for both.
    Nftables,
}

impl Tool {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Iptables, Self::Ip6tables, Self::Nftables];

    /// Those that a backend needs.
    #[must_use]
    pub const fn of(backend: Backend) -> &'static [Self] {
        match backend {
            Backend::Ebpf => &[],
            Backend::Iptables => &[Self::Iptables, Self::Ip6tables],
            Backend::Nftables => &[Self::Nftables],
        }
    }

    /// Its word in messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Iptables => "iptables",
            Self::Ip6tables => "ip6tables",
            Self::Nftables => "nftables",
        }
    }

    /// The command that takes what [`Tool::transaction`] says, and its arguments.
    pub(crate) const fn writer(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Iptables => ("iptables-restore", &["--noflush", "--wait"]),
            Self::Ip6tables => ("ip6tables-restore", &["--noflush", "--wait"]),
            Self::Nftables => ("nft", &["-f", "-"]),
        }
    }

    /// What to tell it so that `before` becomes `after`.
    pub(crate) fn transaction(self, before: &Rules, after: &Rules) -> String {
        match self {
            Self::Iptables | Self::Ip6tables => iptables::transaction(before, after),
            Self::Nftables => nftables::transaction(before, after),
        }
    }
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Chains with their rules.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Rules(Vec<Chain>);

/// A chain.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Chain {
    table: String,
    name: String,
    /// In their order, in the tool's words.
    rules: Vec<String>,
}

impl Chain {
    /// Whether it is a topology's own, and not a built-in one that leads to it.
    fn is_own(&self) -> bool {
        self.table.starts_with(PREFIX) || self.name.starts_with(PREFIX)
    }
}

impl Rules {
    fn new(mut chains: Vec<Chain>) -> Self {
        chains.sort();
        Self(chains)
    }

    /// Whether there is nothing at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many rules.
    #[must_use]
    pub fn count(&self) -> usize {
        self.keys().len()
    }

    /// How many rules of these `other` does not have.
    #[must_use]
    pub fn count_beyond(&self, other: &Self) -> usize {
        let others = other.keys();
        self.keys().difference(&others).count()
    }

    /// Whether the same chains hold the same rules in the same order.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let chains = |rules: &Self| -> Vec<(String, String, Vec<String>)> {
            let keys = |chain: &Chain| chain.rules.iter().map(|rule| key(rule).to_owned()).collect();
            rules.0.iter().map(|chain| (chain.table.clone(), chain.name.clone(), keys(chain))).collect()
        };
        chains(self) == chains(other)
    }

    /// The rules that do something, without what only leads to them.
    fn keys(&self) -> BTreeSet<(&str, &str)> {
        let own = self.0.iter().filter(|chain| chain.is_own());
        let rules = own.flat_map(|chain| chain.rules.iter().map(|rule| (&*chain.name, key(rule))));
        rules.filter(|(_, key)| !key.starts_with("type ")).collect()
    }
}

/// What a rule is recognised by: its mark, of a chain's base its kind and hook, of everything else its words.
fn key(rule: &str) -> &str {
    if let Some(at) = rule.find(MARK) {
        return rule.get(at..at + MARK.len() + MARK_DIGITS).unwrap_or(rule);
    }
    match rule.strip_prefix("type ").and_then(|_| rule.split_once(" priority ")) {
        Some((base, _)) => base,
        None => rule,
    }
}

/// What the names of all chains and tables begin with.
const PREFIX: &str = "netctl-";

const MARK: &str = "netctl:";
const MARK_DIGITS: usize = 16;

/// The mark of a rule, made from its words.
fn mark(words: &str) -> String {
    format!("{MARK}{:0MARK_DIGITS$x}", fnv1a(words.as_bytes()))
}

/// What a topology's chains or table are called. A chain's name has at most 28 bytes (`XT_EXTENSION_MAXNAMELEN`), five
/// of which tell the topology's chains apart, and nft does not take every character.
pub(crate) fn name(topology: &TopologyName) -> String {
    const LONGEST: usize = 16;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let name = topology.as_str();
    if name.len() <= LONGEST && name.chars().all(is_plain) {
        return format!("{PREFIX}{name}");
    }
    let start: String = name.chars().filter(|&c| is_plain(c)).take(7).collect();
    format!("{PREFIX}{start}-{:08x}", fnv1a(name.as_bytes()) & 0xffff_ffff)
}

/// The commands that list a topology's rules with their counters.
pub(crate) fn listing(backend: Backend, topology: &TopologyName) -> Vec<String> {
    match backend {
        Backend::Ebpf => Vec::new(),
        Backend::Iptables => {
            ["iptables", "ip6tables"].map(|program| format!("{program} -t nat -nvL")).to_vec()
        }
        Backend::Nftables => vec![format!("nft list table inet {}", name(topology))],
    }
}

/// By place and tool.
pub type ByTool = BTreeMap<Place, BTreeMap<Tool, Rules>>;

/// What the gateways of a topology shall have; tools without a rule are left out.
#[must_use]
pub fn wanted(topology: &Topology) -> ByTool {
    let mut wanted = ByTool::new();
    for gateway in topology.gateways.iter().filter(|gateway| gateway.backend != Backend::Ebpf) {
        let rules = rule::of_gateway(gateway, &insides(topology, gateway));
        for &tool in Tool::of(gateway.backend) {
            let of_family = rules.iter().filter(|rule| match tool {
                Tool::Iptables => rule.ipv4,
                Tool::Ip6tables => !rule.ipv4,
                Tool::Nftables => true,
            });
            let chains = match tool {
                Tool::Iptables | Tool::Ip6tables => iptables::chains(&topology.name, of_family),
                Tool::Nftables => nftables::chains(&topology.name, of_family),
            };
            if !chains.is_empty() {
                wanted.entry(gateway.place.clone()).or_default().insert(tool, chains);
            }
        }
    }
    wanted
}

/// The subnets of a gateway's inside interfaces, without those that lie in another one.
pub(crate) fn insides(topology: &Topology, gateway: &Gateway) -> Vec<IpNet> {
    let is_inside =
        |its: &Interface<'_>| *its.place == gateway.place && gateway.insides.contains(its.interface);
    let addresses = topology.interfaces().filter(is_inside).flat_map(|its| its.addresses);
    IpNet::aggregate(&addresses.map(IpNet::trunc).collect::<Vec<_>>())
}
