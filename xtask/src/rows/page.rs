//! The page: Markdown in which every table line that begins with a number is a row.

use std::{collections::BTreeMap, fmt};

use anyhow::{Context as _, Result, bail};

use super::LAST;

/// The page, its rows apart from the rest of its text.
pub(crate) struct Page(Vec<Line>);

enum Line {
    Text(String),
    Row(Row),
}

/// One behaviour.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) number: u16,
    behaviour: String,
    /// The tests that prove it.
    pub(crate) tests: Vec<String>,
    /// What is missing and why; empty if nothing is.
    pub(crate) missing: String,
}

/// What a row without tests is until somebody says better.
const OPEN: &str = "open";
/// How the words begin that say why a row has no test.
const REASONS: [&str; 3] = ["later: ", "decided: ", "kernel: "];
/// How the words begin that say what the tests of a row leave out.
const PARTLY: &str = "partly: ";

impl Page {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        text.lines().map(Line::parse).collect::<Result<_>>().map(Self)
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.0.iter().filter_map(|line| if let Line::Row(row) = line { Some(row) } else { None })
    }

    /// Gives every row the tests that prove it.
    pub(super) fn take_tests(&mut self, tests: &BTreeMap<String, Vec<u16>>) {
        for line in &mut self.0 {
            let Line::Row(row) = line else { continue };
            let proves = tests.iter().filter(|(_, rows)| rows.contains(&row.number));
            row.tests = proves.map(|(name, _)| name.clone()).collect();
            if row.tests.is_empty() != row.is_without_tests() {
                row.missing = if row.tests.is_empty() { OPEN.to_owned() } else { String::new() };
            }
        }
    }

    /// Every row is there, once.
    pub(super) fn check(&self) -> Result<()> {
        for number in 1..=LAST {
            let count = self.rows().filter(|row| row.number == number).count();
            if count != 1 {
                bail!("row {number} is there {count} times");
            }
        }
        Ok(())
    }
}

impl Row {
    /// Whether it says why it has no test.
    fn is_without_tests(&self) -> bool {
        self.missing == OPEN || REASONS.iter().any(|reason| self.missing.starts_with(reason))
    }

    /// Whether its tests leave something out.
    pub(crate) fn is_partly_proved(&self) -> bool {
        self.missing.starts_with(PARTLY)
    }

    /// Why this kernel cannot run any test of it.
    pub(crate) fn refused_by_kernel(&self) -> Option<&str> {
        self.missing.starts_with("kernel: ").then_some(&self.missing)
    }
}

impl Line {
    fn parse(line: &str) -> Result<Self> {
        let is_row = |rest: &&str| rest.starts_with(|c: char| c.is_ascii_digit());
        let Some(rest) = line.strip_prefix("| ").filter(is_row) else {
            return Ok(Self::Text(line.to_owned()));
        };
        let cells: Vec<&str> = rest.trim_end_matches('|').split('|').map(str::trim).collect();
        let &[number, behaviour, tests, missing] = cells.as_slice() else {
            bail!("a row has four cells: {line}");
        };
        let row = Row {
            number: number.parse().with_context(|| format!("no number: {line}"))?,
            behaviour: behaviour.to_owned(),
            tests: tests.split([' ', ',', '`']).filter(|name| !name.is_empty()).map(str::to_owned).collect(),
            missing: missing.to_owned(),
        };
        if !row.missing.is_empty() && !row.is_without_tests() && !row.is_partly_proved() {
            bail!("what is missing is `{OPEN}` or begins with one of {REASONS:?} and {PARTLY:?}: {line}");
        }
        Ok(Self::Row(row))
    }
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|line| match line {
            Line::Text(text) => writeln!(f, "{text}"),
            Line::Row(row) => writeln!(f, "{row}"),
        })
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tests: Vec<_> = self.tests.iter().map(|name| format!("`{name}`")).collect();
        write!(f, "| {} | {} | {} | {} |", self.number, self.behaviour, tests.join(", "), self.missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# Title\n\n| row | behaviour | tests | missing |\n| ---: | --- | --- | --- |\n\
                        | 1 | it works | `row_1_a`, `row_1_b` |  |\n\
                        | 2 | it sings |  | open |\n\
                        | 3 | it flies | `row_3_a` | partly: not far |\n\
                        | 4 | it dives |  | kernel: no water |\n";

    fn with(tests: &[(&str, &[u16])]) -> Page {
        let mut page = Page::parse(TEXT).unwrap();
        page.take_tests(&tests.iter().map(|(name, rows)| ((*name).to_owned(), rows.to_vec())).collect());
        page
    }

    #[test]
    fn a_page_is_written_as_it_was_read() {
        assert_eq!(Page::parse(TEXT).unwrap().to_string(), TEXT);
    }

    #[test]
    fn the_tests_of_the_sources_are_written_into_it() {
        let page = with(&[("rows_1_2_c", &[1, 2]), ("row_3_b", &[3]), ("row_4_a", &[4])]);
        let lines: Vec<_> = page.rows().map(Row::to_string).collect();
        assert_eq!(
            lines,
            [
                "| 1 | it works | `rows_1_2_c` |  |",
                "| 2 | it sings | `rows_1_2_c` |  |",
                "| 3 | it flies | `row_3_b` | partly: not far |",
                "| 4 | it dives | `row_4_a` |  |",
            ]
        );
        let lines: Vec<_> = with(&[]).rows().map(|row| row.missing.clone()).collect();
        assert_eq!(lines, ["open", "open", "open", "kernel: no water"]);
    }

    #[test]
    fn what_is_no_row_is_refused_and_so_is_a_page_without_one() {
        for line in ["| 1 | it works |", "| 1x | it works |  | open |", "| 1 | it works |  | dunno |"] {
            assert!(Page::parse(line).is_err(), "{line}");
        }
        let lacking = Page::parse(TEXT).unwrap().check().unwrap_err().to_string();
        assert_eq!(lacking, "row 5 is there 0 times");
        let twice = Page::parse(&TEXT.repeat(2)).unwrap().check().unwrap_err().to_string();
        assert_eq!(twice, "row 1 is there 2 times");
    }
}
