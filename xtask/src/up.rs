//! `up` and `down`: from a fresh machine to a running topology, and back. Only netctl itself runs as root.

use std::{ffi::OsString, path::PathBuf, process::Command};

use anyhow::{Result, bail};

use crate::{
    build_ebpf,
    run::{find_program, is_root, replace, run},
    setup,
    workspace::{Profile, Workspace},
};

/// What is handed on to netctl.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The topology file; for `down` also a topology's name
    file: Option<PathBuf>,
    /// More arguments for netctl
    #[arg(last = true)]
    args: Vec<OsString>,
}

/// Builds netctl and runs `netctl up`.
pub(crate) fn up(workspace: &Workspace, args: &Args) -> Result<()> {
    build(workspace)?;
    netctl(workspace, "up", args)
}

/// Runs `netctl down`, built before if need be: a tree that does not build must not keep a topology up.
pub(crate) fn down(workspace: &Workspace, args: &Args) -> Result<()> {
    if !workspace.netctl(Profile::Release).exists() {
        build(workspace)?;
    }
    netctl(workspace, "down", args)
}

fn build(workspace: &Workspace) -> Result<()> {
    build_ebpf::build(workspace, setup::toolchain(workspace)?)?;
    run(workspace.cargo("build").args(["--release", "--package", "netctl"]))
}

fn netctl(workspace: &Workspace, verb: &str, args: &Args) -> Result<()> {
    let binary = workspace.netctl(Profile::Release);
    let mut command = if is_root() {
        Command::new(binary)
    } else if find_program("sudo").is_some() {
        eprintln!("netctl needs root: running it through sudo");
        let mut sudo = Command::new("sudo");
        sudo.arg(binary);
        sudo
    } else {
        bail!("netctl needs root, and there is no sudo; as root: {} {verb}", binary.display());
    };
    replace(command.arg(verb).args(&args.file).args(&args.args))
}
