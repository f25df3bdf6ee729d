//! The two ways to compile for the BPF target, and the cargo command that each comes to.
//!
//! Looking for them (`nightly`, `debian`) starts at most two short processes: it happens on every `up` and `test`.

pub(crate) mod debian;
pub(crate) mod nightly;

use std::{env::consts::ARCH, ffi::OsString, fmt, path::PathBuf, process::Command};

use crate::workspace::{Workspace, cargo_program};

/// A compiler for the BPF target with the linker that understands its bitcode.
pub(crate) enum Way {
    /// A nightly that builds `core` itself, and the bpf-linker on the PATH.
    Nightly(nightly::Nightly),
    /// Debian's compiler, which has `core` for BPF, and a bpf-linker built on Debian's LLVM.
    Debian(debian::Debian),
}

/// What to do with the programs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    /// Compile and link.
    Build,
    /// Lint, warnings being errors.
    Clippy,
    /// Only type-check, warnings being errors: for a toolchain without clippy.
    Check,
}

/// The packages with programs for the BPF target; a package's binary has its name.
pub(crate) const PACKAGES: [&str; 2] = ["netctl-ebpf", "netctl-benches-ebpf"];

/// Where the build leaves a package's linked programs, below its target directory.
pub(crate) fn built_file(workspace: &Workspace, package: &str) -> PathBuf {
    workspace.ebpf_target().join(TARGET).join("bpf").join(package)
}

const TARGET: &str = if cfg!(target_endian = "big") { "bpfeb-unknown-none" } else { "bpfel-unknown-none" };

impl Way {
    /// The cargo command that does `verb` to the programs.
    pub(crate) fn command(&self, workspace: &Workspace, verb: Verb) -> Command {
        let mut command = match self {
            Self::Nightly(_) => nightly_cargo(verb),
            Self::Debian(_) => debian_cargo(verb),
        };
        for package in PACKAGES {
            command.args(["--package", package, "--bin", package]);
            command.args(["--features", &format!("{package}/programs")]);
        }
        command
            .args(["--target", TARGET, "--profile", "bpf", "--target-dir"])
            .arg(workspace.ebpf_target())
            .env("CARGO_ENCODED_RUSTFLAGS", self.rustflags(verb))
            .current_dir(&workspace.root)
            // Meant for the host's compiler, if they are set at all.
            .env_remove("RUSTC_WORKSPACE_WRAPPER")
            .env_remove("CARGO_BUILD_TARGET")
            .env_remove("CARGO_TARGET_DIR");
        if verb == Verb::Clippy {
            command.args(["--", "-D", "warnings"]);
        }
        command
    }

    /// Whether `cargo clippy` works for the BPF target.
    pub(crate) fn has_clippy(&self) -> bool {
        match self {
            Self::Nightly(nightly) => nightly.has_clippy(),
            Self::Debian(_) => debian::has_clippy(),
        }
    }

    /// As aya's own build helper has them: the kernel's argument registers follow the host's architecture, and BTF
    /// is made from debug info. But for one: the linker's own way to copy memory would have every few zeroes written by a
    /// loop of bytes (`MaxStoresPerMemset` in LLVM's BPFISelLowering.cpp).
    fn rustflags(&self, verb: Verb) -> OsString {
        let linker = match self {
            Self::Nightly(nightly) => &nightly.linker,
            Self::Debian(debian) => &debian.linker,
        };
        let mut linker_flag = OsString::from("-Clinker=");
        linker_flag.push(linker);
        let cfg = format!("--cfg=bpf_target_arch=\"{}\"", bpf_target_arch(ARCH));
        let mut flags = vec![
            linker_flag,
            cfg.into(),
            "-Clink-arg=--btf".into(),
            "-Clink-arg=--disable-expand-memcpy-in-order".into(),
            "-Cdebuginfo=2".into(),
        ];
        if verb == Verb::Check {
            flags.push("-Dwarnings".into());
        }
        flags.join("\x1f".as_ref())
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nightly(nightly) => write!(f, "nightly and {}", nightly.linker.display()),
            Self::Debian(debian) => {
                write!(f, "Debian's rustc {} and {}", debian.rustc, debian.linker.display())
            }
        }
    }
}

fn nightly_cargo(verb: Verb) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", "cargo", verb.as_str(), "-Zbuild-std=core"]);
    // Set by the cargo that runs xtask: they would lead back to its own toolchain.
    for key in ["CARGO", "RUSTC", "RUSTDOC", "RUSTUP_TOOLCHAIN"] {
        command.env_remove(key);
    }
    command
}

fn debian_cargo(verb: Verb) -> Command {
    // cargo's own `clippy` would take the driver beside it, which is another compiler than /usr/bin/rustc.
    let program = if verb == Verb::Clippy { debian::CARGO_CLIPPY.into() } else { cargo_program() };
    let mut command = Command::new(program);
    command.arg(verb.as_str()).env("RUSTC", debian::RUSTC).env("RUSTC_BOOTSTRAP", "1");
    command
}

impl Verb {
    fn as_str(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Clippy => "clippy",
            Self::Check => "check",
        }
    }
}

/// Rust's name of an architecture as aya's bindings have it: `riscv64gc` and the like are one.
fn bpf_target_arch(arch: &str) -> &str {
    if arch.starts_with("riscv64") { "riscv64" } else { arch }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_architecture_is_named_as_in_ayas_bindings() {
        for (rust, aya) in [("x86_64", "x86_64"), ("aarch64", "aarch64"), ("riscv64gc", "riscv64")] {
            assert_eq!(bpf_target_arch(rust), aya);
        }
    }

    #[test]
    fn the_flags_name_the_linker_and_ask_for_btf() {
        let way =
            Way::Debian(debian::Debian { linker: "/some where/bpf-linker".into(), rustc: "1.96.0".into() });
        let flags = way.rustflags(Verb::Build).into_string().unwrap();
        let flags: Vec<&str> = flags.split('\x1f').collect();
        assert_eq!(flags[0], "-Clinker=/some where/bpf-linker");
        assert!(flags.contains(&"-Clink-arg=--btf"));
        assert!(flags.contains(&"-Clink-arg=--disable-expand-memcpy-in-order"));
        assert!(!flags.contains(&"-Dwarnings"));
    }
}
