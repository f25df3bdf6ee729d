//! What was measured: values by suite, case and contender.

use serde::{Deserialize, Serialize};

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Unit {
    NanosecondsPerPacket,
    Milliseconds,
    Microseconds,
    MegabitsPerSecond,
    PerSecond,
    BytesPerFlow,
}

impl Unit {
    /// Whether more is better.
    pub(crate) const fn is_rate(self) -> bool {
        matches!(self, Self::MegabitsPerSecond | Self::PerSecond)
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::NanosecondsPerPacket => "ns a packet",
            Self::Milliseconds => "ms",
            Self::Microseconds => "µs",
            Self::MegabitsPerSecond => "Mbit/s",
            Self::PerSecond => "1/s",
            Self::BytesPerFlow => "bytes a flow",
        }
    }
}

/// All runs of one contender in one case.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) suite: String,
    pub(crate) case: String,
    pub(crate) contender: String,
    pub(crate) unit: Unit,
    pub(crate) values: Vec<f64>,
}

/// All that was measured, in the order in which it began.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Records {
    pub(crate) all: Vec<Record>,
    pub(crate) notes: Vec<String>,
}

impl Records {
    pub(crate) fn add(&mut self, suite: &str, case: &str, contender: &str, unit: Unit, value: f64) {
        let same = |record: &&mut Record| {
            record.suite == suite && record.case == case && record.contender == contender
        };
        match self.all.iter_mut().find(same) {
            Some(record) => record.values.push(value),
            None => self.all.push(Record {
                suite: suite.to_owned(),
                case: case.to_owned(),
                contender: contender.to_owned(),
                unit,
                values: vec![value],
            }),
        }
    }

    pub(crate) fn note(&mut self, note: String) {
        eprintln!("note: {note}");
        self.notes.push(note);
    }
}

/// Each once, in the order in which they come.
pub(crate) fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut distinct = Vec::new();
    for name in names {
        if !distinct.contains(&name) {
            distinct.push(name);
        }
    }
    distinct
}
