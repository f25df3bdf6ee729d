//! The translation of each place: by programs, by netfilter, or by none.

use std::collections::BTreeMap;

use super::{Error, Packet, netfilter::Netfilter, programs::Programs, world::World};
use crate::{
    model::{Backend, Forward, Place},
    nat::pinned::pinned,
    netlink::link::Link,
    state::Directories,
};

/// What translation makes of a packet.
pub(super) enum Made {
    /// It has nothing to do with it.
    Untouched,
    /// Another one of it.
    Translated {
        packet: Packet,
        /// The rule, and what is known of the flow.
        by: String,
        /// The rule, if it is a forward.
        forward: Option<Forward>,
    },
    /// Nothing.
    Dropped { why: String, fix: Option<String> },
}

/// Where a packet meets translation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// It comes in, before routing.
    In,
    /// It goes out, after routing.
    Out,
}

/// A packet at an interface.
pub(super) struct Passing<'a> {
    pub(super) place: &'a Place,
    pub(super) link: &'a Link,
    pub(super) way: Way,
    /// The interface that it came in by, where it goes out.
    pub(super) came_by: Option<u32>,
    pub(super) packet: &'a Packet,
}

/// All gateways, those of a place looked at when a packet comes there.
pub(super) struct Nat {
    netfilter: BTreeMap<Place, Vec<Netfilter>>,
    programs: BTreeMap<Place, Vec<Programs>>,
}

impl Nat {
    pub(super) fn new(directories: &Directories) -> Result<Self, Error> {
        let mut netfilter: BTreeMap<Place, Vec<Netfilter>> = BTreeMap::new();
        for record in directories.readable_records()? {
            for gateway in record.topology.gateways.iter().filter(|its| its.backend != Backend::Ebpf) {
                let its = Netfilter::of(&record.topology, gateway);
                netfilter.entry(gateway.place.clone()).or_default().push(its);
            }
        }
        Ok(Self { netfilter, programs: BTreeMap::new() })
    }

    fn programs(&mut self, world: &mut World<'_>, place: &Place) -> Result<&mut Vec<Programs>, Error> {
        if !self.programs.contains_key(place) {
            let failed = |source| Error::Programs { place: place.clone(), source };
            let all = pinned(&world.directories.bpffs).map_err(failed)?;
            let its = all.iter().filter(|gateway| gateway.place == *place);
            let its = its.map(|gateway| Programs::open(gateway, world)).collect::<Result<_, _>>()?;
            self.programs.insert(place.clone(), its);
        }
        Ok(self.programs.entry(place.clone()).or_default())
    }

    /// What becomes of a packet at an interface; `None` where nothing translates.
    pub(super) fn at(&mut self, world: &mut World<'_>, passing: &Passing<'_>) -> Result<Option<Made>, Error> {
        for gateway in self.programs(world, passing.place)? {
            if let Some(made) = gateway.at(world, passing)? {
                return Ok(Some(made));
            }
        }
        for gateway in self.netfilter.entry(passing.place.clone()).or_default() {
            if let Some(made) = gateway.at(world, passing)? {
                return Ok(Some(made));
            }
        }
        Ok(None)
    }

    /// What becomes of an answer to a packet of a place's own, before a socket has it.
    pub(super) fn delivered(&mut self, place: &Place, packet: &Packet) -> Option<Made> {
        self.netfilter.get(place)?.iter().find_map(|gateway| gateway.answer(packet, Way::Out))
    }

    /// Where a socket of a place's is led that asks for this, without knowing it.
    pub(super) fn led(
        &mut self,
        world: &mut World<'_>,
        place: &Place,
        packet: &Packet,
    ) -> Result<Option<(Packet, String)>, Error> {
        let is_own = world.ground(place)?.owns(packet.to.ip());
        Ok(self.programs(world, place)?.iter().find_map(|gateway| gateway.led(packet, is_own)))
    }

    /// What becomes of a packet of a place's own, before it is routed for good.
    pub(super) fn own(
        &mut self,
        world: &mut World<'_>,
        place: &Place,
        packet: &Packet,
    ) -> Result<Option<Made>, Error> {
        let ground = world.ground(place)?;
        let mut its = self.netfilter.get_mut(place).into_iter().flatten();
        Ok(its.find_map(|gateway| gateway.own(packet, &ground)))
    }
}
