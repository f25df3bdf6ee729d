//! A gateway's rules in netfilter.

use std::fmt;

use serde::Serialize;

use super::{Effect, Faces, Op, command};
use crate::{
    model::{At, Place},
    netfilter::{Rules, Tool},
};

/// Makes a gateway's rules in netfilter what they shall be, in one transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "op", rename = "set-rules")]
pub struct FilterChange {
    /// Who writes them.
    pub tool: Tool,
    /// What they shall be; empty ends them.
    pub rules: Rules,
    /// What they are.
    #[serde(skip)]
    pub before: Rules,
}

impl Faces for FilterChange {
    fn effect(&self) -> Option<Effect> {
        Some(match (self.before.is_empty(), self.rules.is_empty()) {
            (true, _) => Effect::Add,
            (false, true) => Effect::Remove,
            (false, false) => Effect::Modify,
        })
    }

    fn describe(&self, place: &Place, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self { tool, rules, before }, at) = (self, At(place));
        if before.is_empty() {
            return write!(f, "add {} {tool} rules {at}", rules.count());
        }
        if rules.is_empty() {
            return write!(f, "remove {} {tool} rules {at}", before.count());
        }
        let (added, removed) = (rules.count_beyond(before), before.count_beyond(rules));
        if added + removed == 0 {
            // Their order, or what leads to them.
            return write!(f, "reinstate {tool} rules {at}");
        }
        write!(f, "change {tool} rules {at}: {added} added, {removed} removed")
    }

    /// A shell's here-document: the transaction is one, whatever the number of its rules.
    fn commands(&self, place: &Place) -> Vec<String> {
        let (program, arguments) = self.tool.writer();
        let text = self.tool.transaction(&self.before, &self.rules);
        vec![format!("{}{program} {} <<'END'\n{text}END", command::inside(place), arguments.join(" "))]
    }

    fn inverse(&self, place: &Place) -> Vec<Op> {
        let Self { tool, rules, before } = self.clone();
        vec![Op::new(place, Self { tool, rules: before, before: rules })]
    }
}
