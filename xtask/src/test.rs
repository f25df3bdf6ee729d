//! `test`: every suite, counted together.
//!
//! The suites and the netctl that they drive are built without root and with overflow checks; only their binaries
//! run as root. The tests find netctl by the variable `NETCTL_BIN`, and a test that this kernel cannot run says so in the
//! file that `NETCTL_SKIPS` names: it counts as skipped, and so do the rows that it proves.

mod kernel;
pub(crate) mod results;

use std::{
    ffi::OsString,
    fs,
    io::{self, BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, ExitCode, ExitStatus, Stdio},
};

use anyhow::{Context as _, Result, bail};

use self::results::Results;
use crate::{
    build_ebpf,
    rows::{self, Tally},
    run::{announce, find_program, is_root, run},
    setup,
    toolchain::Way,
    workspace::{Profile, Workspace},
};

/// How to run the tests.
#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// Build netctl and the tests with optimisation, as users get it
    #[arg(long)]
    release: bool,
    /// Run a share of the suite on an emulated machine with another kernel, such as 6.1 or 6.12
    #[arg(long, value_name = "VERSION", conflicts_with = "release")]
    kernel: Option<String>,
    /// Arguments for the test binaries, such as a filter
    #[arg(last = true)]
    args: Vec<OsString>,
}

/// Sets up, builds, and runs the suites.
pub(crate) fn test(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    let way = setup::toolchain_and_test_programs(workspace)?;
    match &args.kernel {
        Some(version) => kernel::test(workspace, way, args, version),
        None => test_with(workspace, way, args),
    }
}

/// Builds and runs the suites.
pub(crate) fn test_with(workspace: &Workspace, way: Way, args: &Args) -> Result<ExitCode> {
    build_ebpf::build(workspace, way)?;
    let profile = if args.release { Profile::Release } else { Profile::Dev };
    let (mut has_succeeded, mut results) = build_and_run(workspace, profile, &SUITES, &args.args)?;
    if args.args.is_empty() {
        eprintln!("once more without shortcuts, what carries traffic");
        let again =
            run_once(workspace, profile, &["netctl-tests"], &TRAFFIC.map(OsString::from), Some("off"))?;
        has_succeeded &= again.0;
        results.add(again.1);
    }
    tell(workspace, results, has_succeeded)
}

/// Tests with connections through a gateway whose topology is in a file.
const TRAFFIC: [&str; 13] = [
    "bulk::",
    "change::",
    "contention::",
    "differ::",
    "families::",
    "flood::",
    "fragments::",
    "leaks::",
    "offload::",
    "path::",
    "reload::",
    "scattered::",
    "udp::",
];

/// Builds netctl and the suites of some packages, around the object that is there, and runs them with these arguments.
pub(crate) fn build_and_run(
    workspace: &Workspace,
    profile: Profile,
    packages: &[&str],
    args: &[OsString],
) -> Result<(bool, Results)> {
    run(workspace.cargo("build").args(profile.flag()).args(["--package", "netctl"]).args(FEATURES))?;
    // Built on its own, a suite that does not compile is told from one that does not end.
    run(workspace.cargo("test").args(profile.flag()).args(of(packages)).args(FEATURES).arg("--no-run"))?;
    run_once(workspace, profile, packages, args, None)
}

/// Runs suites that are built, with what `NETCTL_SHORTCUT` is to be.
fn run_once(
    workspace: &Workspace,
    profile: Profile,
    packages: &[&str],
    args: &[OsString],
    shortcut: Option<&str>,
) -> Result<(bool, Results)> {
    let mut command = workspace.cargo("test");
    command.args(profile.flag());
    command.env("NETCTL_BIN", workspace.netctl(profile));
    command.envs(shortcut.map(|value| ("NETCTL_SHORTCUT", value)));
    command.args(of(packages)).args(FEATURES).arg("--no-fail-fast");
    if !is_root() {
        if find_program("sudo").is_none() {
            bail!("the tests make namespaces and load programs: run this as root (there is no sudo)");
        }
        eprintln!("the tests need root: running their binaries through sudo");
        command.args(["--config", r#"target."cfg(unix)".runner = ["sudo", "-E"]"#]);
    }
    let (status, results) = run_suites(command.arg("--").args(args), &workspace.target.join("skips"))?;
    Ok((status.success(), results))
}

fn of<'a>(packages: &'a [&'a str]) -> impl Iterator<Item = &'a str> {
    packages.iter().flat_map(|package| ["--package", package])
}

/// Prints how the tests and the rows came out.
fn tell(workspace: &Workspace, mut results: Results, has_succeeded: bool) -> Result<ExitCode> {
    if !has_succeeded && results.failed == 0 {
        eprintln!("error: a suite ended without a result");
        results.failed = 1;
    }
    let rows = Tally::new(&rows::page(workspace)?, &results);
    writeln!(io::stdout(), "{rows}\n{results}")?;
    Ok(if results.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// So that tests can have netctl killed at any of its steps; nothing else is different.
const FEATURES: [&str; 2] = ["--features", "netctl/fault-injection"];

/// netctl-ebpf without its feature `programs` is its library alone: the programs themselves need their own target.
const SUITES: [&str; 5] = ["netctl", "netctl-benches", "netctl-ebpf", "netctl-tests", "xtask"];

/// Runs `command`, passing its stdout through and adding up the suites' results. Tests write what they skip to `skips`.
fn run_suites(command: &mut Command, skips: &Path) -> Result<(ExitStatus, Results)> {
    fs::write(skips, "").with_context(|| format!("writing {}", skips.display()))?;
    command.env("NETCTL_SKIPS", skips);
    announce(command);
    let mut child = command.stdout(Stdio::piped()).spawn().context("running cargo test")?;
    let mut results = Results::default();
    if let Some(stdout) = child.stdout.take() {
        let mut ours = io::stdout().lock();
        for line in BufReader::new(stdout).split(b'\n') {
            let line = line.context("reading the tests' output")?;
            results.add_line(&String::from_utf8_lossy(&line));
            ours.write_all(&line)?;
            ours.write_all(b"\n")?;
        }
    }
    let status = child.wait().context("waiting for cargo test")?;
    results.take_skips(&fs::read_to_string(skips).with_context(|| format!("reading {}", skips.display()))?);
    Ok((status, results))
}
