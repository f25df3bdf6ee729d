//! How good or bad it is: what `doctor` and `trace` say of each thing.

use serde::Serialize;

/// What a finding comes to, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and not as well as it might, or not for everything.
    Warning,
    /// It does not work.
    Problem,
}
