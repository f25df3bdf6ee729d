//! Typed handles on the pinned maps: rules in, flows and counters out.
//!
//! The maps are the only record of the rules in force; what the file says is compared with what is read back here.

mod behaviour;
mod flows;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv6Addr},
};

use aya::{
    maps::{
        Array, HashMap, Map, MapData, MapError, PerCpuArray, PerCpuHashMap, PerCpuValues,
        lpm_trie::{Key, LpmTrie},
    },
    util::nr_cpus,
};
use ipnet::IpNet;
use netctl_ebpf::{
    addr::{self, Addr},
    config::Config,
    count::Ended,
    flow::{FlowKey, Half},
    proto,
    reason::DropReason,
    rule::{AllowKey, ForwardKey, ForwardRule, MasqueradeKey, MasqueradeRule, port_prefixes},
};

use self::behaviour::{filtering_number, filtering_of, mapping_number, mapping_of};
pub use self::flows::Flow;
use super::{Error, Pins};
use crate::model::{Forward, IfName, Masquerade, Protocol, Seconds, Timeout, Timeouts};

const ANY: u64 = 0;
const NO_EXIST: u64 = 1;

/// Element 0 of the generations is no rule: it holds the last generation that was given out.
const LAST_GENERATION: u32 = 0;

/// One gateway's tables.
pub struct Tables {
    masquerades: LpmTrie<MapData, MasqueradeKey, MasqueradeRule>,
    forwards: LpmTrie<MapData, ForwardKey, ForwardRule>,
    allows: LpmTrie<MapData, AllowKey, u32>,
    config: Array<MapData, Config>,
    ended: PerCpuHashMap<MapData, u32, Ended>,
    generations: Array<MapData, u32>,
    locals: HashMap<MapData, Addr, u32>,
    flows: HashMap<MapData, FlowKey, Half>,
    drops: PerCpuArray<MapData, u64>,
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
        Ok(Self {
            masquerades: open(pins, "MASQUERADES", Map::LpmTrie)?,
            forwards: open(pins, "FORWARDS", Map::LpmTrie)?,
            allows: open(pins, "ALLOWS", Map::LpmTrie)?,
            config: open(pins, "CONFIG", Map::Array)?,
            ended: open(pins, "ENDED", Map::PerCpuHashMap)?,
            generations: open(pins, "GENERATIONS", Map::Array)?,
            locals: open(pins, "LOCALS", Map::HashMap)?,
            flows: open(pins, "FLOWS", Map::HashMap)?,
            drops: open(pins, "DROPS", Map::PerCpuArray)?,
        })
    }

    /// Puts a masquerade rule in force. `uplinks` are the indexes of `rule.out`, `fallback` is the source address for
    /// kernels that cannot be asked when a flow is made.
    ///
    /// # Errors
    /// If there are too many rules or the kernel refuses an entry; then none of it is in force.
    pub fn add_masquerade(
        &mut self,
        rule: &Masquerade,
        uplinks: &[u32],
        fallback: Option<IpAddr>,
    ) -> Result<(), Error> {
        let (id, generation) = self.allot()?;
        let (first_port, last_port) = rule.ports.unwrap_or((0, 0));
        let entry = MasqueradeRule {
            id,
            generation,
            address: rule.address.map_or(addr::NONE, wire),
            fallback: fallback.map_or(addr::NONE, wire),
            first_port,
            last_port,
            routed: rule.routed.into(),
            mapping: mapping_number(rule.mapping),
            filtering: filtering_number(rule.filtering),
            _pad: 0,
        };
        for &ifindex in uplinks {
            let key = masquerade_key(ifindex, &rule.source);
            self.masquerades.insert(&key, entry, ANY).map_err(failed("MASQUERADES"))?;
        }
        self.enforce(id, generation)
    }

    /// Ends a masquerade rule and its flows.
    ///
    /// # Errors
    /// If the kernel refuses; the rule is out of force all the same, once its generation is cleared.
    pub fn remove_masquerade(&mut self, id: u32) -> Result<(), Error> {
        self.enforce(id, 0)?;
        for key in keys_of(self.masquerades.iter(), |rule| rule.id == id).map_err(failed("MASQUERADES"))? {
            self.masquerades.remove(&key).map_err(failed("MASQUERADES"))?;
        }
        Ok(())
    }

    /// Puts a forward rule in force, at its address and, unless something listens there already, at the loopback
    /// addresses.
    ///
    /// # Errors
    /// If there are too many rules or the kernel refuses an entry; then none of it is in force.
    pub fn add_forward(&mut self, rule: &Forward) -> Result<(), Error> {
        let (id, generation) = self.allot()?;
        let entry = ForwardRule {
            id,
            generation,
            to: wire(rule.to),
            first_port: rule.ports.0,
            to_port: rule.to_port,
            restricted: rule.allow.is_some().into(),
            _pad: [0; 3],
        };
        if let Some(networks) = &rule.allow {
            self.allow(id, networks)?;
        }
        for key in forward_keys(rule, listen_address(rule)) {
            self.forwards.insert(&key, entry, ANY).map_err(failed("FORWARDS"))?;
        }
        self.listen_on_loopback(rule, entry)?;
        self.enforce(id, generation)
    }

    /// Says who may use a forward, before it is in force. Those whom an earlier rule of its number let in, and whose
    /// removal was cut short, are not among them.
    fn allow(&mut self, id: u32, networks: &BTreeSet<IpNet>) -> Result<(), Error> {
        self.allow_nobody(id)?;
        networks.iter().try_for_each(|network| {
            let key = Key::new(
                AllowKey::prefix(prefix_bits(network)),
                AllowKey { rule: id, client: wire(network.network()) },
            );
            self.allows.insert(&key, 1, ANY).map_err(failed("ALLOWS"))
        })
    }

    fn allow_nobody(&mut self, id: u32) -> Result<(), Error> {
        let is_its = |key: &Result<Key<AllowKey>, MapError>| {
            key.as_ref().ok().is_none_or(|key| ({ key.data() }).rule == id)
        };
        let keys: Result<Vec<_>, _> = self.allows.keys().filter(is_its).collect();
        let keys = keys.map_err(failed("ALLOWS"))?;
        keys.iter().try_for_each(|key| self.allows.remove(key).map_err(failed("ALLOWS")))
    }

    /// Who may use the forwards that are not for everyone, by the forwards' numbers.
    fn allowed(&self) -> Result<BTreeMap<u32, BTreeSet<IpNet>>, Error> {
        let mut allowed: BTreeMap<u32, BTreeSet<IpNet>> = BTreeMap::new();
        for key in self.allows.keys() {
            let key = key.map_err(failed("ALLOWS"))?;
            let AllowKey { rule, client } = key.data();
            allowed.entry(rule).or_default().extend(network(&client, key.prefix_len() - AllowKey::prefix(0)));
        }
        Ok(allowed)
    }

    fn listen_on_loopback(&mut self, rule: &Forward, entry: ForwardRule) -> Result<(), Error> {
        for key in forward_keys(rule, addr::loopback_of(&entry.to)) {
            match self.forwards.insert(&key, entry, NO_EXIST) {
                Ok(()) => {}
                Err(MapError::SyscallError(error))
                    if error.io_error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed("FORWARDS")(error)),
            }
        }
        Ok(())
    }

    /// Ends a forward rule and its flows. Where it listened on loopback, the next one that may does.
    ///
    /// # Errors
    /// If the kernel refuses; the rule is out of force all the same, once its generation is cleared.
    pub fn remove_forward(&mut self, id: u32) -> Result<(), Error> {
        self.enforce(id, 0)?;
        for key in keys_of(self.forwards.iter(), |rule| rule.id == id).map_err(failed("FORWARDS"))? {
            self.forwards.remove(&key).map_err(failed("FORWARDS"))?;
        }
        self.allow_nobody(id)?;
        for (Numbered { rule, .. }, entry) in self.forward_entries()? {
            self.listen_on_loopback(&rule, entry)?;
        }
        Ok(())
    }

    /// The masquerade rules in force, in the order of their numbers. `names` gives the uplinks' names.
    ///
    /// # Errors
    /// If the map cannot be read.
    pub fn masquerades(&self, names: &BTreeMap<u32, IfName>) -> Result<Vec<Numbered<Masquerade>>, Error> {
        let mut rules = BTreeMap::new();
        for entry in &self.masquerades {
            let (key, value) = entry.map_err(failed("MASQUERADES"))?;
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

    /// The forward rules in force, in the order of their numbers.
    ///
    /// # Errors
    /// If the map cannot be read.
    pub fn forwards(&self) -> Result<Vec<Numbered<Forward>>, Error> {
        Ok(self.forward_entries()?.into_iter().map(|(rule, _)| rule).collect())
    }

    /// Puts the pieces of each forward together again: its prefixes to a range, and which of its addresses it listens
    /// on by itself (a loopback address beside another comes from [`Self::listen_on_loopback`]).
    fn forward_entries(&self) -> Result<Vec<(Numbered<Forward>, ForwardRule)>, Error> {
        let mut pieces: BTreeMap<u32, Vec<(ForwardKey, u16, ForwardRule)>> = BTreeMap::new();
        for entry in &self.forwards {
            let (key, value) = entry.map_err(failed("FORWARDS"))?;
            let covered = 1_u32 << (ForwardKey::FULL - key.prefix_len()).min(16);
            let last = (u32::from(u16::from_be_bytes(key.data().port)) + covered - 1) as u16;
            pieces.entry(value.id).or_default().push((key.data(), last, value));
        }
        let mut allowed = self.allowed()?;
        let mut rules = Vec::new();
        for (id, mut pieces) in pieces {
            if pieces.iter().any(|(key, ..)| !addr::is_loopback(&key.addr)) {
                pieces.retain(|(key, ..)| !addr::is_loopback(&key.addr));
            }
            let Some(&(key, _, value)) = pieces.first() else {
                continue;
            };
            let last = pieces.iter().map(|(_, last, _)| *last).max().unwrap_or(value.first_port);
            let any = addr::eq(&key.addr, &addr::any_of(&key.addr));
            let rule = Forward {
                address: (!any).then(|| ip(&key.addr)),
                ports: (value.first_port, last),
                protocol: if key.proto == proto::UDP { Protocol::Udp } else { Protocol::Tcp },
                to: ip(&value.to),
                to_port: value.to_port,
                allow: (value.restricted != 0).then(|| allowed.remove(&id).unwrap_or_default()),
            };
            rules.push((Numbered { id, rule }, value));
        }
        Ok(rules)
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
            let count = self.drops.get(&(reason as u32), 0).map_err(failed("DROPS"))?.iter().sum::<u64>();
            if count != 0 {
                drops.push((reason, count));
            }
        }
        Ok(drops)
    }

    /// A free rule number and a generation that no flow has yet.
    fn allot(&mut self) -> Result<(u32, u32), Error> {
        let last = self.generations.get(&LAST_GENERATION, 0).map_err(failed("GENERATIONS"))?;
        let generation = last.wrapping_add(1).max(1);
        self.enforce(LAST_GENERATION, generation)?;
        for id in 1..self.generations.len() {
            if self.generations.get(&id, 0).map_err(failed("GENERATIONS"))? == 0 {
                self.open_account(id)?;
                return Ok((id, generation));
            }
        }
        Err(Error::TooManyRules)
    }

    /// The programs add up what a rule's flows carried where there is an entry for it.
    fn open_account(&mut self, id: u32) -> Result<(), Error> {
        let failed = failed("ENDED");
        let cpus = nr_cpus().map_err(|(_, error)| failed(MapError::IoError(error)))?;
        let zeroes = PerCpuValues::try_from(vec![Ended::default(); cpus]);
        let zeroes = zeroes.map_err(|error| failed(MapError::IoError(error)))?;
        self.ended.insert(id, zeroes, ANY).map_err(failed)
    }

    fn enforce(&mut self, id: u32, generation: u32) -> Result<(), Error> {
        self.generations.set(id, generation, ANY).map_err(failed("GENERATIONS"))
    }
}

fn open<T>(pins: &Pins, name: &'static str, kind: fn(MapData) -> Map) -> Result<T, Error>
where
    T: TryFrom<Map, Error = MapError>,
{
    MapData::from_pin(pins.map(name)).and_then(|data| T::try_from(kind(data))).map_err(failed(name))
}

fn failed(map: &'static str) -> impl Fn(MapError) -> Error {
    move |source| Error::Map { map, source: Box::new(source) }
}

/// The keys of the entries whose value is wanted.
fn keys_of<K, V>(
    entries: impl Iterator<Item = Result<(Key<K>, V), MapError>>,
    wanted: impl Fn(&V) -> bool,
) -> Result<Vec<Key<K>>, MapError>
where
    K: aya::Pod,
{
    entries.filter_map(|entry| entry.map(|(key, value)| wanted(&value).then_some(key)).transpose()).collect()
}

fn masquerade_key(ifindex: u32, source: &IpNet) -> Key<MasqueradeKey> {
    Key::new(
        MasqueradeKey::prefix(prefix_bits(source)),
        MasqueradeKey { ifindex, source: wire(source.network()) },
    )
}

fn forward_keys(rule: &Forward, addr: Addr) -> impl Iterator<Item = Key<ForwardKey>> {
    let proto = match rule.protocol {
        Protocol::Tcp => proto::TCP,
        Protocol::Udp => proto::UDP,
    };
    port_prefixes(rule.ports.0, rule.ports.1).map(move |(port, bits)| {
        Key::new(ForwardKey::prefix(bits), ForwardKey { addr, proto, _pad: 0, port: port.to_be_bytes() })
    })
}

fn listen_address(rule: &Forward) -> Addr {
    match rule.address {
        Some(address) if address.is_loopback() => addr::loopback_of(&wire(address)),
        Some(address) => wire(address),
        None => addr::any_of(&wire(rule.to)),
    }
}

/// An address as the maps hold it.
fn wire(address: IpAddr) -> Addr {
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
