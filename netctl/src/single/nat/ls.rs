//! The rules of a gateway, as their tables have them.

use std::{collections::BTreeMap, fmt};

use netctl_ebpf::count::Ended;
use serde::Serialize;

use super::{Gateway, gateways, netfilter::by_netfilter};
use crate::{
    model::{self, Forward, IfName, Masquerade, Place, TopologyName},
    nat::ebpf::maps::{Flow, Numbered, Tables},
    netlink::link,
    place::Places,
    single::Error,
    state::Directories,
};

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RuleKind {
    /// Source NAT.
    Masquerade,
    /// Destination NAT.
    Forward,
}

impl RuleKind {
    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Masquerade => "masquerade",
            Self::Forward => "forward",
        }
    }
}

impl fmt::Display for RuleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A rule in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// Its number in its gateway, for as long as it is in force.
    pub number: u32,
    /// What it does.
    pub kind: RuleKind,
    /// What it is called: a masquerade rule's source, what a forward listens on.
    pub name: String,
    /// All of it, in words.
    pub text: String,
}

impl From<Numbered<Masquerade>> for Rule {
    fn from(Numbered { id, rule }: Numbered<Masquerade>) -> Self {
        let (name, text) = (rule.source.to_string(), rule.to_string());
        Self { number: id, kind: RuleKind::Masquerade, name, text }
    }
}

impl From<Numbered<Forward>> for Rule {
    fn from(Numbered { id, rule }: Numbered<Forward>) -> Self {
        let (name, text) = (rule.listen(), rule.to_string());
        Self { number: id, kind: RuleKind::Forward, name, text }
    }
}

/// A line of `netctl nat masquerade ls` and `netctl nat forward ls`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InForce<R> {
    /// The gateway.
    pub gateway: Place,
    /// The topology that made it; `null` of one made by hand.
    pub topology: Option<TopologyName>,
    /// The rule's number there; none where the rules are netfilter's.
    pub number: Option<u32>,
    /// The rule.
    #[serde(flatten)]
    pub rule: R,
    /// Its live connections; likewise.
    pub live: Option<u64>,
}

/// The masquerade rules of a gateway, or of all.
///
/// # Errors
/// If the place is not there, or a table cannot be read.
pub fn ls_masquerades(
    place: Option<&Place>,
    directories: &Directories,
) -> Result<Vec<InForce<Masquerade>>, Error> {
    let mut places = Places::default();
    let by_programs =
        |gateway: &Gateway| Ok(gateway.tables.masquerades(&names(&gateway.place, &mut places)?)?);
    ls(place, directories, by_programs, |gateway| gateway.masquerades)
}

/// The forwards of a gateway, or of all.
///
/// # Errors
/// If the place is not there, or a table cannot be read.
pub fn ls_forwards(place: Option<&Place>, directories: &Directories) -> Result<Vec<InForce<Forward>>, Error> {
    ls(place, directories, |gateway| Ok(gateway.tables.forwards()?), |gateway| gateway.forwards)
}

fn ls<R>(
    place: Option<&Place>,
    directories: &Directories,
    mut rules: impl FnMut(&Gateway) -> Result<Vec<Numbered<R>>, Error>,
    recorded: impl Fn(model::Gateway) -> Vec<R>,
) -> Result<Vec<InForce<R>>, Error> {
    let mut listed = Vec::new();
    for gateway in gateways(place, directories)? {
        let live = live(&gateway.tables.flows()?);
        listed.extend(rules(&gateway)?.into_iter().map(|Numbered { id, rule }| InForce {
            gateway: gateway.place.clone(),
            topology: gateway.topology(),
            number: Some(id),
            rule,
            live: Some(live.get(&id).map_or(0, |live| live.flows)),
        }));
    }
    for (topology, gateway) in by_netfilter(place, directories)? {
        let place = gateway.place.clone();
        listed.extend(recorded(gateway).into_iter().map(|rule| InForce {
            gateway: place.clone(),
            topology: Some(topology.clone()),
            number: None,
            rule,
            live: None,
        }));
    }
    Ok(listed)
}

/// What the live connections of each rule have carried.
pub(super) fn live(flows: &[Flow]) -> BTreeMap<u32, Ended> {
    let mut by_rule: BTreeMap<u32, Ended> = BTreeMap::new();
    for flow in flows {
        let sum = by_rule.entry(flow.there.rule).or_default();
        *sum = sum.plus(&flow.carried());
    }
    by_rule
}

/// All rules, in the order of their numbers.
pub(crate) fn rules(place: &Place, tables: &Tables, places: &mut Places) -> Result<Vec<Rule>, Error> {
    let masquerades = tables.masquerades(&names(place, places)?)?.into_iter().map(Rule::from);
    let mut rules: Vec<Rule> = masquerades.chain(tables.forwards()?.into_iter().map(Rule::from)).collect();
    rules.sort_by_key(|rule| rule.number);
    Ok(rules)
}

/// Interfaces by index; none of a namespace that has lost its name.
fn names(place: &Place, places: &mut Places) -> Result<BTreeMap<u32, IfName>, Error> {
    if !places.open(place)? {
        return Ok(BTreeMap::new());
    }
    let links = link::dump(places.socket(place)?)?;
    Ok(links.iter().filter_map(|link| Some((link.index, link.name.parse().ok()?))).collect())
}
