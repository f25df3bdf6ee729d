//! What was measured, as tables and as JSON.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    thread,
    time::Duration,
};

use anyhow::Result;
use serde::Serialize;

use super::contender::{Contender, Phase};
use crate::bench::{
    spread::{Spread, milliseconds},
    table::Table,
};

/// What one command took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Time {
    /// From its start to its end.
    pub(super) wall: Duration,
    /// Of the processors, itself and its children. What the kernel's own threads do for it is not in it.
    pub(super) processor: Duration,
}

/// All that was measured.
#[derive(Default)]
pub(super) struct Report {
    times: BTreeMap<(usize, Phase, Contender), Vec<Time>>,
}

#[derive(Serialize)]
struct Document {
    kernel: String,
    processors: usize,
    unit: &'static str,
    measurements: Vec<Measurement>,
}

#[derive(Serialize)]
struct Measurement {
    contender: Contender,
    namespaces: usize,
    phase: Phase,
    runs: usize,
    wall: Option<Spread>,
    processor: Option<Spread>,
}

impl Report {
    pub(super) fn add(&mut self, contender: Contender, namespaces: usize, phase: Phase, time: Time) {
        self.times.entry((namespaces, phase, contender)).or_default().push(time);
    }

    fn spread(
        &self,
        namespaces: usize,
        phase: Phase,
        contender: Contender,
        of: fn(&Time) -> Duration,
    ) -> Option<Spread> {
        let times = self.times.get(&(namespaces, phase, contender))?;
        Spread::of(&times.iter().map(of).collect::<Vec<_>>())
    }

    /// Prints both tables, and on what they were measured.
    pub(super) fn print(&self, markdown: bool) -> Result<()> {
        let show = |table: &Table| if markdown { table.markdown() } else { table.to_string() };
        let wall = show(&self.table(&Phase::ALL, |time| time.wall));
        let processor = show(&self.table(&[Phase::Up, Phase::Down], |time| time.processor));
        let mut out = io::stdout().lock();
        writeln!(
            out,
            "Linux {}, {} processors. Time, median (least–most):\n\n{wall}",
            kernel(),
            processors()
        )?;
        writeln!(out, "Of that, processor time:\n\n{processor}")?;
        Ok(())
    }

    /// A row for each phase of each size.
    fn table(&self, phases: &[Phase], of: fn(&Time) -> Duration) -> Table {
        let [netctl, script, batch] = Contender::ALL;
        let mut table = Table::new(&[
            "phase",
            "namespaces",
            netctl.name(),
            "a namespace",
            script.name(),
            batch.name(),
            "script ÷ netctl",
            "batch ÷ netctl",
        ]);
        let mut sizes: Vec<usize> = self.times.keys().map(|(size, ..)| *size).collect();
        sizes.dedup();
        for &phase in phases {
            for &size in &sizes {
                let [netctl, script, batch] =
                    Contender::ALL.map(|contender| self.spread(size, phase, contender, of));
                let Some(own) = netctl else { continue };
                let share = milliseconds(own.median / u32::try_from(size).unwrap_or(u32::MAX).max(1));
                let text = |other: Option<Spread>| other.map_or_else(String::new, |other| other.to_string());
                let ratio = |other: Option<Spread>| {
                    other.map_or_else(String::new, |other| format!("{:.1}", other.ratio(&own)))
                };
                table.row(vec![
                    phase.name().to_owned(),
                    size.to_string(),
                    own.to_string(),
                    format!("{share} ms"),
                    text(script),
                    text(batch),
                    ratio(script),
                    ratio(batch),
                ]);
            }
        }
        table
    }

    /// All of it, in milliseconds.
    pub(super) fn json(&self) -> Result<String> {
        let measurement =
            |(&(namespaces, phase, contender), times): (&(usize, Phase, Contender), &Vec<Time>)| {
                let spread = |of| self.spread(namespaces, phase, contender, of);
                Measurement {
                    contender,
                    namespaces,
                    phase,
                    runs: times.len(),
                    wall: spread(|time| time.wall),
                    processor: spread(|time| time.processor),
                }
            };
        let measurements = self.times.iter().map(measurement).collect();
        let document =
            Document { kernel: kernel(), processors: processors(), unit: "milliseconds", measurements };
        Ok(serde_json::to_string_pretty(&document)? + "\n")
    }
}

fn kernel() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}

fn processors() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut report = Report::default();
        let time = |milliseconds| {
            let wall = Duration::from_millis(milliseconds);
            Time { wall, processor: wall / 2 }
        };
        for (contender, milliseconds) in
            [(Contender::Netctl, 10), (Contender::Script, 150), (Contender::Batch, 40)]
        {
            report.add(contender, 10, Phase::Up, time(milliseconds));
        }
        report.add(Contender::Netctl, 10, Phase::Again, time(1));
        report
    }

    #[test]
    fn a_row_compares_and_leaves_open_what_others_cannot_do() {
        let table = report().table(&Phase::ALL, |time| time.wall).markdown();
        let rows: Vec<&str> = table.lines().skip(2).collect();
        assert_eq!(
            rows,
            [
                "| up | 10 | 10.0 ms (10.0–10.0) | 1.00 ms | 150 ms (150–150) | 40.0 ms (40.0–40.0) | 15.0 | 4.0 |",
                "| up again | 10 | 1.00 ms (1.00–1.00) | 0.10 ms |  |  |  |  |",
            ]
        );
    }

    #[test]
    fn json_has_every_measurement_in_milliseconds() {
        let json: serde_json::Value = serde_json::from_str(&report().json().unwrap()).unwrap();
        let measurements = json["measurements"].as_array().unwrap();
        assert_eq!(measurements.len(), 4);
        assert_eq!(measurements[1]["contender"], "script");
        assert_eq!(measurements[1]["wall"]["median"], 150.0);
        assert_eq!(measurements[3]["phase"], "again");
    }
}
