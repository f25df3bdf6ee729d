//! `netctl show --watch`: the same page again and again, what has changed marked; or a JSON document a line.

use std::time::Duration;

use netctl::{
    interrupt,
    show::{Object, show},
    state::Directories,
};

use super::{
    super::{Exit, Failure, Printer},
    look,
    page::Page,
};

/// Goes on until it is interrupted or the object is gone.
pub(super) fn run(
    object: &Object,
    every: Duration,
    directories: &Directories,
    printer: &mut Printer,
) -> Result<Exit, Failure> {
    let mut before: Option<Page> = None;
    let mut screen = printer.screen();
    loop {
        match show(object, directories) {
            Ok(shown) if screen.is_for_people() => {
                let mut page = look::page(&shown, object);
                if let Some(before) = &before {
                    page.mark(before);
                }
                screen.draw(&page.lines(screen.printer()))?;
                before = Some(page);
            }
            Ok(shown) => {
                screen.document(&shown)?;
                before = Some(Page::default());
            }
            Err(error) if before.is_none() => return Err(error.into()),
            Err(error) if error.is_absence() => {
                drop(screen);
                printer.remark(&format!("{object} has gone"))?;
                return Ok(Exit::Done);
            }
            // Another netctl is at work there: the next look finds all of it, or nothing.
            Err(error) => tracing::debug!("{error}"),
        }
        if interrupt::wait(every) {
            return Ok(Exit::Done);
        }
    }
}
