//! What was measured, for people and for programs: tables on the terminal, results.json, pictures, and a page that holds
//! all of it.

mod compare;
mod svg;

use std::{
    fmt::Write as _,
    fs,
    io::{self, Write as _},
    path::Path,
};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::{
    machine,
    record::{Record, Records, distinct},
    spread::Spread,
    table::{Table, escape},
};

/// One run of the benchmark.
#[derive(Serialize, Deserialize)]
pub(crate) struct Report {
    kernel: String,
    processors: String,
    command: String,
    #[serde(flatten)]
    records: Records,
}

impl Report {
    /// On this machine, by this process's own arguments.
    pub(crate) fn new(records: Records) -> Self {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let command = format!("cargo xtask bench {}", arguments.join(" "));
        Self { kernel: machine::kernel(), processors: machine::processors(), command, records }
    }

    /// Of an earlier run.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} holds no results", path.display()))
    }

    /// Everything as tables.
    pub(crate) fn print(&self, markdown: bool) -> Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "{}\n", self.machine())?;
        for suite in self.suites() {
            let table = self.table(suite);
            writeln!(out, "{}", if markdown { table.markdown() } else { table.to_string() })?;
        }
        self.records.notes.iter().try_for_each(|note| writeln!(out, "note: {note}"))?;
        Ok(())
    }

    /// Prints what has become slower since `base`; tells whether nothing has.
    pub(crate) fn compare(&self, base: &Self) -> Result<bool> {
        let slower = compare::slower(&base.records.all, &self.records.all);
        let mut out = io::stdout().lock();
        if slower.is_empty() {
            writeln!(out, "nothing has become slower than {} measured, but for noise", base.machine())?;
        }
        slower.iter().try_for_each(|slower| writeln!(out, "slower: {slower}"))?;
        Ok(slower.is_empty())
    }

    /// Leaves results.json, report.html and a picture of each suite in `directory`.
    pub(crate) fn write(&self, directory: &Path) -> Result<()> {
        fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
        let write = |name: &str, content: String| {
            let path = directory.join(name);
            fs::write(&path, content).with_context(|| format!("writing {}", path.display()))
        };
        write("results.json", serde_json::to_string_pretty(self)? + "\n")?;
        for suite in self.suites() {
            write(&format!("{suite}.svg"), self.picture(suite))?;
        }
        write("report.html", self.html())?;
        eprintln!("the report is {}", directory.join("report.html").display());
        Ok(())
    }

    fn machine(&self) -> String {
        format!("Linux {}, {}", self.kernel, self.processors)
    }

    fn suites(&self) -> Vec<&str> {
        distinct(self.records.all.iter().map(|record| record.suite.as_str()))
    }

    fn cases(&self, suite: &str) -> Vec<Vec<&Record>> {
        let of_suite = || self.records.all.iter().filter(|record| record.suite == suite);
        let cases = distinct(of_suite().map(|record| record.case.as_str()));
        cases.into_iter().map(|case| of_suite().filter(|record| record.case == case).collect()).collect()
    }

    /// A row for each case, a column for each contender. Behind the others' values stands how many times as good netctl
    /// is.
    fn table(&self, suite: &str) -> Table {
        let cases = self.cases(suite);
        let contenders = distinct(cases.iter().flatten().map(|record| record.contender.as_str()));
        let mut table = Table::new(&[&[suite, ""], contenders.as_slice()].concat());
        for records in &cases {
            let Some(first) = records.first() else { continue };
            let of = |contender: &str| {
                let record = records.iter().find(|record| record.contender == contender)?;
                Spread::of(&record.values)
            };
            let own = of("netctl");
            let cell = |contender: &&str| match (of(contender), own) {
                (None, _) => String::new(),
                (Some(spread), Some(own)) if *contender != "netctl" => {
                    let times = spread.median / own.median;
                    format!("{spread} ×{:.2}", if first.unit.is_rate() { 1.0 / times } else { times })
                }
                (Some(spread), _) => spread.to_string(),
            };
            let row = [first.case.as_str(), first.unit.name()].into_iter().map(str::to_owned);
            table.row(row.chain(contenders.iter().map(cell)).collect());
        }
        table
    }

    fn picture(&self, suite: &str) -> String {
        let group = |records: &Vec<&Record>| {
            let first = records.first()?;
            let title = format!("{} ({})", first.case, first.unit.name());
            let bar = |record: &&Record| Some((record.contender.clone(), Spread::of(&record.values)?));
            Some(svg::Group { title, bars: records.iter().filter_map(bar).collect() })
        };
        svg::bars(&self.cases(suite).iter().filter_map(group).collect::<Vec<_>>())
    }

    /// One file, nothing of it elsewhere.
    fn html(&self) -> String {
        let mut page = format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>netctl, measured</title>\n\
             <style>body {{ font: 15px sans-serif; margin: 2em auto; max-width: 76em }} table {{ border-collapse: collapse; \
             font-size: 13px }} td, th {{ padding: 3px 8px; border-bottom: 1px solid #ddd; text-align: right }} \
             td:first-child, th:first-child {{ text-align: left }} div {{ overflow-x: auto }}</style>\n\
             <h1>netctl, measured</h1>\n<p>{}</p>\n<pre>{}</pre>\n<p>Medians, with the least and the most. × is how many \
             times as good netctl is.</p>\n",
            escape(&self.machine()),
            escape(&self.command)
        );
        // Writing to a string cannot fail.
        for note in &self.records.notes {
            let _ = writeln!(page, "<p>Note: {}</p>", escape(note));
        }
        for suite in self.suites() {
            let (picture, table) = (self.picture(suite), self.table(suite).html());
            let _ = writeln!(page, "<h2>{suite}</h2>\n{picture}\n<div>{table}</div>");
        }
        page + "</html>\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Unit;

    fn report() -> Report {
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
        Report::new(records)
    }

    #[test]
    fn a_row_is_a_case_and_others_are_compared_with_netctl() {
        let expected = "| suite |  | netctl | routing |\n| --- | --- | ---: | ---: |\n\
                        | out | ms | 11.0 (10.0–12.0) | 14.0 (14.0–14.0) ×1.27 |\n\
                        | in | ms |  | 8.00 (8.00–8.00) |\n\
                        | rate | 1/s | 8.00 (8.00–8.00) | 4.00 (4.00–4.00) ×2.00 |\n";
        assert_eq!(report().table("suite").markdown(), expected);
    }

    #[test]
    fn results_can_be_read_again() {
        let written = serde_json::to_string(&report()).unwrap();
        let read: Report = serde_json::from_str(&written).unwrap();
        assert_eq!(read.table("suite").markdown(), report().table("suite").markdown());
        assert!(written.contains(r#""unit":"per-second""#));
    }

    #[test]
    fn the_page_needs_nothing_else() {
        let page = report().html();
        assert!(page.contains("<svg") && page.contains("<table>"));
        assert!(!page.contains("src=") && !page.contains("href="));
    }
}
