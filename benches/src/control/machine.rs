//! A machine of its own for each run: the calling thread's network and mounts are new, so that nothing that is built
//! touches the real machine, and all of it ends with the thread.

use std::{
    fs,
    panic::resume_unwind,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    unistd::gettid,
};

/// How long the kernel may take to free what a run has left.
const PATIENCE: Duration = Duration::from_secs(180);

/// Runs `f` on a thread with a network of its own, a loopback that is up, an empty `/run` and an empty bpffs.
pub(super) fn on_a_machine<T: Send>(f: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    on_a_thread(|| {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).context("making a machine")?;
        mount_fresh(None, "/", MsFlags::MS_PRIVATE | MsFlags::MS_REC)?;
        mount_fresh(Some("tmpfs"), "/run", MsFlags::empty())?;
        mount_fresh(Some("bpf"), "/sys/fs/bpf", MsFlags::empty())?;
        ip(&["link", "set", "lo", "up"])?;
        f()
    })
}

/// Waits until the kernel has freed every network namespace that has ended so far, as it does behind our back.
///
/// It frees them in the order in which they ended, batch by batch (`cleanup_net`, net/core/net_namespace.c). So one more
/// is made and ended here, with a cable that leads out of it: when the cable is gone, it and all before it are.
pub(crate) fn settle() -> Result<()> {
    const WITNESS: &str = "witness";
    on_a_thread(|| {
        unshare(CloneFlags::CLONE_NEWNET).context("making a namespace")?;
        let here = gettid().to_string();
        on_a_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET).context("making a namespace")?;
            ip(&["link", "add", "far", "type", "veth", "peer", "name", WITNESS, "netns", &here])
        })?;
        let deadline = Instant::now() + PATIENCE;
        while fs::read_to_string("/proc/thread-self/net/dev")?.contains(WITNESS) {
            if Instant::now() > deadline {
                bail!("the kernel has not freed the namespaces of the last run within {PATIENCE:?}");
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    })
}

fn ip(arguments: &[&str]) -> Result<()> {
    let status = Command::new("ip").args(arguments).status().context("running ip")?;
    if !status.success() {
        bail!("ip {} failed: {status}", arguments.join(" "));
    }
    Ok(())
}

fn mount_fresh(kind: Option<&str>, target: &str, flags: MsFlags) -> Result<()> {
    const NONE: Option<&Path> = None;
    mount(kind, target, kind, flags, NONE).with_context(|| format!("mounting {target}"))
}

/// Runs `f` on a thread that ends with it, whose namespaces may then be changed.
fn on_a_thread<T: Send>(f: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| scope.spawn(f).join().unwrap_or_else(|panic| resume_unwind(panic)))
}
