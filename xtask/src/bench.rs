//! `bench`: builds netctl and the benchmark as users would run them, and hands everything on to the benchmark.

use std::ffi::OsString;

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
    /// A suite and its options: `--help` names them; `criterion` and a filter for the small ones
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARG")]
    args: Vec<OsString>,
}

/// Runs it.
pub(crate) fn bench(workspace: &Workspace, args: &Args) -> Result<()> {
    build_ebpf::build(workspace, setup::toolchain_and_test_programs(workspace)?)?;
    if let [first, rest @ ..] = args.args.as_slice()
        && first == "criterion"
    {
        return run(workspace.cargo("bench").args(["--package", "netctl-benches", "--"]).args(rest));
    }
    run(workspace.cargo("build").args([
        "--release",
        "--package",
        "netctl",
        "--package",
        "netctl-benches",
        "--bins",
    ]))?;
    let netctl = workspace.netctl(Profile::Release);
    let mut bench = std::process::Command::new(netctl.with_file_name("netctl-bench"));
    bench.args(&args.args).env("NETCTL_BIN", netctl).env("NETCTL_BENCH_OBJECT", workspace.bench_object());
    replace(&mut bench)
}
