//! The rules of a gateway, as their tables have them.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    model::{Forward, IfName, Masquerade, Place},
    nat::ebpf::maps::{Numbered, Tables},
    netlink::link,
    place::Places,
    single::Error,
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

/// All rules, in the order of their numbers.
pub(super) fn rules(place: &Place, tables: &Tables, places: &mut Places) -> Result<Vec<Rule>, Error> {
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
