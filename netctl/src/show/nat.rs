//! A gateway's translation: rules with their counters, and what was dropped.

use std::{collections::BTreeMap, net::IpAddr};

use serde::Serialize;

use super::{Error, ShownPlace};
use crate::{
    firewall::{self, Chain},
    model::{Backend, Forward, Masquerade, Place, Topology, TopologyName},
    nat::{
        classic,
        ebpf::{
            self,
            maps::{Numbered, Tables},
        },
        pinned::Pinned,
    },
    netfilter,
    netlink::link::Link,
    netns::Netns,
    single::nat::{Counters, Counts, Drop, Paths, Table},
    state::Directories,
};

/// Who translates at a gateway, and how.
#[derive(Debug, Serialize)]
pub struct ShownNat {
    /// The topology whose rules they are; `None` of rules made by hand.
    pub topology: Option<TopologyName>,
    /// What translates.
    pub backend: Backend,
    /// Whether what the backend has is exactly these rules; netfilter's others can change.
    pub in_force: bool,
    /// The rules.
    pub masquerades: Vec<ShownRule<Masquerade>>,
    /// The rules.
    pub forwards: Vec<ShownRule<Forward>>,
    /// How full the flow table is; of programs alone.
    pub table: Option<Table>,
    /// How translated packets went on; of programs alone.
    pub paths: Option<Paths>,
    /// Dropped packets, by reasons that came up; of programs alone.
    pub drops: Vec<Drop>,
    /// Packet filters of others that drop what is forwarded, of the families that the rules are about.
    pub filters: Vec<Chain>,
}

/// A rule.
#[derive(Debug, Serialize)]
pub struct ShownRule<R> {
    /// Its number, for as long as it is in force; of programs alone.
    pub number: Option<u32>,
    /// What the rule says.
    #[serde(flatten)]
    pub rule: R,
    /// What has passed by it; of programs alone.
    #[serde(flatten)]
    pub counters: Option<Counters>,
}

/// Those gateways of a place that a topology, or without one anybody, has there.
pub(super) fn by_programs<'a>(
    place: &ShownPlace,
    links: &[Link],
    gateways: impl Iterator<Item = &'a Pinned>,
    topology: Option<&Topology>,
    netns: &Netns,
    directories: &Directories,
) -> Result<Vec<ShownNat>, Error> {
    let is_of = |owner: &TopologyName| {
        let by_hand = owner.is_by_hand() && place.name != Place::Host;
        topology.is_none_or(|topology| *owner == topology.name || by_hand)
    };
    let look = |gateway: &Pinned| {
        let tables = Tables::open(&gateway.pins(&directories.bpffs))?;
        let counts = Counts::read(&tables)?;
        // Of all links: an uplink need not be one of those that are shown.
        let names = links.iter().filter_map(|link| Some((link.index, link.name.parse().ok()?)));
        let masquerades = tables.masquerades(&names.collect::<BTreeMap<_, _>>())?;
        let forwards = tables.forwards()?;
        let sources = masquerades.iter().map(|its| its.rule.source.addr());
        let addresses: Vec<IpAddr> = sources.chain(forwards.iter().map(|its| its.rule.to)).collect();
        Ok(ShownNat {
            topology: Some(gateway.owner.clone()).filter(|owner| !owner.is_by_hand()),
            backend: Backend::Ebpf,
            in_force: true,
            masquerades: counted(masquerades, &counts, &tables)?,
            forwards: counted(forwards, &counts, &tables)?,
            filters: firewall::in_the_way(netns, &addresses),
            table: Some(counts.table),
            paths: Some(counts.paths),
            drops: counts.drops,
        })
    };
    gateways.filter(|gateway| is_of(&gateway.owner)).map(look).collect()
}

fn counted<R>(
    rules: Vec<Numbered<R>>,
    counts: &Counts,
    tables: &Tables,
) -> Result<Vec<ShownRule<R>>, ebpf::Error> {
    let counted = |Numbered { id, rule }| {
        let counters = Some(counts.of_rule(id, tables)?);
        Ok(ShownRule { number: Some(id), rule, counters })
    };
    rules.into_iter().map(counted).collect()
}

/// The topology's gateway at a place, if netfilter translates there.
pub(super) fn by_netfilter(
    place: &Place,
    topology: Option<&Topology>,
    netns: &Netns,
) -> Result<Option<ShownNat>, Error> {
    let Some(topology) = topology else { return Ok(None) };
    let mut gateways = topology.gateways.iter().filter(|gateway| gateway.place == *place);
    let Some(gateway) = gateways.find(|gateway| gateway.backend != Backend::Ebpf) else { return Ok(None) };
    let mut in_force = true;
    for (tool, rules) in netfilter::wanted(topology).remove(place).unwrap_or_default() {
        in_force &= classic::read(tool, &topology.name, netns)?.is_same(&rules);
    }
    let sources = gateway.masquerades.iter().map(|rule| rule.source.addr());
    let addresses: Vec<IpAddr> = sources.chain(gateway.forwards.iter().map(|rule| rule.to)).collect();
    Ok(Some(ShownNat {
        topology: Some(topology.name.clone()),
        backend: gateway.backend,
        in_force,
        masquerades: gateway.masquerades.iter().map(ShownRule::of).collect(),
        forwards: gateway.forwards.iter().map(ShownRule::of).collect(),
        table: None,
        paths: None,
        drops: Vec::new(),
        filters: firewall::in_the_way(netns, &addresses),
    }))
}

impl<R: Clone> ShownRule<R> {
    fn of(rule: &R) -> Self {
        Self { number: None, rule: rule.clone(), counters: None }
    }
}
