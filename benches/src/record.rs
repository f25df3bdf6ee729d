//! What was measured: values by suite, case and contender.

use std::io::{self, Write as _};

use anyhow::Result;

use crate::{machine, spread::Spread, table::Table};

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    NanosecondsPerPacket,
    Milliseconds,
}

impl Unit {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::NanosecondsPerPacket => "ns a packet",
            Self::Milliseconds => "ms",
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
        let mut suites: Vec<&str> = self.all.iter().map(|record| record.suite).collect();
        suites.dedup();
        for suite in suites {
            let table = self.table(suite);
            writeln!(out, "{}", if markdown { table.markdown() } else { table.to_string() })?;
        }
        self.notes.iter().try_for_each(|note| writeln!(out, "note: {note}"))?;
        Ok(())
    }

    fn table(&self, suite: &str) -> Table {
        let records = || self.all.iter().filter(|record| record.suite == suite);
        let mut cases: Vec<&str> = Vec::new();
        let mut contenders: Vec<&str> = Vec::new();
        for record in records() {
            if !cases.contains(&record.case.as_str()) {
                cases.push(&record.case);
            }
            if !contenders.contains(&record.contender.as_str()) {
                contenders.push(&record.contender);
            }
        }
        let unit = records().next().map_or("", |record| record.unit.name());
        let mut table = Table::new(&[&[&*format!("{suite}, {unit}")], contenders.as_slice()].concat());
        for case in cases {
            let spread = |contender: &str| {
                let record = records().find(|record| record.case == case && record.contender == contender)?;
                Spread::of(&record.values)
            };
            let own = spread("netctl");
            let cell = |contender: &&str| {
                let Some(spread) = spread(contender) else { return String::new() };
                match own {
                    Some(own) if *contender != "netctl" => {
                        format!("{spread} ×{:.2}", spread.median / own.median)
                    }
                    _ => spread.to_string(),
                }
            };
            table.row([case.to_owned()].into_iter().chain(contenders.iter().map(cell)).collect());
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_a_case_and_others_are_compared_with_netctl() {
        let mut records = Records::default();
        for (case, contender, value) in [
            ("out", "netctl", 10.0),
            ("out", "routing", 14.0),
            ("out", "netctl", 12.0),
            ("in", "routing", 8.0),
        ] {
            records.add("rate", case, contender, Unit::Milliseconds, value);
        }
        let expected = "| rate, ms | netctl | routing |\n| --- | ---: | ---: |\n\
                        | out | 11.0 (10.0–12.0) | 14.0 (14.0–14.0) ×1.27 |\n| in |  | 8.00 (8.00–8.00) |\n";
        assert_eq!(records.table("rate").markdown(), expected);
    }
}
