//! Doing what is planned for gateways' programs.

use std::{mem::discriminant, slice};

use super::Worker;
use crate::{
    build::Build,
    model::{At, Forward, Place},
    nat::{
        self, Error,
        ebpf::{
            self, Pins, attach,
            load::{self, Constants},
            maps::Tables,
        },
    },
    op::{Change, NatChange, Op},
};

/// How many forwards are put in force, or ended, between checks for an interrupt.
const FORWARDS_AT_ONCE: usize = 8192;

impl Worker<'_> {
    fn pins(&self, place: &Place) -> Pins {
        Pins::new(&self.directories.bpffs, self.gateways, place)
    }

    /// Does one change of a gateway's programs, or nothing of it.
    pub(super) fn change_nat(&mut self, place: &Place, change: &NatChange) -> Result<(), Error> {
        let pins = self.pins(place);
        match change {
            NatChange::LoadNat { beside, max_flows } => {
                load::mount_bpffs(&self.directories.bpffs)?;
                let constants = self.inside(place, Constants::of_this_namespace)?;
                if beside.is_none() {
                    pins.remove()?;
                }
                load::load(&pins, constants, *max_flows)?;
            }
            NatChange::SetAsideNat { .. } => pins.set_aside()?,
            NatChange::RestoreNat => pins.restore()?,
            NatChange::SetShortcut { shortcut, .. } => {
                Tables::open(&pins)?.set_shortcut(*shortcut)?;
            }
            NatChange::SetTimeout { timeout, lifetime, .. } => {
                Tables::open(&pins)?.set_timeout(*timeout, *lifetime)?;
            }
            NatChange::RenewNat { build, before } => self.inside(place, || {
                let renewed = attach::hand_over(&pins, build.map_or_else(own_build, Ok)?);
                if let (Err(_), Some(before)) = (&renewed, before) {
                    let _ = attach::hand_over(&pins, *before);
                }
                renewed
            })?,
            NatChange::PruneNat { keep } => {
                self.inside(place, || pins.prune(keep.map_or_else(own_build, Ok)?))?;
                if pins.is_half_changed() {
                    Tables::open(&pins)?.end_orphans()?;
                    pins.is_whole();
                }
            }
            NatChange::UnloadNat { .. } => {
                if self.places.open(place)? {
                    self.inside(place, || pins.detach_all())?;
                }
                pins.remove()?;
            }
            NatChange::AttachNat { interface, side } => self.inside(place, || {
                attach::attach(&pins, pins.build_to_attach(own_build()?)?, *side, interface)
            })?,
            NatChange::DetachNat { interface, side } => {
                self.inside(place, || attach::detach(&pins, *side, interface))?;
            }
            NatChange::AttachLocal => {
                // Worth a warning, not worth the network: only the gateway's own processes miss something.
                let attached =
                    self.inside(place, || attach::attach_local(&pins, pins.build_to_attach(own_build()?)?));
                if let Err(error) = attached {
                    tracing::warn!("processes {} cannot reach its forwarded ports: {error}", At(place));
                }
            }
            NatChange::DetachLocal => attach::detach_local(&pins)?,
            NatChange::AddMasquerade { rule } => {
                nat::change_masquerades(&pins, place, &[], slice::from_ref(rule), self.places)?;
            }
            NatChange::RemoveMasquerade { rule } => {
                nat::change_masquerades(&pins, place, slice::from_ref(rule), &[], self.places)?;
            }
            NatChange::ChangeMasquerades { before, after } => {
                nat::change_masquerades(&pins, place, before, after, self.places)?;
            }
            NatChange::AddForward { rule } => nat::change_forwards(&pins, &[], slice::from_ref(rule))?,
            NatChange::RemoveForward { rule } => nat::change_forwards(&pins, slice::from_ref(rule), &[])?,
            NatChange::ChangeForwards { before, after } => nat::change_forwards(&pins, before, after)?,
        }
        Ok(())
    }

    /// Does operations that `ops` begin with together, and tells which: half as many where one of them fails, down to
    /// those before it, and none where it is the first, which by itself then says why.
    pub(super) fn perform_together<'a>(&self, ops: &'a [Op]) -> &'a [Op] {
        let halves = std::iter::successors(Some(together(ops)), |count| Some(count / 2));
        halves
            .take_while(|count| *count > 1)
            .map(|count| &ops[..count])
            .find(|ops| self.change_forwards(ops).is_ok())
            .unwrap_or_default()
    }

    /// Begins, or ends, the forwards of operations that are better done together, all of them or none: each by itself
    /// reads all rules.
    fn change_forwards(&self, ops: &[Op]) -> Result<(), Error> {
        let Some(first) = ops.first() else { return Ok(()) };
        let pins = self.pins(&first.place);
        let forwards: Vec<Forward> = ops.iter().filter_map(forward_of).cloned().collect();
        match first.change {
            Change::Nat(NatChange::AddForward { .. }) => nat::change_forwards(&pins, &[], &forwards),
            _ => nat::change_forwards(&pins, &forwards, &[]),
        }
    }

    /// Runs `f` inside a gateway's namespace.
    fn inside<T: Send>(
        &self,
        place: &Place,
        f: impl FnOnce() -> Result<T, ebpf::Error> + Send,
    ) -> Result<T, Error> {
        self.places.netns(place)?.run(|| f().map_err(Error::from))
    }
}

/// How many operations `ops` begin with that are better done together.
pub(super) fn together(ops: &[Op]) -> usize {
    let Some(first) = ops.first() else { return 0 };
    let kind = |op: &Op| match &op.change {
        Change::Nat(change) => Some(discriminant(change)),
        _ => None,
    };
    let is_alike = |op: &&Op| forward_of(op).is_some() && kind(op) == kind(first) && op.place == first.place;
    ops.iter().take(FORWARDS_AT_ONCE).take_while(is_alike).count()
}

const fn forward_of(op: &Op) -> Option<&Forward> {
    match &op.change {
        Change::Nat(NatChange::AddForward { rule } | NatChange::RemoveForward { rule }) => Some(rule),
        _ => None,
    }
}

/// The build that this binary has for the calling thread's network namespace.
fn own_build() -> Result<Build, ebpf::Error> {
    Constants::of_this_namespace().map(|constants| Build::of(&constants))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Protocol;

    #[test]
    fn forwards_that_begin_or_end_at_one_place_go_together() {
        let forward = |port| Forward {
            address: None,
            ports: (port, port),
            protocol: Protocol::Tcp,
            to: "10.0.0.2".parse().unwrap(),
            to_port: 80,
            allow: None,
        };
        let add = |port| Op::new(&Place::Host, NatChange::AddForward { rule: forward(port) });
        let remove = |port| Op::new(&Place::Host, NatChange::RemoveForward { rule: forward(port) });
        let elsewhere =
            Op::new(&Place::Netns("red".parse().unwrap()), NatChange::AddForward { rule: forward(1) });
        assert_eq!(together(&[]), 0);
        assert_eq!(together(&[Op::new(&Place::Host, NatChange::DetachLocal), add(1)]), 0);
        assert_eq!(together(&[add(1), add(2), remove(3), add(4)]), 2);
        assert_eq!(together(&[remove(1), remove(2), remove(3)]), 3);
        assert_eq!(together(&[add(1), elsewhere]), 1);
        let many: Vec<Op> = (1..=10_000).map(add).collect();
        assert_eq!(together(&many), FORWARDS_AT_ONCE, "and then the user is asked again");
    }
}
