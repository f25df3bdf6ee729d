//! Translation: `netctl nat`.

mod filter;
mod flows;
mod flush;
mod ls;
mod netfilter;
mod rules;
mod stats;
mod sweep;
mod words;

pub use self::{
    filter::{Filter, RuleName},
    flows::{Listed, flows},
    flush::{Flushed, flush},
    ls::{InForce, Rule, RuleKind, ls_forwards, ls_masquerades},
    netfilter::{Unseen, unseen},
    rules::{Changed, Which, add_forward, add_masquerade, delete},
    stats::{Counted, Counters, Drop, Paths, Stats, Table, stats},
    sweep::sweep,
    words::{Both, Kind, Proto, State, Tuple},
};
pub(crate) use self::{ls::rules, stats::Counts};
use super::{Error, open};
use crate::{
    model::{Place, TopologyName},
    nat::{
        ebpf::maps::Tables,
        pinned::{Pinned, pinned},
    },
    place::Places,
    state::Directories,
    up,
};

/// A gateway that is looked into.
struct Gateway {
    place: Place,
    owner: TopologyName,
    tables: Tables,
    /// Its rules, in the order of their numbers.
    rules: Vec<Rule>,
}

impl Gateway {
    fn topology(&self) -> Option<TopologyName> {
        Some(self.owner.clone()).filter(|owner| !owner.is_by_hand())
    }

    fn rule(&self, number: u32) -> Option<&Rule> {
        let index = self.rules.binary_search_by_key(&number, |rule| rule.number).ok()?;
        self.rules.get(index)
    }
}

/// The gateways of a place, which has to be there, or all of them.
fn gateways(place: Option<&Place>, directories: &Directories) -> Result<Vec<Gateway>, Error> {
    up::require_root()?;
    let mut places = Places::default();
    if let Some(place) = place {
        open(&mut places, place)?;
    }
    let all = pinned(&directories.bpffs)?.into_iter();
    let wanted = all.filter(|gateway| place.is_none_or(|place| gateway.place == *place));
    wanted.map(|gateway| look(gateway, &mut places, directories)).collect()
}

fn look(gateway: Pinned, places: &mut Places, directories: &Directories) -> Result<Gateway, Error> {
    let tables = Tables::open(&gateway.pins(&directories.bpffs))?;
    let rules = rules(&gateway.place, &tables, places)?;
    let Pinned { place, owner } = gateway;
    Ok(Gateway { place, owner, tables, rules })
}
