//! Translation: programs, hooks and rules.

use std::collections::{BTreeMap, BTreeSet};

use super::{Given, Planner, rules::Changes};
use crate::{
    model::{Backend, Gateway, IfName, LOCAL_PORTS, Masquerade, Place, Shortcut, Side},
    observed::ObservedNat,
    op::{Change, NatChange, Op, SysctlChange},
};

/// The topology's gateways whose programs translate, by place.
fn gateways(given: Given<'_>) -> BTreeMap<&Place, &Gateway> {
    let with_programs = given.topology.gateways.iter().filter(|gateway| gateway.backend == Backend::Ebpf);
    with_programs.map(|gateway| (&gateway.place, gateway)).collect()
}

impl Planner<'_> {
    /// At the gateways that stay: ends rules and hooks that are no longer wanted, and those of links that are deleted,
    /// before these are: undone in reverse, they come back when their links are there again.
    pub(super) fn retire_nat(&mut self) {
        let gateways = gateways(self.given);
        let mut retired = Vec::new();
        for (place, there) in &self.given.observed.places {
            let (Some(nat), Some(gateway)) = (&there.nat, gateways.get(place)) else { continue };
            let ops = &mut retired;
            // Of another size, the maps go as they are; a rule of theirs that is in the way is not in the new ones.
            let rules = if self.is_resized(nat) { &ObservedNat::default() } else { nat };
            let masquerades = rules.masquerades.iter().filter(|rule| self.is_out_gone(place, rule)).cloned();
            let masquerades = masquerades.chain(self.masquerades(gateway, rules).end);
            ops.extend(masquerades.map(|rule| Op::new(place, NatChange::RemoveMasquerade { rule })));
            let forwards = Changes::between(rules.forwards.iter(), &gateway.forwards).end.into_iter();
            ops.extend(forwards.map(|rule| Op::new(place, NatChange::RemoveForward { rule })));
            let wanted = gateway.hooks();
            let stays = |hook: &&(IfName, Side)| {
                wanted.contains(hook) && !self.gone.contains(&(place.clone(), hook.0.clone()))
            };
            for (interface, side) in nat.attached.iter().filter(|hook| !stays(hook)) {
                ops.push(Op::new(place, NatChange::DetachNat { interface: interface.clone(), side: *side }));
            }
            if nat.local && gateway.forwards.is_empty() {
                ops.push(Op::new(place, NatChange::DetachLocal));
            }
        }
        self.ops.splice(0..0, retired);
    }

    /// Whether a gateway's flow table is of another size than it should be.
    fn is_resized(&self, nat: &ObservedNat) -> bool {
        nat.max_flows.is_some_and(|flows| flows != self.given.topology.max_flows)
    }

    /// What becomes of the masquerade rules but those whose uplinks this plan deletes: a rule names its uplinks by their
    /// indexes, which a new link of the same name does not share.
    fn masquerades(&self, gateway: &Gateway, found: &ObservedNat) -> Changes<Masquerade> {
        let found = found.masquerades.iter().filter(|rule| !self.is_out_gone(&gateway.place, rule));
        Changes::between(found, &gateway.masquerades)
    }

    fn is_out_gone(&self, place: &Place, rule: &Masquerade) -> bool {
        rule.out.iter().any(|out| self.gone.contains(&(place.clone(), out.clone())))
    }

    /// Loads what is missing, puts rules in force, and only then attaches, so that no packet meets half of them.
    pub(super) fn nat(&mut self) {
        let gateways = &self.given.topology.gateways;
        for gateway in gateways.iter().filter(|gateway| gateway.backend == Backend::Ebpf) {
            let place = &gateway.place;
            let none = ObservedNat::default();
            let found = self.given.there(place).and_then(|there| there.nat.as_ref());
            // What this plan sets the programs' constants to makes another build of this binary's own.
            let is_own_outdated = self.ops.iter().any(|op| op.place == *place && sets_constant(op));
            let mut other = found.and_then(|found| found.other.or(is_own_outdated.then_some(found.own)));
            let mut is_loaded = !is_own_outdated && found.is_some_and(|found| found.is_loaded);
            let mut found = found.unwrap_or(&none);
            let (max_flows, hooks) = (self.given.topology.max_flows, found);
            if let Some(before) = found.max_flows.filter(|_| self.is_resized(found)) {
                self.ops.push(Op::new(place, NatChange::SetAsideNat { max_flows, before }));
                // As if it were of another ABI version: its hooks are handed over from programs with other maps.
                let running = other.unwrap_or(found.own);
                other = Some(if running.shares_flows() { running.aside() } else { running });
                (is_loaded, found) = (false, &none);
            }
            if !is_loaded {
                self.ops.push(Op::new(place, NatChange::LoadNat { beside: other, max_flows }));
            }
            for (&timeout, &lifetime) in &self.given.topology.timeouts {
                let before = found.timeouts.get(&timeout).copied().unwrap_or(timeout.default_lifetime());
                if before != lifetime {
                    self.ops.push(Op::new(place, NatChange::SetTimeout { timeout, lifetime, before }));
                }
            }
            let (shortcut, before) = (self.given.topology.shortcut, found.shortcut);
            if shortcut != before && !gateway.ports.is_empty() {
                self.ops.push(Op::new(place, NatChange::SetShortcut { shortcut, before }));
            }
            let Changes { before, after, begin, .. } = self.masquerades(gateway, found);
            if !after.is_empty() {
                self.ops.push(Op::new(place, NatChange::ChangeMasquerades { before, after }));
            }
            self.ops.extend(begin.into_iter().map(|rule| Op::new(place, NatChange::AddMasquerade { rule })));
            let Changes { before, after, begin, .. } =
                Changes::between(found.forwards.iter(), &gateway.forwards);
            if !after.is_empty() {
                self.ops.push(Op::new(place, NatChange::ChangeForwards { before, after }));
            }
            self.ops.extend(begin.into_iter().map(|rule| Op::new(place, NatChange::AddForward { rule })));
            if let Some(before) = other {
                self.ops.push(Op::new(place, NatChange::RenewNat { build: None, before: Some(before) }));
            }
            for (interface, side) in gateway.hooks() {
                let is_fresh = self.fresh.contains(&(place.clone(), interface.clone()));
                if is_fresh || !hooks.attached.contains(&(interface.clone(), side)) {
                    self.ops.push(Op::new(place, NatChange::AttachNat { interface, side }));
                }
            }
            if !hooks.local && !gateway.forwards.is_empty() {
                self.ops.push(Op::new(place, NatChange::AttachLocal));
            }
        }
    }

    /// Where the programs are not wanted any more, all; elsewhere, the build that no hook runs any more, and what killed
    /// commands left of rules.
    pub(super) fn unload_nat(&mut self) {
        let gateways = gateways(self.given);
        for (place, there) in &self.given.observed.places {
            if let Some(nat) = there.nat.as_ref().filter(|_| !gateways.contains_key(place)) {
                let restore = self.reload(place, nat);
                self.ops.push(Op::new(place, NatChange::UnloadNat { restore }));
            }
        }
        let is_renewed = |op: &&Op| matches!(op.change, Change::Nat(NatChange::RenewNat { .. }));
        let renewed: BTreeSet<Place> =
            self.ops.iter().filter(is_renewed).map(|op| op.place.clone()).collect();
        for &place in gateways.keys() {
            let found = self.given.there(place).and_then(|there| there.nat.as_ref());
            if renewed.contains(place) || found.is_some_and(|found| found.is_half_changed) {
                self.ops.push(Op::new(place, NatChange::PruneNat { keep: None }));
            }
        }
    }
}

impl Planner<'_> {
    /// What makes a gateway that is unloaded again; without what hangs on a link that this plan deletes, which is not back
    /// yet when that is undone.
    fn reload(&self, place: &Place, nat: &ObservedNat) -> Vec<Op> {
        let max_flows = nat.max_flows.unwrap_or(self.given.topology.max_flows);
        let mut ops = vec![Op::new(place, NatChange::LoadNat { beside: None, max_flows })];
        for (&timeout, &lifetime) in &nat.timeouts {
            let before = timeout.default_lifetime();
            if before != lifetime {
                ops.push(Op::new(place, NatChange::SetTimeout { timeout, lifetime, before }));
            }
        }
        let (shortcut, before) = (nat.shortcut, Shortcut::default());
        if shortcut != before {
            ops.push(Op::new(place, NatChange::SetShortcut { shortcut, before }));
        }
        let masquerades = nat.masquerades.iter().filter(|rule| !self.is_out_gone(place, rule)).cloned();
        ops.extend(masquerades.map(|rule| Op::new(place, NatChange::AddMasquerade { rule })));
        ops.extend(nat.forwards.iter().cloned().map(|rule| Op::new(place, NatChange::AddForward { rule })));
        let hooks = nat.attached.iter().filter(|hook| !self.gone.contains(&(place.clone(), hook.0.clone())));
        let attach = |(interface, side): &(IfName, Side)| {
            Op::new(place, NatChange::AttachNat { interface: interface.clone(), side: *side })
        };
        ops.extend(hooks.map(attach));
        ops.extend(nat.local.then(|| Op::new(place, NatChange::AttachLocal)));
        ops
    }
}

fn sets_constant(op: &Op) -> bool {
    matches!(&op.change, Change::Sysctl(SysctlChange { key, .. }) if key == LOCAL_PORTS)
}
