//! `ci`: all that has to hold before a change goes in; the same here as on a build machine.

mod manifests;

use std::process::ExitCode;

use anyhow::Result;

use crate::{
    build_ebpf,
    run::run,
    setup, test,
    toolchain::{Verb, Way},
    workspace::Workspace,
};

/// Runs every check, the quick ones first; ends with the tests.
pub(crate) fn ci(workspace: &Workspace) -> Result<ExitCode> {
    run(workspace.cargo("fmt").args(["--all", "--check"]))?;
    manifests::check(&workspace.root)?;

    // The object first: without it netctl builds, with a warning.
    let way = build_ebpf::build_with(workspace, setup::everything(workspace)?)?;
    run(workspace.cargo("clippy").args(["--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    lint_programs(workspace, &way)?;
    run(workspace.cargo("doc").args(["--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))?;
    run(workspace.cargo("bench").args(["--package", "netctl-benches", "--", "--test"]))?;
    test::test_with(workspace, way, &test::Args::default())
}

fn lint_programs(workspace: &Workspace, way: &Way) -> Result<()> {
    let verb = if way.has_clippy() {
        Verb::Clippy
    } else {
        eprintln!("eBPF: this toolchain has no clippy, so the programs are only checked for warnings");
        Verb::Check
    };
    run(&mut way.command(workspace, verb))
}
