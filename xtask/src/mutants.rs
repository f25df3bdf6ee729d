//! `mutants`: bugs put into the sources on purpose, one at a time, each of which a test has to notice.
//!
//! It happens in a copy of the checkout with a target directory of its own: the developer's stays as it is, and a mutant
//! builds little more than what it changes.

mod seeded;
mod tree;

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::{Result, bail};

use self::{seeded::Mutation, tree::Tree};
use crate::{rows, setup, test::results::Results, workspace::Workspace};

/// Which bugs.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Their names in tests/mutations.toml; default: all
    names: Vec<String>,
    /// Write which tests caught which bug into docs/nat-tests.md
    #[arg(long, conflicts_with = "names")]
    write: bool,
}

/// Seeds them one after the other; fails if one does not build or is not caught.
pub(crate) fn mutants(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    let mutations = seeded::chosen(seeded::read(&workspace.root)?, &args.names)?;
    let tree = Tree::copy(workspace, setup::toolchain_and_test_programs(workspace)?)?;
    check_without(&tree, &mutations)?;

    let (mut lines, mut lost) = (Vec::new(), Vec::new());
    for mutation in &mutations {
        eprintln!("mutation {}: {}", mutation.name, mutation.bug);
        match tree.seeded(mutation, |tree| tree.test(&mutation.tests)) {
            Ok(results) if results.failed > 0 => {
                let tests: Vec<_> = results.failures().map(|name| format!("`{name}`")).collect();
                eprintln!("mutation {}: noticed by {}", mutation.name, tests.join(", "));
                lines.push(format!("| {} | {} |", mutation.bug, tests.join(", ")));
            }
            Ok(_) => lost.push(format!("{}: no test notices it", mutation.name)),
            Err(error) => lost.push(format!("{}: {error:#}", mutation.name)),
        }
    }
    let table = format!("{HEAD}\n{}\n", lines.join("\n"));
    write!(io::stdout(), "{table}")?;
    if !lost.is_empty() {
        eprintln!("error: {}", lost.join("\n       "));
        return Ok(ExitCode::FAILURE);
    }
    if args.write {
        rows::write_table(workspace, HEAD, &table)?;
    }
    Ok(ExitCode::SUCCESS)
}

const HEAD: &str = "| bug | noticed by |\n| --- | --- |";

/// The tests pass as long as there is no bug: else their failing would say nothing.
fn check_without(tree: &Tree, mutations: &[Mutation]) -> Result<()> {
    let mut tests: Vec<String> = mutations.iter().flat_map(|mutation| mutation.tests.clone()).collect();
    tests.sort_unstable();
    tests.dedup();
    eprintln!("without any mutation");
    let results: Results = tree.test(&tests)?;
    if results.failed > 0 {
        bail!("without any mutation these tests fail: {}", results.failures().collect::<Vec<_>>().join(", "));
    }
    if let Some(unknown) =
        tests.iter().find(|start| !results.names().any(|name| name.starts_with(start.as_str())))
    {
        bail!("no test begins with {unknown}");
    }
    Ok(())
}
