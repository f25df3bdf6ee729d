//! The places that a packet comes through, as the kernel describes them: each is looked at once. Reads only.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use super::Error;
use crate::{
    model::{IfName, Place, TopologyName},
    netlink::{
        self, Socket,
        addr::{self, Address},
        diag::{self, Listener},
        link::{self, Link},
        neigh::{self, Neighbour},
        nsid,
        route::{self, Question, Route},
        rule,
    },
    netns::{Netns, NetnsError},
    observe::{administered_route, administered_rule},
    ownership,
    ping::network,
    place::Places,
    state::Directories,
    sysctl::{self, Key},
};
use netlink::Refusal;

/// All places.
pub(super) struct World<'a> {
    pub(super) directories: &'a Directories,
    places: Places,
    grounds: BTreeMap<Place, Arc<Ground>>,
}

/// What there is in one place.
pub(super) struct Ground {
    pub(super) links: Vec<Link>,
    pub(super) addresses: Vec<Address>,
    pub(super) neighbours: Vec<Neighbour>,
}

impl Ground {
    pub(super) fn link(&self, index: u32) -> Option<&Link> {
        self.links.iter().find(|link| link.index == index)
    }

    /// The link that takes the frames of a VLAN off another one.
    pub(super) fn vlan(&self, below: u32, id: u16) -> Option<&Link> {
        let is_it = |link: &&Link| {
            link.vlan.as_ref().is_some_and(|vlan| vlan.id == id)
                && (link.peer_index, link.peer_netnsid) == (Some(below), None)
        };
        self.links.iter().find(is_it)
    }

    /// The name of a link.
    pub(super) fn name(&self, index: u32) -> String {
        self.link(index).map_or_else(|| format!("link {index}"), |link| link.name.clone())
    }

    /// Whether an address is one of the place's.
    pub(super) fn owns(&self, address: IpAddr) -> bool {
        address.is_loopback() || self.addresses.iter().any(|own| own.address.addr() == address)
    }

    /// Whether the place answers for an address by this link: for one of IPv4 by any, for one of IPv6 where it is.
    pub(super) fn answers_for(&self, address: IpAddr, index: u32) -> bool {
        let is_it = |own: &Address| own.address.addr() == address;
        self.addresses.iter().any(|own| is_it(own) && (address.is_ipv4() || own.index == index))
    }

    /// The topology that a link is of.
    pub(super) fn owner(&self, link: &Link) -> Option<TopologyName> {
        link.alias.as_deref().and_then(ownership::owner)
    }
}

impl<'a> World<'a> {
    pub(super) fn new(directories: &'a Directories) -> Self {
        Self { directories, places: Places::default(), grounds: BTreeMap::new() }
    }

    /// Opens a place; false if there is none.
    pub(super) fn open(&mut self, place: &Place) -> Result<bool, Error> {
        Ok(self.places.open(place)?)
    }

    /// What there is in a place.
    pub(super) fn ground(&mut self, place: &Place) -> Result<Arc<Ground>, Error> {
        if let Some(ground) = self.grounds.get(place) {
            return Ok(Arc::clone(ground));
        }
        self.places.open(place)?;
        let socket = self.places.socket(place)?;
        let failed = |source| Error::Netlink { place: place.clone(), source };
        let ground = Arc::new(Ground {
            links: link::dump(socket).map_err(failed)?,
            addresses: addr::dump(socket).map_err(failed)?,
            neighbours: neigh::dump(socket).map_err(failed)?,
        });
        self.grounds.insert(place.clone(), Arc::clone(&ground));
        Ok(ground)
    }

    pub(super) fn netns(&self, place: &Place) -> Result<&Netns, Error> {
        Ok(self.places.netns(place)?)
    }

    /// Where the kernel would send a packet.
    pub(super) fn route(
        &mut self,
        place: &Place,
        question: &Question,
    ) -> Result<Result<Route, Refusal>, Error> {
        let answer = route::get(self.places.socket(place)?, question);
        answer.map_err(|source| Error::Netlink { place: place.clone(), source })
    }

    /// The route or the policy rule, in its words, that has a packet dropped. The kernel says only that one does.
    pub(super) fn refusal(&mut self, place: &Place, question: &Question) -> Result<Option<String>, Error> {
        let ground = self.ground(place)?;
        let socket = self.places.socket(place)?;
        let failed = |source| Error::Netlink { place: place.clone(), source };
        let names = ground.links.iter().filter_map(|link| Some((link.index, link.name.parse().ok()?)));
        let names: BTreeMap<u32, IfName> = names.collect();
        let routes = route::dump(socket).map_err(failed)?;
        let routes: Vec<_> =
            routes.iter().filter_map(|route| administered_route(place, route, &names)).collect();
        let rules = rule::dump(socket).map_err(failed)?;
        let rules: Vec<_> = rules.iter().filter_map(|rule| administered_rule(place, rule)).collect();
        let Question { to, from, iif } = *question;
        let iif = iif.and_then(|index| names.get(&index));
        Ok(network::refusal(&routes, &rules, network::Question { to, from, iif }))
    }

    /// The value of a sysctl, if the kernel has it.
    pub(super) fn sysctl(&self, place: &Place, key: &str) -> Result<Option<String>, Error> {
        let key: Key = key.parse()?;
        Ok(sysctl::read(self.netns(place)?, &[key])?.into_iter().next().flatten())
    }

    /// Whether a place forwards packets of a family that come by a link, and the sysctl that says so.
    pub(super) fn forwards(&self, place: &Place, ipv4: bool, link: &str) -> Result<(bool, String), Error> {
        let all = if ipv4 { "net.ipv4.ip_forward" } else { "net.ipv6.conf.all.forwarding" };
        let own = format!("net.ipv4.conf.{}.forwarding", link.replace('.', "/"));
        let asked = if ipv4 { &own } else { all };
        let is_on = self.sysctl(place, asked)?.is_some_and(|value| value != "0");
        let is_all_on = self.sysctl(place, all)?.is_some_and(|value| value != "0");
        Ok((is_on, if is_all_on { own } else { all.to_owned() }))
    }

    /// The sockets of a place that wait for others.
    pub(super) fn listeners(&self, place: &Place) -> Result<Vec<Listener>, Error> {
        let failed = |source| Error::Netlink { place: place.clone(), source };
        self.netns(place)?
            .run(|| Socket::open_for_sockets().and_then(|mut socket| diag::dump(&mut socket)).map_err(failed))
    }

    /// The other end of a cable; `None` if it is in a namespace that has no name.
    pub(super) fn beyond(&mut self, place: &Place, link: &Link) -> Result<Option<(Place, u32)>, Error> {
        let Some(index) = link.peer_index else { return Ok(None) };
        let Some(number) = link.peer_netnsid else { return Ok(Some((place.clone(), index))) };
        let names = Netns::list()?.into_iter().map(Place::Netns);
        for other in names.chain([Place::Host]) {
            let netns = match &other {
                Place::Host => Netns::current(),
                Place::Netns(name) => Netns::open(name),
            };
            let netns = match netns {
                Err(NetnsError::NotFound { .. }) => continue,
                netns => netns?,
            };
            let its = nsid::of(self.places.socket(place)?, std::os::fd::AsFd::as_fd(&netns));
            let its = its.map_err(|source| Error::Netlink { place: place.clone(), source })?;
            if its == Some(number) && self.open(&other)? {
                return Ok(Some((other, index)));
            }
        }
        Ok(None)
    }
}
