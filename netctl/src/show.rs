//! A topology as it is now: what `netctl show` tells. Reads only.

use std::{collections::BTreeMap, net::IpAddr};

use serde::Serialize;

use crate::{
    firewall::{self, DropsForwarded},
    model::{Backend, Forward, IfName, Masquerade, Place, Route, Topology, TopologyName},
    nat::{
        classic,
        ebpf::{self, Pins, maps::Tables},
    },
    netlink::{self, addr, link, neigh, route},
    place::{self, Places},
    state::{self, Directories},
    up,
};

/// Why a topology cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not up.
    #[error("there is no topology `{0}`")]
    NotUp(TopologyName),
    /// This process may not look.
    #[error(transparent)]
    Up(#[from] up::Error),
    /// The record could not be read.
    #[error(transparent)]
    State(#[from] state::Error),
    /// A place could not be entered.
    #[error(transparent)]
    Place(#[from] place::Error),
    /// A place does not answer.
    #[error("netlink: {0}")]
    Netlink(#[from] netlink::Error),
    /// The maps could not be read.
    #[error(transparent)]
    Nat(#[from] ebpf::Error),
    /// Netfilter's rules could not be read.
    #[error(transparent)]
    Rules(#[from] classic::Error),
}

/// A topology that is up.
#[derive(Debug, Serialize)]
pub struct Shown {
    /// Its name.
    pub name: TopologyName,
    /// False after a command was killed half-way.
    pub complete: bool,
    /// The host, if the topology has links there, and its namespaces.
    pub places: Vec<ShownPlace>,
}

/// One place.
#[derive(Debug, Serialize)]
pub struct ShownPlace {
    /// `host` or the namespace.
    pub name: Place,
    /// False if somebody removed it.
    pub exists: bool,
    /// Its links; of the host, only those of the topology.
    pub links: Vec<ShownLink>,
    /// Its routes through a next hop; of the host, only those of the topology.
    pub routes: Vec<Route>,
    /// What is known about its links' neighbours.
    pub neighbours: Vec<ShownNeighbour>,
    /// Its translation by programs.
    pub nat: Option<ShownNat>,
    /// Its translation by netfilter.
    pub netfilter: Option<ShownNetfilter>,
    /// Interface names by index.
    #[serde(skip)]
    names: BTreeMap<u32, IfName>,
}

/// One link.
#[derive(Debug, Serialize)]
pub struct ShownLink {
    /// Its name.
    pub name: String,
    /// What the file calls it, or what `name` is the shortened form of.
    pub full_name: Option<String>,
    /// The driver's word.
    pub kind: String,
    /// Administratively up.
    pub up: bool,
    /// The cable is plugged in and its other end is up.
    pub carrier: bool,
    /// Bytes.
    pub mtu: u32,
    /// The MAC address.
    pub mac: Option<String>,
    /// The bridge that it is plugged into.
    pub master: Option<String>,
    /// The cable's other end, by the topology.
    pub peer: Option<(Place, IfName)>,
    /// Its addresses, link-local ones included.
    pub addresses: Vec<String>,
}

/// One neighbour.
#[derive(Debug, Serialize)]
pub struct ShownNeighbour {
    /// Its address.
    pub address: String,
    /// Its MAC address, if it answered.
    pub mac: Option<String>,
    /// By which link.
    pub interface: String,
    /// `reachable`, `stale`, ..
    pub state: &'static str,
}

/// A gateway's translation.
#[derive(Debug, Default, Serialize)]
pub struct ShownNat {
    /// The rules.
    pub masquerades: Vec<ShownRule<Masquerade>>,
    /// The rules.
    pub forwards: Vec<ShownRule<Forward>>,
    /// Live flows of all rules.
    pub flows: u64,
    /// Dropped packets by reason.
    pub drops: Vec<ShownDrop>,
    /// Packet filters of others that drop what is forwarded, of the families that the rules are about.
    pub filters: Vec<DropsForwarded>,
}

/// A gateway's translation by netfilter.
#[derive(Debug, Serialize)]
pub struct ShownNetfilter {
    /// Who wrote the rules.
    pub backend: Backend,
    /// Whether all of them are there, and nothing else in their chains.
    pub in_force: bool,
    /// The rules.
    pub masquerades: Vec<Masquerade>,
    /// The rules.
    pub forwards: Vec<Forward>,
}

/// A rule and its live flows.
#[derive(Debug, Serialize)]
pub struct ShownRule<R> {
    /// The rule.
    #[serde(flatten)]
    pub rule: R,
    /// How many.
    pub flows: u64,
    /// Translated in both directions.
    pub packets: u64,
    /// Translated in both directions.
    pub bytes: u64,
}

/// Dropped packets of one reason.
#[derive(Debug, Serialize)]
pub struct ShownDrop {
    /// A word for machines.
    pub reason: &'static str,
    /// A phrase for people.
    pub text: &'static str,
    /// How many.
    pub packets: u64,
}

/// Looks at everything that belongs to `name`.
///
/// # Errors
/// If it is not up, or something of it cannot be read.
pub fn show(name: &TopologyName, directories: &Directories) -> Result<Shown, Error> {
    up::require_root()?;
    let record = directories.record(name)?.ok_or_else(|| Error::NotUp(name.clone()))?;
    let topology = &record.topology;
    let mut places = Places::default();
    let mut shown = Vec::new();
    for place in topology.places() {
        let mut seen = look(topology, place, &mut places)?;
        seen.nat = look_at_nat(topology, &seen, &places, directories)?;
        seen.netfilter = look_at_netfilter(topology, &seen, &places)?;
        shown.push(seen);
    }
    Ok(Shown { name: name.clone(), complete: record.complete, places: shown })
}

fn look(topology: &Topology, place: Place, places: &mut Places) -> Result<ShownPlace, Error> {
    if !places.open(&place)? {
        let (links, routes, neighbours) = (Vec::new(), Vec::new(), Vec::new());
        let names = BTreeMap::new();
        return Ok(ShownPlace {
            name: place,
            exists: false,
            links,
            routes,
            neighbours,
            nat: None,
            netfilter: None,
            names,
        });
    }
    let socket = places.socket(&place)?;
    let all = link::dump(socket)?;
    let addresses = addr::dump(socket)?;
    let routes = route::dump(socket)?;
    let neighbours = neigh::dump(socket)?;

    let is_shown = |link: &&link::Link| {
        let marked = link.alias.as_deref().and_then(place::owner).as_ref() == Some(&topology.name);
        if place == Place::Host { marked } else { link.name != "lo" }
    };
    let links: Vec<&link::Link> = all.iter().filter(is_shown).collect();
    let name_of = |index: u32| all.iter().find(|link| link.index == index).map(|link| link.name.clone());
    let shows = |index: u32| links.iter().any(|link| link.index == index);
    Ok(ShownPlace {
        exists: true,
        links: links
            .iter()
            .map(|link| ShownLink {
                name: link.name.clone(),
                full_name: link.alias.as_deref().and_then(place::full_name).map(str::to_owned),
                kind: link.kind.clone().unwrap_or_default(),
                up: link.up,
                carrier: link.lower_up,
                mtu: link.mtu,
                mac: link.address.map(|mac| mac_words(&mac)),
                master: link.master.and_then(name_of),
                peer: peer_of(topology, &place, &link.name),
                addresses: addresses
                    .iter()
                    .filter(|address| address.index == link.index)
                    .map(|address| address.address.to_string())
                    .collect(),
            })
            .collect(),
        routes: routes
            .iter()
            .filter(|route| route.is_main() && route.oif.is_none_or(shows))
            .filter_map(|route| {
                Some(Route { place: place.clone(), to: route.destination, via: route.gateway? })
            })
            .collect(),
        neighbours: neighbours
            .iter()
            .filter(|neighbour| shows(neighbour.index) && !neighbour.address.is_multicast())
            .filter_map(|neighbour| {
                Some(ShownNeighbour {
                    address: neighbour.address.to_string(),
                    mac: neighbour.mac.map(|mac| mac_words(&mac)),
                    interface: name_of(neighbour.index)?,
                    state: neighbour.state_name(),
                })
            })
            .collect(),
        nat: None,
        netfilter: None,
        names: all.iter().filter_map(|link| Some((link.index, link.name.parse().ok()?))).collect(),
        name: place,
    })
}

fn peer_of(topology: &Topology, place: &Place, interface: &str) -> Option<(Place, IfName)> {
    let is = |end: &crate::model::End| end.place == *place && end.interface.as_str() == interface;
    topology.cables.iter().find_map(|cable| {
        let far = if is(&cable.a) { &cable.b } else { is(&cable.b).then_some(&cable.a)? };
        Some((far.place.clone(), far.interface.clone()))
    })
}

fn mac_words(mac: &[u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

fn look_at_nat(
    topology: &Topology,
    place: &ShownPlace,
    places: &Places,
    directories: &Directories,
) -> Result<Option<ShownNat>, Error> {
    let pins = Pins::new(&directories.bpffs, &topology.name, &place.name);
    if !pins.exist() {
        return Ok(None);
    }
    let tables = Tables::open(&pins)?;
    let mut by_rule: BTreeMap<u32, (u64, u64, u64)> = BTreeMap::new();
    for flow in tables.flows()? {
        let (flows, packets, bytes) = by_rule.entry(flow.there.rule).or_default();
        let carried = flow.carried();
        *flows += carried.flows;
        *packets += carried.packets.iter().sum::<u64>();
        *bytes += carried.bytes.iter().sum::<u64>();
    }
    let drops = tables.drops()?;
    let (masquerades, forwards) = (tables.masquerades(&place.names)?, tables.forwards()?);
    let sources = masquerades.iter().map(|its| its.rule.source.addr());
    let addresses: Vec<IpAddr> = sources.chain(forwards.iter().map(|its| its.rule.to)).collect();
    let filters = match place.exists {
        true => firewall::in_the_way(places.netns(&place.name)?, &addresses),
        false => Vec::new(),
    };
    Ok(Some(ShownNat {
        masquerades: masquerades.into_iter().map(|rule| with_flows(rule, &by_rule)).collect(),
        forwards: forwards.into_iter().map(|rule| with_flows(rule, &by_rule)).collect(),
        filters,
        flows: by_rule.values().map(|(flows, ..)| flows).sum(),
        drops: drops
            .into_iter()
            .map(|(reason, packets)| ShownDrop { reason: reason.id(), text: reason.text(), packets })
            .collect(),
    }))
}

fn look_at_netfilter(
    topology: &Topology,
    place: &ShownPlace,
    places: &Places,
) -> Result<Option<ShownNetfilter>, Error> {
    let mut gateways = topology.gateways.iter().filter(|gateway| gateway.place == place.name);
    let gateway = gateways.find(|gateway| place.exists && gateway.backend != Backend::Ebpf);
    let Some(gateway) = gateway else { return Ok(None) };
    let wanted = classic::wanted(topology).remove(&place.name).unwrap_or_default();
    let mut in_force = true;
    for (tool, rules) in wanted {
        in_force &= classic::read(tool, &topology.name, places.netns(&place.name)?)?.is_same(&rules);
    }
    Ok(Some(ShownNetfilter {
        backend: gateway.backend,
        in_force,
        masquerades: gateway.masquerades.clone(),
        forwards: gateway.forwards.clone(),
    }))
}

fn with_flows<R>(
    numbered: ebpf::maps::Numbered<R>,
    by_rule: &BTreeMap<u32, (u64, u64, u64)>,
) -> ShownRule<R> {
    let (flows, packets, bytes) = by_rule.get(&numbered.id).copied().unwrap_or_default();
    ShownRule { rule: numbered.rule, flows, packets, bytes }
}
