//! Bridges with their ports, cables and other links, as the file has them. Pure.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use neli::consts::rtnl::RtScope;

use super::{
    left::Left,
    routes,
    seen::{Peer, Seen, SeenPlace},
    wanted::Wanted,
};
use crate::{
    model::{IfName, Place},
    netlink::{addr::Address, link::Link},
    observe::is_administered,
    ownership,
    spec::{self, Spec},
};

/// The kernel's for Ethernet (`ETH_DATA_LEN`).
const USUAL_MTU: u32 = 1500;
/// The Ethernet type of 802.1Q.
const DOT1Q: u16 = 0x8100;

/// Puts the links into `spec`.
pub(super) fn write(seen: &Seen, spec: &mut Spec, left: &mut Vec<Left>) -> Wanted {
    let mut writer = Writer { seen, spec, left, wanted: Wanted::default(), taken: BTreeSet::new() };
    let chosen: Vec<At<'_>> = seen
        .links()
        .into_iter()
        .filter_map(|(place, index)| {
            let (place, there) = seen.places.get_key_value(&place)?;
            Some(At { place, there, link: there.link(index)? })
        })
        .collect();
    let mut chosen: Vec<(At<'_>, IfName)> =
        chosen.into_iter().filter_map(|at| Some((at, writer.name(at)?))).collect();
    chosen.sort_by(|(one, its), (other, others)| (one.place, its).cmp(&(other.place, others)));
    let bridges = writer.bridges(&chosen);
    writer.ports(&chosen, &bridges);
    writer.cables(&chosen);
    writer.others(&chosen);
    writer.wanted
}

/// A link, and where it is.
#[derive(Clone, Copy)]
struct At<'a> {
    place: &'a Place,
    there: &'a SeenPlace,
    link: &'a Link,
}

impl<'a> At<'a> {
    fn kind(self) -> &'a str {
        self.link.kind.as_deref().unwrap_or_default()
    }

    fn key(self) -> (Place, u32) {
        (self.place.clone(), self.link.index)
    }

    /// The bridge that it is a port of.
    fn master(self) -> Option<&'a Link> {
        self.there.link(self.link.master?)
    }

    /// Its name in full, where its mark has that.
    fn full_name(self) -> Option<&'a str> {
        ownership::full_name(self.link.alias.as_deref()?)
    }

    fn what(self) -> String {
        let kind = match self.kind() {
            "bridge" => "bridge",
            "veth" => "cable",
            _ => "link",
        };
        format!("{kind} `{}`", self.link.name)
    }
}

struct Writer<'a> {
    seen: &'a Seen,
    spec: &'a mut Spec,
    left: &'a mut Vec<Left>,
    wanted: Wanted,
    /// Ends of cables that are written, or cannot be.
    taken: BTreeSet<(Place, u32)>,
}

impl<'a> Writer<'a> {
    fn leave(&mut self, at: At<'_>, why: impl Into<String>) {
        self.left.push(Left::new(at.place, at.what(), why));
    }

    /// The name of a link that a file can have; says of others why it cannot.
    fn name(&mut self, at: At<'_>) -> Option<IfName> {
        if at.link.is_loopback() {
            let own =
                |address: &&Address| address.index == at.link.index && !address.address.addr().is_loopback();
            for address in at.there.addresses.iter().filter(own) {
                let what = format!("address {} of the loopback", address.address);
                self.left.push(Left::new(at.place, what, "a dummy could have it"));
            }
            return None;
        }
        let Ok(name) = at.link.name.parse() else {
            self.leave(at, "no file can have that name");
            return None;
        };
        match (at.kind(), at.link.vlan) {
            ("bridge" | "veth" | "dummy", _) => {}
            ("vlan", Some(vlan)) if vlan.protocol == DOT1Q && at.link.peer_netnsid.is_none() => {}
            ("vlan", Some(vlan)) if vlan.protocol == DOT1Q => {
                self.leave(at, "what it is a VLAN of is in another namespace");
                return None;
            }
            ("vlan", _) => {
                self.leave(at, "no file has VLANs but those of 802.1Q");
                return None;
            }
            ("", _) => {
                self.leave(at, "it is hardware");
                return None;
            }
            (kind, _) => {
                self.leave(at, format!("no file has links of the kind `{kind}`"));
                return None;
            }
        }
        if !at.link.up {
            self.leave(at, "that it is down: the file brings it up");
        }
        Some(name)
    }

    fn bridges(&mut self, chosen: &[(At<'a>, IfName)]) -> BTreeMap<(Place, u32), usize> {
        let mut bridges = BTreeMap::new();
        for (at, name) in chosen.iter().filter(|(at, _)| at.kind() == "bridge") {
            let key = at.full_name().unwrap_or(name.as_str()).to_owned();
            if self.wanted.bridges.contains_key(&key) {
                self.leave(*at, "the file has another bridge of that name");
                continue;
            }
            let addresses = self.addresses(*at);
            if at.master().is_some() {
                self.leave(*at, "that it is another bridge's port");
            }
            let bridge = spec::Bridge {
                namespace: (*at.place != Place::Host).then(|| at.place.to_string()),
                addresses: addresses.iter().map(ToString::to_string).collect(),
                mtu: mtu(at.link),
                ports: Vec::new(),
            };
            self.wanted.bridges.insert(key.clone(), name.clone());
            self.wanted.interfaces.insert((at.place.clone(), name.clone()));
            bridges.insert(at.key(), self.spec.bridges.len());
            self.spec.bridges.push((key, bridge));
        }
        bridges
    }

    /// The cables one end of which is plugged into a bridge of the file.
    fn ports(&mut self, chosen: &[(At<'a>, IfName)], bridges: &BTreeMap<(Place, u32), usize>) {
        for (at, port) in chosen.iter().filter(|(at, _)| at.kind() == "veth") {
            let Some(&bridge) = at.master().and_then(|master| bridges.get(&(at.place.clone(), master.index)))
            else {
                continue;
            };
            let Some((end, interface)) = self.other_end(*at, chosen) else { continue };
            let is_free = !self.taken.contains(&at.key());
            let plugged = self.spec.bridges[bridge].1.ports.iter();
            let is_first = plugged.clone().all(|(name, _)| *name != end.place.to_string());
            let why = if end.place == at.place {
                "both ends are in one place, and one is a bridge's port"
            } else if end.master().is_some_and(|it| bridges.contains_key(&(end.place.clone(), it.index))) {
                "both ends are bridges' ports"
            } else if !is_first {
                "it is the second of its bridge to that namespace"
            } else {
                ""
            };
            self.taken.extend([at.key(), end.key()]);
            if !why.is_empty() {
                if is_free {
                    self.leave(*at, why);
                }
                continue;
            }
            let (port, interface) = (port.clone(), interface.clone());
            self.port(Plugged { at: *at, port, end, interface, bridge });
        }
        for (_, bridge) in &mut self.spec.bridges {
            // A bridge takes the smallest of its ports' by itself.
            let smallest = bridge.ports.iter().filter_map(|(_, port)| port.mtu).min();
            if bridge.mtu.is_none() && smallest.is_some_and(|smallest| smallest < USUAL_MTU.into()) {
                bridge.mtu = Some(USUAL_MTU.into());
            }
        }
    }

    fn port(&mut self, plugged: Plugged<'a>) {
        let Plugged { at, port, end, interface, bridge } = plugged;
        for address in self.addresses(at) {
            let what = format!("address {address} of `{port}`");
            self.left.push(Left::new(at.place, what, "no file has addresses of bridges' ports"));
        }
        if at.link.mtu != end.link.mtu {
            let what = format!("MTU {} of `{port}`", at.link.mtu);
            self.left.push(Left::new(at.place, what, "a port's ends have one MTU"));
        }
        let addresses = self.addresses(end);
        let own: Vec<IpNet> =
            self.spec.bridges[bridge].1.addresses.iter().filter_map(|text| text.parse().ok()).collect();
        let default_route = self.default_route(end, &interface, &addresses, &own);
        let usual = self.spec.bridges[bridge].1.mtu.unwrap_or(USUAL_MTU.into());
        let own_mtu = i64::from(end.link.mtu);
        let spec = spec::Port {
            addresses: Some(addresses.iter().map(ToString::to_string).collect()),
            interface: (*end.place == Place::Host).then(|| interface.to_string()),
            port: None,
            mtu: (own_mtu != usual).then_some(own_mtu),
            default_route,
        };
        self.spec.bridges[bridge].1.ports.push((end.place.to_string(), spec));
        self.wanted.interfaces.insert((end.place.clone(), interface.clone()));
        self.wanted.interfaces.insert((at.place.clone(), port.clone()));
        if let Some(name) = at.master().and_then(|master| master.name.parse().ok()) {
            self.wanted.ports.insert((at.place.clone(), name, end.place.clone()), (port, interface));
        }
    }

    /// Whether a port brings default routes, where that is not what it does by itself.
    fn default_route(
        &mut self,
        end: At<'_>,
        interface: &IfName,
        addresses: &[IpNet],
        bridge: &[IpNet],
    ) -> Option<bool> {
        let of = |ipv4: bool| {
            let reached = |via: &&IpNet| {
                via.addr().is_ipv4() == ipv4 && addresses.iter().any(|own| own.trunc().contains(&via.addr()))
            };
            bridge.iter().find(reached).map(IpNet::addr)
        };
        let gateways: Vec<_> = [of(true), of(false)].into_iter().flatten().collect();
        if gateways.is_empty() {
            return None;
        }
        let routes: BTreeSet<_> = gateways
            .iter()
            .filter(|via| routes::has_default(end.place, end.there, **via, interface))
            .filter_map(|via| Some((end.place.clone(), routes::default_of(*via)?)))
            .collect();
        if routes.len() < gateways.len() || !routes.is_disjoint(&self.wanted.brought) {
            return (*end.place != Place::Host).then_some(false);
        }
        self.wanted.brought.extend(routes);
        (*end.place == Place::Host).then_some(true)
    }

    fn cables(&mut self, chosen: &[(At<'a>, IfName)]) {
        for (at, name) in chosen.iter().filter(|(at, _)| at.kind() == "veth") {
            if self.taken.contains(&at.key()) {
                continue;
            }
            let Some((end, interface)) = self.other_end(*at, chosen) else { continue };
            self.taken.extend([at.key(), end.key()]);
            let cable = spec::Cable { a: self.end(*at, name), b: self.end(end, interface) };
            self.spec.cables.push(cable);
        }
    }

    fn end(&mut self, at: At<'_>, name: &IfName) -> spec::End {
        if let Some(master) = at.master() {
            self.leave(at, format!("that it is a port of `{}`", master.name));
        }
        self.wanted.interfaces.insert((at.place.clone(), name.clone()));
        spec::End {
            namespace: at.place.to_string(),
            interface: name.to_string(),
            addresses: self.addresses(at).iter().map(ToString::to_string).collect(),
            mtu: mtu(at.link),
        }
    }

    /// The other end of a cable; says why where it is not one of the chosen.
    fn other_end<'b>(&mut self, at: At<'a>, chosen: &'b [(At<'a>, IfName)]) -> Option<(At<'a>, &'b IfName)> {
        let peer = self.seen.peers.get(&at.key());
        if let Some(Peer::Chosen(place, index)) = peer {
            let end = chosen.iter().find(|(end, _)| end.place == place && end.link.index == *index);
            if let Some((end, name)) = end {
                return Some((*end, name));
            }
        }
        if self.taken.insert(at.key()) {
            match peer {
                Some(Peer::Left(place)) => {
                    self.leave(at, format!("it leads to `{place}`, which is not chosen"));
                }
                Some(Peer::Chosen(..)) => self.leave(at, "no file can have its other end"),
                Some(Peer::Nameless) | None => self.leave(at, "it leads to a namespace without a name"),
            }
        }
        None
    }

    /// Dummies and VLANs.
    fn others(&mut self, chosen: &[(At<'a>, IfName)]) {
        for (at, name) in chosen {
            let (kind, parent, id) = match (at.kind(), at.link.vlan) {
                ("dummy", _) => ("dummy", None, None),
                ("vlan", Some(vlan)) => {
                    let parent = at.link.peer_index.and_then(|index| at.there.link(index));
                    ("vlan", parent, Some(i64::from(vlan.id)))
                }
                _ => continue,
            };
            let usual = parent.map_or(USUAL_MTU, |parent| parent.mtu);
            if let Some(master) = at.master() {
                self.leave(*at, format!("that it is a port of `{}`", master.name));
            }
            let interface = at.full_name().unwrap_or(name.as_str()).to_owned();
            let addresses = self.addresses(*at);
            self.spec.links.push(spec::Link {
                namespace: (*at.place != Place::Host).then(|| at.place.to_string()),
                interface: interface.clone(),
                kind: kind.to_owned(),
                parent: parent.map(|parent| parent.name.clone()),
                id,
                addresses: addresses.iter().map(ToString::to_string).collect(),
                mtu: (at.link.mtu != usual).then_some(at.link.mtu.into()),
            });
            self.wanted.interfaces.insert((at.place.clone(), name.clone()));
            self.wanted.links.insert((at.place.clone(), interface), name.clone());
        }
    }

    /// The addresses of a link in the order in which they have to be given: the kernel lists those of IPv6 the other way
    /// round.
    fn addresses(&mut self, at: At<'_>) -> Vec<IpNet> {
        let own = at.there.addresses.iter().filter(|address| address.index == at.link.index);
        let (ipv4, mut ipv6): (Vec<&Address>, Vec<&Address>) =
            own.partition(|address| address.address.addr().is_ipv4());
        ipv6.reverse();
        let mut addresses = Vec::new();
        // Kernels before 5.18 do not say who gave an address.
        let tells = at.there.addresses.iter().any(|address| address.protocol.is_some());
        for address in ipv4.into_iter().chain(ipv6) {
            let what = format!("address {} of `{}`", address.address, at.link.name);
            let mut leave = |what: String, why: &str| self.left.push(Left::new(at.place, what, why));
            let is_by_hand = tells && address.protocol.is_none() && is_link_local(address);
            if !is_administered(address) && !is_by_hand {
                if !is_link_local(address) {
                    leave(what, "it comes from a router's advertisement, or is for its link alone");
                }
            } else if address.lifetimes.valid.is_some() {
                leave(what, "it has a lifetime");
            } else if address.peer.is_some_and(|peer| peer != address.address.addr()) {
                leave(what, "it is a point-to-point one");
            } else {
                let is_labelled = address.label.as_ref().is_some_and(|label| *label != at.link.name);
                for (is_there, part) in [
                    (is_labelled, "label"),
                    (address.lifetimes.preferred.is_some(), "preferred lifetime"),
                    (address.flags & libc::IFA_F_NOPREFIXROUTE != 0, "`noprefixroute`"),
                    (address.priority.is_some(), "metric"),
                    (address.broadcast.is_some(), "broadcast address"),
                ] {
                    if is_there {
                        leave(
                            format!("{part} of address {} of `{}`", address.address, at.link.name),
                            "no file has such things",
                        );
                    }
                }
                addresses.push(address.address);
            }
        }
        addresses
    }
}

/// A port and what it consists of.
struct Plugged<'a> {
    at: At<'a>,
    port: IfName,
    end: At<'a>,
    interface: IfName,
    /// As an index of the file's bridges.
    bridge: usize,
}

/// Whether it is such as the kernel gives every interface.
fn is_link_local(address: &Address) -> bool {
    address.address.addr().is_ipv6() && address.scope == RtScope::Link && address.lifetimes.valid.is_none()
}

fn mtu(link: &Link) -> Option<i64> {
    (link.mtu != USUAL_MTU).then_some(link.mtu.into())
}
