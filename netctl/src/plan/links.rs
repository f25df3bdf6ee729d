//! Bridges, cables and addresses.

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::{Conflict, Given, Planner, wanted_addresses};
use crate::{
    model::{Bridge, Cable, End, FullName, IfName, Place},
    observe::{ObservedLink, ObservedPlace},
    op::{CableEnd, Mac, Op},
    place::{mark, mark_in_full},
};

/// What is wanted of a link that is there.
struct Wanted<'a> {
    place: &'a Place,
    interface: &'a IfName,
    full_name: Option<&'a FullName>,
    mtu: Option<u32>,
    master: Option<&'a IfName>,
}

impl<'a> Given<'a> {
    fn link(self, place: &Place, interface: &IfName) -> Option<&'a ObservedLink> {
        self.there(place)?.links.get(interface)
    }

    pub(super) fn is_ours(self, link: &ObservedLink) -> bool {
        link.owner.as_ref() == Some(&self.topology.name)
    }

    fn has_bridge(self, bridge: &Bridge) -> bool {
        self.link(&bridge.place, &bridge.name).is_some_and(|link| link.kind == "bridge" && self.is_ours(link))
    }

    fn has_cable(self, cable: &Cable) -> bool {
        self.observed.has_cable(&self.topology.name, cable)
    }

    /// The other end of a cable that goes.
    fn far_end(self, place: &Place, interface: &IfName) -> Option<(&'a Place, &'a IfName)> {
        let (place, interface) = self.observed.peers.get(&(place.clone(), interface.clone()))?;
        Some((place, interface))
    }

    /// What makes a link again that a failing plan had deleted.
    fn restore(
        self,
        place: &Place,
        interface: &IfName,
        link: &ObservedLink,
        far: Option<(&Place, &IfName)>,
    ) -> Vec<Op> {
        let mut ops = Vec::new();
        let mut ends = vec![(place, interface, link)];
        if let Some((far_place, far_interface)) = far
            && let Some(far_link) = self.link(far_place, far_interface)
        {
            ends.push((far_place, far_interface, far_link));
        }
        let end = |&(place, interface, link): &(&Place, &IfName, &ObservedLink)| CableEnd {
            place: place.clone(),
            interface: interface.clone(),
            mtu: Some(link.mtu),
            master: link.master.clone(),
            mac: Mac::of(&self.topology.name, place, interface),
        };
        match ends.as_slice() {
            [a, b] => ops.push(Op::CreateCable { a: end(a), b: end(b) }),
            _ if link.kind == "bridge" => ops.push(self.create_bridge(place, interface, Some(link.mtu))),
            _ => return ops,
        }
        for (index, (place, interface, link)) in ends.iter().enumerate() {
            ops.push(self.mark(place, interface, link.full_name.as_deref()));
            if index > 0 {
                ops.push(Op::SetUp { place: (*place).clone(), interface: (*interface).clone() });
                ops.extend(link.master.iter().map(|master| Op::SetMaster {
                    place: (*place).clone(),
                    interface: (*interface).clone(),
                    master: Some(master.clone()),
                    before: None,
                }));
            }
            ops.extend(link.addresses.iter().map(|&address| Op::AddAddress {
                place: (*place).clone(),
                interface: (*interface).clone(),
                address,
            }));
        }
        ops
    }

    fn create_bridge(self, place: &Place, interface: &IfName, mtu: Option<u32>) -> Op {
        let mac = Mac::of(&self.topology.name, place, interface);
        Op::CreateBridge { place: place.clone(), interface: interface.clone(), mtu, mac }
    }

    fn cable_end(self, end: &End) -> CableEnd {
        CableEnd {
            place: end.place.clone(),
            interface: end.interface.clone(),
            mtu: end.mtu,
            master: end.master.clone(),
            mac: Mac::of(&self.topology.name, &end.place, &end.interface),
        }
    }

    fn mark(self, place: &Place, interface: &IfName, full_name: Option<&str>) -> Op {
        let topology = &self.topology.name;
        let alias = full_name.map_or_else(|| mark(topology), |full_name| mark_in_full(topology, full_name));
        Op::MarkLink { place: place.clone(), interface: interface.clone(), alias }
    }

    fn mark_end(self, end: &End) -> Op {
        self.mark(&end.place, &end.interface, end.full_name.as_ref().map(FullName::as_str))
    }

    /// A name that something foreign has cannot be had.
    fn refuse_foreign_link(self, place: &Place, interface: &IfName) -> Result<(), Conflict> {
        match self.link(place, interface) {
            Some(link) if !self.is_ours(link) => Err(Conflict::Link {
                place: place.clone(),
                interface: interface.clone(),
                owner: link.owner.clone(),
            }),
            _ => Ok(()),
        }
    }
}

impl Planner<'_> {
    /// Deletes what it made and no longer wants, or wants otherwise. A link that was half made, or whose other end is
    /// not what it should be, goes too.
    pub(super) fn delete_links(&mut self) {
        let given = self.given;
        let mut kept: BTreeSet<(&Place, &IfName)> = BTreeSet::new();
        let bridges = given.topology.bridges.iter().filter(|bridge| given.has_bridge(bridge));
        kept.extend(bridges.map(|bridge| (&bridge.place, &bridge.name)));
        let cables = given.topology.cables.iter().filter(|cable| given.has_cable(cable));
        kept.extend(cables.flat_map(|cable| [&cable.a, &cable.b]).map(|end| (&end.place, &end.interface)));
        let ours = given.kept_places().flat_map(|(place, there)| {
            let links = there.links.iter().filter(|(_, link)| given.is_ours(link));
            links.map(move |(interface, link)| (place, interface, link))
        });
        // Bridges last, so that undone in reverse they are there when their ports come back.
        let (bridges, others): (Vec<_>, Vec<_>) = ours.partition(|(.., link)| link.kind == "bridge");
        for (place, interface, link) in others.into_iter().chain(bridges) {
            let key = (place.clone(), interface.clone());
            if kept.contains(&(place, interface)) || self.gone.contains(&key) {
                continue;
            }
            let far = given.far_end(place, interface);
            let mut restore = given.restore(place, interface, link, far);
            if link.kind == "bridge" {
                restore.extend(self.plugged_in(place, interface).map(|port| Op::SetMaster {
                    place: place.clone(),
                    interface: port.clone(),
                    master: Some(interface.clone()),
                    before: None,
                }));
            }
            self.ops.push(Op::DeleteLink { place: place.clone(), interface: interface.clone(), restore });
            self.gone.insert(key);
            // Deleting one end deletes the other.
            self.gone.extend(far.map(|(place, interface)| (place.clone(), interface.clone())));
        }
    }

    /// The ports of a bridge that are not deleted.
    fn plugged_in(&self, place: &Place, bridge: &IfName) -> impl Iterator<Item = &IfName> {
        let links = self.given.there(place).into_iter().flat_map(|there| &there.links);
        let ports = links.filter(move |(_, link)| link.master.as_ref() == Some(bridge));
        ports.map(|(port, _)| port).filter(|port| !self.gone.contains(&(place.clone(), (*port).clone())))
    }

    pub(super) fn bridges(&mut self) -> Result<(), Conflict> {
        for bridge in &self.given.topology.bridges {
            let Bridge { place, name, full_name, mtu, .. } = bridge;
            if self.given.has_bridge(bridge) {
                self.settle(&Wanted {
                    place,
                    interface: name,
                    full_name: bridge.full_name.as_ref(),
                    mtu: *mtu,
                    master: None,
                });
                continue;
            }
            self.given.refuse_foreign_link(place, name)?;
            self.ops.push(self.given.create_bridge(place, name, *mtu));
            self.ops.push(self.given.mark(place, name, full_name.as_ref().map(FullName::as_str)));
            self.fresh.insert((place.clone(), name.clone()));
        }
        Ok(())
    }

    /// Makes all cables and then marks their far ends, so that what goes to one place can go there in one batch.
    pub(super) fn cables(&mut self) -> Result<(), Conflict> {
        let mut far_ends = Vec::new();
        for cable in &self.given.topology.cables {
            if self.given.has_cable(cable) {
                for end in [&cable.a, &cable.b] {
                    self.settle(&Wanted {
                        place: &end.place,
                        interface: &end.interface,
                        full_name: end.full_name.as_ref(),
                        mtu: end.mtu,
                        master: end.master.as_ref(),
                    });
                }
                continue;
            }
            // The end that is plugged in is made first: its master travels in the creating message.
            let (near, far) =
                if cable.b.master.is_some() { (&cable.b, &cable.a) } else { (&cable.a, &cable.b) };
            for end in [near, far] {
                self.given.refuse_foreign_link(&end.place, &end.interface)?;
                self.fresh.insert((end.place.clone(), end.interface.clone()));
            }
            self.ops.push(Op::CreateCable { a: self.given.cable_end(near), b: self.given.cable_end(far) });
            self.ops.push(self.given.mark_end(near));
            far_ends.push(far);
        }
        for far in far_ends {
            let (place, interface) = (far.place.clone(), far.interface.clone());
            self.ops.push(self.given.mark_end(far));
            if let Some(master) = far.master.clone() {
                let (place, interface) = (place.clone(), interface.clone());
                self.ops.push(Op::SetMaster { place, interface, master: Some(master), before: None });
            }
            self.ops.push(Op::SetUp { place, interface });
        }
        self.bridges_own_mtus();
        Ok(())
    }

    /// A bridge takes the smallest MTU of its ports whenever one comes, until it is once given another
    /// (`br_mtu_auto_adjust` in net/bridge/br_if.c; the one that it is created with does not count).
    fn bridges_own_mtus(&mut self) {
        for bridge in &self.given.topology.bridges {
            let cables = self.given.topology.cables.iter();
            let ports: Vec<&End> = cables
                .flat_map(|cable| [&cable.a, &cable.b])
                .filter(|end| end.place == bridge.place && end.master.as_ref() == Some(&bridge.name))
                .collect();
            let is_fresh = |port: &&End| self.fresh.contains(&(port.place.clone(), port.interface.clone()));
            let (Some(mtu), true) = (bridge.mtu, ports.iter().any(is_fresh)) else { continue };
            let smallest = ports.iter().filter_map(|port| port.mtu).min();
            if let Some(before) = smallest.filter(|&smallest| smallest != mtu) {
                let (place, interface) = (bridge.place.clone(), bridge.name.clone());
                self.ops.push(Op::SetMtu { place, interface, mtu, before });
            }
        }
    }

    /// Changes what differs on a link that stays.
    fn settle(&mut self, wanted: &Wanted<'_>) {
        let &Wanted { place, interface, full_name, mtu, master } = wanted;
        let Some(link) = self.given.link(place, interface) else { return };
        let mut ops = Vec::new();
        if !link.marked || link.full_name.as_deref() != full_name.map(FullName::as_str) {
            ops.push(self.given.mark(place, interface, full_name.map(FullName::as_str)));
        }
        let (place, interface) = (place.clone(), interface.clone());
        if let Some(mtu) = mtu.filter(|&mtu| mtu != link.mtu) {
            let (place, interface) = (place.clone(), interface.clone());
            ops.push(Op::SetMtu { place, interface, mtu, before: link.mtu });
        }
        // Out of a bridge that this plan deletes it already is.
        let before =
            link.master.clone().filter(|bridge| !self.gone.contains(&(place.clone(), bridge.clone())));
        if before.as_ref() != master {
            let (place, interface) = (place.clone(), interface.clone());
            ops.push(Op::SetMaster { place, interface, master: master.cloned(), before });
        }
        if !link.up {
            ops.push(Op::SetUp { place, interface });
        }
        self.ops.extend(ops);
    }

    pub(super) fn addresses(&mut self) {
        for ((place, interface), wanted) in wanted_addresses(self.given.topology) {
            let is_fresh = self.fresh.contains(&(place.clone(), interface.clone()));
            let found = self
                .given
                .there(place)
                .filter(|_| !is_fresh)
                .map_or(&[][..], |there| addresses(there, interface));
            let leaving = leaving(found, wanted);
            for &address in &leaving {
                let (place, interface) = (place.clone(), interface.clone());
                self.lost.insert((place.clone(), interface.clone(), address));
                self.ops.push(Op::DeleteAddress { place, interface, address });
            }
            let is_missing = |address: &&IpNet| !found.contains(address) || leaving.contains(address);
            for &address in wanted.iter().filter(is_missing) {
                self.ops.push(Op::AddAddress { place: place.clone(), interface: interface.clone(), address });
            }
        }
    }
}

/// What goes of the addresses that were found, in the order to delete it. The kernel takes the later IPv4 addresses of a
/// subnet away with its first (`__inet_del_ifa` in net/ipv4/devinet.c), so that they go before it, and those that are
/// wanted come again.
fn leaving(found: &[IpNet], wanted: &[IpNet]) -> Vec<IpNet> {
    let goes = |address: &IpNet| !wanted.contains(address);
    let is_dragged = |address: &IpNet| {
        let first = found.iter().find(|other| other.trunc() == address.trunc());
        address.addr().is_ipv4() && first.is_some_and(goes)
    };
    found.iter().rev().filter(|address| goes(address) || is_dragged(address)).copied().collect()
}

fn addresses<'a>(there: &'a ObservedPlace, interface: &IfName) -> &'a [IpNet] {
    there.links.get(interface).map_or(&[], |link| &link.addresses)
}
