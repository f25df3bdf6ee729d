//! Policy rules.

use std::fmt;

use serde::Serialize;

use super::{Effect, Faces, Lookup, Message, Op, command};
use crate::{
    model::{At, Family, IfName, Place, Rule},
    netlink::{
        Request,
        route::RTPROT_NETCTL,
        rule::{self, Mark, NewRule},
    },
};

/// A change of a place's policy rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub enum RuleChange {
    /// Puts a policy rule in force.
    AddRule {
        /// The rule.
        rule: Rule,
        /// Whether it carries netctl's protocol number: a topology made it.
        #[serde(skip)]
        owned: bool,
    },
    /// Ends a policy rule.
    DeleteRule {
        /// The rule.
        rule: Rule,
        /// Whether it carries netctl's protocol number.
        #[serde(skip)]
        owned: bool,
    },
}

impl RuleChange {
    const fn rule(&self) -> &Rule {
        match self {
            Self::AddRule { rule, .. } | Self::DeleteRule { rule, .. } => rule,
        }
    }
}

impl Faces for RuleChange {
    fn effect(&self) -> Option<Effect> {
        Some(match self {
            Self::AddRule { .. } => Effect::Add,
            Self::DeleteRule { .. } => Effect::Remove,
        })
    }

    fn describe(&self, place: &Place, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddRule { rule, .. } => write!(f, "add policy rule {rule} {}", At(place)),
            Self::DeleteRule { rule, .. } => write!(f, "delete policy rule {rule} {}", At(place)),
        }
    }

    fn commands(&self, place: &Place) -> Vec<String> {
        let family = match self.rule().family {
            Family::Ipv4 => "",
            Family::Ipv6 => "-6 ",
        };
        let ip = command::ip(place);
        vec![match self {
            Self::AddRule { rule, .. } => format!("{ip} {family}rule add {rule:#}"),
            Self::DeleteRule { rule, .. } => format!("{ip} {family}rule delete {rule:#}"),
        }]
    }

    fn inverse(&self, place: &Place) -> Vec<Op> {
        vec![Op::new(
            place,
            match self.clone() {
                Self::AddRule { rule, owned } => Self::DeleteRule { rule, owned },
                Self::DeleteRule { rule, owned } => Self::AddRule { rule, owned },
            },
        )]
    }

    fn message(&self) -> Option<&dyn Message> {
        Some(self)
    }
}

impl Message for RuleChange {
    /// The kernel knows interfaces of rules by their names.
    fn needs_index(&self) -> Option<&IfName> {
        None
    }

    fn request(&self, _place: &Place, _lookup: &dyn Lookup) -> Option<Request> {
        let rule = self.rule();
        let new = NewRule {
            priority: Some(rule.priority),
            from: rule.from,
            to: rule.to,
            iif: rule.iif.as_ref(),
            oif: rule.oif.as_ref(),
            mark: rule.mark.map(|(value, mask)| Mark { value, mask }),
            ..NewRule::all(rule.family, rule.action.into())
        };
        Some(match self {
            Self::AddRule { owned, .. } => {
                rule::add(&NewRule { protocol: owned.then_some(RTPROT_NETCTL), ..new })
            }
            Self::DeleteRule { owned, .. } => {
                rule::delete(&NewRule { protocol: owned.then_some(RTPROT_NETCTL), ..new })
            }
        })
    }
}
