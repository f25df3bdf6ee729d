//! A table of text: for people in columns, for documents in Markdown.

use std::fmt::{self, Write as _};

/// Rows under a heading, each with as many cells.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// One with its heading.
    pub(crate) fn new(heading: &[&str]) -> Self {
        Self { rows: vec![heading.iter().map(ToString::to_string).collect()] }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The same in Markdown: two columns to the left, the others to the right.
    pub(crate) fn markdown(&self) -> String {
        let mut text = String::new();
        for (index, row) in self.rows.iter().enumerate() {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "| {} |", row.join(" | "));
            if index == 0 {
                let rule = (0..row.len()).map(|column| if column < 2 { "---" } else { "---:" });
                let _ = writeln!(text, "| {} |", rule.collect::<Vec<_>>().join(" | "));
            }
        }
        text
    }
}

impl Table {
    /// The same for a page.
    pub(crate) fn html(&self) -> String {
        let mut html = String::from("<table>\n");
        for (index, row) in self.rows.iter().enumerate() {
            let tag = if index == 0 { "th" } else { "td" };
            let cells: String = row.iter().map(|cell| format!("<{tag}>{}</{tag}>", escape(cell))).collect();
            // Writing to a String cannot fail.
            let _ = writeln!(html, "<tr>{cells}</tr>");
        }
        html + "</table>"
    }
}

/// Text for a page or a picture.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let cells = |column: usize| self.rows.iter().filter_map(move |row| row.get(column));
        let widths: Vec<usize> = (0..columns)
            .map(|column| cells(column).map(|cell| cell.chars().count()).max().unwrap_or(0))
            .collect();
        for row in &self.rows {
            let padded: Vec<String> =
                row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            writeln!(f, "{}", padded.join("  ").trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["phase", "of", "time"]);
        table.row(vec!["up".into(), "100".into(), "1–2 ms".into()]);
        table.row(vec!["no-op up".into(), "1".into(), "-".into()]);
        table
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let expected = "phase     of   time\nup        100  1–2 ms\nno-op up  1    -\n";
        assert_eq!(table().to_string(), expected);
    }

    #[test]
    fn markdown_has_a_rule_below_its_heading() {
        let expected =
            "| phase | of | time |\n| --- | --- | ---: |\n| up | 100 | 1–2 ms |\n| no-op up | 1 | - |\n";
        assert_eq!(table().markdown(), expected);
    }
}
