//! Human and JSON output; the only prints. What comes from elsewhere (names, aliases, other programs' words) cannot
//! command the terminal: see [`ink`].

pub(super) mod ink;
mod screen;

use std::io::{self, IsTerminal as _, Write};

use anstyle::Style;
use serde::Serialize;

pub(super) use self::{
    ink::{BAD, CHANGED, FAINT, GOOD, NAME, NAT, escaped},
    screen::Screen,
};
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

/// Standard error. That nobody can read it is no failure.
#[derive(Debug, Clone, Copy)]
pub(super) struct Errors {
    quiet: bool,
    color: bool,
}

impl Errors {
    pub(super) fn new(quiet: bool, color: ColorChoice) -> Self {
        Self { quiet, color: color.on_stderr() }
    }

    /// `warning: WHAT`; not with `-q`.
    pub(super) fn warning(self, text: &str) {
        if !self.quiet {
            self.say("warning", CHANGED, &escaped(text));
        }
    }

    /// `note: WHAT`; not with `-q`.
    pub(super) fn note(self, text: &str) {
        if !self.quiet {
            self.say("note", FAINT, &escaped(text));
        }
    }

    /// Words for people alone; not with `-q`.
    pub(super) fn notice(self, text: &str) {
        if !self.quiet {
            Self::write(&format!("{}\n", escaped(text)));
        }
    }

    fn failure(self, failure: &Failure) {
        self.say("error", BAD, &ink::escaped_lines(&failure.to_string()));
        if let Some(hint) = failure.hint() {
            self.say("hint", GOOD, &ink::escaped_lines(&hint));
        }
    }

    fn say(self, label: &str, style: Style, text: &str) {
        Self::write(&if self.color {
            format!("{style}{label}{style:#}: {text}\n")
        } else {
            format!("{label}: {text}\n")
        });
    }

    fn write(text: &str) {
        let _ = io::stderr().write_all(text.as_bytes());
    }
}

/// A failure as a document.
#[derive(Serialize)]
struct Document<'a> {
    error: Problem<'a>,
}

#[derive(Serialize)]
struct Problem<'a> {
    what: &'a str,
    why: Option<&'a str>,
    hint: Option<&'a str>,
    exit: u8,
}

/// What failed, and why: the first part of a message and the rest. A colon between backquotes is part of a name.
fn parts(message: &str) -> (&str, Option<&str>) {
    let mut is_quoted = false;
    for (at, c) in message.char_indices() {
        is_quoted ^= c == '`';
        let (before, rest) = message.split_at(at);
        if let Some(why) = rest.strip_prefix(": ").filter(|_| !is_quoted && !before.ends_with(':')) {
            return (before, Some(why));
        }
    }
    (message, None)
}

/// Standard output, in the form that was asked for.
pub(super) struct Printer {
    json: bool,
    quiet: bool,
    color: bool,
    errors: Errors,
    /// Whether a document is printed already: there is to be one only.
    has_shown: bool,
    /// Whether documents follow each other.
    is_stream: bool,
    out: io::StdoutLock<'static>,
}

impl Printer {
    pub(super) fn new(json: bool, quiet: bool, color: ColorChoice) -> Self {
        Self {
            json,
            quiet,
            color: color.enabled(io::stdout().is_terminal()),
            errors: Errors::new(quiet, color),
            has_shown: false,
            is_stream: false,
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
        self.has_shown = true;
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
        self.is_stream = true;
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
        writeln!(self.out, "{}", ink::rendered(text))
    }

    /// Lines of text that belong together, such as a file.
    pub(super) fn lines(&mut self, text: &str) -> io::Result<()> {
        text.lines().try_for_each(|line| self.line(line))
    }

    /// `text` in a style, where there is colour, for a [line](Self::line).
    pub(super) fn paint(&self, style: Style, text: &str) -> String {
        if self.color { ink::painted(style, text) } else { text.to_owned() }
    }

    /// Lines of cells under each other: columns as wide as their widest cell, but for the last.
    pub(super) fn table(&mut self, indent: &str, rows: &[Vec<(Style, String)>]) -> io::Result<()> {
        // Escaped first: that takes room.
        let shown = |(style, text): &(Style, String)| (*style, escaped(text).into_owned());
        let rows: Vec<Vec<_>> = rows.iter().map(|row| row.iter().map(shown).collect()).collect();
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells =
                rows.iter().filter(|row| row.len() > column + 1).map(|row| row[column].1.chars().count());
            cells.max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &rows {
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
        self.errors.failure(failure);
    }

    /// Says likewise why there is no other document, and where documents are wanted prints that as one.
    pub(super) fn end(&mut self, failure: &Failure, exit: u8) {
        self.failure(failure);
        if self.json && !self.has_shown {
            self.error_document(&failure.to_string(), failure.hint().as_deref(), exit);
        }
    }

    /// Prints an error as a document. That nobody reads it changes nothing.
    pub(super) fn error_document(&mut self, message: &str, hint: Option<&str>, exit: u8) {
        let (what, why) = parts(message);
        let document = Document { error: Problem { what, why, hint, exit } };
        let written = if self.is_stream {
            serde_json::to_writer(&mut self.out, &document)
        } else {
            serde_json::to_writer_pretty(&mut self.out, &document)
        };
        let _ = written
            .map_err(io::Error::from)
            .and_then(|()| writeln!(self.out))
            .and_then(|()| self.out.flush());
    }

    /// `note: WHAT` to standard error; not with `-q`.
    pub(super) fn note(&self, text: &str) {
        self.errors.note(text);
    }

    /// `warning: WHAT` to standard error; not with `-q`.
    pub(super) fn warning(&self, text: &str) {
        self.errors.warning(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_a_what_and_a_why() {
        for (message, what, why) in [
            (
                "create namespace `red`: it exists already",
                "create namespace `red`",
                Some("it exists already"),
            ),
            ("read `a: b.toml`: No such file", "read `a: b.toml`", Some("No such file")),
            ("net.toml:3: unknown key `x: y`", "net.toml:3", Some("unknown key `x: y`")),
            (
                "add route ::/0 via fd00:: on the host: no",
                "add route ::/0 via fd00:: on the host",
                Some("no"),
            ),
            ("there is no topology `office`", "there is no topology `office`", None),
        ] {
            assert_eq!(parts(message), (what, why));
        }
    }
}
