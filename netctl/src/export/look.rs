//! Reads what an export is made from.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    Error,
    seen::{Peer, Seen, SeenGateway, SeenPlace, Settings},
};
use crate::{
    model::{Backend, Gateway, IfName, Place, Shortcut, Timeouts, Topology, TopologyName},
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
    there.sysctls = Settings { found: sysctls(netns, &there, usual)?, usual: usual.clone() };
    Ok(there)
}

/// Those that a new namespace has, too, and those of its interfaces.
fn sysctls(
    netns: &Netns,
    there: &SeenPlace,
    usual: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, Error> {
    let keys: Vec<sysctl::Key> = usual.keys().map(|key| key.parse()).collect::<Result<_, _>>()?;
    let values = sysctl::read(netns, &keys)?;
    let interfaces: Vec<IfName> = there.names().into_values().filter(|name| name.as_str() != "lo").collect();
    let own = sysctl::of_interfaces(netns, &interfaces)?;
    let known = usual.keys().cloned().zip(values).filter_map(|(key, value)| Some((key, value?)));
    Ok(known.chain(own.into_iter().map(|(key, value)| (key.to_string(), value))).collect())
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

/// Where the other end of each veth is: in the place that this one has that number for. Of the chosen places, those are
/// asked about that have such a veth; the kernel has numbers for namespaces only.
fn peers(
    seen: &Seen,
    named: &BTreeSet<Place>,
    places: &mut Places,
) -> Result<HashMap<(Place, u32), Peer>, Error> {
    let veths = |there: &'_ SeenPlace| -> Vec<(u32, u32, Option<i32>)> {
        let veths = there.links.iter().filter(|link| link.kind.as_deref() == Some("veth"));
        veths.filter_map(|link| Some((link.index, link.peer_index?, link.peer_netnsid))).collect()
    };
    let mut by_ends: HashMap<(u32, u32), Vec<&Place>> = HashMap::new();
    for (place, there) in &seen.places {
        for (index, peer, _) in veths(there) {
            by_ends.entry((index, peer)).or_default().push(place);
        }
    }
    let others: Vec<&Place> = named.iter().filter(|place| !seen.places.contains_key(place)).collect();
    let mut peers = HashMap::new();
    for (place, there) in &seen.places {
        for (index, peer, number) in veths(there) {
            let Some(number) = number else {
                peers.insert((place.clone(), index), Peer::Chosen(place.clone(), peer));
                continue;
            };
            let alike = by_ends.get(&(peer, index)).into_iter().flatten().filter(|other| **other != place);
            let mut found = Peer::Nameless;
            for other in alike.chain(&others) {
                if places.number_of(other, place)? == Some(number) {
                    let is_chosen = seen.places.contains_key(*other);
                    found = if is_chosen {
                        Peer::Chosen((*other).clone(), peer)
                    } else {
                        Peer::Left((*other).clone())
                    };
                    break;
                }
            }
            peers.insert((place.clone(), index), found);
        }
    }
    Ok(peers)
}

/// The gateways of the places: by programs as they are, by netfilter as the records have them.
fn gateways(seen: &mut Seen, directories: &Directories) -> Result<(), Error> {
    let mut recorded: Vec<(TopologyName, Gateway)> = Vec::new();
    for record in directories.readable_records()? {
        let Topology { name, gateways, .. } = record.topology;
        recorded.extend(gateways.into_iter().map(|gateway| (name.clone(), gateway)));
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
            shortcut: match record {
                Some((_, its)) if its.ports.is_empty() => None,
                _ => Some(tables.shortcut().map_err(Error::Nat)?),
            },
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
            shortcut: Some(Shortcut::default()),
        });
    }
    Ok(())
}
