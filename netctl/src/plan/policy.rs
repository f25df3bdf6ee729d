//! Policy rules: the topology's own, beside everybody else's.

use super::{Conflict, Planner};
use crate::op::{Op, RuleChange};

impl Planner<'_> {
    /// Ends the topology's rules that it no longer has, and puts in force what is missing.
    ///
    /// Another topology's rule that the kernel could not tell from a wanted one is in the way: who goes first would end
    /// either.
    pub(super) fn policy(&mut self) -> Result<(), Conflict> {
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
            let there = there.map_or(&[][..], |there| &there.policy);
            let is_in_the_way = |seen: &&crate::observed::ObservedRule| {
                seen.by_netctl && !seen.owned && seen.rule != *rule && seen.rule.is_one_with(rule)
            };
            if let Some(seen) = there.iter().find(is_in_the_way) {
                let (wanted, seen) = (Box::new(rule.clone()), Box::new(seen.rule.clone()));
                return Err(Conflict::Rule { wanted, seen });
            }
            if !there.iter().any(|seen| seen.rule == *rule) {
                let add = RuleChange::AddRule { rule: rule.clone(), owned: true };
                self.ops.push(Op::new(&rule.place, add));
            }
        }
        Ok(())
    }
}
