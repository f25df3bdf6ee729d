//! The machine that is measured on: what it is, and what of it has to be held still.

use std::{
    fs,
    process::{Child, Command, Stdio},
    thread,
};

use anyhow::{Context as _, Result};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};

/// Keeps the calling thread, and what it starts, on one CPU.
pub(crate) fn pin(cpu: usize) -> Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &cpus).with_context(|| format!("staying on CPU {cpu}"))
}

/// The kernel's release.
pub(crate) fn kernel() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}

/// The processors: how many, and of which kind.
pub(crate) fn processors() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let count = thread::available_parallelism().map_or(1, usize::from);
    format!("{count} × {}", model.map_or("unknown", |(_, name)| name.trim()))
}

/// Room for many connections in conntrack, whose limits are the whole machine's; the old ones come back when this is
/// dropped, and also if we are killed: a shell waits for the end of its standard input.
pub(crate) struct Conntrack(Option<Child>);

impl Conntrack {
    /// Two buckets a connection, which is more than distributions give: it should be at its best.
    pub(crate) fn with_room_for(connections: u32) -> Result<Self> {
        const LIMITS: [(&str, u32); 2] = [("nf_conntrack_buckets", 2), ("nf_conntrack_max", 1)];
        let mut restore = String::new();
        for (name, each) in LIMITS {
            let path = format!("/proc/sys/net/netfilter/{name}");
            // Where conntrack is not loaded, nobody needs room either.
            let Ok(now) = fs::read_to_string(&path) else { continue };
            let wanted = connections.saturating_mul(each);
            if now.trim().parse().is_ok_and(|now: u32| now < wanted) {
                fs::write(&path, wanted.to_string()).with_context(|| format!("setting {name}"))?;
                restore += &format!("echo {} > {path}\n", now.trim());
            }
        }
        if restore.is_empty() {
            return Ok(Self(None));
        }
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("trap '' INT TERM\ncat > /dev/null\n{restore}")]).stdin(Stdio::piped());
        Ok(Self(Some(shell.spawn().context("starting a shell")?)))
    }
}

impl Drop for Conntrack {
    fn drop(&mut self) {
        if let Some(shell) = &mut self.0 {
            // Closes its input first.
            let _ = shell.wait();
        }
    }
}
