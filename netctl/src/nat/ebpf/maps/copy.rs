//! A gateway's tables once more, for programs that are asked and not run: what becomes of the copy is nobody's business.

use aya::{
    Ebpf, Pod,
    maps::{
        HashMap, MapData, MapError,
        lpm_trie::{Key, LpmTrie},
    },
};
use netctl_ebpf::flow::{FlowKey, Half};

use super::{ANY, Error, Tables, all, failed, present};

/// Settings, by their one index.
const ONLY: u32 = 0;

impl Tables {
    /// The maps of an object that was opened without pins; they are taken from it.
    pub(in crate::nat::ebpf) fn of_object(ebpf: &mut Ebpf) -> Result<Self, Error> {
        Self::of(ebpf)
    }

    /// Writes rules, settings, addresses, mappings and flows of a live gateway into these fresh tables; the flows without
    /// what they have of shortcuts. Counters stay at nothing. The live ones are only read.
    pub(in crate::nat::ebpf) fn copy_from(&mut self, live: &Self) -> Result<(), Error> {
        copy_trie(&live.masquerades, &mut self.masquerades, "MASQUERADES")?;
        copy_trie(&live.forwards, &mut self.forwards, "FORWARDS")?;
        copy_trie(&live.allows, &mut self.allows, "ALLOWS")?;
        live.whole_forwards(Some)?.iter().try_for_each(|its| self.list(its))?;
        for (id, generation) in live.all_generations()?.iter().filter(|(_, generation)| *generation != 0) {
            self.enforce(id, generation)?;
        }
        let config = live.config.get(&ONLY, 0).map_err(failed("CONFIG"))?;
        self.config.set(ONLY, config, ANY).map_err(failed("CONFIG"))?;
        copy_hash(&live.locals, &mut self.locals, "LOCALS", |its| its)?;
        copy_hash(&live.bindings, &mut self.bindings, "BINDINGS", |its| its)?;
        copy_hash(&live.contacts, &mut self.contacts, "CONTACTS", |its| its)?;
        let on_the_kernels_way = |half: Half| Half { lease: Default::default(), ..half };
        copy_hash(&live.flows, &mut self.flows, "FLOWS", on_the_kernels_way)
    }

    /// The half of a flow that has this tuple, if its rule is in force.
    ///
    /// # Errors
    /// If the map cannot be read.
    pub fn half(&self, key: &FlowKey) -> Result<Option<Half>, Error> {
        let Some(half) = present(self.flows.get(key, 0)).map_err(failed("FLOWS"))? else { return Ok(None) };
        let generation = self.generations.get(&half.rule, 0).map_err(failed("GENERATIONS"))?;
        Ok(Some(half).filter(|half| half.generation == generation))
    }
}

fn copy_trie<K: Pod, V: Pod>(
    from: &LpmTrie<MapData, K, V>,
    to: &mut LpmTrie<MapData, K, V>,
    name: &'static str,
) -> Result<(), Error> {
    let copy = |(key, value): &(Key<K>, V)| to.insert(key, value, ANY);
    all(from, name)?.iter().try_for_each(copy).map_err(failed(name))
}

/// One that goes meanwhile may be missing in the copy, as it will be in the original.
fn copy_hash<K: Pod, V: Pod>(
    from: &HashMap<MapData, K, V>,
    to: &mut HashMap<MapData, K, V>,
    name: &'static str,
    change: impl Fn(V) -> V,
) -> Result<(), Error> {
    let copy = |entry: Result<(K, V), MapError>| {
        let (key, value) = entry?;
        to.insert(key, change(value), ANY)
    };
    from.iter().try_for_each(copy).map_err(failed(name))
}
