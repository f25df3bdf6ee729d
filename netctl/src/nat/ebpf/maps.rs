//! Typed handles on the pinned maps: rules in, flows and counters out.
//!
//! The maps are the only record of the rules in force; what the file says is compared with what is read back here.

mod batch;
mod behaviour;
mod bindings;
mod copy;
pub mod events;
mod flows;
mod listed;
mod rules;
mod view;

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv6Addr},
};

use aya::{
    Ebpf, Pod,
    maps::{
        Array, HashMap, Map, MapData, MapError, PerCpuArray, PerCpuHashMap, PerCpuValues,
        lpm_trie::{Key, LpmTrie},
    },
};
use ipnet::IpNet;
use netctl_ebpf::{
    addr::{self, Addr},
    binding::{Binding, BindingKey, ContactKey},
    config::Config,
    count::{self, Ended},
    flow::{FlowKey, Half},
    reason::DropReason,
    rule::{AllowKey, ForwardKey, ForwardRule, ListedForward, MasqueradeKey, MasqueradeRule},
    watch::Watcher,
};

use self::behaviour::{filtering_number, filtering_of, mapping_number, mapping_of};
pub use self::flows::Flow;
pub use self::rules::NewMasquerade;
use super::{Error, Pins};
use crate::model::{IfName, Masquerade, Seconds, Shortcut, Timeout, Timeouts};

const ANY: u64 = 0;
const NO_EXIST: u64 = 1;

/// Element 0 of the generations is no rule: it holds the last generation that was given out.
const LAST_GENERATION: u32 = 0;

/// One gateway's tables.
pub struct Tables {
    masquerades: LpmTrie<MapData, MasqueradeKey, MasqueradeRule>,
    forwards: LpmTrie<MapData, ForwardKey, ForwardRule>,
    listed: Array<MapData, ListedForward>,
    /// See [`Self::is_whole`].
    is_whole: bool,
    allows: LpmTrie<MapData, AllowKey, u32>,
    config: Array<MapData, Config>,
    ended: PerCpuHashMap<MapData, u32, Ended>,
    generations: Array<MapData, u32>,
    locals: HashMap<MapData, Addr, u32>,
    flows: HashMap<MapData, FlowKey, Half>,
    bindings: HashMap<MapData, BindingKey, Binding>,
    contacts: HashMap<MapData, ContactKey, u64>,
    drops: PerCpuArray<MapData, u64>,
    paths: PerCpuArray<MapData, u64>,
    watched: PerCpuArray<MapData, u64>,
}

/// A rule in force and its number.
#[derive(Debug, Clone)]
pub struct Numbered<R> {
    /// Index into the generations; flows name it.
    pub id: u32,
    /// The rule.
    pub rule: R,
}

impl Tables {
    /// Opens the pinned maps.
    ///
    /// # Errors
    /// If a pin is missing or is not what it should be.
    pub fn open(pins: &Pins) -> Result<Self, Error> {
        Ok(Self { is_whole: !pins.is_half_changed(), ..Self::of(pins)? })
    }

    fn of(mut from: impl Maps) -> Result<Self, Error> {
        Ok(Self {
            masquerades: open(&mut from, "MASQUERADES", Map::LpmTrie)?,
            forwards: open(&mut from, "FORWARDS", Map::LpmTrie)?,
            listed: open(&mut from, "LISTED", Map::Array)?,
            is_whole: true,
            allows: open(&mut from, "ALLOWS", Map::LpmTrie)?,
            config: open(&mut from, "CONFIG", Map::Array)?,
            ended: open(&mut from, "ENDED", Map::PerCpuHashMap)?,
            generations: open(&mut from, "GENERATIONS", Map::Array)?,
            locals: open(&mut from, "LOCALS", Map::HashMap)?,
            flows: open(&mut from, "FLOWS", Map::HashMap)?,
            bindings: open(&mut from, "BINDINGS", Map::HashMap)?,
            contacts: open(&mut from, "CONTACTS", Map::LruHashMap)?,
            drops: open(&mut from, "DROPS", Map::PerCpuArray)?,
            paths: open(&mut from, "PATHS", Map::PerCpuArray)?,
            watched: open(&mut from, "WATCHED", Map::PerCpuArray)?,
        })
    }

    /// The masquerade rules in force, in the order of their numbers. `names` gives the uplinks' names.
    ///
    /// # Errors
    /// If the map cannot be read.
    pub fn masquerades(&self, names: &BTreeMap<u32, IfName>) -> Result<Vec<Numbered<Masquerade>>, Error> {
        let mut rules = BTreeMap::new();
        for (key, value) in all(&self.masquerades, "MASQUERADES")? {
            let MasqueradeKey { ifindex, source } = key.data();
            let Some(source) = network(&source, key.prefix_len() - MasqueradeKey::prefix(0)) else {
                continue;
            };
            let rule = rules.entry(value.id).or_insert_with(|| Masquerade {
                source,
                out: Vec::new(),
                address: (!addr::eq(&value.address, &addr::NONE)).then(|| ip(&value.address)),
                ports: (value.first_port != 0).then_some((value.first_port, value.last_port)),
                routed: value.routed != 0,
                mapping: mapping_of(value.mapping),
                filtering: filtering_of(value.filtering),
            });
            rule.out.extend(names.get(&ifindex).cloned());
        }
        Ok(rules.into_iter().map(|(id, rule)| Numbered { id, rule }).collect())
    }

    /// Tells the programs the gateway's own addresses.
    ///
    /// # Errors
    /// If the map cannot be read or written.
    pub fn set_locals(&mut self, addresses: impl IntoIterator<Item = IpAddr>) -> Result<(), Error> {
        let wanted: Vec<Addr> = addresses.into_iter().map(wire).collect();
        for known in self.locals.keys().collect::<Result<Vec<_>, _>>().map_err(failed("LOCALS"))? {
            if !wanted.contains(&known) {
                self.locals.remove(&known).map_err(failed("LOCALS"))?;
            }
        }
        wanted.iter().try_for_each(|addr| self.locals.insert(addr, 1, ANY).map_err(failed("LOCALS")))
    }

    /// Gives the programs their settings.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn set_config(&mut self, config: &Config) -> Result<(), Error> {
        self.config.set(0, config, ANY).map_err(failed("CONFIG"))
    }

    /// How long flows of each kind live.
    ///
    /// # Errors
    /// If the map cannot be read.
    pub fn timeouts(&self) -> Result<Timeouts, Error> {
        let timeouts = self.config()?.timeouts;
        Ok(Timeout::ALL.map(|timeout| (timeout, timeout.of(&timeouts))).into())
    }

    /// Sets how long flows of one kind live, those included that are there.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn set_timeout(&mut self, timeout: Timeout, lifetime: Seconds) -> Result<(), Error> {
        let mut config = self.config()?;
        timeout.set(&mut config.timeouts, lifetime);
        self.set_config(&config)
    }

    /// Where packets go straight.
    ///
    /// # Errors
    /// If the map cannot be read.
    pub fn shortcut(&self) -> Result<Shortcut, Error> {
        Ok(if self.config()?.is_leased == 0 { Shortcut::Auto } else { Shortcut::Leased })
    }

    /// Says where packets go straight, those included of flows that are there.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn set_shortcut(&mut self, shortcut: Shortcut) -> Result<(), Error> {
        let is_leased = (shortcut == Shortcut::Leased).into();
        self.set_config(&Config { is_leased, ..self.config()? })
    }

    /// How many packets did not go straight because somebody watches, by who does; those that came up.
    ///
    /// # Errors
    /// If the map cannot be read.
    pub fn watched(&self) -> Result<Vec<(Watcher, u64)>, Error> {
        let count = |&watcher: &Watcher| {
            let per_cpu = self.watched.get(&(watcher as u32), 0).map_err(failed("WATCHED"))?;
            Ok((watcher, sum(&per_cpu)))
        };
        let counts = Watcher::ALL.iter().map(count).collect::<Result<Vec<_>, Error>>()?;
        Ok(counts.into_iter().filter(|(_, packets)| *packets > 0).collect())
    }

    /// What the ended flows of a rule carried, over all CPUs.
    ///
    /// # Errors
    /// If the map cannot be read.
    pub fn ended(&self, id: u32) -> Result<Ended, Error> {
        let per_cpu = self.ended.get(&id, 0).map_err(failed("ENDED"))?;
        Ok(per_cpu.iter().fold(Ended::default(), |sum, cpu| sum.plus(cpu)))
    }

    /// Packets dropped, by reason, over all CPUs; reasons that never came up are left out.
    ///
    /// # Errors
    /// If the map cannot be read.
    pub fn drops(&self) -> Result<Vec<(DropReason, u64)>, Error> {
        let mut drops = Vec::new();
        for &reason in DropReason::ALL {
            let per_cpu = self.drops.get(&(reason as u32), 0).map_err(failed("DROPS"))?;
            let count = sum(&per_cpu);
            if count != 0 {
                drops.push((reason, count));
            }
        }
        Ok(drops)
    }

    /// Packets translated that went on by this path, over all CPUs.
    ///
    /// # Errors
    /// If the map cannot be read.
    pub fn passed(&self, path: count::Path) -> Result<u64, Error> {
        Ok(sum(&self.paths.get(&(path as u32), 0).map_err(failed("PATHS"))?))
    }
}

fn sum(per_cpu: &PerCpuValues<u64>) -> u64 {
    per_cpu.iter().fold(0, |sum, &cpu| sum.wrapping_add(cpu))
}

/// Where maps are had from, by their names.
trait Maps {
    fn map(&mut self, name: &'static str, kind: fn(MapData) -> Map) -> Result<Map, Error>;
}

impl Maps for &Pins {
    fn map(&mut self, name: &'static str, kind: fn(MapData) -> Map) -> Result<Map, Error> {
        MapData::from_pin(Pins::map(self, name)).map(kind).map_err(failed(name))
    }
}

/// Of an object that was opened without pins; each is taken from it.
impl Maps for Ebpf {
    fn map(&mut self, name: &'static str, _: fn(MapData) -> Map) -> Result<Map, Error> {
        self.take_map(name).ok_or_else(|| Error::Missing(name.to_owned()))
    }
}

impl<M: Maps> Maps for &mut M {
    fn map(&mut self, name: &'static str, kind: fn(MapData) -> Map) -> Result<Map, Error> {
        (**self).map(name, kind)
    }
}

fn open<T>(mut from: impl Maps, name: &'static str, kind: fn(MapData) -> Map) -> Result<T, Error>
where
    T: TryFrom<Map, Error = MapError>,
{
    T::try_from(from.map(name, kind)?).map_err(failed(name))
}

/// All entries of a table of rules.
fn all<K: Pod, V: Pod>(
    table: &LpmTrie<MapData, K, V>,
    name: &'static str,
) -> Result<Vec<(Key<K>, V)>, Error> {
    let mut entries = Vec::new();
    for chunk in batch::chunks(table) {
        entries.extend(chunk.map_err(failed(name))?);
    }
    Ok(entries)
}

/// That an entry is not there is no error.
fn present<T>(result: Result<T, MapError>) -> Result<Option<T>, MapError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(MapError::KeyNotFound) => Ok(None),
        Err(MapError::SyscallError(error)) if error.io_error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn failed(map: &'static str) -> impl Fn(MapError) -> Error {
    move |source| Error::Map { map, source: Box::new(source) }
}

fn masquerade_key(ifindex: u32, source: &IpNet) -> Key<MasqueradeKey> {
    Key::new(
        MasqueradeKey::prefix(prefix_bits(source)),
        MasqueradeKey { ifindex, source: wire(source.network()) },
    )
}

/// An address as the maps hold it.
pub(crate) fn wire(address: IpAddr) -> Addr {
    match address {
        IpAddr::V4(v4) => addr::from_v4(v4.octets()),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// An address of a map, as people know it.
fn ip(addr: &Addr) -> IpAddr {
    if addr::is_v4(addr) { IpAddr::from(addr::to_v4(addr)) } else { IpAddr::V6(Ipv6Addr::from(*addr)) }
}

/// A network's prefix length as the maps hold it, that of its mapped form.
fn prefix_bits(network: &IpNet) -> u32 {
    u32::from(network.prefix_len()) + if network.addr().is_ipv4() { 96 } else { 0 }
}

fn network(addr: &Addr, bits: u32) -> Option<IpNet> {
    let bits = if addr::is_v4(addr) { bits.checked_sub(96)? } else { bits };
    IpNet::new(ip(addr), u8::try_from(bits).ok()?).ok()
}
