//! `netctl nat stats`: what has passed by each rule, and what was dropped.

use std::collections::BTreeMap;

use netctl_ebpf::{
    count::{Ended, Path},
    reason::DropReason,
    watch::Watcher,
};
use serde::Serialize;

use super::{Both, Gateway, Rule, gateways, ls::live};
use crate::{
    model::{Place, TopologyName},
    nat::ebpf::{self, maps::Tables},
    single::Error,
    state::Directories,
};

/// One gateway's counters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// The gateway.
    pub gateway: Place,
    /// The topology that made it; `null` of one made by hand.
    pub topology: Option<TopologyName>,
    /// Its rules, in the order of their numbers.
    pub rules: Vec<Counted>,
    /// How full the flow table is.
    pub table: Table,
    /// How translated packets went on.
    pub paths: Paths,
    /// Dropped packets, by reasons that came up.
    pub drops: Vec<Drop>,
}

/// A rule and its counters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Counted {
    /// The rule.
    #[serde(flatten)]
    pub rule: Rule,
    /// Its counters.
    #[serde(flatten)]
    pub counters: Counters,
}

/// What has passed by a rule, from when it was put in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Live connections.
    pub live: u64,
    /// Those that have ended.
    pub ended: u64,
    /// Packets of both.
    pub packets: Both,
    /// Their bytes, from the Ethernet header on.
    pub bytes: Both,
}

/// Translated packets by the way that they went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Paths {
    /// Through the kernel's bridge, routing and firewall.
    pub kernel: u64,
    /// Straight from the interface where they came in to the one where they left.
    pub shortcut: u64,
    /// Of those through the kernel, those that would have gone straight if nobody watched, by who does.
    pub watched: Vec<Watched>,
}

/// Packets that did not go straight because somebody watches the kernel's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Watched {
    /// Who does: a word for machines.
    pub by: &'static str,
    /// A phrase for people.
    pub text: &'static str,
    /// How many.
    pub packets: u64,
}

/// How full a flow table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Table {
    /// Live flows; a hairpinned connection is two.
    pub flows: u64,
    /// Flows that there is room for.
    pub max: u64,
}

/// Dropped packets of one reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Drop {
    /// A word for machines.
    pub reason: &'static str,
    /// A phrase for people.
    pub text: &'static str,
    /// How many.
    pub packets: u64,
}

/// The counters of a gateway, or of all.
///
/// # Errors
/// If the place is not there, or a table cannot be read.
pub fn stats(place: Option<&Place>, directories: &Directories) -> Result<Vec<Stats>, Error> {
    gateways(place, directories)?.iter().map(count).collect()
}

fn count(gateway: &Gateway) -> Result<Stats, Error> {
    let counts = Counts::read(&gateway.tables)?;
    let counted = |rule: &Rule| {
        let counters = counts.of_rule(rule.number, &gateway.tables)?;
        Ok(Counted { rule: rule.clone(), counters })
    };
    Ok(Stats {
        gateway: gateway.place.clone(),
        topology: gateway.topology(),
        rules: gateway.rules.iter().map(counted).collect::<Result<_, ebpf::Error>>()?,
        table: counts.table,
        paths: counts.paths,
        drops: counts.drops,
    })
}

/// What a gateway's tables have counted.
pub(crate) struct Counts {
    live: BTreeMap<u32, Ended>,
    pub(crate) table: Table,
    pub(crate) paths: Paths,
    pub(crate) drops: Vec<Drop>,
}

impl Counts {
    /// One look at all of them.
    pub(crate) fn read(tables: &Tables) -> Result<Self, ebpf::Error> {
        let flows = tables.flows()?;
        let watched =
            |(watcher, packets): (Watcher, u64)| Watched { by: watcher.id(), text: watcher.text(), packets };
        let drop =
            |(reason, packets): (DropReason, u64)| Drop { reason: reason.id(), text: reason.text(), packets };
        Ok(Self {
            live: live(&flows),
            table: Table { flows: flows.len() as u64, max: tables.room()?.into() },
            paths: Paths {
                kernel: tables.passed(Path::Kernel)?,
                shortcut: tables.passed(Path::Short)?,
                watched: tables.watched()?.into_iter().map(watched).collect(),
            },
            drops: tables.drops()?.into_iter().map(drop).collect(),
        })
    }

    /// Those of one rule.
    pub(crate) fn of_rule(&self, number: u32, tables: &Tables) -> Result<Counters, ebpf::Error> {
        let live = self.live.get(&number).copied().unwrap_or_default();
        let ended = tables.ended(number)?;
        let all = live.plus(&ended);
        let (packets, bytes) = (all.packets.into(), all.bytes.into());
        Ok(Counters { live: live.flows, ended: ended.flows, packets, bytes })
    }
}
