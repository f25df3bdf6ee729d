//! `rows`: the behaviours that a NAT must have, which tests prove them, and how many of them a run has proved.
//!
//! `docs/nat-tests.md` has a line for each row. A test that proves some says so in its name, `row_12_…` or
//! `rows_20_21_…`, and the page's column of tests is made from those names: nobody writes it by hand.

mod page;
mod sources;
mod tally;

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, bail};

pub(crate) use self::{page::Page, tally::Tally};
use crate::workspace::Workspace;

/// Rows are numbered from 1 to this.
const LAST: u16 = 172;

/// What to do with the page.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Write the tests' names into the page
    #[arg(long)]
    write: bool,
}

/// Checks the page against the sources, or brings it up to date.
pub(crate) fn rows(workspace: &Workspace, args: &Args) -> Result<()> {
    let tests = sources::row_tests(&workspace.root)?;
    let path = page_path(workspace);
    let old = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let mut page = Page::parse(&old)?;
    page.take_tests(&tests);
    page.check()?;
    let new = page.to_string();
    if new == old {
        return Ok(());
    }
    if !args.write {
        bail!("{} is not what the tests' names say: `cargo xtask rows --write`", path.display());
    }
    fs::write(&path, new).with_context(|| format!("writing {}", path.display()))
}

/// The page as it is.
pub(crate) fn page(workspace: &Workspace) -> Result<Page> {
    let path = page_path(workspace);
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    Page::parse(&text).with_context(|| format!("reading {}", path.display()))
}

fn page_path(workspace: &Workspace) -> PathBuf {
    workspace.root.join("docs/nat-tests.md")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_every_row_once_and_the_tests_that_there_are() {
        rows(&Workspace::locate().unwrap(), &Args { write: false }).unwrap();
    }
}
