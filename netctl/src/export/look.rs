//! Reads what an export is made from.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    Error,
    seen::{Peer, Seen, SeenGateway, SeenPlace, Settings},
};
use crate::{
    model::{Backend, Gateway, Place, Timeouts, TopologyName},
    nat::{ebpf::maps::Tables, pinned::pinned},
    netlink::{Socket, addr, link, neigh, nft, route, rule, tc},
    netns::{Identity, Netns},
    ownership,
    place::Places,
    state::Directories,
    sysctl,
};

/// Where `iptables` writes netctl's rules.
const TABLES: [&str; 4] = ["nat", "filter", "mangle", "raw"];

/// Looks at the chosen places; without any, at all named namespaces and what of the host hangs together with them.
pub(super) fn look(chosen: &[Place], directories: &Directories) -> Result<Seen, Error> {
    let names = Netns::list()?;
    let mut places = Places::default();
    places.open(&Place::Host)?;
    places.open_all(&names)?;
    let named: Vec<Place> = names.into_iter().map(Place::Netns).collect();
    let is_whole = chosen.is_empty();
    let everywhere = || [Place::Host].into_iter().chain(named.iter().cloned());
    let chosen: BTreeSet<Place> =
        if is_whole { everywhere().collect() } else { chosen.iter().cloned().collect() };
    let mut seen = Seen { is_host_in_part: is_whole, ..Seen::default() };
    let usual = Netns::in_a_new_one(sysctl::writable)?;
    let mut firsts: HashMap<Identity, Place> = HashMap::new();
    for place in chosen.iter().cloned().chain(everywhere()) {
        let Ok(netns) = places.netns(&place) else { continue };
        let identity = netns.identity();
        if let Some(first) = firsts.get(&identity) {
            if chosen.contains(&place) && *first != place {
                seen.aliases.push((place, first.clone()));
            }
        } else {
            firsts.insert(identity, place);
        }
    }
    let firsts: BTreeSet<Place> = firsts.into_values().collect();
    for place in &chosen {
        if let (Place::Netns(name), Err(_)) = (place, places.netns(place)) {
            return Err(Error::NoNamespace(name.clone()));
        }
        if firsts.contains(place) {
            let there = look_at(place, &usual, &mut places)?;
            seen.places.insert(place.clone(), there);
        }
    }
    seen.peers = peers(&seen, &firsts, &mut places)?;
    gateways(&mut seen, directories)?;
    Ok(seen)
}

fn look_at(place: &Place, usual: &BTreeMap<String, String>, places: &mut Places) -> Result<SeenPlace, Error> {
    let failed = |source| Error::Netlink { place: place.clone(), source };
    let socket = places.socket(place)?;
    let links = link::dump(socket).map_err(failed)?;
    let loopback = links.iter().find(|link| link.is_loopback());
    let owner = loopback.and_then(|link| link.alias.as_deref()).and_then(ownership::owner);
    let mut there = SeenPlace {
        owner: owner.filter(|_| *place != Place::Host),
        addresses: addr::dump(socket).map_err(failed)?,
        routes: route::dump(socket).map_err(failed)?,
        rules: rule::dump(socket).map_err(failed)?,
        links,
        ..SeenPlace::default()
    };
    let name = |index: u32| there.link(index).map_or_else(|| format!("if{index}"), |its| its.name.clone());
    let mut others = Vec::new();
    for neighbour in neigh::dump(socket).map_err(failed)?.iter().filter(|its| its.is_set_by_hand()) {
        others.push(format!("neighbour {} at `{}`", neighbour.address, name(neighbour.index)));
    }
    for qdisc in tc::qdiscs(socket).map_err(failed)? {
        others.push(format!("queueing discipline `{}` at `{}`", qdisc.kind, name(qdisc.index)));
    }
    let netns = places.netns(place)?;
    there.others = others;
    there.firewalls = netns.run(|| Ok::<_, Error>(firewalls()))?;
    let found = netns.run(sysctl::writable)?;
    there.sysctls = Settings { found, usual: usual.clone() };
    Ok(there)
}

/// The tables of nftables, those of iptables included, that have rules or drop, but for netctl's own; none where the kernel
/// does not tell.
fn firewalls() -> BTreeSet<String> {
    let chains = Socket::open_for_filters().and_then(|mut socket| nft::dump(&mut socket));
    let chains = chains.unwrap_or_else(|error| {
        tracing::debug!("{error}");
        Vec::new()
    });
    let counts = |chain: &&nft::BaseChain| {
        (chain.rules > 0 || chain.policy == nft::DROP) && !chain.table.starts_with("netctl-")
    };
    chains.iter().filter(counts).map(|chain| chain.table.clone()).collect()
}

/// Where the other end of each veth is.
fn peers(
    seen: &Seen,
    named: &BTreeSet<Place>,
    places: &mut Places,
) -> Result<HashMap<(Place, u32), Peer>, Error> {
    let mut peers = HashMap::new();
    for (place, there) in &seen.places {
        let veths = there.links.iter().filter(|link| link.kind.as_deref() == Some("veth"));
        let mut by_number: Option<HashMap<i32, Place>> = None;
        for link in veths {
            let Some(index) = link.peer_index else { continue };
            let Some(number) = link.peer_netnsid else {
                peers.insert((place.clone(), link.index), Peer::Chosen(place.clone(), index));
                continue;
            };
            let numbers = match &by_number {
                Some(numbers) => numbers,
                None => by_number.insert(numbers_at(place, named, places)?),
            };
            let peer = match numbers.get(&number) {
                Some(other) if seen.places.contains_key(other) => Peer::Chosen(other.clone(), index),
                Some(other) => Peer::Left(other.clone()),
                None => Peer::Nameless,
            };
            peers.insert((place.clone(), link.index), peer);
        }
    }
    Ok(peers)
}

/// The numbers that a place has for other places.
fn numbers_at(
    place: &Place,
    named: &BTreeSet<Place>,
    places: &mut Places,
) -> Result<HashMap<i32, Place>, Error> {
    let mut numbers = HashMap::new();
    for other in named.iter().filter(|other| *other != place) {
        if let Some(number) = places.number_of(other, place)? {
            numbers.insert(number, other.clone());
        }
    }
    Ok(numbers)
}

/// The gateways of the places: by programs as they are, by netfilter as the records have them.
fn gateways(seen: &mut Seen, directories: &Directories) -> Result<(), Error> {
    let mut recorded: Vec<(TopologyName, Gateway)> = Vec::new();
    for name in directories.topologies()? {
        if let Some(record) = directories.record(&name)? {
            recorded.extend(record.topology.gateways.into_iter().map(|gateway| (name.clone(), gateway)));
        }
    }
    for gateway in pinned(&directories.bpffs).map_err(Error::Nat)? {
        let Some(there) = seen.places.get_mut(&gateway.place) else { continue };
        let tables = Tables::open(&gateway.pins(&directories.bpffs)).map_err(Error::Nat)?;
        let masquerades = tables.masquerades(&there.names()).map_err(Error::Nat)?;
        let forwards = tables.forwards().map_err(Error::Nat)?;
        let record = recorded.iter().find(|(name, its)| *name == gateway.owner && its.place == gateway.place);
        there.gateways.push(SeenGateway {
            backend: Backend::Ebpf,
            masquerades: masquerades.into_iter().map(|numbered| numbered.rule).collect(),
            forwards: forwards.into_iter().map(|numbered| numbered.rule).collect(),
            timeouts: tables.timeouts().map_err(Error::Nat)?,
            max_flows: Some(tables.room().map_err(Error::Nat)?),
            is_without_shortcuts: record.is_some_and(|(_, its)| its.ports.is_empty()),
        });
    }
    for (_, gateway) in recorded.into_iter().filter(|(_, its)| its.backend != Backend::Ebpf) {
        let Some(there) = seen.places.get_mut(&gateway.place) else { continue };
        if gateway.backend == Backend::Iptables {
            // Its chains are in tables that others have rules in, too.
            there.firewalls.retain(|table| !TABLES.contains(&table.as_str()));
        }
        there.gateways.push(SeenGateway {
            backend: gateway.backend,
            masquerades: gateway.masquerades,
            forwards: gateway.forwards,
            timeouts: Timeouts::new(),
            max_flows: None,
            is_without_shortcuts: false,
        });
    }
    Ok(())
}
