//! `fuzz-nat`: netctl's NAT against the kernel's own netfilter and a model, for as long as asked.
//!
//! The work is done by the program of that name in the tests' crate, which needs root; this builds what it needs.

use std::{
    path::PathBuf,
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    build_ebpf,
    run::{announce, find_program, is_root, run},
    setup,
    workspace::{Profile, Workspace},
};

/// How much of it.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many packets to put into both labs
    #[arg(long, default_value_t = 100_000)]
    packets: u64,
    /// The first case's seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Play one case instead, from a file that a difference left
    #[arg(long, value_name = "FILE", conflicts_with_all = ["packets", "seed"])]
    replay: Option<PathBuf>,
}

/// Builds netctl and the test, runs it, and passes its verdict on.
pub(crate) fn fuzz_nat(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    build_ebpf::build(workspace, setup::toolchain_and_test_programs(workspace)?)?;
    run(workspace.cargo("build").args(["--package", "netctl"]))?;
    run(workspace.cargo("build").args(["--package", "netctl-tests", "--bin", "fuzz-nat"]))?;
    let netctl = workspace.netctl(Profile::Dev);
    let program = netctl.with_file_name("fuzz-nat");
    let mut command = if is_root() {
        Command::new(program)
    } else if find_program("sudo").is_some() {
        let mut sudo = Command::new("sudo");
        sudo.arg("--preserve-env=NETCTL_BIN").arg(program);
        sudo
    } else {
        bail!("this makes namespaces and loads programs: run it as root (there is no sudo)");
    };
    command.env("NETCTL_BIN", netctl);
    match &args.replay {
        Some(file) => command.arg("replay").arg(file),
        None => command.args([args.packets.to_string(), args.seed.to_string()]),
    };
    announce(&command);
    let status = command.status().context("running fuzz-nat")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
