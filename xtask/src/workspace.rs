//! Where things are: the checkout, cargo's target directory, and what is built into it.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

/// The checkout that xtask works on.
pub(crate) struct Workspace {
    /// Holds the root manifest.
    pub(crate) root: PathBuf,
    /// Cargo's target directory, `CARGO_TARGET_DIR` respected.
    pub(crate) target: PathBuf,
}

/// Selects the directory that cargo builds a profile into.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Quick to build, with overflow checks.
    Dev,
    /// What users run.
    Release,
}

impl Profile {
    /// What cargo is told.
    pub(crate) fn flag(self) -> Option<&'static str> {
        (self == Self::Release).then_some("--release")
    }
}

impl Workspace {
    /// Finds the checkout from what cargo tells the program that it runs.
    pub(crate) fn locate() -> Result<Self> {
        let manifest_dir =
            env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let root =
            Path::new(&manifest_dir).parent().context("xtask's manifest lies at the root of the disk")?;
        let target = match env::var_os("CARGO_TARGET_DIR") {
            Some(dir) => std::path::absolute(dir).context("CARGO_TARGET_DIR")?,
            None => root.join("target"),
        };
        Ok(Self { root: root.to_owned(), target })
    }

    /// A cargo command at the root that finds the eBPF object wherever the target directory is.
    ///
    /// The object is named only where netctl's build script would not look by itself: a variable that is set now
    /// and unset in the developer's own `cargo build` would make the two rebuild netctl in turn.
    pub(crate) fn cargo(&self, verb: &str) -> Command {
        let mut cargo = Command::new(cargo_program());
        cargo.arg(verb).current_dir(&self.root).env_remove("NETCTL_EBPF_OBJECT");
        if self.target != self.root.join("target") {
            cargo.env("CARGO_TARGET_DIR", &self.target).env("NETCTL_EBPF_OBJECT", self.object());
        }
        cargo
    }

    /// The eBPF build's own target directory.
    pub(crate) fn ebpf_target(&self) -> PathBuf {
        self.target.join("ebpf")
    }

    /// Where the eBPF object ends up, whichever way it was built.
    pub(crate) fn object(&self) -> PathBuf {
        self.ebpf_target().join("netctl.bpf.o")
    }

    /// Likewise the benchmark's own programs.
    pub(crate) fn bench_object(&self) -> PathBuf {
        self.ebpf_target().join("bench.bpf.o")
    }

    /// Where things are kept that take long to make and that checkouts share.
    pub(crate) fn cache(&self) -> PathBuf {
        let absolute = |key| env::var_os(key).map(PathBuf::from).filter(|path| path.is_absolute());
        absolute("XDG_CACHE_HOME")
            .or_else(|| Some(absolute("HOME")?.join(".cache")))
            .unwrap_or_else(|| self.target.join("cache"))
            .join("netctl")
    }

    /// The `netctl` binary.
    pub(crate) fn netctl(&self, profile: Profile) -> PathBuf {
        let dir = match profile {
            Profile::Dev => "debug",
            Profile::Release => "release",
        };
        self.target.join(dir).join("netctl")
    }
}

/// The cargo that runs xtask, so that one toolchain builds everything for the host.
pub(crate) fn cargo_program() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}
