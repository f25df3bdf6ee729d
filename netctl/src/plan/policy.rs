//! Policy rules: the topology's own, beside everybody else's.

use super::Planner;
use crate::op::{Op, RuleChange};

impl Planner<'_> {
    /// Ends the topology's rules that it no longer has, and puts in force what is missing.
    pub(super) fn policy(&mut self) {
        let given = self.given;
        for (place, there) in given.kept_places() {
            let is_over = |seen: &&crate::observed::ObservedRule| {
                seen.owned && !given.topology.rules.contains(&seen.rule)
            };
            for seen in there.policy.iter().filter(is_over) {
                let delete = RuleChange::DeleteRule { rule: seen.rule.clone(), owned: true };
                self.ops.push(Op::new(place, delete));
            }
        }
        for rule in &given.topology.rules {
            let there = given.there(&rule.place);
            if !there.is_some_and(|there| there.policy.iter().any(|seen| seen.rule == *rule)) {
                let add = RuleChange::AddRule { rule: rule.clone(), owned: true };
                self.ops.push(Op::new(&rule.place, add));
            }
        }
    }
}
