//! What an export is made from: what the kernel and the records have of the chosen places. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::{
    model::{Backend, Forward, IfName, Masquerade, Place, Shortcut, Timeouts, TopologyName},
    netlink::{addr, link, route, rule},
};

/// Everything that is looked at.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The chosen places.
    pub(super) places: BTreeMap<Place, SeenPlace>,
    /// The other ends of the veths of the chosen places, by place and index.
    pub(super) peers: HashMap<(Place, u32), Peer>,
    /// Whether of the host only that counts which hangs together with the namespaces.
    pub(super) is_host_in_part: bool,
    /// Names of chosen namespaces that are not the first name of theirs, with that.
    pub(super) aliases: Vec<(Place, Place)>,
}

/// The other end of a veth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Peer {
    /// In a chosen place: which, and its index there.
    Chosen(Place, u32),
    /// In a place that has a name and is not chosen.
    Left(Place),
    /// In a namespace without a name.
    Nameless,
}

/// One place.
#[derive(Debug, Default)]
pub(super) struct SeenPlace {
    /// Whose it is, by the mark on its loopback; `None` of the host.
    pub(super) owner: Option<TopologyName>,
    pub(super) links: Vec<link::Link>,
    pub(super) addresses: Vec<addr::Address>,
    pub(super) routes: Vec<route::Route>,
    pub(super) rules: Vec<rule::Rule>,
    /// Its sysctls, and what a new namespace has.
    pub(super) sysctls: Settings,
    pub(super) gateways: Vec<SeenGateway>,
    /// What no file has: neighbours that somebody set, queueing disciplines.
    pub(super) others: Vec<String>,
    /// The tables of others' firewalls.
    pub(super) firewalls: BTreeSet<String>,
}

/// Sysctls as they are and as they would be by themselves.
#[derive(Debug, Default)]
pub(super) struct Settings {
    pub(super) found: BTreeMap<String, String>,
    pub(super) usual: BTreeMap<String, String>,
}

/// A gateway.
#[derive(Debug)]
pub(super) struct SeenGateway {
    pub(super) backend: Backend,
    pub(super) masquerades: Vec<Masquerade>,
    pub(super) forwards: Vec<Forward>,
    /// How long flows live; nothing where the kernel's lifetimes hold.
    pub(super) timeouts: Timeouts,
    /// How many flows there may be; `None` where the kernel has one limit for all.
    pub(super) max_flows: Option<u32>,
    /// Where packets go straight; `None` if a record says nowhere.
    pub(super) shortcut: Option<Shortcut>,
}

impl SeenPlace {
    pub(super) fn link(&self, index: u32) -> Option<&link::Link> {
        self.links.iter().find(|link| link.index == index)
    }

    /// Names by index, those that a file can have.
    pub(super) fn names(&self) -> BTreeMap<u32, IfName> {
        self.links.iter().filter_map(|link| Some((link.index, link.name.parse().ok()?))).collect()
    }
}

impl Seen {
    /// The links that an export is about: all of the chosen places or, of the host, those that hang together with them.
    pub(super) fn links(&self) -> BTreeSet<(Place, u32)> {
        let is_in_part = |place: &Place| self.is_host_in_part && *place == Place::Host;
        let whole = self.places.iter().filter(|(place, _)| !is_in_part(place));
        let mut links: BTreeSet<(Place, u32)> = whole
            .flat_map(|(place, there)| there.links.iter().map(|link| (place.clone(), link.index)))
            .collect();
        if let Some(host) = self.places.get(&Place::Host).filter(|_| self.is_host_in_part) {
            links.extend(self.of_host(host).into_iter().map(|index| (Place::Host, index)));
        }
        links
    }

    /// The host's ends of cables to the namespaces, what a topology has made, and whatever is on top of, below, at the
    /// other end or a port of one of them.
    fn of_host(&self, host: &SeenPlace) -> BTreeSet<u32> {
        let leads_inside = |index: u32| match self.peers.get(&(Place::Host, index)) {
            Some(Peer::Chosen(place, _)) => *place != Place::Host,
            Some(Peer::Left(_) | Peer::Nameless) | None => false,
        };
        let is_marked = |link: &link::Link| link.alias.as_deref().and_then(crate::ownership::owner).is_some();
        let is_kept = |link: &&link::Link| leads_inside(link.index) || is_marked(link);
        let mut links: BTreeSet<u32> = host.links.iter().filter(is_kept).map(|link| link.index).collect();
        loop {
            let before = links.len();
            for link in &host.links {
                let below = link.peer_index.filter(|_| link.peer_netnsid.is_none());
                let is_near = |other: Option<u32>| other.is_some_and(|other| links.contains(&other));
                if is_near(link.master) || is_near(below) {
                    links.insert(link.index);
                }
                if links.contains(&link.index) {
                    // Hardware below is the machine's own.
                    let made = |index: &u32| host.link(*index).is_some_and(|link| link.kind.is_some());
                    links.extend([link.master, below].into_iter().flatten().filter(made));
                }
            }
            if links.len() == before {
                return links;
            }
        }
    }
}
