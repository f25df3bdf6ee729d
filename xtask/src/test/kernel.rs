//! `test --kernel`: a share of the suite inside an emulated machine with another kernel.
//!
//! What is built here runs there: it sees this machine's files. Emulated, everything takes some ten times as long, so it is
//! a share, and tests that measure or hurry are not in it.

use std::{
    ffi::OsString,
    fmt::Write as _,
    fs,
    path::PathBuf,
    process::{ExitCode, Stdio},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::{Args, FEATURES, results::Results, tell};
use crate::{
    build_ebpf,
    run::{announce, run},
    setup,
    toolchain::Way,
    workspace::{Profile, Workspace},
};

/// Every program on every kind of packet, the quickstart, and of the rest what meets another part of the kernel.
const SHARE: [&str; 12] = [
    "nat_prog::",
    "quickstart::",
    "doctor::a_machine_that_is_well",
    "monitor::gateway::",
    "trace::a_",
    "udp::",
    "vlan::",
    "change::a_rule_that_is_gone",
    "contention::row_4",
    "down::row_165",
    "host::",
    "up::row_172_up_again",
];

/// How long a test waits there, in seconds, instead of 20.
const PATIENCE: &str = "120";

/// Builds, starts the machine and counts.
pub(super) fn test(workspace: &Workspace, way: Way, args: &Args, version: &str) -> Result<ExitCode> {
    let emulator = setup::emulator(workspace, version)?;
    build_ebpf::build(workspace, way)?;
    run(workspace.cargo("build").args(["--package", "netctl"]).args(FEATURES))?;
    let suite = build_suite(workspace)?;

    // Copies, so that nothing changes under a run however long it takes.
    let shared = Shared::new(workspace, &emulator.release())?;
    for (binary, name) in [(workspace.netctl(Profile::Dev), "netctl"), (suite, "suite")] {
        fs::copy(&binary, shared.0.join(name)).with_context(|| format!("copying {}", binary.display()))?;
    }
    let filters: Vec<OsString> =
        if args.args.is_empty() { SHARE.map(OsString::from).into() } else { args.args.clone() };
    fs::write(shared.script(), script(&shared, &filters))
        .with_context(|| format!("writing {}", shared.script().display()))?;
    eprintln!("emulating Linux {}", emulator.release());
    let mut command = emulator.command(&shared.script(), &shared.0);
    announce(&command);
    let status = command.stdin(Stdio::null()).status().context("running vng")?;

    // Not what came over the console, which may have lost some.
    let mut results = Results::default();
    shared.read("output")?.lines().for_each(|line| results.add_line(line));
    results.take_skips(&shared.read("skips")?);
    tell(workspace, results, status.success())
}

/// Builds the suite and asks cargo for its binary.
fn build_suite(workspace: &Workspace) -> Result<PathBuf> {
    let mut cargo = workspace.cargo("test");
    cargo.args(["--package", "netctl-tests", "--test", "suite", "--no-run"]).args(FEATURES);
    cargo.arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit());
    announce(&cargo);
    let built = cargo.output().context("running cargo test")?;
    if !built.status.success() {
        bail!("the suite does not build");
    }
    let messages = String::from_utf8_lossy(&built.stdout);
    // The package's own binaries are built as well.
    let mut binaries = messages.lines().filter_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let executable = message.get("executable")?.as_str()?;
        (message["target"]["name"] == "suite").then(|| PathBuf::from(executable))
    });
    binaries.next().context("cargo names no binary of the suite")
}

/// What runs in the machine. One test at a time: two would only wait for each other.
fn script(shared: &Shared, filters: &[OsString]) -> String {
    let quote = |word: &str| format!("'{}'", word.replace('\'', r"'\''"));
    let mut arguments = String::new();
    for filter in filters {
        // Writing to a String cannot fail.
        let _ = write!(arguments, " {}", quote(&filter.to_string_lossy()));
    }
    format!(
        "cd {shared} || exit 1\n\
         ulimit -n 4096 # of the machine's own 1024, a dump of all its namespaces wants more\n\
         export NETCTL_BIN=\"$PWD/netctl\" NETCTL_SKIPS=\"$PWD/skips\" NETCTL_PATIENCE={PATIENCE}\n\
         uname -r\n\
         {{ ./suite --test-threads=1{arguments} 2>&1; echo $? > status; }} | tee output\n\
         exit \"$(cat status)\"\n",
        shared = quote(&shared.0.to_string_lossy()),
    )
}

/// The directory that both machines write to, one for each kernel.
struct Shared(PathBuf);

impl Shared {
    /// Makes it, with nothing but the files that are read afterwards.
    fn new(workspace: &Workspace, release: &str) -> Result<Self> {
        let shared = Self(workspace.target.join("emulated").join(release));
        fs::create_dir_all(&shared.0).with_context(|| format!("making {}", shared.0.display()))?;
        for name in ["output", "skips", "status"] {
            let file = shared.0.join(name);
            fs::write(&file, "").with_context(|| format!("writing {}", file.display()))?;
        }
        Ok(shared)
    }

    fn script(&self) -> PathBuf {
        self.0.join("script")
    }

    fn read(&self, name: &str) -> Result<String> {
        let file = self.0.join(name);
        fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))
    }
}
