//! What the rules of both kinds have in common on the command line.

use std::fmt::Display;

use netctl::{
    model::Place,
    op::{Change, NatChange, Op},
    single::nat::{Changed, InForce},
};
use serde::Serialize;

use super::super::{Exit, Failure, Printer, cells};

/// Where a rule is to be.
pub(super) fn place_of(place: Option<&Place>) -> Place {
    place.cloned().unwrap_or(Place::Host)
}

/// Says what was done, and of a rule that was added to a topology's gateway how long it lasts.
pub(super) fn done(place: &Place, changed: &Changed, printer: &mut Printer) -> Result<Exit, Failure> {
    let is_rule = |op: &Op| {
        matches!(op.change, Change::Nat(NatChange::AddMasquerade { .. } | NatChange::AddForward { .. }))
    };
    let adds = changed.ops.iter().any(is_rule);
    if let Some(owner) = changed.owner.as_ref().filter(|_| adds) {
        printer.warning(&format!(
            "the gateway is one of topology `{owner}`, whose file does not have the rule: the next `netctl up` ends it"
        ));
    }
    for filter in &changed.filters {
        printer.warning(&filter.advice(place));
    }
    cells::done(&changed.ops, None, printer)
}

/// A line a rule.
pub(super) fn list<R>(
    rules: &[InForce<R>],
    everywhere: bool,
    none: &str,
    printer: &mut Printer,
) -> Result<Exit, Failure>
where
    R: Display + Serialize,
{
    let titles = ["GATEWAY", "#", "RULE", "FLOWS", "TOPOLOGY"];
    let hidden = usize::from(!everywhere);
    let row = |its: &InForce<R>| {
        vec![
            cells::name(its.gateway.to_string()),
            cells::or_dash(its.number),
            cells::plain(its.rule.to_string()),
            cells::or_dash(its.live),
            cells::or_dash(its.topology.as_ref()),
        ]
    };
    printer.show(&rules, |printer| {
        let rows = rules.iter().map(|its| row(its).split_off(hidden));
        cells::table(&titles[hidden..], rows, none, printer)
    })?;
    Ok(Exit::Done)
}
