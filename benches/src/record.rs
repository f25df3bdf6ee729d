//! What was measured: values by suite, case and contender.

use std::io::{self, Write as _};

use anyhow::Result;

use crate::{machine, spread::Spread, table::Table};

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) suite: &'static str,
    pub(crate) case: String,
    pub(crate) contender: String,
    pub(crate) unit: Unit,
    pub(crate) values: Vec<f64>,
}

/// All that was measured, in the order in which it began.
#[derive(Debug, Default)]
pub(crate) struct Records {
    pub(crate) all: Vec<Record>,
    pub(crate) notes: Vec<String>,
}

impl Records {
    pub(crate) fn add(&mut self, suite: &'static str, case: &str, contender: &str, unit: Unit, value: f64) {
        let same = |record: &&mut Record| {
            record.suite == suite && record.case == case && record.contender == contender
        };
        match self.all.iter_mut().find(same) {
            Some(record) => record.values.push(value),
            None => self.all.push(Record {
                suite,
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

    /// One table a suite: a row for each case, a column for each contender.
    pub(crate) fn print(&self, markdown: bool) -> Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "Linux {}, {}\n", machine::kernel(), machine::processors())?;
        for suite in distinct(self.all.iter().map(|record| record.suite)) {
            let table = self.table(suite);
            writeln!(out, "{}", if markdown { table.markdown() } else { table.to_string() })?;
        }
        self.notes.iter().try_for_each(|note| writeln!(out, "note: {note}"))?;
        Ok(())
    }

    /// A row for each case, a column for each contender. Behind the others' values stands how many times as good netctl
    /// is.
    fn table(&self, suite: &str) -> Table {
        let records = || self.all.iter().filter(|record| record.suite == suite);
        let cases = distinct(records().map(|record| record.case.as_str()));
        let contenders = distinct(records().map(|record| record.contender.as_str()));
        let mut table = Table::new(&[&[suite, ""], contenders.as_slice()].concat());
        for case in cases {
            let of = |contender: &str| {
                let record = records().find(|record| record.case == case && record.contender == contender)?;
                Some((record.unit, Spread::of(&record.values)?))
            };
            let own = of("netctl");
            let cell = |contender: &&str| match (of(contender), own) {
                (None, _) => String::new(),
                (Some((unit, spread)), Some((_, own))) if *contender != "netctl" => {
                    let times = spread.median / own.median;
                    format!("{spread} ×{:.2}", if unit.is_rate() { 1.0 / times } else { times })
                }
                (Some((_, spread)), _) => spread.to_string(),
            };
            let unit = records().find(|record| record.case == case).map_or("", |record| record.unit.name());
            let row = [case, unit].into_iter().map(str::to_owned);
            table.row(row.chain(contenders.iter().map(cell)).collect());
        }
        table
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_a_case_and_others_are_compared_with_netctl() {
        let mut records = Records::default();
        for (case, contender, unit, value) in [
            ("out", "netctl", Unit::Milliseconds, 10.0),
            ("out", "routing", Unit::Milliseconds, 14.0),
            ("out", "netctl", Unit::Milliseconds, 12.0),
            ("in", "routing", Unit::Milliseconds, 8.0),
            ("rate", "netctl", Unit::PerSecond, 8.0),
            ("rate", "routing", Unit::PerSecond, 4.0),
        ] {
            records.add("suite", case, contender, unit, value);
        }
        let expected = "| suite |  | netctl | routing |\n| --- | --- | ---: | ---: |\n\
                        | out | ms | 11.0 (10.0–12.0) | 14.0 (14.0–14.0) ×1.27 |\n\
                        | in | ms |  | 8.00 (8.00–8.00) |\n\
                        | rate | 1/s | 8.00 (8.00–8.00) | 4.00 (4.00–4.00) ×2.00 |\n";
        assert_eq!(records.table("suite").markdown(), expected);
    }
}
