//! Network namespaces.

use std::fmt;

use serde::Serialize;

use super::{Effect, Faces, Op};
use crate::model::Place;

/// A change of the place itself, a named namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub enum NamespaceChange {
    /// Makes it, its loopback up and marked as ours.
    CreateNamespace,
    /// Takes its name away; it ends with its last process.
    DeleteNamespace,
}

impl Faces for NamespaceChange {
    fn effect(&self) -> Option<Effect> {
        Some(match self {
            Self::CreateNamespace => Effect::Add,
            Self::DeleteNamespace => Effect::Remove,
        })
    }

    fn describe(&self, place: &Place, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateNamespace => write!(f, "create namespace `{place}`"),
            Self::DeleteNamespace => write!(f, "delete namespace `{place}`"),
        }
    }

    fn commands(&self, place: &Place) -> Vec<String> {
        match self {
            Self::CreateNamespace => {
                vec![format!("ip netns add {place:#}"), format!("ip -n {place:#} link set lo up")]
            }
            Self::DeleteNamespace => vec![format!("ip netns delete {place:#}")],
        }
    }

    fn inverse(&self, place: &Place) -> Vec<Op> {
        match self {
            Self::CreateNamespace => vec![Op::new(place, Self::DeleteNamespace)],
            Self::DeleteNamespace => Vec::new(),
        }
    }
}
