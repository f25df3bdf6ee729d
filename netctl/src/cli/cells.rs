//! Cells of the tables that list things, and what single commands that change something print.

use std::io;

use anstyle::Style;
use netctl::{
    op::{Line, Op},
    single::link::State,
};
use serde::Serialize;

use super::{Exit, Failure, Printer, print};

/// One line of a table.
pub(super) type Row = Vec<(Style, String)>;

pub(super) fn plain(text: impl Into<String>) -> (Style, String) {
    (Style::new(), text.into())
}

pub(super) fn name(text: impl Into<String>) -> (Style, String) {
    (print::NAME, text.into())
}

pub(super) fn faint(text: impl Into<String>) -> (Style, String) {
    (print::FAINT, text.into())
}

/// The text, or a dash where there is none.
pub(super) fn or_dash(text: Option<impl ToString>) -> (Style, String) {
    text.map_or_else(|| faint("-"), |text| plain(text.to_string()))
}

pub(super) fn state(state: State) -> (Style, String) {
    match state {
        State::Up => (print::GOOD, "up".to_owned()),
        State::NoCarrier => (print::BAD, "no-carrier".to_owned()),
        State::Down => (print::BAD, "down".to_owned()),
    }
}

/// A routing table, by its name if it has one (`/etc/iproute2/rt_tables`).
pub(super) fn routing_table(number: u32) -> String {
    match number {
        253 => "default".to_owned(),
        254 => "main".to_owned(),
        255 => "local".to_owned(),
        number => number.to_string(),
    }
}

/// So many of that thing.
pub(super) fn count(number: u64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// A table under its titles; `none` where there is nothing to list.
pub(super) fn table(
    titles: &[&str],
    rows: impl IntoIterator<Item = Row>,
    none: &str,
    printer: &mut Printer,
) -> io::Result<()> {
    let mut all = vec![titles.iter().map(|title| faint(*title)).collect::<Row>()];
    all.extend(rows);
    if all.len() == 1 { printer.line(none) } else { printer.table("", &all) }
}

/// Lists what is there: as an array in JSON, as a table for people.
pub(super) fn list<T: Serialize>(
    listed: &[T],
    titles: &[&str],
    row: impl Fn(&T) -> Row,
    none: &str,
    printer: &mut Printer,
) -> Result<Exit, Failure> {
    printer.show(&listed, |printer| table(titles, listed.iter().map(row), none, printer))?;
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct Changes<'a> {
    changes: Vec<Line<'a>>,
}

/// What was done: in JSON as `plan` has it; people see nothing, as with `ip`, unless there is a `remark` to make.
pub(super) fn done(ops: &[Op], remark: Option<&str>, printer: &mut Printer) -> Result<Exit, Failure> {
    let changes = ops.iter().map(Line::new).collect();
    printer.report(&Changes { changes }, |printer| remark.map_or(Ok(()), |text| printer.line(text)))?;
    Ok(Exit::Done)
}
