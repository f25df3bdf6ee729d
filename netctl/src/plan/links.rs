//! Bridges, cables and addresses.

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::{Conflict, Given, Planner, wanted_addresses};
use crate::{
    model::{Bridge, Cable, End, FullName, IfName, Link, LinkKind, Place},
    observed::ObservedLink,
    op::{AddressChange, CableEnd, LinkChange, Mac, NewKind, Op},
    ownership::{mark, mark_in_full},
};

/// What the kernel gives a link that has no other (`ETH_DATA_LEN`).
const USUAL_MTU: u32 = 1500;

/// What is wanted of a link that is there.
struct Wanted<'a> {
    place: &'a Place,
    interface: &'a IfName,
    full_name: Option<&'a FullName>,
    mtu: u32,
    master: Option<&'a IfName>,
}

impl<'a> Given<'a> {
    pub(super) fn link(self, place: &Place, interface: &IfName) -> Option<&'a ObservedLink> {
        self.there(place)?.links.get(interface)
    }

    pub(super) fn is_ours(self, link: &ObservedLink) -> bool {
        link.owner.as_ref() == Some(&self.topology.name)
    }

    fn has_bridge(self, bridge: &Bridge) -> bool {
        self.link(&bridge.place, &bridge.name).is_some_and(|link| link.kind == "bridge" && self.is_ours(link))
    }

    /// The ports that a bridge is to have.
    fn ports(self, bridge: &Bridge) -> impl Iterator<Item = &'a End> {
        let ends = self.topology.cables.iter().flat_map(|cable| [&cable.a, &cable.b]);
        ends.filter(move |end| end.place == bridge.place && end.master.as_ref() == Some(&bridge.name))
    }

    pub(super) fn has_cable(self, cable: &Cable) -> bool {
        self.observed.has_cable(&self.topology.name, cable)
    }

    /// Whether a link that is no bridge and no cable is there, on the link that it is to be on.
    fn has_link(self, link: &Link) -> bool {
        let Some(there) = self.link(&link.place, &link.interface).filter(|there| self.is_ours(there)) else {
            return false;
        };
        match &link.kind {
            LinkKind::Dummy => there.kind == "dummy",
            LinkKind::Vlan { parent, id } => {
                there.kind == "vlan" && there.vlan.as_ref() == Some(&(parent.clone(), *id))
            }
        }
    }

    /// The other end of a cable that goes.
    pub(super) fn far_end(self, place: &Place, interface: &IfName) -> Option<(&'a Place, &'a IfName)> {
        let (place, interface) = self.observed.peers.get(&(place.clone(), interface.clone()))?;
        Some((place, interface))
    }

    /// A bridge takes the smallest MTU of its ports whenever one comes or goes, until it is once given another
    /// (`br_mtu_auto_adjust` in net/bridge/br_if.c). The one that it is created with does not count, nor one that it has
    /// already, so it is created with another.
    fn create_bridge(self, bridge: &Bridge) -> Vec<Op> {
        const ANOTHER: u32 = 1280;
        let Bridge { place, name, mtu, .. } = bridge;
        let mac = Some(self.mac(place, name));
        let first = mtu.filter(|&mtu| mtu == USUAL_MTU).map(|_| ANOTHER);
        let (interface, kind) = (name.clone(), NewKind::Bridge);
        let create = LinkChange::CreateLink { interface, kind, mtu: first, mac, up: true };
        let full_name = bridge.full_name.as_ref().map(FullName::as_str);
        let mut ops = vec![Op::new(place, create), self.mark(place, name, full_name, None)];
        ops.extend(mtu.map(|mtu| {
            let (interface, before) = (name.clone(), first.unwrap_or(USUAL_MTU));
            Op::new(place, LinkChange::SetMtu { interface, mtu, before })
        }));
        ops
    }

    fn cable_end(self, end: &End) -> CableEnd {
        CableEnd {
            place: end.place.clone(),
            interface: end.interface.clone(),
            mtu: end.mtu,
            master: end.master.clone(),
            mac: Some(self.mac(&end.place, &end.interface)),
        }
    }

    pub(super) fn mac(self, place: &Place, interface: &IfName) -> Mac {
        Mac::of(self.observed.machine, &self.topology.name, place, interface)
    }

    /// Marks a link, which had that alias before if it is not new.
    fn mark(self, place: &Place, interface: &IfName, full_name: Option<&str>, before: Option<String>) -> Op {
        let (interface, alias) = (interface.clone(), self.alias(full_name));
        Op::new(place, LinkChange::MarkLink { interface, alias, before })
    }

    fn alias(self, full_name: Option<&str>) -> String {
        let topology = &self.topology.name;
        full_name.map_or_else(|| mark(topology), |full_name| mark_in_full(topology, full_name))
    }

    pub(super) fn mark_end(self, end: &End) -> Op {
        self.mark(&end.place, &end.interface, end.full_name.as_ref().map(FullName::as_str), None)
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
        let moved =
            self.moved.iter().flat_map(|moved| [(&moved.stays.place, &moved.stays.interface), moved.from]);
        kept.extend(moved);
        let links = given.topology.links.iter().filter(|link| given.has_link(link));
        kept.extend(links.map(|link| (&link.place, &link.interface)));
        let ours = given.kept_places().flat_map(|(place, there)| {
            let links = there.links.iter().filter(|(_, link)| given.is_ours(link));
            links.map(move |(interface, _)| (place, interface))
        });
        for (place, interface) in ours {
            let key = (place.clone(), interface.clone());
            if kept.contains(&(place, interface)) || self.gone.contains(&key) {
                continue;
            }
            // Deleting one end deletes the other.
            let far =
                given.far_end(place, interface).map(|(place, interface)| (place.clone(), interface.clone()));
            self.gone.extend([key].into_iter().chain(far.clone()));
            self.ops.push(Op::new(place, LinkChange::DeleteLink { interface: interface.clone(), far }));
        }
    }

    /// The MTU that a bridge has by itself: the smallest of its ports' (`br_mtu_auto_adjust` in net/bridge/br_if.c), those
    /// of others among them.
    fn smallest_of_its_ports(&self, bridge: &Bridge) -> u32 {
        let own = self.given.ports(bridge).map(|port| port.mtu.unwrap_or(USUAL_MTU));
        let there = self.given.there(&bridge.place).into_iter().flat_map(|there| there.links.values());
        let others =
            there.filter(|link| link.master.as_ref() == Some(&bridge.name) && !self.given.is_ours(link));
        own.chain(others.map(|link| link.mtu)).min().unwrap_or(USUAL_MTU)
    }

    pub(super) fn bridges(&mut self) -> Result<(), Conflict> {
        for bridge in &self.given.topology.bridges {
            let Bridge { place, name, .. } = bridge;
            if self.given.has_bridge(bridge) {
                self.settle(&Wanted {
                    place,
                    interface: name,
                    full_name: bridge.full_name.as_ref(),
                    mtu: bridge.mtu.unwrap_or_else(|| self.smallest_of_its_ports(bridge)),
                    master: None,
                });
                continue;
            }
            self.given.refuse_foreign_link(place, name)?;
            self.ops.extend(self.given.create_bridge(bridge));
            self.fresh.insert((place.clone(), name.clone()));
        }
        Ok(())
    }

    /// Makes all cables and then marks their far ends, so that what goes to one place can go there in one batch.
    pub(super) fn cables(&mut self) -> Result<(), Conflict> {
        let mut far_ends = Vec::new();
        self.move_ends();
        for cable in &self.given.topology.cables {
            let moved = self.moved.iter().find(|moved| std::ptr::eq(moved.cable, cable));
            if let Some(moved) = moved {
                let (stays, to, is_renamed) = (moved.stays, moved.to, moved.is_renamed());
                self.settle_end(stays);
                if is_renamed {
                    self.settle_end(to);
                } else {
                    self.settle_moved(to);
                }
                continue;
            }
            if self.given.has_cable(cable) {
                [&cable.a, &cable.b].into_iter().for_each(|end| self.settle_end(end));
                continue;
            }
            // The end that is plugged in is made first: its master travels in the creating message.
            let (near, far) =
                if cable.b.master.is_some() { (&cable.b, &cable.a) } else { (&cable.a, &cable.b) };
            for end in [near, far] {
                self.given.refuse_foreign_link(&end.place, &end.interface)?;
                self.fresh.insert((end.place.clone(), end.interface.clone()));
            }
            let (a, b) = (self.given.cable_end(near), self.given.cable_end(far));
            self.ops.push(Op::new(&near.place, LinkChange::CreateCable { a, b, up: true }));
            self.ops.push(self.given.mark_end(near));
            far_ends.push(far);
        }
        for far in far_ends {
            let interface = || far.interface.clone();
            self.ops.push(self.given.mark_end(far));
            if let Some(master) = far.master.clone() {
                let plug =
                    LinkChange::SetMaster { interface: interface(), master: Some(master), before: None };
                self.ops.push(Op::new(&far.place, plug));
            }
            self.ops.push(Op::new(&far.place, LinkChange::SetUp { interface: interface() }));
        }
        Ok(())
    }

    fn settle_end(&mut self, end: &End) {
        self.settle(&Wanted {
            place: &end.place,
            interface: &end.interface,
            full_name: end.full_name.as_ref(),
            mtu: end.mtu.unwrap_or(USUAL_MTU),
            master: end.master.as_ref(),
        });
    }

    /// What an end that comes from another place has lost on its way; its MTU came with it.
    fn settle_moved(&mut self, end: &End) {
        let (place, interface) = (&end.place, || end.interface.clone());
        let from = self.moved.iter().find(|moved| std::ptr::eq(moved.to, end)).map(|moved| moved.from);
        let before =
            from.and_then(|(place, interface)| self.given.link(place, interface)).map(|link| link.mtu);
        let mtu = end.mtu.unwrap_or(USUAL_MTU);
        if let Some(before) = before.filter(|&before| before != mtu) {
            self.ops.push(Op::new(place, LinkChange::SetMtu { interface: interface(), mtu, before }));
        }
        if let Some(master) = end.master.clone() {
            let plug = LinkChange::SetMaster { interface: interface(), master: Some(master), before: None };
            self.ops.push(Op::new(place, plug));
        }
        self.ops.push(Op::new(place, LinkChange::SetUp { interface: interface() }));
        self.fresh.insert((place.clone(), interface()));
    }

    /// Makes the links that are neither, after what they are on top of. A VLAN cannot be up from the start: its parent may
    /// still be down.
    pub(super) fn other_links(&mut self) -> Result<(), Conflict> {
        for link in &self.given.topology.links {
            let Link { place, interface, full_name, mtu, .. } = link;
            let parent = match &link.kind {
                LinkKind::Dummy => None,
                LinkKind::Vlan { parent, .. } => Some((place.clone(), parent.clone())),
            };
            let is_parent_new = parent.is_some_and(|parent| self.fresh.contains(&parent));
            if self.given.has_link(link) && !is_parent_new {
                self.settle(&Wanted {
                    place,
                    interface,
                    full_name: full_name.as_ref(),
                    mtu: mtu.unwrap_or_else(|| self.usual_mtu(link)),
                    master: None,
                });
                continue;
            }
            self.given.refuse_foreign_link(place, interface)?;
            let (kind, mac) = (NewKind::from(&link.kind), Some(self.given.mac(place, interface)));
            let interface = || link.interface.clone();
            let create = LinkChange::CreateLink { interface: interface(), kind, mtu: *mtu, mac, up: false };
            self.ops.push(Op::new(place, create));
            let full_name = full_name.as_ref().map(FullName::as_str);
            self.ops.push(self.given.mark(place, &link.interface, full_name, None));
            self.ops.push(Op::new(place, LinkChange::SetUp { interface: interface() }));
            self.fresh.insert((place.clone(), interface()));
        }
        Ok(())
    }

    /// The MTU that a link has by itself: a VLAN that of its parent.
    fn usual_mtu(&self, link: &Link) -> u32 {
        let LinkKind::Vlan { parent, .. } = &link.kind else { return USUAL_MTU };
        match self.given.topology.interface(&link.place, parent) {
            Some(parent) => parent.mtu.unwrap_or(USUAL_MTU),
            None => self.given.link(&link.place, parent).map_or(USUAL_MTU, |parent| parent.mtu),
        }
    }

    /// Changes what differs on a link that stays.
    fn settle(&mut self, wanted: &Wanted<'_>) {
        let &Wanted { place, interface, full_name, mtu, master } = wanted;
        let Some(link) = self.seen(place, interface) else { return };
        let mut ops = Vec::new();
        // An alias that somebody else has written stays.
        let is_misnamed = link.marked && link.full_name.as_deref() != full_name.map(FullName::as_str);
        if is_misnamed || !link.has_alias {
            let before =
                if link.marked { self.given.alias(link.full_name.as_deref()) } else { String::new() };
            ops.push(self.given.mark(place, interface, full_name.map(FullName::as_str), Some(before)));
        }
        if mtu != link.mtu {
            let interface = interface.clone();
            ops.push(Op::new(place, LinkChange::SetMtu { interface, mtu, before: link.mtu }));
        }
        // Out of a bridge that this plan deletes it already is.
        let before =
            link.master.clone().filter(|bridge| !self.gone.contains(&(place.clone(), bridge.clone())));
        if before.as_ref() != master {
            let (interface, master) = (interface.clone(), master.cloned());
            ops.push(Op::new(place, LinkChange::SetMaster { interface, master, before }));
        }
        if !link.up {
            ops.push(Op::new(place, LinkChange::SetUp { interface: interface.clone() }));
        }
        self.ops.extend(ops);
    }

    /// Takes away what the topology gave and no longer wants, and leaves everybody else's.
    pub(super) fn addresses(&mut self) {
        for ((place, interface), wanted) in wanted_addresses(self.given.topology) {
            let is_fresh = self.fresh.contains(&(place.clone(), interface.clone()));
            let link = self.seen(place, interface).filter(|_| !is_fresh);
            let found = link.map_or(&[][..], |link| &link.addresses);
            let goes = |address: &IpNet| {
                link.is_some_and(|link| link.owned.contains(address)) && !wanted.contains(address)
            };
            let leaving: Vec<IpNet> = found.iter().rev().filter(|address| goes(address)).copied().collect();
            let coming = wanted.iter().filter(|address| !found.contains(address)).copied();
            // With the last IPv4 address of a link all its IPv4 routes go, whoever set them (`fib_disable_ip` in
            // net/ipv4/fib_frontend.c): so what comes, comes first. IPv6 takes no address twice.
            let is_again = |address: &IpNet| leaving.iter().any(|other| other.addr() == address.addr());
            let (again, first): (Vec<IpNet>, Vec<IpNet>) = coming.partition(is_again);
            let add =
                |address| AddressChange::AddAddress { interface: interface.clone(), address, owned: true };
            let order = [found, first.as_slice()].concat();
            let mut changes: Vec<AddressChange> = first.into_iter().map(add).collect();
            for &address in &leaving {
                self.lost.insert((place.clone(), interface.clone(), address));
                changes.push(AddressChange::delete(interface.clone(), address, &order, goes));
            }
            changes.extend(again.into_iter().map(add));
            self.ops.extend(changes.into_iter().map(|change| Op::new(place, change)));
        }
    }
}
