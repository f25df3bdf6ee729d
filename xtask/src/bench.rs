//! `bench`: builds netctl and the benchmark as users would run them, and hands everything on to the benchmark.

use std::{ffi::OsString, process::Command};

use anyhow::Result;

use crate::{
    build_ebpf,
    run::{replace, run},
    setup,
    workspace::{Profile, Workspace},
};

/// What the benchmark is told.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// Suites and options, which `--help` names; or `criterion` and a filter, for the small ones; default: all of both
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARG")]
    args: Vec<OsString>,
}

/// Runs it.
pub(crate) fn bench(workspace: &Workspace, Args { args }: &Args) -> Result<()> {
    build_ebpf::build(workspace, setup::toolchain_and_test_programs(workspace)?)?;
    let packages = ["--package", "netctl", "--package", "netctl-benches"];
    run(workspace.cargo("build").args(["--release", "--bins"]).args(packages))?;
    match args.as_slice() {
        [] => criterion(workspace, &[])?,
        [first, filter @ ..] if first == "criterion" => return criterion(workspace, filter),
        _ => {}
    }
    // What else the machine does should wait.
    let mut bench = Command::new("nice");
    bench.args(["-n", "-20"]).arg(workspace.netctl(Profile::Release).with_file_name("netctl-bench"));
    if !args.iter().any(|arg| arg == "--report") {
        bench.arg("--report").arg(workspace.target.join("bench"));
    }
    replace(with_what_is_measured(workspace, bench.args(args)))
}

fn criterion(workspace: &Workspace, filter: &[OsString]) -> Result<()> {
    let mut cargo = workspace.cargo("bench");
    cargo.args(["--package", "netctl-benches", "--"]).args(filter);
    run(with_what_is_measured(workspace, &mut cargo))
}

/// Tells a benchmark which netctl and which generator are meant.
fn with_what_is_measured<'a>(workspace: &Workspace, command: &'a mut Command) -> &'a mut Command {
    let netctl = workspace.netctl(Profile::Release);
    command.env("NETCTL_BIN", netctl).env("NETCTL_BENCH_OBJECT", workspace.bench_object())
}
