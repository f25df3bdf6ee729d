//! Words that hints share: what to do about an error. Pure.

use crate::model::Place;

/// For whoever lacks a right.
pub(crate) const DOCTOR: &str = "`netctl doctor` tells which right is missing";

/// The words that name a place on the command line.
pub(crate) fn switch(place: &Place) -> String {
    match place {
        Place::Host => String::new(),
        Place::Netns(name) => format!(" -n {name:#}"),
    }
}
