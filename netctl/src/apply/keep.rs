//! How the kernel has what operations are about to take down, kept so that it comes back as it was.
//!
//! More goes with a link or an address than an operation says: addresses with their lifetimes, routes with their metrics
//! and protocols, static neighbours, qdiscs with their filters, sysctls, a bridge's ports, whoever made them. So it is not
//! the plan that knows what to restore: before the first of such operations, the place is looked at, and when they are
//! undone, what is missing is made again from what was seen.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::fd::{AsFd as _, OwnedFd},
};

use ipnet::IpNet;

use super::{Cause, Fault};
use crate::{
    model::{IfName, Place, keys},
    nat::ebpf,
    netlink::{
        Request,
        link::{self, Link, NewLink, Peer},
        route::Route,
        snapshot::{self, About, Control},
    },
    op::{AddressChange, Change, LinkChange, Lookup, Op, RouteChange},
    place::Places,
    sysctl::{self, Key},
};

/// Below it the kernel takes IPv6 from a link (`IPV6_MIN_MTU`).
const IPV6_MIN_MTU: u32 = 1280;

/// One place before operations took something down there.
pub(super) struct Kept {
    place: Place,
    /// The first of the operations.
    op: Op,
    links: Vec<KeptLink>,
    settings: Vec<snapshot::Kept>,
    addresses: Vec<snapshot::Kept>,
    routes: Vec<snapshot::Kept>,
    neighbours: Vec<snapshot::Kept>,
    control: Vec<Control>,
    /// The programs that its filters run, held open, by their ids.
    programs: BTreeMap<u32, OwnedFd>,
    sysctls: Vec<(Key, String)>,
}

struct KeptLink {
    link: Link,
    name: IfName,
    /// Whether an operation is about it, or about one below it: what is set of any other is nobody's to set again.
    is_named: bool,
    /// The bridge that it was plugged into.
    master: Option<IfName>,
    /// Of a cable, the other end and its place.
    far: Option<(Place, IfName, Link)>,
}

/// What operations are about, in one place.
#[derive(Default)]
struct Target {
    /// A sysctl that the kernel sets for all links: addresses, routes and neighbours of any may go.
    all: bool,
    /// Whether sysctls of the links may change: what goes of addresses and routes alone leaves them.
    sysctls: bool,
    links: BTreeSet<IfName>,
    destinations: BTreeSet<IpNet>,
}

/// How many operations `ops` begin with that take down more than they say.
pub(super) fn leading(ops: &[Op]) -> usize {
    ops.iter().take_while(|op| takes_down(&op.change)).count()
}

fn takes_down(change: &Change) -> bool {
    match change {
        Change::Link(change) => match change {
            LinkChange::DeleteLink { .. }
            | LinkChange::SetDown { .. }
            | LinkChange::SetMac { .. }
            | LinkChange::Rename { .. }
            | LinkChange::Move { .. }
            | LinkChange::SetMaster { before: Some(_), .. } => true,
            LinkChange::SetMtu { mtu, before, .. } => *mtu < IPV6_MIN_MTU && *before >= IPV6_MIN_MTU,
            LinkChange::CreateLink { .. }
            | LinkChange::CreateCable { .. }
            | LinkChange::MarkLink { .. }
            | LinkChange::SetUp { .. }
            | LinkChange::SetMaster { before: None, .. } => false,
        },
        Change::Address(AddressChange::DeleteAddress { .. })
        | Change::Route(RouteChange::DeleteRoute { .. } | RouteChange::ReplaceRoute { .. }) => true,
        Change::Sysctl(change) => keys::sets_too(&change.key).is_some(),
        Change::Namespace(_)
        | Change::Address(_)
        | Change::Route(_)
        | Change::Rule(_)
        | Change::Neighbour(_)
        | Change::Nat(_)
        | Change::Filter(_) => false,
    }
}

impl Target {
    fn add(&mut self, change: &Change) {
        match change {
            Change::Route(
                RouteChange::DeleteRoute { route, .. } | RouteChange::ReplaceRoute { before: route, .. },
            ) => {
                self.links.extend(route.dev.clone());
                self.destinations.insert(route.to);
            }
            Change::Sysctl(_) => (self.all, self.sysctls) = (true, true),
            Change::Address(AddressChange::DeleteAddress { interface, .. }) => {
                self.links.insert(interface.clone());
            }
            Change::Link(
                LinkChange::DeleteLink { interface, .. }
                | LinkChange::SetDown { interface }
                | LinkChange::Move { interface, .. }
                | LinkChange::Rename { interface, .. }
                | LinkChange::SetMac { interface, .. }
                | LinkChange::SetMtu { interface, .. }
                | LinkChange::SetMaster { interface, .. },
            ) => {
                self.links.insert(interface.clone());
                self.sysctls = true;
            }
            Change::Namespace(_)
            | Change::Link(_)
            | Change::Address(_)
            | Change::Route(_)
            | Change::Rule(_)
            | Change::Neighbour(_)
            | Change::Nat(_)
            | Change::Filter(_) => {}
        }
    }

    /// The links of the place that it means, the ports of its bridges, and what is made on top of them, each with whether
    /// it is named so.
    fn links<'a>(&self, there: &'a [Link]) -> Vec<(IfName, &'a Link, bool)> {
        let is_meant = |name: &str| self.links.iter().any(|meant| meant.as_str() == name);
        let meant: BTreeSet<u32> =
            there.iter().filter(|link| is_meant(&link.name)).map(|link| link.index).collect();
        let is_port = |link: &Link| link.master.is_some_and(|master| meant.contains(&master));
        let is_above = |link: &Link| {
            let is_end = link.kind.as_deref() == Some("veth");
            !is_end && link.peer_netnsid.is_none() && link.peer_index.is_some_and(|its| meant.contains(&its))
        };
        let links = there.iter().filter_map(|link| {
            let is_named = meant.contains(&link.index) || is_port(link) || is_above(link);
            (is_named || self.all).then_some((link, is_named))
        });
        links.filter_map(|(link, is_named)| Some((link.name.parse().ok()?, link, is_named))).collect()
    }
}

impl Kept {
    /// How the places of these operations are now, as far as these may take it down. What is in a place that was `made` for
    /// them goes with it.
    pub(super) fn before(
        ops: &[Op],
        made: &BTreeSet<Place>,
        places: &mut Places,
    ) -> Result<Vec<Self>, Cause> {
        let mut targets: BTreeMap<Place, (Target, &Op)> = BTreeMap::new();
        for op in ops.iter().filter(|op| !made.contains(&op.place)) {
            targets.entry(op.place.clone()).or_insert_with(|| (Target::default(), op)).0.add(&op.change);
            if let Change::Link(LinkChange::DeleteLink { far: Some((place, interface)), .. }) = &op.change {
                let (target, _) = targets.entry(place.clone()).or_insert_with(|| (Target::default(), op));
                target.links.insert(interface.clone());
                target.sysctls = true;
            }
        }
        let mut links: BTreeMap<Place, Vec<Link>> = BTreeMap::new();
        for place in targets.keys() {
            links.insert(place.clone(), link::dump(places.socket(place)?)?);
        }
        let kept =
            targets.iter().map(|(place, (target, op))| Self::of(place, target, op, &links, ops, places));
        kept.collect()
    }

    fn of(
        place: &Place,
        target: &Target,
        op: &Op,
        all: &BTreeMap<Place, Vec<Link>>,
        ops: &[Op],
        places: &mut Places,
    ) -> Result<Self, Cause> {
        let there = all.get(place).map_or(&[][..], Vec::as_slice);
        let links = target.links(there);
        let names: Vec<IfName> = links.iter().map(|(name, ..)| name.clone()).collect();
        let indices: BTreeSet<u32> = links.iter().map(|(_, link, _)| link.index).collect();
        let named = links.iter().filter(|(.., is_named)| *is_named).map(|(_, link, _)| link.index).collect();
        let sysctls =
            if target.sysctls { sysctl::of_interfaces(places.netns(place)?, &names)? } else { Vec::new() };
        let socket = places.socket(place)?;
        let settings = snapshot::settings_of(socket, &named)?;
        let addresses = snapshot::addresses_of(socket, &indices)?;
        let is_meant = |route: &Route| target.destinations.contains(&route.destination);
        let routes = snapshot::routes_by(socket, &indices, is_meant)?;
        let neighbours = snapshot::neighbours_of(socket, &indices)?;
        let control = snapshot::control_of(socket, &named)?;
        let programs = ebpf::programs(&control.iter().filter_map(Control::program).collect());
        let links = links.into_iter().map(|(name, link, is_named)| KeptLink {
            is_named,
            master: link
                .master
                .and_then(|index| there.iter().find(|other| other.index == index)?.name.parse().ok()),
            far: far_end(place, &name, ops, all),
            link: link.clone(),
            name,
        });
        let (place, op, links) = (place.clone(), op.clone(), links.collect());
        Ok(Self { place, op, links, settings, addresses, routes, neighbours, control, programs, sysctls })
    }

    /// Makes it so again; what cannot be is returned.
    pub(super) fn restore(&self, places: &mut Places) -> Vec<Fault> {
        let mut left = Vec::new();
        let steps = [
            Self::links,
            Self::attributes,
            Self::masters,
            Self::details,
            // Those of a bridge follow its ports until somebody sets them.
            Self::attributes,
            Self::sysctls,
            Self::states,
            Self::qdiscs,
            Self::addresses,
            Self::routes,
            Self::neighbours,
        ];
        for step in steps {
            left.extend(step(self, places).err().map(|cause| Fault { op: Box::new(self.op.clone()), cause }));
        }
        left
    }

    fn named(&self) -> impl Iterator<Item = &KeptLink> {
        self.links.iter().filter(|kept| kept.is_named)
    }

    /// Makes the links that are gone, bridges first and VLANs last, each with the index that it had. Fails after the others
    /// if there is one of a kind that netctl does not make.
    fn links(&self, places: &mut Places) -> Result<(), Cause> {
        places.refresh(&self.place)?;
        let gone = self.named().filter(|kept| places.index(&self.place, &kept.name).is_none());
        let mut gone: Vec<&KeptLink> = gone.collect();
        gone.sort_by_key(|kept| match kept.link.kind.as_deref() {
            Some("bridge") => 0,
            Some("vlan") => 2,
            _ => 1,
        });
        let mut made = Vec::new();
        let mut strange = false;
        for kept in gone {
            let request = kept.create(places)?;
            strange |= request.is_none();
            made.extend(request);
        }
        self.execute(made, places)?;
        places.refresh(&self.place)?;
        for (place, ..) in self.links.iter().filter_map(|kept| kept.far.as_ref()) {
            places.refresh(place)?;
        }
        if strange { Err(Cause::NoSuchInterface) } else { Ok(()) }
    }

    /// MTU, MAC address, mark and group, where they are others now: a MAC address that is set is no longer the one that the
    /// kernel chose, though it is the same (`NET_ADDR_SET`).
    fn attributes(&self, places: &mut Places) -> Result<(), Cause> {
        let now = link::dump(places.socket(&self.place)?)?;
        let mut requests = Vec::new();
        for kept in self.named() {
            let Some(now) = now.iter().find(|now| now.name == kept.link.name) else { continue };
            let (before, index) = (&kept.link, now.index);
            if let Some(address) = before.address.filter(|_| before.address != now.address) {
                requests.push(link::set_address(index, address));
            }
            if before.mtu != now.mtu {
                requests.push(link::set_mtu(index, before.mtu));
            }
            if before.alias != now.alias {
                requests.push(link::set_alias(index, before.alias.as_deref().unwrap_or_default()));
            }
            if before.group != now.group {
                requests.push(link::set_group(index, before.group));
            }
        }
        self.execute(requests, places)
    }

    fn sysctls(&self, places: &mut Places) -> Result<(), Cause> {
        if self.sysctls.is_empty() {
            return Ok(());
        }
        let netns = places.netns(&self.place)?;
        let names: Vec<IfName> = self.links.iter().map(|kept| kept.name.clone()).collect();
        let now: BTreeMap<Key, String> = sysctl::of_interfaces(netns, &names)?.into_iter().collect();
        let changed = self.sysctls.iter().filter(|(key, value)| now.get(key) != Some(value));
        for (key, value) in changed {
            // Some cannot be written as they read, and then were not written before.
            if let Err(error) = sysctl::write(netns, &[(key.clone(), value.clone())]) {
                tracing::debug!("{error}");
            }
        }
        Ok(())
    }

    fn masters(&self, places: &mut Places) -> Result<(), Cause> {
        let now = link::dump(places.socket(&self.place)?)?;
        let mut requests = Vec::new();
        for kept in self.named() {
            let Some(now) = now.iter().find(|now| now.name == kept.link.name) else { continue };
            let master = kept.master.as_ref().and_then(|master| places.index(&self.place, master));
            if now.master != master {
                requests.push(link::set_master(now.index, master));
            }
        }
        self.execute(requests, places)
    }

    /// What else is set of a link: the length of its queue, how it is a bridge, how it is a port.
    fn details(&self, places: &mut Places) -> Result<(), Cause> {
        let indices = self.indices(places);
        let current = current(&indices);
        let is_there =
            |kept: &&snapshot::Kept| kept.indices().iter().any(|index| indices.contains_key(index));
        let requests: Vec<Request> =
            self.settings.iter().filter(is_there).flat_map(|kept| kept.requests(current)).collect();
        if requests.is_empty() {
            return Ok(());
        }
        // A kernel takes what it gave, but for what it was built without.
        for refusal in places.socket(&self.place)?.execute(requests)?.into_iter().filter_map(Result::err) {
            tracing::debug!("{refusal}");
        }
        Ok(())
    }

    fn states(&self, places: &mut Places) -> Result<(), Cause> {
        let now = link::dump(places.socket(&self.place)?)?;
        let now = |kept: &KeptLink| now.iter().find(|now| now.name == kept.link.name).map(|now| now.up);
        let changed = self.named().filter(|kept| now(kept) == Some(!kept.link.up));
        let requests = changed
            .map(|kept| if kept.link.up { link::set_up(&kept.name) } else { link::set_down(&kept.name) });
        self.execute(requests.collect(), places)
    }

    /// Adds the addresses that are missing. Their order counts: the first IPv4 address of a subnet is the primary one.
    fn addresses(&self, places: &mut Places) -> Result<(), Cause> {
        let indices = self.indices(places);
        let now = snapshot::addresses_of(places.socket(&self.place)?, &indices.values().copied().collect())?;
        let mut requests = Vec::new();
        for (&before, &index) in &indices {
            let of = |kept: &&snapshot::Kept, index: u32| kept.indices().contains(&index);
            let wanted: Vec<&snapshot::Kept> =
                self.addresses.iter().filter(|kept| of(kept, before)).collect();
            let there: Vec<&snapshot::Kept> = now.iter().filter(|kept| of(kept, index)).collect();
            for is_v4 in [true, false] {
                let of_family =
                    |kept: &&&snapshot::Kept| address(kept).is_some_and(|its| its.addr().is_ipv4() == is_v4);
                let wanted: Vec<_> = wanted.iter().filter(of_family).collect();
                let there: Vec<_> = there.iter().filter(of_family).collect();
                let has = |kept: &snapshot::Kept| there.iter().any(|now| address(now) == address(kept));
                let Some(first) = wanted.iter().position(|kept| !has(kept)) else { continue };
                // The last of a subnet first: with the first one the kernel may take its others.
                for kept in wanted[first..].iter().rev() {
                    if let Some(address) = address(kept).filter(|_| has(kept)) {
                        requests.push(crate::netlink::addr::delete(index, address));
                    }
                }
                requests.extend(wanted[first..].iter().flat_map(|kept| kept.requests(|_| index)));
            }
        }
        self.execute(requests, places)
    }

    /// Adds the routes that are missing. One may need another, that comes after it: those are tried again.
    fn routes(&self, places: &mut Places) -> Result<(), Cause> {
        let indices = self.indices(places);
        let now = snapshot::routes_by(places.socket(&self.place)?, &BTreeSet::new(), |_| true)?;
        let now: Vec<Route> = now.iter().filter_map(|kept| route(kept, |index| index)).collect();
        let current = current(&indices);
        let is_missing = |kept: &&snapshot::Kept| route(kept, current).is_some_and(|its| !now.contains(&its));
        let requests: Vec<Request> =
            self.routes.iter().filter(is_missing).flat_map(|kept| kept.requests(current)).collect();
        if self.execute(requests.clone(), places).is_ok() {
            return Ok(());
        }
        self.execute(requests, places)
    }

    fn neighbours(&self, places: &mut Places) -> Result<(), Cause> {
        let indices = self.indices(places);
        let current = current(&indices);
        let requests = self.neighbours.iter().flat_map(|kept| kept.requests(current)).collect();
        self.execute(requests, places)
    }

    /// Adds the qdiscs, classes and filters that are missing.
    fn qdiscs(&self, places: &mut Places) -> Result<(), Cause> {
        if self.control.is_empty() {
            return Ok(());
        }
        let indices = self.indices(places);
        let now = snapshot::control_of(places.socket(&self.place)?, &indices.values().copied().collect())?;
        let current = current(&indices);
        let is_missing = |kept: &&Control| {
            indices.contains_key(&kept.index()) && !now.iter().any(|now| now.is(kept, current))
        };
        let program = |kept: &Control| self.programs.get(&kept.program()?).map(|program| program.as_fd());
        let missing = self.control.iter().filter(is_missing);
        let requests = missing.filter_map(|kept| kept.request(current, program(kept))).collect();
        self.execute(requests, places)
    }

    /// The index that each link has now, by the one that it had.
    fn indices(&self, places: &Places) -> BTreeMap<u32, u32> {
        let now = |kept: &KeptLink| Some((kept.link.index, places.index(&self.place, &kept.name)?));
        self.links.iter().filter_map(now).collect()
    }

    /// Sends messages, all of them; one that says that something is there already has nothing to do.
    fn execute(&self, requests: Vec<Request>, places: &mut Places) -> Result<(), Cause> {
        if requests.is_empty() {
            return Ok(());
        }
        let answers = places.socket(&self.place)?.execute(requests)?;
        let refused = answers.into_iter().filter_map(Result::err);
        let mut refused = refused.filter(|refusal| refusal.errno != nix::errno::Errno::EEXIST);
        refused.next().map_or(Ok(()), |refusal| Err(Cause::Refused(refusal)))
    }
}

impl KeptLink {
    /// The message that makes it, with its other end; none for a kind that netctl does not make.
    fn create(&self, places: &Places) -> Result<Option<Request>, Cause> {
        let new = NewLink {
            index: Some(self.link.index),
            mtu: Some(self.link.mtu),
            address: self.link.address,
            ..NewLink::named(&self.name)
        };
        Ok(match (self.link.kind.as_deref(), &self.far) {
            (Some("bridge"), _) => Some(link::create_bridge(&new)),
            (Some("dummy"), _) => Some(link::create_dummy(&new)),
            (Some("vlan"), _) => self
                .link
                .vlan
                .zip(self.link.peer_index)
                .map(|(vlan, parent)| link::create_vlan(&new, parent, vlan.id)),
            (Some("veth"), Some((place, name, far))) => Some(link::create_veth(
                &new,
                &Peer {
                    name,
                    index: Some(far.index),
                    mtu: Some(far.mtu),
                    address: far.address,
                    netns: Lookup::netns(places, place).ok_or(Cause::NoSuchInterface)?,
                },
            )),
            _ => None,
        })
    }
}

/// The index that a link has now for the one that it had; that of a link that was not kept stays.
fn current(indices: &BTreeMap<u32, u32>) -> impl Fn(u32) -> u32 + Copy {
    |index| indices.get(&index).copied().unwrap_or(index)
}

/// The other end of a cable that one of the operations deletes.
fn far_end(
    place: &Place,
    interface: &IfName,
    ops: &[Op],
    all: &BTreeMap<Place, Vec<Link>>,
) -> Option<(Place, IfName, Link)> {
    let (far_place, far_name) = ops.iter().find_map(|op| match &op.change {
        Change::Link(LinkChange::DeleteLink { interface: near, far: Some((far_place, far_name)) }) => {
            if (&op.place, near) == (place, interface) {
                Some((far_place, far_name))
            } else if (far_place, far_name) == (place, interface) {
                Some((&op.place, near))
            } else {
                None
            }
        }
        _ => None,
    })?;
    let link = all.get(far_place)?.iter().find(|link| link.name == far_name.as_str())?;
    Some((far_place.clone(), far_name.clone(), link.clone()))
}

fn address(kept: &snapshot::Kept) -> Option<IpNet> {
    match kept.about() {
        About::Address(address) => Some(address.address),
        About::Route(_) | About::Neighbour(_) | About::Link(_) => None,
    }
}

/// A route without what the kernel finds out by itself, its links' indices as they are now.
fn route(kept: &snapshot::Kept, current: impl Fn(u32) -> u32) -> Option<Route> {
    match kept.about() {
        About::Route(route) => {
            let mut route = route.clone();
            route.oif = route.oif.map(&current);
            for hop in &mut route.hops {
                hop.oif = current(hop.oif);
                hop.flags = 0;
            }
            (route.flags, route.expires) = (0, None);
            Some(route)
        }
        About::Address(_) | About::Neighbour(_) | About::Link(_) => None,
    }
}
