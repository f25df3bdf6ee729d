//! Which sysctls netctl set, and how each was found.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::Place;

/// A sysctl that netctl set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored")]
pub struct Written {
    /// As it was found.
    pub before: String,
    /// What was written; `None` while that may be either of two values, and in records of older versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wrote: Option<String>,
    /// What the kernel printed then, where that is not the same: `8080,8081` reads as `8080-8081`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reads: Option<String>,
}

/// As records have it: those of older versions only the value found.
#[derive(Deserialize)]
#[serde(untagged)]
enum Stored {
    Found(String),
    Whole {
        before: String,
        #[serde(default)]
        wrote: Option<String>,
        #[serde(default)]
        reads: Option<String>,
    },
}

impl From<Stored> for Written {
    fn from(stored: Stored) -> Self {
        match stored {
            Stored::Found(before) => Self { before, wrote: None, reads: None },
            Stored::Whole { before, wrote, reads } => Self { before, wrote, reads },
        }
    }
}

impl Written {
    /// One that is about to be set.
    #[must_use]
    pub fn new(before: impl Into<String>, wrote: impl Into<String>) -> Self {
        Self { before: before.into(), wrote: Some(wrote.into()), reads: None }
    }

    /// Whether the value that the kernel has is the one that netctl wrote.
    #[must_use]
    pub fn is_still(&self, value: &str) -> bool {
        self.wrote.as_deref().is_none_or(|wrote| value == self.reads.as_deref().unwrap_or(wrote))
    }

    /// Whether a value that the kernel has is how it prints `wanted`.
    pub(crate) fn reads_as(&self, wanted: &str, value: &str) -> bool {
        self.wrote.as_deref() == Some(wanted) && self.reads.as_deref() == Some(value)
    }
}

/// The sysctls of one place that netctl set, by key.
pub type Ledger = BTreeMap<String, Written>;

/// Of several places.
pub type Ledgers = BTreeMap<Place, Ledger>;

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(text: &str) -> Ledger {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn what_older_versions_remembered_is_read_and_taken_for_unchanged() {
        let old = ledger(r#"{"net.ipv4.ip_forward":"0"}"#);
        assert_eq!(old["net.ipv4.ip_forward"], Written { before: "0".into(), wrote: None, reads: None });
        assert!(old["net.ipv4.ip_forward"].is_still("7"));
    }

    #[test]
    fn a_value_is_still_netctls_as_long_as_the_kernel_prints_it_as_it_did() {
        let text = r#"{"k":{"before":"","wrote":"8080,8081","reads":"8080-8081"}}"#;
        let written = &ledger(text)["k"];
        assert!(written.is_still("8080-8081") && !written.is_still("8080,8081") && !written.is_still(""));
        assert!(written.reads_as("8080,8081", "8080-8081") && !written.reads_as("8080-8081", "8080-8081"));
        assert_eq!(serde_json::to_string(&ledger(text)).unwrap(), text);
    }
}
