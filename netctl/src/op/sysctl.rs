//! Sysctls of the network.

use std::fmt;

use serde::Serialize;

use super::{Effect, Faces, Op, command};
use crate::{
    model::{At, Place},
    shell,
};

/// Sets a `net.*` sysctl.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "op", rename = "set-sysctl")]
pub struct SysctlChange {
    /// In dotted form.
    pub key: String,
    /// The value.
    pub value: String,
    /// The value before; `None` if the kernel has no such key.
    pub before: Option<String>,
}

/// A sysctl that was set, and what the kernel printed for it; `None` where it tells nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchanged {
    /// Where.
    pub place: Place,
    /// In dotted form.
    pub key: String,
    /// The value before.
    pub before: Option<String>,
    /// The value after.
    pub after: Option<String>,
}

impl Faces for SysctlChange {
    fn effect(&self) -> Option<Effect> {
        Some(Effect::Modify)
    }

    fn describe(&self, place: &Place, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "set sysctl `{}` to `{}` {}", self.key, self.value, At(place))
    }

    fn commands(&self, place: &Place) -> Vec<String> {
        let assignment = format!("{}={}", self.key, self.value);
        vec![format!("{}sysctl -w {}", command::inside(place), shell::quoted(&assignment))]
    }

    fn inverse(&self, place: &Place) -> Vec<Op> {
        let Self { key, value, before } = self.clone();
        let back = before.map(|before| Self { key, value: before, before: Some(value) });
        back.map(|back| Op::new(place, back)).into_iter().collect()
    }
}
