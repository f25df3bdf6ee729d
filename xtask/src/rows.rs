//! `rows`: the behaviours that a NAT must have, which tests prove them, and how many of them a run has proved.
//!
//! `docs/nat-tests.md` has a line for each row. A test that proves some says so in its name, `row_12_…` or
//! `rows_20_21_…`, and the page's column of tests is made from those names: nobody writes it by hand.

mod page;
mod sources;
mod tally;

#[cfg(test)]
use std::path::Path;
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

/// The names of the functions where tests are, the tests among them.
#[cfg(test)]
pub(crate) fn test_names(root: &Path) -> Result<Vec<String>> {
    sources::functions_of(root)
}

/// Puts a table into the page in the place of the one with the same head.
pub(crate) fn write_table(workspace: &Workspace, head: &str, table: &str) -> Result<()> {
    let path = page_path(workspace);
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let text =
        with_table(&text, head, table).with_context(|| format!("{} has no such table", path.display()))?;
    fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
}

fn with_table(text: &str, head: &str, table: &str) -> Option<String> {
    let (before, rest) = text.split_once(head)?;
    let after = rest.split_inclusive('\n').skip(1).skip_while(|line| line.starts_with('|'));
    Some(format!("{before}{table}{}", after.collect::<String>()))
}

fn page_path(workspace: &Workspace) -> PathBuf {
    workspace.root.join("docs/nat-tests.md")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_takes_the_place_of_the_one_that_is_there() {
        let text = "# Page\n\n| bug |\n| --- |\n| old |\n| older |\n\nMore.\n";
        let new = with_table(text, "| bug |\n| --- |", "| bug |\n| --- |\n| new |\n");
        assert_eq!(new.as_deref(), Some("# Page\n\n| bug |\n| --- |\n| new |\n\nMore.\n"));
        assert_eq!(with_table("# Page\n", "| bug |", ""), None);
    }

    #[test]
    fn the_page_names_every_row_once_and_the_tests_that_there_are() {
        rows(&Workspace::locate().unwrap(), &Args { write: false }).unwrap();
    }
}
