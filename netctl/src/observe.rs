//! Looks at what is there: reads the kernel's state of the places that a topology speaks of, in the model's words.

use std::collections::{BTreeMap, BTreeSet};

use neli::consts::rtnl::Rtn;

use crate::{
    build::Build,
    model::{
        At, CONNTRACK_LIBERAL, Gateway, IfName, NetnsName, Place, Route, RouteKind, Rule, RuleAction,
        Topology, TopologyName,
        backend::{BRIDGED, ROUTE_LOCALNET},
    },
    nat::{
        classic,
        ebpf::{self, Pins, attach, load::Constants, maps::Tables},
    },
    netfilter::Tool,
    netlink::{
        self, addr, link, route,
        rule::{self, Action},
    },
    netns::NetnsError,
    observed::{HostRoute, Observed, ObservedLink, ObservedNat, ObservedPlace, ObservedRoute, ObservedRule},
    ownership::{self, Past, Recorded},
    place::{self, Places},
    state::{Directories, Record},
    sysctl,
};

/// What went wrong while looking.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A place could not be entered.
    #[error("{0}")]
    Place(#[from] place::Error),
    /// A namespace could not be entered.
    #[error("{0}")]
    Netns(#[from] NetnsError),
    /// The kernel did not tell.
    #[error("look around {}: {source}", At(place))]
    Netlink {
        /// Where.
        place: Place,
        /// Why.
        source: netlink::Error,
    },
    /// Netfilter's rules could not be read. What may be done where they are to be written does not help, hence not `{0}`.
    #[error(transparent)]
    Rules(#[from] classic::Error),
    /// A sysctl could not be read.
    #[error("{0}")]
    Sysctl(#[from] sysctl::SysctlError),
    /// The NAT maps could not be read.
    #[error("look at the translation {}: {source}", At(place))]
    Nat {
        /// Where.
        place: Place,
        /// Why.
        source: ebpf::Error,
    },
}

/// What is known of a topology before the kernel is asked.
#[derive(Debug, Default)]
pub struct Known<'a> {
    /// What is remembered of it.
    pub record: Option<&'a Record>,
    /// What is remembered of the other topologies with the same host.
    pub others: &'a [Record],
    /// The namespaces that it owns, or may own.
    pub namespaces: BTreeSet<NetnsName>,
    /// Where netfilter may have rules of it, and by which tools.
    pub netfilter: BTreeMap<Place, BTreeSet<Tool>>,
}

/// Looks at the host, at every namespace of `topology` that exists, and at those that earlier versions of it owned, and at
/// netfilter's rules where there may be some. The handles opened for that stay in `places`.
///
/// # Errors
/// If a place cannot be entered or does not answer.
pub fn observe(
    topology: &Topology,
    known: &Known<'_>,
    places: &mut Places,
    directories: &Directories,
) -> Result<Observed, Error> {
    let Known { namespaces: also, netfilter, .. } = known;
    let others = known.others.iter().map(|other| &other.topology).collect();
    let recorded = Recorded::of(known.record.map(Past::from), others);
    let wanted = topology.namespaces.iter().map(|namespace| &namespace.name);
    let names: BTreeSet<&NetnsName> = wanted.chain(also).collect();
    let (machine, renames_live) = (ownership::this_machine(), renames_live());
    let mut observed = Observed { machine, renames_live, ..Observed::default() };
    places.open_all(&names.iter().copied().cloned().collect::<Vec<_>>())?;
    for place in std::iter::once(Place::Host).chain(names.into_iter().cloned().map(Place::Netns)) {
        if !places.open(&place)? {
            continue;
        }
        let (mut found, routes) = look(&topology.name, &place, &recorded, places)?;
        if place == Place::Host {
            observed.host_routes = routes;
        }
        let had_policy = known.record.is_some_and(|before| {
            let left = before.left.as_ref().is_some_and(|left| has_policy(&left.rules, &place));
            left || has_policy(&before.topology.rules, &place)
        });
        if has_policy(&topology.rules, &place) || had_policy {
            found.policy =
                look_at_policy(&place, &recorded, found.owner.as_ref() == Some(&topology.name), places)?;
        }
        let keys = sysctls_to_read(topology, &place, netfilter, &observed.host_routes);
        if !keys.is_empty() {
            found.sysctls = read_sysctls(&place, keys, places)?;
        }
        found.nat = look_at_nat(&topology.name, &place, &found, places, directories)?;
        for &tool in netfilter.get(&place).into_iter().flatten() {
            let rules = classic::read(tool, &topology.name, places.netns(&place)?)?;
            if !rules.is_empty() {
                found.rules.insert(tool, rules);
            }
        }
        observed.places.insert(place, found);
    }
    observed.pair(topology, |place, link, other| leads_to(place, link, other, places))?;
    Ok(observed)
}

/// Whether the kernel renames links that are up: since 6.2 (`IFF_LIVE_RENAME_OK` is no longer asked in
/// net/core/dev.c).
fn renames_live() -> bool {
    let release = nix::sys::utsname::uname().ok();
    let release = release.as_ref().and_then(|names| names.release().to_str()).unwrap_or_default();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|part| part.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(6), Some(2))
}

/// Whether the other end of a place's link is in `other`.
fn leads_to(place: &Place, link: &ObservedLink, other: &Place, places: &mut Places) -> Result<bool, Error> {
    let Some(number) = link.peer_netnsid else { return Ok(other == place) };
    Ok(places.number_of(other, place)? == Some(number))
}

/// A place, and where it sends what.
fn look(
    topology: &TopologyName,
    place: &Place,
    recorded: &Recorded<'_>,
    places: &mut Places,
) -> Result<(ObservedPlace, Vec<HostRoute>), Error> {
    let failed = |source| Error::Netlink { place: place.clone(), source };
    let socket = places.socket(place)?;
    let links = link::dump(socket).map_err(failed)?;
    let addresses = addr::dump(socket).map_err(failed)?;
    let routes = route::dump(socket).map_err(failed)?;
    places.learn(place, &links);

    let names: BTreeMap<u32, IfName> =
        links.iter().filter_map(|link| Some((link.index, link.name.parse().ok()?))).collect();
    let mut by_link: BTreeMap<u32, Vec<&addr::Address>> = BTreeMap::new();
    for address in addresses.iter().filter(|address| is_administered(address)) {
        by_link.entry(address.index).or_default().push(address);
    }
    let mut found = ObservedPlace::default();
    for link in &links {
        let mark = link.alias.as_deref().and_then(ownership::owner);
        if link.is_loopback() {
            found.owner = mark.filter(|_| *place != Place::Host);
            continue;
        }
        let Some(name) = names.get(&link.index) else { continue };
        let owner = ownership::owner_of(link, place, topology, ownership::this_machine());
        let is_ours = owner.as_ref() == Some(topology);
        let addresses = by_link.remove(&link.index).unwrap_or_default();
        let owned = addresses.iter().filter(|seen| recorded.has_address(place, name, seen, is_ours));
        let seen = ObservedLink {
            index: link.index,
            kind: link.kind.clone().unwrap_or_default(),
            marked: mark.is_some(),
            has_alias: link.alias.is_some(),
            full_name: link.alias.as_deref().and_then(ownership::full_name).map(str::to_owned),
            mtu: link.mtu,
            up: link.up,
            master: link.master.and_then(|index| names.get(&index).cloned()),
            peer_index: link.peer_index,
            peer_netnsid: link.peer_netnsid,
            vlan: link.vlan.and_then(|vlan| Some((names.get(&link.peer_index?)?.clone(), vlan.id))),
            owned: owned.map(|seen| seen.address).collect(),
            addresses: addresses.iter().map(|seen| seen.address).collect(),
            owner,
        };
        found.links.insert(name.clone(), seen);
    }
    found.routes = told_routes(place, &routes, &names, recorded, found.owner.as_ref() == Some(topology));
    let everywhere = routes.iter().filter(|route| route.is_main()).map(|route| HostRoute {
        to: route.destination,
        via: route.gateway,
        interface: route.oif.and_then(|index| names.get(&index).cloned()),
        advertised: route.is_advertised(),
    });
    Ok((found, everywhere.collect()))
}

/// The routes of the host that the topology of a record set, and its policy rules there: what is still in force of them.
///
/// # Errors
/// If the host does not answer.
pub(crate) fn left_on_host(
    recorded: &Recorded<'_>,
    places: &mut Places,
) -> Result<(Vec<ObservedRoute>, Vec<Rule>), Error> {
    let (place, failed) = (Place::Host, |source| Error::Netlink { place: Place::Host, source });
    let socket = places.socket(&place)?;
    let (links, routes) = (link::dump(socket).map_err(failed)?, route::dump(socket).map_err(failed)?);
    places.learn(&place, &links);
    let names = links.iter().filter_map(|link| Some((link.index, link.name.parse().ok()?))).collect();
    let routes = told_routes(&place, &routes, &names, recorded, false);
    let rules = look_at_policy(&place, recorded, false, places)?;
    Ok((
        routes.into_iter().filter(|seen| seen.owned).collect(),
        rules.into_iter().filter(|seen| seen.owned).map(|seen| seen.rule).collect(),
    ))
}

fn told_routes(
    place: &Place,
    routes: &[route::Route],
    names: &BTreeMap<u32, IfName>,
    recorded: &Recorded<'_>,
    is_own_place: bool,
) -> Vec<ObservedRoute> {
    let told = routes.iter().filter(|route| !route.is_kernels()).filter_map(|seen| {
        let route = administered_route(place, seen, names)?;
        let owned = recorded.has_route(&route, seen, is_own_place);
        Some(ObservedRoute { route, owned, protocol: seen.protocol.into() })
    });
    told.collect()
}

fn has_policy(rules: &[Rule], place: &Place) -> bool {
    rules.iter().any(|rule| rule.place == *place)
}

/// The policy rules of a place that a file could have.
fn look_at_policy(
    place: &Place,
    recorded: &Recorded<'_>,
    is_own_place: bool,
    places: &mut Places,
) -> Result<Vec<ObservedRule>, Error> {
    let failed = |source| Error::Netlink { place: place.clone(), source };
    let seen = rule::dump(places.socket(place)?).map_err(failed)?;
    let told = seen.iter().filter_map(|seen| {
        let rule = administered_rule(place, seen)?;
        let owned = recorded.has_rule(&rule, seen, is_own_place);
        Some(ObservedRule { rule, owned, by_netctl: seen.is_netctls() })
    });
    Ok(told.collect())
}

pub(crate) fn administered_rule(place: &Place, seen: &rule::Rule) -> Option<Rule> {
    let action = match seen.action {
        Action::Table(table) => RuleAction::Table(table),
        Action::Blackhole => RuleAction::Blackhole,
        Action::Unreachable => RuleAction::Unreachable,
        Action::Prohibit => RuleAction::Prohibit,
        Action::Other(_) => return None,
    };
    let is_plain = !seen.is_narrower && seen.suppress_prefix_length.is_none();
    is_plain.then_some(())?;
    let name = |name: &Option<String>| name.as_deref().map(str::parse).transpose().ok();
    Some(Rule {
        place: place.clone(),
        family: seen.family,
        priority: seen.priority,
        from: seen.from,
        to: seen.to,
        iif: name(&seen.iif)?,
        oif: name(&seen.oif)?,
        mark: seen.mark.map(|mark| (mark.value, mark.mask)),
        action,
    })
}

/// Not one that the kernel gives an interface by itself: link-local, or from a router's advertisement.
pub(crate) fn is_administered(address: &addr::Address) -> bool {
    /// For IPv6 alone: to IPv4, the bit of `IFA_F_TEMPORARY` is `IFA_F_SECONDARY`.
    const FROM_ADVERTISEMENT: u32 = libc::IFA_F_MANAGETEMPADDR | libc::IFA_F_TEMPORARY;
    let is_advertised = address.address.addr().is_ipv6() && address.flags & FROM_ADVERTISEMENT != 0;
    address.is_netctls() || address.scope != neli::consts::rtnl::RtScope::Link && !is_advertised
}

/// A route of a kind that a file can have, as it would have it; of several next hops none is told.
pub(crate) fn administered_route(
    place: &Place,
    route: &route::Route,
    names: &BTreeMap<u32, IfName>,
) -> Option<Route> {
    let kind = match route.kind {
        Rtn::Unicast => RouteKind::Unicast,
        Rtn::Blackhole => RouteKind::Blackhole,
        Rtn::Unreachable => RouteKind::Unreachable,
        Rtn::Prohibit => RouteKind::Prohibit,
        _ => return None,
    };
    let dev = route.oif.filter(|_| kind.is_unicast()).and_then(|index| names.get(&index).cloned());
    Some(
        Route {
            place: place.clone(),
            to: route.destination,
            kind,
            via: route.gateway,
            dev,
            onlink: route.is_on_link(),
            metric: route.metric,
            table: Some(route.table),
        }
        .canonical(),
    )
}

/// Those that the topology sets, and what else it may have to set because of them, or back.
fn sysctls_to_read(
    topology: &Topology,
    place: &Place,
    netfilter: &BTreeMap<Place, BTreeSet<Tool>>,
    host_routes: &[HostRoute],
) -> BTreeSet<String> {
    let wanted = topology.sysctls.get(place);
    let mut keys: BTreeSet<String> = wanted.into_iter().flat_map(BTreeMap::keys).cloned().collect();
    if *place == Place::Host && wanted.is_some() {
        keys.extend(host_routes.iter().filter_map(HostRoute::accept_ra));
    }
    let has_shortcuts = |gateway: &Gateway| !gateway.ports.is_empty();
    if topology.has_shortcuts(place) || *place == Place::Host && topology.gateways.iter().any(has_shortcuts) {
        keys.insert(CONNTRACK_LIBERAL.to_owned());
    }
    if netfilter.contains_key(place) {
        keys.insert(ROUTE_LOCALNET.to_owned());
    }
    // The host tells for namespaces that are still to be made what the kernel has.
    if netfilter.contains_key(place) || *place == Place::Host && !netfilter.is_empty() {
        keys.extend(BRIDGED.map(str::to_owned));
    }
    keys
}

fn read_sysctls(
    place: &Place,
    names: BTreeSet<String>,
    places: &mut Places,
) -> Result<BTreeMap<String, Option<String>>, Error> {
    let keys = names.iter().map(|key| key.parse()).collect::<Result<Vec<sysctl::Key>, _>>()?;
    let values = sysctl::read(places.netns(place)?, &keys)?;
    Ok(names.into_iter().zip(values).collect())
}

fn look_at_nat(
    topology: &TopologyName,
    place: &Place,
    found: &ObservedPlace,
    places: &Places,
    directories: &Directories,
) -> Result<Option<ObservedNat>, Error> {
    let failed = |source| Error::Nat { place: place.clone(), source };
    let pins = Pins::new(&directories.bpffs, topology, place);
    let builds = pins.builds().map_err(failed)?;
    if builds.is_empty() {
        return Ok(None);
    }
    let indexes = found.links.iter().map(|(name, link)| (name.clone(), link.index)).collect();
    let look = || Ok((Build::of(&Constants::of_this_namespace()?), attach::running(&pins, &indexes)?));
    let (own, running) = places.netns(place)?.run(|| look().map_err(failed))?;
    let others = running.builds.iter().chain(&builds);
    let mut nat = ObservedNat {
        own,
        is_loaded: pins.has_all_of(own),
        other: others.copied().find(|build| *build != own),
        is_half_changed: pins.is_half_changed(),
        attached: running.interfaces.into_iter().map(|(side, interface)| (interface, side)).collect(),
        local: running.local,
        ..ObservedNat::default()
    };
    if pins.exist() {
        let names = found.links.iter().map(|(name, link)| (link.index, name.clone())).collect();
        let tables = Tables::open(&pins).map_err(failed)?;
        let masquerades = tables.masquerades(&names).map_err(failed)?;
        let forwards = tables.forwards().map_err(failed)?;
        nat.max_flows = Some(tables.room().map_err(failed)?);
        nat.timeouts = tables.timeouts().map_err(failed)?;
        nat.shortcut = tables.shortcut().map_err(failed)?;
        nat.masquerades = masquerades.into_iter().map(|numbered| numbered.rule).collect();
        nat.forwards = forwards.into_iter().map(|numbered| numbered.rule).collect();
    }
    Ok(Some(nat))
}
