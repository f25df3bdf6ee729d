//! How the tables of the file are written: named things in their order, and nothing that may be left out.

use serde::{Serialize, Serializer};

/// Writes a list of named things as a table.
pub(super) fn named<S: Serializer, T: Serialize>(
    entries: &[(String, T)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(entries.iter().map(|(name, value)| (name, value)))
}

pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
