//! The repository's own commands, `cargo xtask COMMAND`: one file per verb, this one only dispatches.
//!
//! Every command that builds, installs or runs something is printed before it runs, so that it can be repeated by
//! hand; what merely asks (a version, a package's candidate) is not.
#![expect(clippy::print_stderr, reason = "a build tool talks to the person who started it")]

mod bench;
mod build_ebpf;
mod ci;
mod fuzz_nat;
mod man;
mod mutants;
mod pictures;
mod rows;
mod run;
mod setup;
mod test;
mod toolchain;
mod up;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

/// Builds, tests and measures netctl.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Install what is missing, build netctl, and bring a topology up (default: the quickstart)
    Up(up::Args),
    /// Take a topology down again
    Down(up::Args),
    /// Install what is missing, then run every test, those that need root included
    Test(test::Args),
    /// Put bugs into a copy of the sources, one at a time, and see that the tests notice
    Mutants(mutants::Args),
    /// Check that docs/nat-tests.md names the tests that there are, or write their names into it
    Rows(rows::Args),
    /// Compare the NAT with netfilter's, on as many packets as asked
    FuzzNat(fuzz_nat::Args),
    /// Build the eBPF object alone
    BuildEbpf(build_ebpf::Args),
    /// Write the manual's pages
    Man(man::Args),
    /// Draw the pictures of the docs
    Pictures,
    /// Run everything that has to hold before a change goes in
    Ci,
    /// Run the benchmarks
    Bench(bench::Args),
}

fn main() -> ExitCode {
    match dispatch(Cli::parse().verb) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(verb: Verb) -> Result<ExitCode> {
    let workspace = Workspace::locate()?;
    match verb {
        Verb::Up(args) => up::up(&workspace, &args)?,
        Verb::Down(args) => up::down(&workspace, &args)?,
        Verb::Test(args) => return test::test(&workspace, &args),
        Verb::Mutants(args) => return mutants::mutants(&workspace, &args),
        Verb::Rows(args) => rows::rows(&workspace, &args)?,
        Verb::FuzzNat(args) => return fuzz_nat::fuzz_nat(&workspace, &args),
        Verb::BuildEbpf(args) => build_ebpf::build_as(&workspace, setup::toolchain(&workspace)?, &args)?,
        Verb::Man(args) => man::man(&workspace, &args)?,
        Verb::Pictures => pictures::pictures(&workspace)?,
        Verb::Ci => return ci::ci(&workspace),
        Verb::Bench(args) => bench::bench(&workspace, &args)?,
    }
    Ok(ExitCode::SUCCESS)
}
