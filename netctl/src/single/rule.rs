//! Policy rules: `netctl rule`.

use ipnet::IpNet;
use serde::Serialize;

use super::{Error, Session, open, route::protocol_name};
use crate::{
    model::{Family, IfName, Place, Rule, RuleAction},
    netlink::rule::{self, Action, Mark},
    observe::administered_rule,
    op::{Op, RuleChange},
    place::Places,
};

/// What is said of a rule to add or to delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sought {
    /// Where it is.
    pub place: Place,
    /// Whose packets.
    pub family: Family,
    /// The lowest is asked first.
    pub priority: Option<u32>,
    /// Where they are from.
    pub from: Option<IpNet>,
    /// Where they are for.
    pub to: Option<IpNet>,
    /// The interface that they come in by.
    pub iif: Option<IfName>,
    /// The interface that their socket is bound to.
    pub oif: Option<IfName>,
    /// Their mark, and the bits of it that count.
    pub mark: Option<(u32, u32)>,
    /// What decides.
    pub action: Option<RuleAction>,
}

/// A line of `netctl rule ls`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// The lowest is asked first.
    pub priority: u32,
    /// Whose packets.
    pub family: Family,
    /// Where they are from.
    pub from: Option<IpNet>,
    /// Where they are for.
    pub to: Option<IpNet>,
    /// The interface that they come in by.
    pub iif: Option<String>,
    /// The interface that their socket is bound to.
    pub oif: Option<String>,
    /// Their mark, in base sixteen; after a slash the bits of it that count, if not all do.
    pub fwmark: Option<String>,
    /// Whether it has conditions beyond these, or is for what it does not describe.
    pub narrower: bool,
    /// What it does: `table`, `blackhole`, `unreachable`, `prohibit`, or `other`.
    pub action: &'static str,
    /// The routing table that it asks.
    pub table: Option<u32>,
    /// Who set it: `kernel`, `netctl` (for a topology), `none` (nobody in particular), ..
    pub protocol: &'static str,
}

/// Puts a rule in force: `ip rule add ..`. One without a priority gets that which the kernel would give it; one without
/// an action asks the main table.
///
/// # Errors
/// If there is such a rule, or the kernel refuses.
pub fn add(session: &mut Session<'_>, new: &Sought) -> Result<Vec<Op>, Error> {
    /// `RT_TABLE_MAIN`
    const MAIN: RuleAction = RuleAction::Table(254);
    let there = session.rules(&new.place, new.family)?;
    let rule = new.with(new.priority.unwrap_or_else(|| next(&there)), new.action.unwrap_or(MAIN));
    let op = Op::new(&new.place, RuleChange::AddRule { rule: rule.clone(), owned: false });
    let is_same = |seen: &rule::Rule| {
        let seen = administered_rule(&new.place, seen);
        seen.is_some_and(|seen| Rule { priority: rule.priority, ..seen } == rule)
    };
    match there.iter().find(|seen| is_same(seen)) {
        Some(rule::Rule { priority, .. }) if new.priority.is_none() => {
            Err(Error::SamePolicyRule { op: Box::new(op), priority: *priority })
        }
        _ => session.apply(vec![op]),
    }
}

/// Ends the first rule that fits, and that one alone: `ip rule del ..`. What is left open is not compared.
///
/// # Errors
/// If there is none, a topology wants it, it has conditions that netctl does not know, or the kernel refuses.
pub fn delete(session: &mut Session<'_>, sought: &Sought) -> Result<Vec<Op>, Error> {
    let place = &sought.place;
    let there = session.rules(place, sought.family)?;
    let Some(found) = there.iter().position(|seen| sought.fits(seen)) else {
        return Err(Error::NoPolicyRule { place: place.clone() });
    };
    let seen = &there[found];
    let Some(rule) = administered_rule(place, seen) else {
        return Err(Error::StrangePolicyRule { priority: seen.priority, place: place.clone() });
    };
    let op = Op::new(place, RuleChange::DeleteRule { rule: rule.clone(), owned: seen.is_netctls() });
    let owner = session.who_wants(|record| record.topology.rules.contains(&rule))?;
    session.refuse_owned(&op, owner)?;
    session.apply(vec![op])
}

/// The rules of a place in the order in which they are asked, IPv4 first.
///
/// # Errors
/// If the place is not there or may not be looked at.
pub fn ls(place: &Place) -> Result<Vec<Listed>, Error> {
    let mut places = Places::default();
    open(&mut places, place)?;
    Ok(rule::dump(places.socket(place)?)?.into_iter().map(Listed::from).collect())
}

impl Session<'_> {
    /// A family's rules, in the order in which they are asked.
    fn rules(&mut self, place: &Place, family: Family) -> Result<Vec<rule::Rule>, Error> {
        open(&mut self.places, place)?;
        let mut there = rule::dump(self.places.socket(place)?)?;
        there.retain(|seen| seen.family == family);
        Ok(there)
    }
}

/// The priority that the kernel gives a rule which comes without: one below that of the second rule
/// (`fib_default_rule_pref` in net/core/fib_rules.c).
fn next(there: &[rule::Rule]) -> u32 {
    there.get(1).map_or(0, |second| second.priority.saturating_sub(1))
}

impl Sought {
    fn with(&self, priority: u32, action: RuleAction) -> Rule {
        let Self { place, family, from, to, iif, oif, mark, .. } = self.clone();
        Rule { place, family, priority, from, to, iif, oif, mark, action }
    }

    /// Whether the kernel would take a rule for this one (`rule_find` in net/core/fib_rules.c).
    fn fits(&self, seen: &rule::Rule) -> bool {
        let same = |name: &Option<IfName>, seen: &Option<String>| {
            name.as_ref().is_none_or(|name| seen.as_deref() == Some(name.as_str()))
        };
        self.priority.is_none_or(|priority| seen.priority == priority)
            && self.from.is_none_or(|from| seen.from == Some(from))
            && self.to.is_none_or(|to| seen.to == Some(to))
            && same(&self.iif, &seen.iif)
            && same(&self.oif, &seen.oif)
            && self.mark.is_none_or(|(value, mask)| seen.mark == Some(Mark { value, mask }))
            && self.action.is_none_or(|action| seen.action == action.into())
    }
}

impl From<rule::Rule> for Listed {
    fn from(its: rule::Rule) -> Self {
        let (action, table) = match its.action {
            Action::Table(table) => ("table", Some(table)),
            Action::Blackhole => ("blackhole", None),
            Action::Unreachable => ("unreachable", None),
            Action::Prohibit => ("prohibit", None),
            Action::Other(_) => ("other", None),
        };
        let fwmark = its.mark.map(|Mark { value, mask }| match mask {
            u32::MAX => format!("{value:#x}"),
            mask => format!("{value:#x}/{mask:#x}"),
        });
        Self {
            priority: its.priority,
            family: its.family,
            from: its.from,
            to: its.to,
            iif: its.iif,
            oif: its.oif,
            fwmark,
            narrower: its.is_narrower || its.suppress_prefix_length.is_some(),
            action,
            table,
            protocol: protocol_name(its.protocol.unwrap_or(0).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(priority: u32, from: Option<&str>, table: u32) -> rule::Rule {
        rule::Rule {
            family: Family::Ipv4,
            priority,
            from: from.map(|from| from.parse().unwrap()),
            to: None,
            iif: None,
            oif: None,
            mark: None,
            action: Action::Table(table),
            suppress_prefix_length: None,
            protocol: None,
            is_narrower: false,
        }
    }

    #[test]
    fn a_rule_without_a_priority_comes_before_the_second_one() {
        let kernels = [seen(0, None, 255), seen(32766, None, 254), seen(32767, None, 253)];
        assert_eq!(next(&kernels), 32765);
        assert_eq!(next(&[seen(0, None, 255), seen(100, None, 7), seen(32766, None, 254)]), 99);
        assert_eq!(next(&kernels[1..]), 32766, "without the one that asks for the place's own addresses");
        assert_eq!(next(&[seen(0, None, 255), seen(0, None, 7)]), 0);
        assert_eq!(next(&kernels[..1]), 0);
    }

    #[test]
    fn what_is_left_open_is_not_compared() {
        let (priority, to, iif, oif, mark, action) = Default::default();
        let from = "10.0.0.0/24".parse().ok();
        let (place, family) = (Place::Host, Family::Ipv4);
        let sought = Sought { place, family, priority, from, to, iif, oif, mark, action };
        assert!(sought.fits(&seen(100, Some("10.0.0.0/24"), 7)));
        assert!(sought.fits(&seen(200, Some("10.0.0.0/24"), 8)));
        assert!(!sought.fits(&seen(100, None, 7)));
        assert!(!Sought { action: Some(RuleAction::Blackhole), ..sought }.fits(&seen(100, None, 7)));
    }
}
