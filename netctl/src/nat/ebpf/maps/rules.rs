//! Rules into the tables. No packet meets a moment without a rule that stays or is followed by another: the new rule's
//! entries overwrite the old one's or stand beside them, and only then the old rule ends, its entries first, so that none
//! of them hides a wider one of the new rule.

use std::{
    collections::{BTreeSet, HashSet},
    iter,
    net::IpAddr,
};

use aya::{
    Pod,
    maps::{
        IterableMap as _, MapData, MapError,
        lpm_trie::{Key, LpmTrie},
    },
};
use ipnet::IpNet;
use netctl_ebpf::{
    addr::{self, Addr},
    count::Ended,
    rule::{AllowKey, ForwardKey, ForwardRule, ListedForward, MasqueradeKey, MasqueradeRule},
};

use super::{
    ANY, LAST_GENERATION, NO_EXIST, Tables, all, batch, failed, filtering_number,
    listed::{forward_keys, listed, ports},
    mapping_number, masquerade_key, prefix_bits, present, wire,
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
        let old: HashSet<u32> = old.iter().copied().collect();
        let ending = self.masquerades_of(&old)?;
        let tickets = self.allot(new.len())?;
        let mut put = new.iter().zip(&tickets);
        if let Err(error) = put.try_for_each(|(new, ticket)| self.put_masquerade(new, *ticket)) {
            for (key, rule) in ending {
                let _ = self.masquerades.insert(&key, rule, ANY);
            }
            let _ = self.end_masquerades(&ids(&tickets));
            return Err(error);
        }
        self.end_masquerades(&old)
    }

    /// Puts forward rules in force in the place of those that have these numbers; their flows end. A rule listens at its
    /// address and, unless something listens there already, at the loopback addresses; where one ends, the next one that
    /// may does.
    ///
    /// # Errors
    /// If there are too many rules or the kernel refuses an entry; the old ones are then in force.
    pub fn change_forwards(&mut self, old: &[u32], new: &[Forward]) -> Result<(), Error> {
        let old: HashSet<u32> = old.iter().copied().collect();
        let ending = self.forwards_of(&old)?;
        let places: HashSet<Exact> = ending.iter().map(|(key, _)| exact(key)).collect();
        let tickets = self.allot(new.len())?;
        if new.iter().any(|rule| rule.allow.is_some()) {
            self.allow_nobody(&ids(&tickets))?;
        }
        let mut put = new.iter().zip(&tickets);
        if let Err(error) = put.try_for_each(|(new, ticket)| self.put_forward(new, *ticket, &places)) {
            for (key, rule) in ending {
                let _ = self.forwards.insert(&key, rule, ANY);
            }
            let _ = self.end_forwards(&ids(&tickets));
            return Err(error);
        }
        self.end_forwards(&old)
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

    /// Ends what is left of changes that were cut short: flows of rules that have no entries, since a command was killed
    /// before it had made, or had ended, all of one, and silence at loopback addresses.
    ///
    /// # Errors
    /// If a map cannot be read or written.
    pub fn end_orphans(&mut self) -> Result<(), Error> {
        let masquerades = all(&self.masquerades, "MASQUERADES")?;
        let forwards = self.forwards_in_pieces()?;
        let ids = masquerades.iter().map(|(_, rule)| rule.id).chain(forwards.iter().map(|its| its.rule.id));
        let ids: HashSet<u32> = ids.chain([LAST_GENERATION]).collect();
        for (id, generation) in self.all_generations()?.iter() {
            if generation != 0 && !ids.contains(&id) {
                self.enforce(id, 0)?;
            }
        }
        forwards.iter().try_for_each(|its| self.list(its))?;
        self.listen_on_loopback_again(&forwards, |_| true)
    }

    fn put_masquerade(&mut self, new: &NewMasquerade<'_>, ticket: Ticket) -> Result<(), Error> {
        let NewMasquerade { rule, uplinks, fallback } = new;
        let Ticket { id, generation } = ticket;
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
            of_all: (rule.source.prefix_len() == 0).into(),
        };
        self.enforce(id, generation)?;
        for &ifindex in uplinks {
            let key = masquerade_key(ifindex, &rule.source);
            self.masquerades.insert(&key, entry, ANY).map_err(failed("MASQUERADES"))?;
        }
        fault::point();
        Ok(())
    }

    fn masquerades_of(&self, ids: &HashSet<u32>) -> Result<Vec<(Key<MasqueradeKey>, MasqueradeRule)>, Error> {
        entries(&self.masquerades, "MASQUERADES", |rule| ids.contains(&rule.id), ids)
    }

    fn end_masquerades(&mut self, ids: &HashSet<u32>) -> Result<(), Error> {
        for (key, _) in self.masquerades_of(ids)? {
            self.masquerades.remove(&key).map_err(failed("MASQUERADES"))?;
        }
        fault::point();
        ids.iter().try_for_each(|id| self.enforce(*id, 0))
    }

    /// Puts a forward in force that may take the places of others.
    fn put_forward(&mut self, rule: &Forward, ticket: Ticket, places: &HashSet<Exact>) -> Result<(), Error> {
        let Ticket { id, generation } = ticket;
        let its = listed(rule, ForwardRule { id, generation, ..ForwardRule::default() });
        self.list(&its)?;
        if let Some(networks) = &rule.allow {
            self.allow(id, networks)?;
        }
        self.enforce(id, generation)?;
        for key in forward_keys(&its, its.addr) {
            fault::point();
            self.forwards.insert(&key, its.rule, ANY).map_err(failed("FORWARDS"))?;
        }
        for key in forward_keys(&its, addr::loopback_of(&its.rule.to)) {
            self.listen(&key, its.rule, if places.contains(&exact(&key)) { ANY } else { NO_EXIST })?;
        }
        fault::point();
        Ok(())
    }

    /// What the trie has of these rules. Where they are listed, it is asked for their keys alone.
    fn forwards_of(&self, ids: &HashSet<u32>) -> Result<Vec<(Key<ForwardKey>, ForwardRule)>, Error> {
        if !self.is_whole {
            return entries(&self.forwards, "FORWARDS", |rule| ids.contains(&rule.id), ids);
        }
        let mut found = Vec::new();
        for id in ids {
            let Some(its) = self.listed_as(*id)? else { continue };
            let loopback = Some(addr::loopback_of(&its.rule.to)).filter(|addr| !addr::eq(addr, &its.addr));
            for key in iter::once(its.addr).chain(loopback).flat_map(|addr| forward_keys(&its, addr)) {
                // A wider entry that has the key in it is another rule's: those of one rule do not overlap.
                let entry = present(self.forwards.get(&key, 0)).map_err(failed("FORWARDS"))?;
                found.extend(entry.filter(|entry| entry.id == *id).map(|entry| (key, entry)));
            }
        }
        Ok(found)
    }

    fn end_forwards(&mut self, ids: &HashSet<u32>) -> Result<(), Error> {
        if ids.is_empty() {
            return Ok(());
        }
        let ended = self.forwards_of(ids)?;
        for (key, _) in &ended {
            self.forwards.remove(key).map_err(failed("FORWARDS"))?;
            fault::point();
        }
        let silent: HashSet<Exact> = ended.iter().map(|(key, _)| exact(key)).collect();
        let span = ended.iter().map(|(key, _)| ports(key));
        let span = span.reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)));
        let is_near = |its: &ListedForward| {
            span.is_some_and(|(first, last)| its.rule.first_port <= last && first <= its.last_port)
        };
        let others =
            self.whole_forwards(|its| Some(its).filter(|its| is_near(its) && !ids.contains(&its.rule.id)))?;
        self.listen_on_loopback_again(&others, |key| silent.contains(&exact(key)))?;
        fault::point();
        ids.iter().try_for_each(|id| self.enforce(*id, 0))?;
        // They are listed before anybody is let in.
        let listed = ids.iter().map(|id| self.listed.get(id, 0).map_err(failed("LISTED")));
        let mut listed = listed.collect::<Result<Vec<_>, _>>()?.into_iter();
        if listed.any(|its| its.rule.restricted != 0) { self.allow_nobody(ids) } else { Ok(()) }
    }

    /// Says who may use a forward, before it is in force. Those whom an earlier rule of its number let in, and whose
    /// removal was cut short, are gone.
    fn allow(&mut self, id: u32, networks: &BTreeSet<IpNet>) -> Result<(), Error> {
        networks.iter().try_for_each(|network| {
            let key = Key::new(
                AllowKey::prefix(prefix_bits(network)),
                AllowKey { rule: id, client: wire(network.network()) },
            );
            self.allows.insert(&key, 1, ANY).map_err(failed("ALLOWS"))
        })
    }

    fn allow_nobody(&mut self, ids: &HashSet<u32>) -> Result<(), Error> {
        for (key, _) in all(&self.allows, "ALLOWS")? {
            if ids.contains(&{ key.data() }.rule) {
                self.allows.remove(&key).map_err(failed("ALLOWS"))?;
            }
        }
        Ok(())
    }

    /// Lets forwards listen at the loopback addresses, too, where nothing does and `is_silent` says so.
    fn listen_on_loopback_again(
        &mut self,
        forwards: &[ListedForward],
        is_silent: impl Fn(&Key<ForwardKey>) -> bool,
    ) -> Result<(), Error> {
        for its in forwards {
            for key in forward_keys(its, addr::loopback_of(&its.rule.to)).filter(&is_silent) {
                self.listen(&key, its.rule, NO_EXIST)?;
            }
        }
        Ok(())
    }

    /// Makes an entry; that there is one which is not to be overwritten is no error.
    fn listen(&mut self, key: &Key<ForwardKey>, entry: ForwardRule, flags: u64) -> Result<(), Error> {
        match self.forwards.insert(key, entry, flags) {
            Err(MapError::SyscallError(error))
                if error.io_error.kind() == std::io::ErrorKind::AlreadyExists =>
            {
                Ok(())
            }
            made => made.map_err(failed("FORWARDS")),
        }
    }

    /// The lowest free rule numbers, so many of them, and generations that no flow has yet; each with an account, where
    /// the programs add up what its flows carried.
    fn allot(&mut self, count: usize) -> Result<Vec<Ticket>, Error> {
        if count == 0 {
            return Ok(Vec::new());
        }
        let last = self.generations.get(&LAST_GENERATION, 0).map_err(failed("GENERATIONS"))?;
        let tickets = tickets(self.all_generations()?.iter(), last, count);
        let (Some(ticket), true) = (tickets.last(), tickets.len() == count) else {
            return Err(Error::TooManyRules);
        };
        self.enforce(LAST_GENERATION, ticket.generation)?;
        let ids: Vec<u32> = tickets.iter().map(|ticket| ticket.id).collect();
        batch::zero::<_, Ended>(self.ended.map(), &ids).map_err(failed("ENDED"))?;
        Ok(tickets)
    }

    pub(super) fn enforce(&mut self, id: u32, generation: u32) -> Result<(), Error> {
        self.generations.set(id, generation, ANY).map_err(failed("GENERATIONS"))
    }
}

/// What a new rule is to be known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ticket {
    id: u32,
    generation: u32,
}

fn ids(tickets: &[Ticket]) -> HashSet<u32> {
    tickets.iter().map(|ticket| ticket.id).collect()
}

/// The first free numbers of these, up to so many, with the generations that follow the last one; none is 0.
fn tickets(generations: impl Iterator<Item = (u32, u32)>, last: u32, count: usize) -> Vec<Ticket> {
    let free = generations.filter(|&(id, generation)| id != LAST_GENERATION && generation == 0);
    let following = iter::successors(Some(last), |last| Some(last.wrapping_add(1).max(1))).skip(1);
    free.take(count).zip(following).map(|((id, _), generation)| Ticket { id, generation }).collect()
}

/// A forward's key, comparable.
type Exact = (u32, Addr, u8, [u8; 2]);

fn exact(key: &Key<ForwardKey>) -> Exact {
    let ForwardKey { addr, proto, port, .. } = key.data();
    (key.prefix_len(), addr, proto, port)
}

/// The entries whose value is wanted; none, without looking, where no `ids` are.
fn entries<K: Pod, V: Pod>(
    table: &LpmTrie<MapData, K, V>,
    name: &'static str,
    wanted: impl Fn(&V) -> bool,
    ids: &HashSet<u32>,
) -> Result<Vec<(Key<K>, V)>, Error> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    Ok(all(table, name)?.into_iter().filter(|(_, value)| wanted(value)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allotted(generations: &[u32], last: u32, count: usize) -> Vec<(u32, u32)> {
        let tickets = tickets((0..).zip(generations.iter().copied()), last, count);
        tickets.iter().map(|ticket| (ticket.id, ticket.generation)).collect()
    }

    #[test]
    fn the_lowest_free_numbers_are_allotted_each_with_the_next_generation() {
        let generations = [9, 0, 3, 0, 0, 9, 0];
        assert_eq!(allotted(&generations, 9, 3), [(1, 10), (3, 11), (4, 12)]);
        assert_eq!(allotted(&generations, 9, 5).len(), 4, "there are no more");
        assert_eq!(allotted(&[0, 0], 0, 1), [(1, 1)], "the first element is no rule");
    }

    #[test]
    fn no_rule_is_of_generation_0() {
        assert_eq!(allotted(&[0; 4], u32::MAX - 1, 3), [(1, u32::MAX), (2, 1), (3, 2)]);
    }

    #[test]
    fn ten_thousand_numbers_are_distinct() {
        let tickets = allotted(&[0; 65_536], 7, 10_000);
        assert!(tickets.into_iter().eq((1..=10_000).zip(8..)));
    }
}
