//! `bench`: the criterion benchmarks, and suites that need a machine of their own.

mod control;
mod spread;
mod table;

use std::ffi::OsString;

use anyhow::Result;

use crate::{build_ebpf, run::run, setup, workspace::Workspace};

/// Which benchmarks, and what is handed on to criterion.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    suite: Option<Suite>,
    /// Arguments for criterion, such as a filter
    #[arg(last = true)]
    args: Vec<OsString>,
}

#[derive(clap::Subcommand)]
enum Suite {
    /// Build networks with netctl, a script of `ip` commands and `ip -batch`, side by side
    Control(control::Args),
}

/// Runs them.
pub(crate) fn bench(workspace: &Workspace, args: &Args) -> Result<()> {
    build_ebpf::build(workspace, setup::toolchain(workspace)?)?;
    match &args.suite {
        Some(Suite::Control(args)) => control::bench(workspace, args),
        None => run(workspace.cargo("bench").args(["--package", "netctl-benches", "--"]).args(&args.args)),
    }
}
