//! The flow table: read, and made to forget.

use std::collections::{BTreeMap, HashMap};

use aya::maps::{IterableMap as _, MapError, PerCpuValues};
use netctl_ebpf::{
    config::Config,
    count::Ended,
    flow::{FlowKey, Half, direction, kind},
};

use super::{ANY, Error, Tables, failed, present};

/// One translated connection as the table holds it.
#[derive(Debug, Clone, Copy)]
pub struct Flow {
    /// The first packet's tuple before translation.
    pub original: FlowKey,
    /// What it was translated to.
    pub translated: FlowKey,
    /// The half of the original direction.
    pub there: Half,
    /// The half of the answers.
    pub back: Half,
}

impl Flow {
    /// What it adds to its rule's account: nothing where it is but the second of a hairpinned connection's two.
    #[must_use]
    pub fn carried(&self) -> Ended {
        if self.there.kind == kind::HAIRPIN_SOURCE {
            return Ended::default();
        }
        let (there, back) = (&self.there, &self.back);
        Ended { flows: 1, packets: [there.packets, back.packets], bytes: [there.bytes, back.bytes] }
    }
}

impl Tables {
    /// The live flows, in no order, each once, and no two with the same answers. The kernel tells of one entry after
    /// another, so flows that come and go meanwhile may be missing; what is left of one is not taken for a flow.
    ///
    /// # Errors
    /// If the map cannot be read.
    pub fn flows(&self) -> Result<Vec<Flow>, Error> {
        let halves: HashMap<FlowKey, Half> =
            self.flows.iter().collect::<Result<_, _>>().map_err(failed("FLOWS"))?;
        let mut generations = BTreeMap::new();
        let mut is_live = |half: &Half| {
            let live =
                generations.entry(half.rule).or_insert_with(|| self.generations.get(&half.rule, 0).ok());
            *live == Some(half.generation)
        };
        let originals =
            halves.iter().filter(|(_, half)| half.direction == direction::ORIGINAL && is_live(half));
        let flow = |(&original, &there): (&FlowKey, &Half)| {
            let back = *halves.get(&there.to.reversed()).filter(|back| back.serial == there.serial)?;
            Some(Flow { original, translated: there.to, there, back })
        };
        Ok(originals.filter_map(flow).collect())
    }

    /// How many flows the table has room for.
    ///
    /// # Errors
    /// If the kernel does not tell.
    pub fn room(&self) -> Result<u32, Error> {
        Ok(self.flows.map().info().map_err(failed("FLOWS"))?.max_entries() / 2)
    }

    /// The programs' settings.
    ///
    /// # Errors
    /// If the map cannot be read.
    pub fn config(&self) -> Result<Config, Error> {
        self.config.get(&0, 0).map_err(failed("CONFIG"))
    }

    /// Ends flows, both halves of each, and adds what they carried to their rules' accounts. Those that have ended
    /// meanwhile are no error.
    ///
    /// A flow that ends by itself in the moment in which its rule's account is written may be missing there.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn forget(&mut self, flows: &[Flow]) -> Result<(), Error> {
        let mut carried: BTreeMap<u32, Ended> = BTreeMap::new();
        for flow in flows {
            // One that has ended since it was listed may have begun anew, its answers at another port.
            let there = present(self.flows.get(&flow.original, 0)).map_err(failed("FLOWS"))?;
            if there.is_none_or(|there| there.serial != flow.there.serial) {
                continue;
            }
            // The answers' half first: a packet that comes in between finds its flow, or room for a new one.
            for key in [&flow.translated.reversed(), &flow.original] {
                present(self.flows.remove(key)).map_err(failed("FLOWS"))?;
            }
            let sum = carried.entry(flow.there.rule).or_default();
            *sum = sum.plus(&flow.carried());
        }
        carried.iter().try_for_each(|(id, carried)| self.add_to_account(*id, carried))
    }

    fn add_to_account(&mut self, id: u32, carried: &Ended) -> Result<(), Error> {
        let failed = failed("ENDED");
        let Some(per_cpu) = present(self.ended.get(&id, 0)).map_err(&failed)? else { return Ok(()) };
        let mut per_cpu = per_cpu.to_vec();
        if let Some(first) = per_cpu.first_mut() {
            *first = first.plus(carried);
        }
        let per_cpu = PerCpuValues::try_from(per_cpu).map_err(|error| failed(MapError::IoError(error)))?;
        self.ended.insert(id, per_cpu, ANY).map_err(failed)
    }
}
