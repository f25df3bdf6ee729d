//! What is there: the kernel's state of the places that a topology speaks of, in the model's words.

mod peers;
mod settled;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
};

use ipnet::IpNet;

use crate::{
    model::{
        CONNTRACK_LIBERAL, Forward, Gateway, IfName, Masquerade, NetnsName, Place, Route, Timeouts, Topology,
        TopologyName, backend::ROUTE_LOCALNET,
    },
    nat::{
        classic::{self, Rules, Tool},
        ebpf::{self, Build, Pins, Side, attach, load::Constants, maps::Tables},
    },
    netlink::{self, addr, link, route},
    netns::NetnsError,
    op::At,
    place::{self, Places},
    state::Directories,
    sysctl,
};

/// Everything that a plan compares the topology with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// The host, and those of the wanted and the owned namespaces that exist.
    pub places: BTreeMap<Place, ObservedPlace>,
    /// Where the host sends what: every route of its main table, whoever set it.
    pub host_routes: Vec<HostRoute>,
    /// The other end of each end of a cable that the topology made and does not have, or not as it is.
    pub peers: HashMap<(Place, IfName), (Place, IfName)>,
}

/// A route of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRoute {
    /// The destination, host bits zero.
    pub to: IpNet,
    /// The next hop, if there is one.
    pub via: Option<IpAddr>,
    /// The interface, unless there are several or none.
    pub interface: Option<IfName>,
    /// Whether a router's advertisement set it.
    pub advertised: bool,
}

impl HostRoute {
    /// The sysctl that says whether the kernel goes on heeding the advertisements that this route came from.
    #[must_use]
    pub fn accept_ra(&self) -> Option<String> {
        let interface = self.interface.as_ref().filter(|_| self.advertised)?;
        Some(format!("net.ipv6.conf.{}.accept_ra", interface.as_str().replace('.', "/")))
    }
}

/// One place's state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObservedPlace {
    /// Whose namespace it is; `None` for the host and for foreign ones.
    pub owner: Option<TopologyName>,
    /// Its links, without the loopback.
    pub links: BTreeMap<IfName, ObservedLink>,
    /// Unicast routes of the main table that have a next hop and that an administrator (or netctl) set.
    pub routes: Vec<Route>,
    /// The values of the sysctls that the topology speaks of; `None` where the kernel has no such key.
    pub sysctls: BTreeMap<String, Option<String>>,
    /// Its translation, if this topology's programs are loaded there.
    pub nat: Option<ObservedNat>,
    /// The topology's rules in netfilter, by who wrote them; only where they were looked for, and there are some.
    pub rules: BTreeMap<Tool, Rules>,
}

/// A link's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedLink {
    /// `ifindex`.
    pub index: u32,
    /// The driver's word: `veth`, `bridge`, ..
    pub kind: String,
    /// Whose it is, by its mark or, if netctl was killed before it wrote that, by its MAC address.
    pub owner: Option<TopologyName>,
    /// Whether it carries an owner's mark.
    pub marked: bool,
    /// What the mark has as its full name.
    pub full_name: Option<String>,
    /// Bytes.
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
    /// The bridge that it is plugged into.
    pub master: Option<IfName>,
    /// Of a veth, the other end's index, in that end's place.
    pub peer_index: Option<u32>,
    /// This place's number for the namespace of the other end, if that is another one.
    pub peer_netnsid: Option<i32>,
    /// Its addresses, without those that the kernel gives by itself.
    pub addresses: Vec<IpNet>,
}

/// A gateway's state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObservedNat {
    /// The build of the programs that this binary has for the gateway.
    pub own: Build,
    /// Whether that one is loaded.
    pub is_loaded: bool,
    /// Another one that is, if possible one that runs.
    pub other: Option<Build>,
    /// Whether a command was killed while it changed rules.
    pub is_half_changed: bool,
    /// Interfaces at which programs run, of whatever build.
    pub attached: BTreeSet<(IfName, Side)>,
    /// Whether the gateway's own processes reach forwarded ports.
    pub local: bool,
    /// How many flows its table takes; `None` while it has no maps of this ABI version.
    pub max_flows: Option<u32>,
    /// How long flows live.
    pub timeouts: Timeouts,
    /// The rules in force.
    pub masquerades: Vec<Masquerade>,
    /// The rules in force.
    pub forwards: Vec<Forward>,
}

/// What went wrong while looking.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A place could not be entered.
    #[error(transparent)]
    Place(#[from] place::Error),
    /// A namespace could not be entered.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// The kernel did not tell.
    #[error("look around {}: {source}", At(place))]
    Netlink {
        /// Where.
        place: Place,
        /// Why.
        source: netlink::Error,
    },
    /// Netfilter's rules could not be read.
    #[error(transparent)]
    Rules(#[from] classic::Error),
    /// A sysctl could not be read.
    #[error(transparent)]
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

impl Error {
    /// What to do about it, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Place(error) => error.hint(),
            Self::Netns(error) | Self::Sysctl(sysctl::SysctlError::Netns(error)) => error.hint(),
            Self::Nat { source, .. } => source.hint().map(str::to_owned),
            _ => None,
        }
    }
}

/// Looks at the host, at every namespace of `topology` that exists, and at those in `also` (that earlier versions of
/// it owned), and at netfilter's rules where `netfilter` says. The handles opened for that stay in `places`.
///
/// # Errors
/// If a place cannot be entered or does not answer.
pub fn observe(
    topology: &Topology,
    also: &BTreeSet<NetnsName>,
    netfilter: &BTreeMap<Place, BTreeSet<Tool>>,
    places: &mut Places,
    directories: &Directories,
) -> Result<Observed, Error> {
    let wanted = topology.namespaces.iter().map(|namespace| &namespace.name);
    let names: BTreeSet<&NetnsName> = wanted.chain(also).collect();
    let mut observed = Observed::default();
    places.open_all(&names.iter().copied().cloned().collect::<Vec<_>>())?;
    for place in std::iter::once(Place::Host).chain(names.into_iter().cloned().map(Place::Netns)) {
        if !places.open(&place)? {
            continue;
        }
        let (mut found, routes) = look(&topology.name, &place, places)?;
        if place == Place::Host {
            observed.host_routes = routes;
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
    observed.pair(topology, |place, link, other| peers::leads_to(place, link, other, places))?;
    Ok(observed)
}

/// A place, and where it sends what.
fn look(
    topology: &TopologyName,
    place: &Place,
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
    let mut own: BTreeMap<u32, Vec<IpNet>> = BTreeMap::new();
    for address in addresses.iter().filter(|address| is_administered(address)) {
        own.entry(address.index).or_default().push(address.address);
    }
    let mut found = ObservedPlace::default();
    for link in &links {
        let mark = link.alias.as_deref().and_then(place::owner);
        if link.kind.is_none() && link.name == "lo" {
            found.owner = mark.filter(|_| *place != Place::Host);
            continue;
        }
        let Some(name) = names.get(&link.index) else { continue };
        let seen = ObservedLink {
            index: link.index,
            kind: link.kind.clone().unwrap_or_default(),
            owner: place::owner_of(link, place, topology),
            marked: mark.is_some(),
            full_name: link.alias.as_deref().and_then(place::full_name).map(str::to_owned),
            mtu: link.mtu,
            up: link.up,
            master: link.master.and_then(|index| names.get(&index).cloned()),
            peer_index: link.peer_index,
            peer_netnsid: link.peer_netnsid,
            addresses: own.remove(&link.index).unwrap_or_default(),
        };
        found.links.insert(name.clone(), seen);
    }
    found.routes = routes.iter().filter_map(|route| administered_route(place, route)).collect();
    let everywhere = routes.iter().filter(|route| route.is_main()).map(|route| HostRoute {
        to: route.destination,
        via: route.gateway,
        interface: route.oif.and_then(|index| names.get(&index).cloned()),
        advertised: route.is_advertised(),
    });
    Ok((found, everywhere.collect()))
}

/// Not one that the kernel gives an interface by itself: link-local, or from a router's advertisement.
pub(crate) fn is_administered(address: &addr::Address) -> bool {
    /// For IPv6 alone: to IPv4, the bit of `IFA_F_TEMPORARY` is `IFA_F_SECONDARY`.
    const FROM_ADVERTISEMENT: u32 = libc::IFA_F_MANAGETEMPADDR | libc::IFA_F_TEMPORARY;
    let is_advertised = address.address.addr().is_ipv6() && address.flags & FROM_ADVERTISEMENT != 0;
    address.scope != neli::consts::rtnl::RtScope::Link && !is_advertised
}

fn administered_route(place: &Place, route: &route::Route) -> Option<Route> {
    is_set_by_hand(route).then_some(())?;
    Some(Route::through(place.clone(), route.destination, route.gateway?))
}

/// A unicast route of the main table that an administrator, or netctl, set.
pub(crate) fn is_set_by_hand(route: &route::Route) -> bool {
    use neli::consts::rtnl::{Rtn, Rtprot};
    let by_hand = matches!(route.protocol, Rtprot::Boot | Rtprot::Static);
    route.is_main() && route.kind == Rtn::Unicast && by_hand
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
        keys.extend(classic::BRIDGED.map(str::to_owned));
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
        nat.masquerades = masquerades.into_iter().map(|numbered| numbered.rule).collect();
        nat.forwards = forwards.into_iter().map(|numbered| numbered.rule).collect();
    }
    Ok(Some(nat))
}
