//! `net.*` sysctls: `netctl sysctl`.

use serde::Serialize;

use super::{Error, Session, open};
use crate::{
    model::Place,
    op::{Op, SysctlChange},
    place::Places,
    sysctl::{self, Key, SysctlError},
};

/// A line of `netctl sysctl get`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// In dotted form.
    pub key: String,
    /// The value, each run of blanks and tabs made one blank.
    pub value: String,
}

/// The values of keys: `sysctl KEY ..`.
///
/// # Errors
/// If the place or a key is not there.
pub fn get(place: &Place, keys: &[Key]) -> Result<Vec<Listed>, Error> {
    let mut places = Places::default();
    open(&mut places, place)?;
    read(&places, place, keys)
}

/// Sets keys in their order, all or nothing: `sysctl -w KEY=VALUE ..`.
///
/// # Errors
/// If the place or a key is not there, or the kernel refuses a value.
pub fn set(session: &mut Session<'_>, place: &Place, values: &[(Key, String)]) -> Result<Vec<Op>, Error> {
    open(&mut session.places, place)?;
    let keys: Vec<Key> = values.iter().map(|(key, _)| key.clone()).collect();
    let before = read(&session.places, place, &keys)?;
    let ops = values.iter().zip(before).map(|((key, value), before)| {
        let (key, value, before) = (key.to_string(), value.clone(), Some(before.value));
        Op::new(place, SysctlChange { key, value, before })
    });
    session.apply(ops.collect())
}

fn read(places: &Places, place: &Place, keys: &[Key]) -> Result<Vec<Listed>, Error> {
    let failed = |source: SysctlError| Error::Sysctl { place: place.clone(), source };
    let values = sysctl::read(places.netns(place)?, keys).map_err(failed)?;
    let listed = |(key, value): (&Key, Option<String>)| match value {
        Some(value) => Ok(Listed { key: key.to_string(), value }),
        None => Err(Error::NoSysctl { key: key.clone(), place: place.clone() }),
    };
    keys.iter().zip(values).map(listed).collect()
}
