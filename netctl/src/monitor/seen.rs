//! What is known of a place, and what a message or a survey changes of it. No I/O but the survey's dumps.
//!
//! The kernel repeats itself, and leaves things unsaid: the IPv4 routes that go with a link or an address are not told
//! (`fib_sync_down_dev` in net/ipv4/fib_semantics.c), nor what a full buffer had no room for. So every message is compared
//! with what is known, and a survey finds what was not said.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use neli::consts::{nl::NlmF, rtnl::Rtm};

use super::event::{Address, Kind, Link, Neighbour, Object, Route, What};
use crate::{
    model::{Destination, Place, TopologyName},
    netlink::{self, Malformed, Socket, addr, link, message::Message, neigh, route},
    op::Mac,
    ownership,
    single::link::State,
};

/// Which object: links first, as what they carry comes after them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Link(u32),
    Address(u32, IpNet),
    /// Destination, metric, link and next hop.
    Route(IpNet, Option<u32>, Option<u32>, Option<IpAddr>),
    Neighbour(u32, IpAddr),
}

impl Key {
    fn kind(self) -> Kind {
        match self {
            Self::Link(_) => Kind::Link,
            Self::Address(..) => Kind::Address,
            Self::Route(..) => Kind::Route,
            Self::Neighbour(..) => Kind::Neighbour,
        }
    }
}

/// What has become of an object.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Change {
    pub(super) kind: Kind,
    pub(super) what: What,
    pub(super) object: Object,
    pub(super) before: Option<Object>,
}

/// What is known of a place.
pub(super) struct Seen {
    place: Place,
    /// Whose links are looked at; `None`: all.
    owner: Option<TopologyName>,
    objects: BTreeMap<Key, Object>,
    /// Something went whose routes may have gone unsaid.
    is_doubtful: bool,
}

impl Seen {
    /// Nothing yet. Of the host, `owner`'s links alone are looked at.
    pub(super) fn new(place: Place, owner: Option<TopologyName>) -> Self {
        let owner = owner.filter(|_| place == Place::Host);
        Self { place, owner, objects: BTreeMap::new(), is_doubtful: false }
    }

    /// Whether a survey may find more than was told.
    pub(super) fn is_doubtful(&self) -> bool {
        self.is_doubtful
    }

    /// What a message changes.
    pub(super) fn hear(&mut self, message: &Message<'_>) -> Result<Option<Change>, Malformed> {
        let (kind, is_gone) = match Rtm::from(message.kind) {
            Rtm::Dellink => (Rtm::Newlink, true),
            Rtm::Deladdr => (Rtm::Newaddr, true),
            Rtm::Delroute => (Rtm::Newroute, true),
            Rtm::Delneigh => (Rtm::Newneigh, true),
            kind => (kind, false),
        };
        // What goes is described as what comes.
        let described = Message { kind: kind.into(), ..*message };
        let found = match kind {
            // A bridge tells of its ports by messages of its own family.
            Rtm::Newlink if message.payload.first() == Some(&0) => {
                link::parse(&described)?.map(|link| (Key::Link(link.index), self.link(&link)))
            }
            Rtm::Newaddr => {
                addr::parse(&described)?.map(|address| (key_of_address(&address), self.address(&address)))
            }
            Rtm::Newroute => {
                route::parse(&described)?.map(|route| (key_of_route(&route), self.route(&route)))
            }
            Rtm::Newneigh => neigh::parse(&described)?
                .map(|neighbour| (key_of_neighbour(&neighbour), self.neighbour(&neighbour))),
            _ => None,
        };
        Ok(match found {
            Some((key, _)) if is_gone => self.remove(key),
            Some((key, Some(object))) if message.flags.contains(NlmF::REPLACE) => {
                self.replace(key, &object).or_else(|| self.put(key, object))
            }
            Some((key, Some(object))) => self.put(key, object),
            _ => None,
        })
    }

    /// What has changed beside all that was heard: everything is asked for.
    pub(super) fn survey(&mut self, socket: &mut Socket) -> Result<Vec<Change>, netlink::Error> {
        let mut fresh = Self::new(self.place.clone(), self.owner.clone());
        let links = link::dump(socket)?;
        // Twice, as a bridge may come after its ports.
        for link in links.iter().chain(&links) {
            fresh.keep(Key::Link(link.index), fresh.link(link));
        }
        for address in addr::dump(socket)? {
            fresh.keep(key_of_address(&address), fresh.address(&address));
        }
        for route in route::dump(socket)? {
            fresh.keep(key_of_route(&route), fresh.route(&route));
        }
        for neighbour in neigh::dump(socket)? {
            let key = key_of_neighbour(&neighbour);
            // One that is being asked again stays what it was.
            fresh.keep(key, fresh.neighbour(&neighbour).or_else(|| self.objects.get(&key).cloned()));
        }
        let gone: Vec<Key> =
            self.objects.keys().rev().filter(|key| !fresh.objects.contains_key(key)).copied().collect();
        let mut changes: Vec<Change> = gone.into_iter().filter_map(|key| self.remove(key)).collect();
        changes.extend(fresh.objects.into_iter().filter_map(|(key, object)| self.put(key, object)));
        self.is_doubtful = false;
        Ok(changes)
    }

    fn keep(&mut self, key: Key, object: Option<Object>) {
        self.objects.extend(object.map(|object| (key, object)));
    }

    fn put(&mut self, key: Key, object: Object) -> Option<Change> {
        if let Object::Link(link) = &object {
            self.rename(key, &link.name);
        }
        let before = self.objects.insert(key, object.clone());
        if before.as_ref() == Some(&object) {
            return None;
        }
        let was_up = matches!(&before, Some(Object::Link(link)) if link.state != State::Down);
        self.is_doubtful |= was_up && matches!(&object, Object::Link(link) if link.state == State::Down);
        let what = if before.is_some() { What::Changed } else { What::Added };
        Some(Change { kind: key.kind(), what, object, before })
    }

    fn remove(&mut self, key: Key) -> Option<Change> {
        let object = self.objects.remove(&key)?;
        self.is_doubtful |= matches!(key, Key::Link(_) | Key::Address(..));
        Some(Change { kind: key.kind(), what: What::Removed, object, before: None })
    }

    /// A route in the place of another, which goes without a word.
    fn replace(&mut self, key: Key, object: &Object) -> Option<Change> {
        let Key::Route(to, metric, ..) = key else { return None };
        let is_other = |other: &&Key| matches!(other, Key::Route(its, its_metric, ..) if (*its, *its_metric) == (to, metric) && **other != key);
        let other = *self.objects.keys().find(is_other)?;
        let before = self.objects.remove(&other);
        self.objects.insert(key, object.clone());
        Some(Change { kind: Kind::Route, what: What::Changed, object: object.clone(), before })
    }

    /// What is on a link goes by the link's new name.
    fn rename(&mut self, link: Key, name: &str) {
        let Key::Link(index) = link else { return };
        if self.name(index).is_none_or(|known| known == name) {
            return;
        }
        for (key, object) in &mut self.objects {
            match (key, object) {
                (Key::Address(its, _), Object::Address(Address { interface, .. }))
                | (Key::Neighbour(its, _), Object::Neighbour(Neighbour { interface, .. }))
                | (Key::Route(_, _, Some(its), _), Object::Route(Route { interface: Some(interface), .. }))
                    if *its == index =>
                {
                    name.clone_into(interface);
                }
                _ => {}
            }
        }
    }

    /// The name of a link that is looked at.
    fn name(&self, index: u32) -> Option<&str> {
        match self.objects.get(&Key::Link(index)) {
            Some(Object::Link(link)) => Some(&link.name),
            _ => None,
        }
    }

    fn link(&self, link: &link::Link) -> Option<Object> {
        if let Some(owner) = &self.owner
            && ownership::owner_of(link, &self.place, owner, ownership::this_machine()).as_ref()
                != Some(owner)
        {
            return None;
        }
        Some(Object::Link(Link {
            name: link.name.clone(),
            kind: link.kind.clone(),
            state: State::from(link),
            mtu: link.mtu,
            mac: link.address.map(Mac),
            master: link
                .master
                .map(|index| self.name(index).map_or_else(|| format!("if{index}"), str::to_owned)),
        }))
    }

    fn address(&self, address: &addr::Address) -> Option<Object> {
        let interface = self.name(address.index)?.to_owned();
        Some(Object::Address(Address { interface, address: address.address }))
    }

    /// Of the host, only those by a link that is looked at.
    fn route(&self, route: &route::Route) -> Option<Object> {
        let interface = route.oif.and_then(|index| self.name(index)).map(str::to_owned);
        let is_elsewhere = interface.is_none() && (route.oif.is_some() || self.owner.is_some());
        if !route.is_main() || is_elsewhere {
            return None;
        }
        Some(Object::Route(Route {
            to: Destination(&route.destination).to_string(),
            via: route.gateway,
            interface,
            metric: route.metric.unwrap_or(0),
        }))
    }

    /// One that has answered, or has failed to; `None` of one that is only being asked, and of what nobody has to ask.
    fn neighbour(&self, neighbour: &neigh::Neighbour) -> Option<Object> {
        let is_settled = !matches!(neighbour.state, libc::NUD_NONE | libc::NUD_NOARP | libc::NUD_INCOMPLETE);
        if !is_settled || neighbour.address.is_multicast() {
            return None;
        }
        Some(Object::Neighbour(Neighbour {
            address: neighbour.address,
            interface: self.name(neighbour.index)?.to_owned(),
            mac: neighbour.mac.filter(|_| neighbour.state != libc::NUD_FAILED).map(Mac),
        }))
    }
}

fn key_of_address(address: &addr::Address) -> Key {
    Key::Address(address.index, address.address)
}

fn key_of_route(route: &route::Route) -> Key {
    Key::Route(route.destination, route.metric, route.oif, route.gateway)
}

fn key_of_neighbour(neighbour: &neigh::Neighbour) -> Key {
    Key::Neighbour(neighbour.index, neighbour.address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::IfName,
        netlink::{
            message::messages,
            socket::listen::{Heard, Listener},
        },
        netns::tests::isolated,
    };

    /// A place with a bridge `br0` of index 5 that is up.
    struct Lab {
        listener: Listener,
        socket: Socket,
        seen: Seen,
    }

    impl Lab {
        fn new() -> Self {
            let name: IfName = "br0".parse().unwrap();
            let mut socket = Socket::open().unwrap();
            let bridge = link::NewLink { index: Some(5), up: true, ..link::NewLink::named(&name) };
            socket.execute(vec![link::set_up(1), link::create_bridge(&bridge)]).unwrap();
            let mut seen = Seen::new(Place::Host, None);
            seen.survey(&mut socket).unwrap();
            Self { listener: Listener::open().unwrap(), socket, seen }
        }

        /// Does these, and tells what is heard: `KIND WHAT OBJECT`.
        fn hear(&mut self, requests: Vec<netlink::Request>) -> Vec<String> {
            for answer in self.socket.execute(requests).unwrap() {
                answer.unwrap();
            }
            let mut changes = Vec::new();
            while let Heard::Datagram(datagram) = self.listener.hear().unwrap() {
                for message in messages(datagram) {
                    changes.extend(self.seen.hear(&message.unwrap()).unwrap());
                }
            }
            if self.seen.is_doubtful() {
                changes.extend(self.seen.survey(&mut self.socket).unwrap());
            }
            // What the kernel does by itself: link-local addresses and their routes.
            let told = changes.iter().map(|change| {
                let object = serde_json::to_string(&change.object).unwrap();
                format!("{} {} {object}", change.kind.as_str(), change.what.as_str())
            });
            told.filter(|line| !line.contains("fe80")).collect()
        }
    }

    fn address(address: &str) -> addr::NewAddress {
        addr::NewAddress { no_dad: true, ..addr::NewAddress::of(5, address.parse().unwrap()) }
    }

    fn route(to: &str, via: &str) -> route::NewRoute {
        let gateway = Some(via.parse().unwrap());
        route::NewRoute { gateway, ..route::NewRoute::to(to.parse().unwrap()) }
    }

    #[test]
    fn what_is_heard_is_told_once_and_routes_that_go_unsaid_are_missed() {
        isolated(|| {
            let mut lab = Lab::new();
            let told = lab.hear(vec![
                addr::add(&address("10.0.0.1/24")),
                route::add(&route("10.9.0.0/16", "10.0.0.9")),
            ]);
            let connected = r#"{"to":"10.0.0.0/24","via":null,"interface":"br0","metric":0}"#;
            let far = r#"{"to":"10.9.0.0/16","via":"10.0.0.9","interface":"br0","metric":0}"#;
            let own = r#"{"interface":"br0","address":"10.0.0.1/24"}"#;
            assert_eq!(
                told,
                [
                    format!("address added {own}"),
                    format!("route added {connected}"),
                    format!("route added {far}"),
                ]
            );
            assert_eq!(lab.seen.survey(&mut lab.socket).unwrap(), [], "nothing else has changed");

            let told = lab.hear(vec![link::set_down(5)]);
            assert!(
                told[0].starts_with(r#"link changed {"name":"br0","kind":"bridge","state":"down""#),
                "{told:?}"
            );
            let routes: Vec<_> = told.iter().filter(|line| line.starts_with("route")).collect();
            assert_eq!(routes, [&format!("route removed {far}"), &format!("route removed {connected}")]);

            let told = lab.hear(vec![link::set_up(5), route::add(&route("10.9.0.0/16", "10.0.0.9"))]);
            assert!(
                told.contains(&format!("route added {far}")),
                "one that had gone unsaid is new: {told:?}"
            );
        });
    }

    #[test]
    fn a_renamed_link_takes_what_it_carries_along_and_a_lost_one_all_of_it() {
        isolated(|| {
            let mut lab = Lab::new();
            lab.hear(vec![addr::add(&address("10.0.0.1/24"))]);
            let name: IfName = "br9".parse().unwrap();
            let told = lab.hear(vec![link::rename(5, &name)]);
            assert_eq!(told.len(), 1, "{told:?}");
            let told = lab.hear(vec![link::delete(5)]);
            assert!(
                told.iter()
                    .any(|line| line == r#"address removed {"interface":"br9","address":"10.0.0.1/24"}"#),
                "{told:?}"
            );
            assert!(told.iter().any(|line| line.starts_with(r#"link removed {"name":"br9""#)), "{told:?}");
            assert!(lab.seen.objects.keys().all(|key| matches!(key, Key::Link(1) | Key::Address(1, _))));
        });
    }

    #[test]
    fn what_a_survey_finds_is_what_was_not_heard() {
        isolated(|| {
            let mut lab = Lab::new();
            let deaf = vec![addr::add(&address("10.0.0.1/24")), addr::add(&address("10.0.1.1/24"))];
            lab.socket.execute(deaf).unwrap();
            let found = lab.seen.survey(&mut lab.socket).unwrap();
            let addresses = found.iter().filter(|change| change.kind == Kind::Address).count();
            assert_eq!(
                (addresses, found.iter().all(|change| change.what == What::Added)),
                (2, true),
                "{found:?}"
            );
            assert_eq!(lab.hear(Vec::new()), [""; 0], "what is heard late is known");
        });
    }
}
