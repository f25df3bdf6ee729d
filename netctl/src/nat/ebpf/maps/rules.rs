//! Rules into the tables. No packet meets a moment without a rule that stays or is followed by another: the new rule's
//! entries overwrite the old one's or stand beside them, and only then the old rule ends, its entries first, so that none
//! of them hides a wider one of the new rule.

use std::{
    collections::{BTreeSet, HashSet},
    net::IpAddr,
};

use aya::{
    maps::{
        MapError, PerCpuValues,
        lpm_trie::{Key, LpmTrie},
    },
    util::nr_cpus,
};
use ipnet::IpNet;
use netctl_ebpf::{
    addr,
    count::Ended,
    rule::{AllowKey, ForwardKey, ForwardRule, MasqueradeRule},
};

use super::{
    ANY, LAST_GENERATION, NO_EXIST, Numbered, Tables, failed, filtering_number, forward_keys, listen_address,
    mapping_number, masquerade_key, prefix_bits, wire,
};
use crate::{
    fault,
    model::{Forward, Masquerade},
    nat::ebpf::Error,
};

/// A masquerade rule to put in force, and what the gateway says to it.
#[derive(Debug, Clone)]
pub struct NewMasquerade<'a> {
    /// The rule.
    pub rule: &'a Masquerade,
    /// The indexes of its uplinks.
    pub uplinks: Vec<u32>,
    /// The source address for kernels that cannot be asked when a flow is made.
    pub fallback: Option<IpAddr>,
}

impl Tables {
    /// Puts masquerade rules in force in the place of those that have these numbers; their flows end.
    ///
    /// # Errors
    /// If there are too many rules or the kernel refuses an entry; the old ones are then in force.
    pub fn change_masquerades(&mut self, old: &[u32], new: &[NewMasquerade<'_>]) -> Result<(), Error> {
        let ending = entries(&self.masquerades, "MASQUERADES", |rule| old.contains(&rule.id), old)?;
        let mut ids = Vec::new();
        if let Err(error) = new.iter().try_for_each(|new| self.put_masquerade(new, &mut ids)) {
            for (key, rule) in ending {
                let _ = self.masquerades.insert(&key, rule, ANY);
            }
            let _ = self.end_masquerades(&ids);
            return Err(error);
        }
        fault::point();
        self.end_masquerades(old)
    }

    /// Puts forward rules in force in the place of those that have these numbers; their flows end. A rule listens at its
    /// address and, unless something listens there already, at the loopback addresses; where one ends, the next one that
    /// may does.
    ///
    /// # Errors
    /// If there are too many rules or the kernel refuses an entry; the old ones are then in force.
    pub fn change_forwards(&mut self, old: &[u32], new: &[Forward]) -> Result<(), Error> {
        let ending = entries(&self.forwards, "FORWARDS", |rule| old.contains(&rule.id), old)?;
        let mut ids = Vec::new();
        if let Err(error) = new.iter().try_for_each(|new| self.put_forward(new, &ending, &mut ids)) {
            for (key, rule) in ending {
                let _ = self.forwards.insert(&key, rule, ANY);
            }
            let _ = self.end_forwards(&ids);
            return Err(error);
        }
        fault::point();
        self.end_forwards(old)
    }

    /// [`Self::change_masquerades`] for one that follows none.
    ///
    /// # Errors
    /// Those of it.
    pub fn add_masquerade(
        &mut self,
        rule: &Masquerade,
        uplinks: &[u32],
        fallback: Option<IpAddr>,
    ) -> Result<(), Error> {
        self.change_masquerades(&[], &[NewMasquerade { rule, uplinks: uplinks.to_vec(), fallback }])
    }

    /// [`Self::change_masquerades`] for one that none follows.
    ///
    /// # Errors
    /// Those of it.
    pub fn remove_masquerade(&mut self, id: u32) -> Result<(), Error> {
        self.change_masquerades(&[id], &[])
    }

    /// [`Self::change_forwards`] for one that follows none.
    ///
    /// # Errors
    /// Those of it.
    pub fn add_forward(&mut self, rule: &Forward) -> Result<(), Error> {
        self.change_forwards(&[], std::slice::from_ref(rule))
    }

    /// [`Self::change_forwards`] for one that none follows.
    ///
    /// # Errors
    /// Those of it.
    pub fn remove_forward(&mut self, id: u32) -> Result<(), Error> {
        self.change_forwards(&[id], &[])
    }

    /// Ends the flows of rules that have no entries: a command was killed before it had made, or had ended, all of one.
    ///
    /// # Errors
    /// If a map cannot be read or written.
    pub fn end_orphans(&mut self) -> Result<(), Error> {
        let mut ids = HashSet::new();
        for entry in &self.masquerades {
            ids.insert(entry.map_err(failed("MASQUERADES"))?.1.id);
        }
        for entry in &self.forwards {
            ids.insert(entry.map_err(failed("FORWARDS"))?.1.id);
        }
        for id in (1..self.generations.len()).filter(|id| !ids.contains(id)) {
            if self.generations.get(&id, 0).map_err(failed("GENERATIONS"))? != 0 {
                self.enforce(id, 0)?;
            }
        }
        Ok(())
    }

    fn put_masquerade(&mut self, new: &NewMasquerade<'_>, ids: &mut Vec<u32>) -> Result<(), Error> {
        let NewMasquerade { rule, uplinks, fallback } = new;
        let (id, generation) = self.allot()?;
        ids.push(id);
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
        self.enforce(id, generation)?;
        uplinks.iter().try_for_each(|&ifindex| {
            let key = masquerade_key(ifindex, &rule.source);
            self.masquerades.insert(&key, entry, ANY).map_err(failed("MASQUERADES"))
        })
    }

    fn end_masquerades(&mut self, ids: &[u32]) -> Result<(), Error> {
        let is_ending = |rule: &MasqueradeRule| ids.contains(&rule.id);
        for (key, _) in entries(&self.masquerades, "MASQUERADES", is_ending, ids)? {
            self.masquerades.remove(&key).map_err(failed("MASQUERADES"))?;
        }
        fault::point();
        ids.iter().try_for_each(|id| self.enforce(*id, 0))
    }

    fn put_forward(
        &mut self,
        rule: &Forward,
        ending: &[(Key<ForwardKey>, ForwardRule)],
        ids: &mut Vec<u32>,
    ) -> Result<(), Error> {
        let (id, generation) = self.allot()?;
        ids.push(id);
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
        self.enforce(id, generation)?;
        for key in forward_keys(rule, listen_address(rule)) {
            self.forwards.insert(&key, entry, ANY).map_err(failed("FORWARDS"))?;
        }
        self.listen_on_loopback(rule, entry, ending)
    }

    fn end_forwards(&mut self, ids: &[u32]) -> Result<(), Error> {
        if ids.is_empty() {
            return Ok(());
        }
        for (key, _) in entries(&self.forwards, "FORWARDS", |rule| ids.contains(&rule.id), ids)? {
            self.forwards.remove(&key).map_err(failed("FORWARDS"))?;
        }
        for (Numbered { rule, .. }, entry) in self.forward_entries()? {
            self.listen_on_loopback(&rule, entry, &[])?;
        }
        fault::point();
        for id in ids {
            self.enforce(*id, 0)?;
            self.allow_nobody(*id)?;
        }
        Ok(())
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

    /// Lets a forward listen at the loopback addresses too, but where a rule does that is not about to end.
    fn listen_on_loopback(
        &mut self,
        rule: &Forward,
        entry: ForwardRule,
        ending: &[(Key<ForwardKey>, ForwardRule)],
    ) -> Result<(), Error> {
        for key in forward_keys(rule, addr::loopback_of(&entry.to)) {
            let is_ending = ending
                .iter()
                .any(|(other, _)| ({ other.data() }) == key.data() && other.prefix_len() == key.prefix_len());
            match self.forwards.insert(&key, entry, if is_ending { ANY } else { NO_EXIST }) {
                Ok(()) => {}
                Err(MapError::SyscallError(error))
                    if error.io_error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed("FORWARDS")(error)),
            }
        }
        Ok(())
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

/// The entries whose value is wanted; none, without looking, where no `ids` are.
fn entries<K: aya::Pod, V: aya::Pod>(
    table: &LpmTrie<aya::maps::MapData, K, V>,
    name: &'static str,
    wanted: impl Fn(&V) -> bool,
    ids: &[u32],
) -> Result<Vec<(Key<K>, V)>, Error> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let wanted =
        |entry: &Result<(Key<K>, V), MapError>| entry.as_ref().map_or(true, |(_, value)| wanted(value));
    table.iter().filter(wanted).collect::<Result<_, _>>().map_err(failed(name))
}
