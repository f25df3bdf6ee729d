//! What an export leaves out, in words. Pure.

use std::fmt;

use crate::model::Place;

/// Something that is there and that the file does not have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Left {
    /// Where.
    pub place: Place,
    /// What.
    pub what: String,
    /// Why.
    pub why: String,
}

impl Left {
    pub(super) fn new(place: &Place, what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { place: place.clone(), what: what.into(), why: why.into() }
    }
}

impl fmt::Display for Left {
    /// ``red: link `tun0`: no file has one of the kind `tun` ``
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)?;
        if self.why.is_empty() { Ok(()) } else { write!(f, ": {}", self.why) }
    }
}
