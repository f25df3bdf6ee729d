//! What hangs on one wire: the interfaces that frames from one of them reach, over cables and bridges, and how.

use std::collections::{BTreeSet, VecDeque};

use super::{Error, advice, world::World};
use crate::{model::Place, netlink::link::Link};

/// What a cable or a bridge carries beyond its MTU: room for a VLAN tag (`is_skb_forwardable` in net/core/dev.c).
const VLAN_TAG: u32 = 4;

/// One cable, bridge or VLAN device on the way.
#[derive(Debug, Clone)]
pub(super) struct Crossing {
    /// In which place it ends.
    pub(super) place: Place,
    /// `cable`, `bridge` or `vlan`.
    pub(super) about: &'static str,
    pub(super) text: String,
    /// Whether a bridge passes it on, from one port to another.
    pub(super) is_bridged: bool,
    /// Why nothing gets through, and what to do about it.
    pub(super) fault: Option<(String, Option<String>)>,
}

/// An interface that frames reach.
#[derive(Debug, Clone)]
pub(super) struct Reached {
    pub(super) place: Place,
    pub(super) index: u32,
    pub(super) crossings: Vec<Crossing>,
}

impl Reached {
    /// Whether something on the way is broken.
    pub(super) fn is_cut_off(&self) -> bool {
        self.crossings.iter().any(|crossing| crossing.fault.is_some())
    }
}

/// All that hangs on a wire, but for the interface asked about.
#[derive(Debug, Default)]
pub(super) struct Segment {
    pub(super) ends: Vec<Reached>,
    /// Devices whose other side cannot be looked at: where, and what to say of it.
    pub(super) unseen: Vec<(Place, String)>,
}

/// Explores the wire of an interface, for frames whose packets are so long. What is down is passed, and noted.
pub(super) fn explore(world: &mut World<'_>, place: &Place, index: u32, size: u32) -> Result<Segment, Error> {
    let mut search =
        Search { world, size, found: Segment::default(), bridges: BTreeSet::new(), open: VecDeque::new() };
    search.out_of(place, index, Trail::default())?;
    while let Some((place, index, trail)) = search.open.pop_front() {
        search.come_to(place, index, trail)?;
    }
    Ok(search.found)
}

/// How a frame has come.
#[derive(Debug, Clone, Default)]
struct Trail {
    crossings: Vec<Crossing>,
    /// The VLANs that it is tagged with, the outermost last.
    tags: Vec<u16>,
}

struct Search<'w, 'd> {
    world: &'w mut World<'d>,
    size: u32,
    found: Segment,
    bridges: BTreeSet<(Place, u32)>,
    /// Interfaces that frames come to.
    open: VecDeque<(Place, u32, Trail)>,
}

impl Search<'_, '_> {
    /// A frame goes out of an interface.
    fn out_of(&mut self, place: &Place, index: u32, mut trail: Trail) -> Result<(), Error> {
        let ground = self.world.ground(place)?;
        let Some(link) = ground.link(index) else { return Ok(()) };
        match link.kind.as_deref() {
            Some("veth") => match self.world.beyond(place, link)? {
                Some((other, peer)) => {
                    let there = self.world.ground(&other)?;
                    let fault = there.link(peer).and_then(|end| self.fault(&other, end));
                    let text = format!("`{}` to `{}` of `{other}`", link.name, there.name(peer));
                    trail.crossings.push(Crossing {
                        place: other.clone(),
                        about: "cable",
                        text,
                        is_bridged: false,
                        fault,
                    });
                    self.open.push_back((other, peer, trail));
                }
                None => {
                    let by = format!("by `{}`, a cable into a namespace that has no name", link.name);
                    self.found.unseen.push((place.clone(), by));
                }
            },
            Some("bridge") => {
                self.bridges.insert((place.clone(), index));
                self.out_of_ports(place, link, None, &trail)?;
            }
            Some("dummy") => {}
            Some("vlan") if link.peer_netnsid.is_none() => {
                let Some((vlan, below)) = link.vlan.zip(link.peer_index.and_then(|index| ground.link(index)))
                else {
                    return Ok(());
                };
                let text = format!("`{}`: out by `{}`, tagged {}", link.name, below.name, vlan.id);
                let fault = self.fault(place, below);
                trail.crossings.push(Crossing {
                    place: place.clone(),
                    about: "vlan",
                    text,
                    is_bridged: false,
                    fault,
                });
                trail.tags.push(vlan.id);
                self.out_of(place, below.index, trail)?;
            }
            kind => {
                let by = format!("by `{}`, {}", link.name, advice::device(kind));
                self.found.unseen.push((place.clone(), by));
            }
        }
        Ok(())
    }

    /// A frame comes to an interface.
    fn come_to(&mut self, place: Place, index: u32, mut trail: Trail) -> Result<(), Error> {
        let ground = self.world.ground(&place)?;
        if let Some(vlan) = trail.tags.last().and_then(|&id| ground.vlan(index, id)) {
            let text = format!("`{}`: in by `{}`, without its tag", vlan.name, ground.name(index));
            let fault = self.fault(&place, vlan);
            trail.tags.pop();
            trail.crossings.push(Crossing {
                place: place.clone(),
                about: "vlan",
                text,
                is_bridged: false,
                fault,
            });
            return self.come_to(place.clone(), vlan.index, trail);
        }
        let master = ground.link(index).and_then(|link| link.master).and_then(|master| ground.link(master));
        let Some(bridge) = master.filter(|master| master.kind.as_deref() == Some("bridge")) else {
            // With a tag that the interface does not have, it is dropped.
            if trail.tags.is_empty() {
                self.found.ends.push(Reached { place, index, crossings: trail.crossings });
            }
            return Ok(());
        };
        if !self.bridges.insert((place.clone(), bridge.index)) {
            return Ok(());
        }
        self.out_of_ports(&place, bridge, Some(index), &trail)?;
        let text = format!("`{}`: in by `{}`, for the bridge itself", bridge.name, ground.name(index));
        let fault = self.fault(&place, bridge);
        trail.crossings.push(Crossing {
            place: place.clone(),
            about: "bridge",
            text,
            is_bridged: false,
            fault,
        });
        self.come_to(place, bridge.index, trail)
    }

    /// A frame goes out of the ports of a bridge, but for the one that it came in by.
    fn out_of_ports(
        &mut self,
        place: &Place,
        bridge: &Link,
        came_by: Option<u32>,
        trail: &Trail,
    ) -> Result<(), Error> {
        let ground = self.world.ground(place)?;
        let bridge_fault = self.fault(place, bridge);
        let ports = ground.links.iter().filter(|link| link.master == Some(bridge.index));
        for port in ports.filter(|port| Some(port.index) != came_by) {
            let text = match came_by {
                Some(came_by) => {
                    format!("`{}`: in by `{}`, out by `{}`", bridge.name, ground.name(came_by), port.name)
                }
                None => format!("`{}`: out by `{}`", bridge.name, port.name),
            };
            let fault = bridge_fault.clone().or_else(|| self.fault(place, port));
            let is_bridged = came_by.is_some();
            let crossing = Crossing { place: place.clone(), about: "bridge", text, is_bridged, fault };
            let mut its = trail.clone();
            its.crossings.push(crossing);
            self.out_of(place, port.index, its)?;
        }
        Ok(())
    }

    /// Why an interface takes nothing, or not this.
    fn fault(&self, place: &Place, link: &Link) -> Option<(String, Option<String>)> {
        if !link.up {
            return Some((format!("`{}` is down", link.name), Some(advice::set_up(place, link))));
        }
        let most = link.mtu + VLAN_TAG;
        (self.size > most && link.kind.as_deref() != Some("bridge")).then(|| {
            let why = format!(
                "{} bytes are too long for `{}` (mtu {}), which drops them without a word",
                self.size, link.name, link.mtu
            );
            (why, Some(advice::set_mtu(place, &link.name, self.size)))
        })
    }
}
