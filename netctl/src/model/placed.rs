//! A rule of the file on its way to its gateway.

use super::Place;
use crate::spec::KeyPath;

/// A rule, with its gateway's place and the table of the file that it is from.
pub(super) struct Placed<T> {
    pub(super) place: Place,
    pub(super) rule: T,
    pub(super) path: KeyPath,
}
