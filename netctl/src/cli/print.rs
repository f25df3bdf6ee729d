//! Human and JSON output; the only prints.
#![expect(clippy::print_stderr, reason = "errors are said here and nowhere else")]

mod screen;

use std::io::{self, IsTerminal as _, Write};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

pub(super) use self::screen::Screen;
use super::{Failure, progress::Progress};

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

impl ColorChoice {
    fn enabled(self, is_terminal: bool) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        }
    }

    pub(super) fn on_stderr(self) -> bool {
        self.enabled(io::stderr().is_terminal())
    }
}

/// Good news.
pub(super) const GOOD: Style = AnsiColor::Green.on_default();
/// Bad news.
pub(super) const BAD: Style = AnsiColor::Red.on_default();
/// A change.
pub(super) const CHANGED: Style = AnsiColor::Yellow.on_default();
/// A name that stands out.
pub(super) const NAME: Style = Style::new().bold();
/// What can be passed over.
pub(super) const FAINT: Style = Style::new().dimmed();

/// Standard output, in the form that was asked for.
pub(super) struct Printer {
    json: bool,
    quiet: bool,
    color: bool,
    errors_in_color: bool,
    out: io::StdoutLock<'static>,
}

impl Printer {
    pub(super) fn new(json: bool, quiet: bool, color: ColorChoice) -> Self {
        Self {
            json,
            quiet,
            color: color.enabled(io::stdout().is_terminal()),
            errors_in_color: color.on_stderr(),
            out: io::stdout().lock(),
        }
    }

    /// Prints what was asked for: the document as JSON, or `text` for people. A reader that has seen enough of it is no
    /// failure, and does not change what the verb comes to.
    pub(super) fn show(
        &mut self,
        document: &impl Serialize,
        text: impl FnOnce(&mut Self) -> io::Result<()>,
    ) -> Result<(), Failure> {
        let json = |its: &mut Self| {
            serde_json::to_writer_pretty(&mut its.out, document)?;
            writeln!(its.out)
        };
        let printed = if self.json { json(self) } else { text(self) };
        match printed.and_then(|()| self.out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            printed => Ok(printed?),
        }
    }

    /// Prints what was done. With `-q` people are told nothing.
    pub(super) fn report(
        &mut self,
        document: &impl Serialize,
        text: impl FnOnce(&mut Self) -> io::Result<()>,
    ) -> Result<(), Failure> {
        self.show(document, |printer| if printer.quiet { Ok(()) } else { text(printer) })
    }

    /// A line for people alone; not with `-q`.
    pub(super) fn remark(&mut self, text: &str) -> io::Result<()> {
        if self.quiet || self.json { Ok(()) } else { self.line(text) }
    }

    /// Where the same thing is drawn again and again.
    pub(super) fn screen(&mut self) -> Screen<'_> {
        Screen::new(self)
    }

    /// Prints one of many documents, as it comes: a line of JSON, or `text` for people. That nobody reads any more is told,
    /// as there is no more to do then.
    pub(super) fn stream(
        &mut self,
        document: &impl Serialize,
        text: impl FnOnce(&mut Self) -> io::Result<()>,
    ) -> Result<(), Failure> {
        if self.json {
            serde_json::to_writer(&mut self.out, document).map_err(io::Error::from)?;
            writeln!(self.out)?;
        } else {
            text(self)?;
        }
        Ok(self.out.flush()?)
    }

    /// A bar for what may last: on a terminal, and not beside JSON.
    pub(super) fn progress(&self) -> Progress {
        Progress::start(!self.json && !self.quiet && io::stderr().is_terminal())
    }

    /// A line of text.
    pub(super) fn line(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{text}")
    }

    /// `text` in a style, where there is colour.
    pub(super) fn paint(&self, style: Style, text: &str) -> String {
        if self.color { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    /// Lines of cells under each other: columns as wide as their widest cell, but for the last.
    pub(super) fn table(&mut self, indent: &str, rows: &[Vec<(Style, String)>]) -> io::Result<()> {
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells =
                rows.iter().filter(|row| row.len() > column + 1).map(|row| row[column].1.chars().count());
            cells.max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in rows {
            let mut line = indent.to_owned();
            for (column, (style, text)) in row.iter().enumerate() {
                line.push_str(&self.paint(*style, text));
                if column + 1 < row.len() {
                    line.push_str(&" ".repeat(widths[column].saturating_sub(text.chars().count()) + 2));
                }
            }
            self.line(line.trim_end())?;
        }
        Ok(())
    }

    /// `error: WHAT`, and `hint: NEXT STEP` if there is one, to standard error.
    pub(super) fn failure(&mut self, failure: &Failure) {
        // What was printed so far comes first.
        let _ = self.out.flush();
        self.say("error", BAD, &failure.to_string());
        if let Some(hint) = failure.hint() {
            self.say("hint", GOOD, &hint);
        }
    }

    /// `warning: WHAT` to standard error; not with `-q`.
    pub(super) fn warning(&self, text: &str) {
        if !self.quiet {
            self.say("warning", CHANGED, text);
        }
    }

    fn say(&self, label: &str, style: Style, text: &str) {
        if self.errors_in_color {
            eprintln!("{style}{label}{style:#}: {text}");
        } else {
            eprintln!("{label}: {text}");
        }
    }
}
