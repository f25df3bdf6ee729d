//! Numbers of the file.

use super::{Problem, error::Error};
use crate::spec::KeyPath;

/// A number of the file between two others.
pub(super) fn within(
    key: &'static str,
    given: Option<i64>,
    least: u32,
    most: u32,
    path: &KeyPath,
) -> Result<Option<u32>, Error> {
    let Some(given) = given else { return Ok(None) };
    match u32::try_from(given) {
        Ok(number) if (least..=most).contains(&number) => Ok(Some(number)),
        _ => {
            let (least, most) = (least.into(), most.into());
            Err(Error::new(path.key(key), Problem::Range { key, given, least, most }))
        }
    }
}
