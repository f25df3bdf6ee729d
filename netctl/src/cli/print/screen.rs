//! A terminal's second screen, for what is drawn again and again. The first one comes back untouched, however this ends.

use std::io::{self, IsTerminal as _, Write as _};

use serde::Serialize;

use super::{Failure, Printer, ink};

/// The second screen, an invisible cursor, and lines that end at the right edge instead of going on below.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";
/// To the upper left corner.
const HOME: &str = "\x1b[H";
/// Whatever is left of the line, and of the screen.
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";

/// Where pages are drawn: a terminal, or anything else, where they follow each other.
pub(in crate::cli) struct Screen<'a> {
    printer: &'a mut Printer,
    is_terminal: bool,
    is_entered: bool,
    is_first: bool,
}

impl<'a> Screen<'a> {
    pub(super) fn new(printer: &'a mut Printer) -> Self {
        let is_terminal = io::stdout().is_terminal() && !printer.json;
        Self { printer, is_terminal, is_entered: false, is_first: true }
    }

    /// Whether pages are wanted, and not documents.
    pub(in crate::cli) fn is_for_people(&self) -> bool {
        !self.printer.json
    }

    /// The printer, for its colours.
    pub(in crate::cli) fn printer(&self) -> &Printer {
        self.printer
    }

    /// Draws a page over the one before, as far as it fits.
    pub(in crate::cli) fn draw(&mut self, lines: &[String]) -> io::Result<()> {
        let mut page = String::new();
        if self.is_terminal {
            if !self.is_entered {
                page.push_str(ENTER);
                self.is_entered = true;
            }
            page.push_str(HOME);
            let room = terminal_size::terminal_size().map_or(usize::MAX, |(_, height)| height.0.into());
            let lines = fitted(lines, room).iter().map(|line| ink::rendered(line)).collect::<Vec<_>>();
            page.push_str(&lines.join(&format!("{CLEAR_LINE}\n")));
            page.push_str(CLEAR_LINE);
            page.push_str(CLEAR_BELOW);
        } else {
            if !self.is_first {
                page.push('\n');
            }
            lines.iter().for_each(|line| page.extend([&ink::rendered(line.trim_end()), "\n"]));
        }
        self.is_first = false;
        self.printer.out.write_all(page.as_bytes())?;
        self.printer.out.flush()
    }

    /// Prints a document in one line.
    pub(in crate::cli) fn document(&mut self, document: &impl Serialize) -> Result<(), Failure> {
        self.printer.stream(document, |_| Ok(()))
    }
}

impl Drop for Screen<'_> {
    fn drop(&mut self) {
        if self.is_entered {
            let _ = self.printer.out.write_all(LEAVE.as_bytes()).and_then(|()| self.printer.out.flush());
        }
    }
}

/// The lines that there is room for; the last of them says how many there is none for.
fn fitted(lines: &[String], room: usize) -> Vec<String> {
    let mut shown: Vec<String> = lines.iter().take(room).cloned().collect();
    if let (Some(last), more @ 1..) = (shown.last_mut(), lines.len().saturating_sub(room)) {
        *last = format!("… and {} more lines", more + 1);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_no_room_for_is_counted() {
        let lines = ["a", "b", "c", "d"].map(str::to_owned);
        assert_eq!(fitted(&lines, 4), lines);
        assert_eq!(fitted(&lines, 3), ["a", "b", "… and 2 more lines"]);
    }
}
