//! The forwards in one piece each, by their numbers, beside the trie that the programs look them up in.
//!
//! The trie is what counts. An element is written before the generation that puts its rule in force, and does not count
//! without it; so the list is right but for what a killed command left, and that command has left its mark
//! ([`Pins::is_half_changed`](crate::nat::ebpf::Pins::is_half_changed)): then the trie is read, and the list made anew.

use std::collections::{BTreeMap, BTreeSet};

use aya::maps::{IterableMap as _, lpm_trie::Key};
use ipnet::IpNet;
use netctl_ebpf::{
    addr::{self, Addr},
    proto,
    rule::{AllowKey, ForwardKey, ForwardRule, ListedForward, port_prefixes},
};

use super::{
    ANY, Error, LAST_GENERATION, Numbered, Tables, all, failed, ip, network, present, view::View, wire,
};
use crate::model::{Forward, Protocol};

/// How many numbers there are, that which is no rule's included.
const NUMBERS: u32 = 1 << 16;

impl Tables {
    /// The forward rules in force, in the order of their numbers.
    ///
    /// # Errors
    /// If a map cannot be read.
    pub fn forwards(&self) -> Result<Vec<Numbered<Forward>>, Error> {
        let mut found = self.whole_forwards(|its| Some(Numbered { id: its.rule.id, rule: rule_of(&its) }))?;
        if found.iter().any(|its| its.rule.allow.is_some()) {
            let mut allowed = self.allowed()?;
            for its in found.iter_mut().filter(|its| its.rule.allow.is_some()) {
                its.rule.allow = allowed.remove(&its.id).or(Some(BTreeSet::new()));
            }
        }
        Ok(found)
    }

    /// The number of a forward in force: of the one that listens there, if it is the same but for who may use it. Needs
    /// [`Self::is_whole`].
    pub fn number_of(&self, rule: &Forward) -> Result<Option<u32>, Error> {
        let wanted = listed(rule, ForwardRule::default());
        let Some(key) = forward_keys(&wanted, wanted.addr).next() else { return Ok(None) };
        let entry = present(self.forwards.get(&key, 0)).map_err(failed("FORWARDS"))?;
        let found = entry.map(|entry| self.listed_as(entry.id)).transpose()?.flatten();
        let is_same = |its: &ListedForward| listed(rule, its.rule) == *its;
        Ok(found.filter(is_same).map(|its| its.rule.id))
    }

    /// Whether no change was cut short before these tables were opened, so that all forwards are listed as they are.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// The generations as they are, by number.
    pub(super) fn all_generations(&self) -> Result<View<u32>, Error> {
        View::of(self.generations.map(), NUMBERS).map_err(failed("GENERATIONS"))
    }

    /// What `choose` makes of the forwards in force, in the order of their numbers: as they are listed, unless a change was
    /// cut short.
    pub(super) fn whole_forwards<T>(
        &self,
        choose: impl FnMut(ListedForward) -> Option<T>,
    ) -> Result<Vec<T>, Error> {
        const FIRST: u32 = LAST_GENERATION + 1;
        if !self.is_whole {
            return Ok(self.forwards_in_pieces()?.into_iter().filter_map(choose).collect());
        }
        let generations = self.all_generations()?;
        let generation = |id| generations.get(id).filter(|generation| *generation != 0);
        let Some(last) = (FIRST..NUMBERS).rev().find(|id| generation(*id).is_some()) else {
            return Ok(Vec::new());
        };
        let list = View::<ListedForward>::of(self.listed.map(), last + 1).map_err(failed("LISTED"))?;
        let in_force = |id| {
            let (generation, its) = (generation(id)?, list.get(id)?);
            Some(its).filter(|its| (its.rule.id, its.rule.generation) == (id, generation))
        };
        Ok((FIRST..=last).filter_map(in_force).filter_map(choose).collect())
    }

    /// The forward that is listed under this number, if it is in force.
    pub(super) fn listed_as(&self, id: u32) -> Result<Option<ListedForward>, Error> {
        let its = self.listed.get(&id, 0).map_err(failed("LISTED"))?;
        let generation = self.generations.get(&id, 0).map_err(failed("GENERATIONS"))?;
        let is_live = generation != 0 && (its.rule.id, its.rule.generation) == (id, generation);
        Ok(Some(its).filter(|_| is_live))
    }

    /// Lists a forward, before it is in force.
    pub(super) fn list(&mut self, its: &ListedForward) -> Result<(), Error> {
        self.listed.set(its.rule.id, its, ANY).map_err(failed("LISTED"))
    }

    /// Puts the pieces of each forward in the trie together again: its prefixes to a range, and which of its addresses it
    /// listens on by itself (a loopback address beside another comes from [`Self::listen_on_loopback_again`]).
    pub(super) fn forwards_in_pieces(&self) -> Result<Vec<ListedForward>, Error> {
        let mut pieces: Vec<(ForwardKey, u16, ForwardRule)> = Vec::new();
        for (key, value) in all(&self.forwards, "FORWARDS")? {
            pieces.push((key.data(), ports(&key).1, value));
        }
        pieces.sort_unstable_by_key(|(key, _, value)| {
            (value.id, addr::is_loopback(&key.addr), u16::from_be_bytes(key.port))
        });
        let mut rules = Vec::new();
        for pieces in pieces.chunk_by(|(.., one), (.., other)| one.id == other.id) {
            let Some(&(key, _, value)) = pieces.first() else {
                continue;
            };
            let is_beside = |(other, ..): &&(ForwardKey, u16, ForwardRule)| {
                addr::is_loopback(&other.addr) == addr::is_loopback(&key.addr)
            };
            // As far as they follow one another: what a killed command left of a range is a shorter one.
            let first_port = u16::from_be_bytes(key.port);
            let last_port = pieces.iter().take_while(is_beside).fold(first_port, |so_far, (key, last, _)| {
                let follows = u32::from(u16::from_be_bytes(key.port)) <= u32::from(so_far) + 1;
                if follows { so_far.max(*last) } else { so_far }
            });
            // Where the beginning is missing, the rest leads where it did.
            let to_port = u16::from_be_bytes(value.map(key.port));
            let rule = ForwardRule { first_port, to_port, ..value };
            rules.push(ListedForward { addr: key.addr, last_port, proto: key.proto, _pad: 0, rule });
        }
        Ok(rules)
    }

    /// Who may use the forwards that are not for everyone, by the forwards' numbers.
    fn allowed(&self) -> Result<BTreeMap<u32, BTreeSet<IpNet>>, Error> {
        let mut allowed: BTreeMap<u32, BTreeSet<IpNet>> = BTreeMap::new();
        for (key, _) in all(&self.allows, "ALLOWS")? {
            let AllowKey { rule, client } = key.data();
            allowed.entry(rule).or_default().extend(network(&client, key.prefix_len() - AllowKey::prefix(0)));
        }
        Ok(allowed)
    }
}

/// A rule as it is listed; of `rule`, only what is the gateway's to say counts.
pub(super) fn listed(forward: &Forward, rule: ForwardRule) -> ListedForward {
    let (first_port, last_port) = forward.ports;
    let rule = ForwardRule {
        to: wire(forward.to),
        first_port,
        to_port: forward.to_port,
        restricted: forward.allow.is_some().into(),
        ..rule
    };
    let proto = match forward.protocol {
        Protocol::Tcp => proto::TCP,
        Protocol::Udp => proto::UDP,
    };
    let addr = match forward.address {
        Some(address) if address.is_loopback() => addr::loopback_of(&wire(address)),
        Some(address) => wire(address),
        None => addr::any_of(&rule.to),
    };
    ListedForward { addr, last_port, proto, _pad: 0, rule }
}

/// The rule that is listed so; for nobody yet, if it is not for everyone.
fn rule_of(its: &ListedForward) -> Forward {
    let ListedForward { addr, last_port, proto, rule, .. } = its;
    let any = addr::eq(addr, &addr::any_of(addr));
    Forward {
        address: (!any).then(|| ip(addr)),
        ports: (rule.first_port, *last_port),
        protocol: if *proto == proto::UDP { Protocol::Udp } else { Protocol::Tcp },
        to: ip(&rule.to),
        to_port: rule.to_port,
        allow: (rule.restricted != 0).then(BTreeSet::new),
    }
}

/// The first and the last port of a forward's key.
pub(super) fn ports(key: &Key<ForwardKey>) -> (u16, u16) {
    let first = u16::from_be_bytes(key.data().port);
    let others = (1_u32 << (ForwardKey::FULL - key.prefix_len()).min(16)) - 1;
    (first, first | others as u16)
}

/// The keys in the trie of a forward that listens at this address. They do not overlap.
pub(super) fn forward_keys(its: &ListedForward, addr: Addr) -> impl Iterator<Item = Key<ForwardKey>> + use<> {
    let proto = its.proto;
    port_prefixes(its.rule.first_port, its.last_port).map(move |(port, bits)| {
        Key::new(ForwardKey::prefix(bits), ForwardKey { addr, proto, _pad: 0, port: port.to_be_bytes() })
    })
}
