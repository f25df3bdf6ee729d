//! `bench`: the criterion benchmarks.

use std::ffi::OsString;

use anyhow::Result;

use crate::{build_ebpf, run::run, setup, workspace::Workspace};

/// What is handed on to criterion.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Arguments for criterion, such as a filter
    #[arg(last = true)]
    args: Vec<OsString>,
}

/// Runs them.
pub(crate) fn bench(workspace: &Workspace, args: &Args) -> Result<()> {
    build_ebpf::build(workspace, setup::toolchain(workspace)?)?;
    run(workspace.cargo("bench").args(["--package", "netctl-benches", "--"]).args(&args.args))
}
