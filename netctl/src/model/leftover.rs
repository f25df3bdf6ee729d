//! What a topology no longer is, and may still be there.

use serde::{Deserialize, Serialize};

use super::{Route, Rule, Topology};

/// What a topology had set before, and what is to go while that is being changed: kept in its record until it is gone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leftover {
    /// Routes.
    pub routes: Vec<Route>,
    /// Policy rules.
    pub rules: Vec<Rule>,
}

impl Leftover {
    /// What this topology has set.
    #[must_use]
    pub fn of(topology: &Topology) -> Self {
        Self { routes: topology.routes.clone(), rules: topology.rules.clone() }
    }
}
