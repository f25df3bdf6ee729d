//! What a run says about the rows.

use std::{collections::BTreeMap, fmt};

use super::page::{Page, Row};
use crate::test::results::{Outcome, Results};

/// How the rows came out.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    passed: usize,
    failed: Vec<u16>,
    /// By reason.
    skipped: BTreeMap<String, Vec<u16>>,
    open: usize,
    /// Of the open ones, those whose tests have passed and leave something out.
    partly: usize,
    /// A filter left out some of their tests.
    not_run: usize,
}

impl Tally {
    pub(crate) fn new(page: &Page, results: &Results) -> Self {
        let mut tally = Self::default();
        for row in page.rows() {
            tally.add(row, results);
        }
        tally
    }

    fn add(&mut self, row: &Row, results: &Results) {
        let outcomes: Vec<_> = row.tests.iter().map(|name| results.of(name)).collect();
        let skipped = outcomes.iter().find_map(|outcome| match outcome {
            Some(Outcome::Skipped(why)) => Some(why.as_str()),
            _ => None,
        });
        if outcomes.contains(&Some(&Outcome::Failed)) {
            self.failed.push(row.number);
        } else if outcomes.contains(&None) {
            self.not_run += 1;
        } else if let Some(why) = skipped.or(row.refused_by_kernel()) {
            self.skipped.entry(why.to_owned()).or_default().push(row.number);
        } else if row.tests.is_empty() || row.is_partly_proved() {
            self.open += 1;
            self.partly += usize::from(row.is_partly_proved());
        } else {
            self.passed += 1;
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |rows: &[u16]| rows.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
        let details = |details: String| if details.is_empty() { details } else { format!(" ({details})") };
        let reasons: Vec<_> =
            self.skipped.iter().map(|(why, rows)| format!("{why}: {}", list(rows))).collect();
        let partly = if self.partly == 0 { String::new() } else { format!("{} partly proved", self.partly) };
        write!(
            f,
            "rows: {} passed, {} failed{}, {} skipped{}, {} open{}",
            self.passed,
            self.failed.len(),
            details(list(&self.failed)),
            self.skipped.values().map(Vec::len).sum::<usize>(),
            details(reasons.join("; ")),
            self.open,
            details(partly),
        )?;
        if self.not_run > 0 {
            write!(f, ", {} not run", self.not_run)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "\
        | 1 | a | `row_1_a`, `rows_1_2_b` |  |\n\
        | 2 | b | `rows_1_2_b` |  |\n\
        | 3 | c | `row_3_c` | partly: not all |\n\
        | 4 | d |  | later: no need yet |\n\
        | 5 | e | `row_5_e` |  |\n\
        | 6 | f |  | kernel: no wings |\n";

    fn tally(lines: &[&str], skips: &str) -> String {
        let mut results = Results::default();
        for line in lines {
            results.add_line(line);
        }
        results.take_skips(skips);
        Tally::new(&Page::parse(PAGE).unwrap(), &results).to_string()
    }

    const ALL: [&str; 4] = [
        "test suite::row_1_a ... ok",
        "test suite::rows_1_2_b ... ok",
        "test row_3_c ... ok",
        "test row_5_e ... ok",
    ];

    #[test]
    fn rows_are_counted_by_their_tests() {
        assert_eq!(
            tally(&ALL, ""),
            "rows: 3 passed, 0 failed, 1 skipped (kernel: no wings: 6), 2 open (1 partly proved)"
        );
    }

    #[test]
    fn one_test_that_fails_fails_its_rows() {
        let lines = ALL.map(|line| line.replace("b ... ok", "b ... FAILED"));
        assert_eq!(
            tally(&lines.each_ref().map(String::as_str), ""),
            "rows: 1 passed, 2 failed (1, 2), 1 skipped (kernel: no wings: 6), 2 open (1 partly proved)"
        );
    }

    #[test]
    fn a_skipped_test_is_not_a_passed_row_although_the_harness_says_ok() {
        assert_eq!(
            tally(&ALL, "suite::row_1_a\tkernel: no tun\nother::row_5_e\tkernel: no wings\n"),
            "rows: 1 passed, 0 failed, 3 skipped (kernel: no tun: 1; kernel: no wings: 5, 6), \
             2 open (1 partly proved)"
        );
    }

    #[test]
    fn what_a_filter_left_out_was_not_run() {
        assert_eq!(
            tally(&ALL[1..2], ""),
            "rows: 1 passed, 0 failed, 1 skipped (kernel: no wings: 6), 1 open, 3 not run"
        );
    }
}
