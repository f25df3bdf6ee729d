//! Blocks of lines whose cells stand under each other, and what has changed from one page to the next.

use std::{collections::HashMap, io};

use super::super::{Printer, cells::Row, print};

/// What is printed at once.
#[derive(Default)]
pub(super) struct Page(pub(super) Vec<Block>);

/// A heading and the lines below it.
#[derive(Default)]
pub(super) struct Block {
    /// Its first cell names the block.
    pub(super) heading: Row,
    /// Lines of one group have their columns in common, those of one block the first column.
    pub(super) groups: Vec<Vec<Line>>,
}

/// One line.
pub(super) struct Line {
    /// What it is about, the same from page to page.
    about: String,
    cells: Row,
    changed: bool,
}

impl Line {
    pub(super) fn new(about: impl Into<String>, cells: Row) -> Self {
        Self { about: about.into(), cells, changed: false }
    }

    /// A line that is about nothing but its words.
    pub(super) fn of(cells: Row) -> Self {
        let words: Vec<&str> = cells.iter().map(|(_, text)| text.as_str()).collect();
        Self { about: words.join(" "), cells, changed: false }
    }
}

impl Block {
    fn name(&self) -> &str {
        self.heading.first().map_or("", |(_, text)| text)
    }

    /// Each line's cells, padded.
    fn rows(&self) -> Vec<(bool, Row)> {
        let label = self.groups.iter().flatten().map(|line| width(&line.cells, 0)).max().unwrap_or(0);
        let mut rows = Vec::new();
        for group in &self.groups {
            let columns = group.iter().map(|line| line.cells.len()).max().unwrap_or(0);
            let mut widths: Vec<usize> = (0..columns)
                .map(|column| {
                    let inner = group.iter().filter(|line| line.cells.len() > column + 1);
                    inner.map(|line| width(&line.cells, column)).max().unwrap_or(0)
                })
                .collect();
            if let Some(first) = widths.first_mut() {
                *first = label;
            }
            rows.extend(group.iter().map(|line| (line.changed, padded(&line.cells, &widths))));
        }
        rows
    }
}

fn width(cells: &Row, column: usize) -> usize {
    cells.get(column).map_or(0, |(_, text)| text.chars().count())
}

/// Two blanks between cells; none after the last.
fn padded(cells: &Row, widths: &[usize]) -> Row {
    let last = cells.len().saturating_sub(1);
    let pad = |(column, (style, text)): (usize, &(anstyle::Style, String))| {
        let blanks = if column < last { widths[column].saturating_sub(text.chars().count()) + 2 } else { 0 };
        [(*style, text.clone()), (anstyle::Style::new(), " ".repeat(blanks))]
    };
    cells.iter().enumerate().flat_map(pad).collect()
}

impl Page {
    /// The page, a blank line between blocks.
    pub(super) fn lines(&self, printer: &Printer) -> Vec<String> {
        let paint = |cells: &Row| cells.iter().map(|(style, text)| printer.paint(*style, text)).collect();
        let mut lines: Vec<String> = Vec::new();
        for (number, block) in self.0.iter().enumerate() {
            if number > 0 {
                lines.push(String::new());
            }
            let words = block.heading.iter().map(|(style, text)| printer.paint(*style, text));
            lines.push(words.collect::<Vec<_>>().join(" "));
            for (changed, row) in block.rows() {
                let margin = if changed { printer.paint(print::CHANGED, "* ") } else { "  ".to_owned() };
                let cells: String = paint(&row);
                lines.push(margin + &cells);
            }
        }
        lines
    }

    pub(super) fn print(&self, printer: &mut Printer) -> io::Result<()> {
        self.lines(printer).iter().try_for_each(|line| printer.line(line.trim_end()))
    }

    /// Marks what is not as it was on the page before.
    pub(super) fn mark(&mut self, before: &Self) {
        let mut known: HashMap<(&str, &str), &Row> = HashMap::new();
        for block in &before.0 {
            let lines = block.groups.iter().flatten();
            known.extend(lines.map(|line| ((block.name(), line.about.as_str()), &line.cells)));
        }
        for block in &mut self.0 {
            let name = block.name().to_owned();
            for line in block.groups.iter_mut().flatten() {
                let was = known.get(&(name.as_str(), line.about.as_str()));
                for (column, (style, text)) in line.cells.iter_mut().enumerate() {
                    if was.and_then(|was| was.get(column)).is_none_or(|(_, was)| was != text) {
                        (*style, line.changed) = (print::CHANGED.bold(), true);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{cells::plain, print::ColorChoice};

    fn page(lines: &[(&str, &[&str])]) -> Page {
        let line =
            |(about, cells): &(&str, &[&str])| Line::new(*about, cells.iter().map(|c| plain(*c)).collect());
        let groups = lines.iter().map(|its| vec![line(its)]).collect();
        Page(vec![Block { heading: vec![plain("red")], groups }])
    }

    fn lines(page: &Page) -> Vec<String> {
        page.lines(&Printer::new(false, false, ColorChoice::Never))
    }

    #[test]
    fn the_first_column_is_as_wide_as_the_widest_of_all_groups() {
        let page = page(&[("link", &["veth-red-br", "up"]), ("route", &["route", "default"])]);
        assert_eq!(lines(&page), ["red", "  veth-red-br  up", "  route        default"]);
    }

    #[test]
    fn what_is_new_or_not_as_it_was_is_marked_and_nothing_else() {
        let before = page(&[("link", &["eth0", "up"]), ("route", &["route", "default"])]);
        let mut after =
            page(&[("new", &["rule", "x"]), ("link", &["eth0", "down"]), ("route", &["route", "default"])]);
        after.mark(&before);
        assert_eq!(lines(&after), ["red", "* rule   x", "* eth0   down", "  route  default"]);
    }
}
