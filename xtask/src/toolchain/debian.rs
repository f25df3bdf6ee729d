//! The second way: Debian's `rustc-web` with `core` for BPF, and a bpf-linker built on Debian's LLVM.
//!
//! Packages are recognised by a file of theirs: quicker than asking dpkg, and true of a copy that came otherwise.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{
    run::{ask, run},
    setup::{self, Wanted},
    workspace::{Workspace, cargo_program},
};

/// The compiler of the package `rustc-web`.
pub(crate) const RUSTC: &str = "/usr/bin/rustc";
/// The linter of the package `rust-web-clippy`.
pub(crate) const CARGO_CLIPPY: &str = "/usr/bin/cargo-clippy";

const LLVM: u32 = 22;
const LLVM_PREFIX: &str = "/usr/lib/llvm-22";
const LINKER_VERSION: &str = "0.13.0";

/// `rustc-web` apart, which has to be new enough as well. `rust-web-llvm` holds rustc's own LLVM tools, `libpolly` a
/// library that `llvm-config` names.
const PACKAGES: [Wanted; 4] = [
    Wanted::file("libstd-rust-web-dev-bpf", "/usr/lib/rustlib/bpfel-unknown-none/lib"),
    Wanted::file("rust-web-llvm", "/usr/bin/rust-lld"),
    Wanted::file("llvm-22-dev", "/usr/lib/llvm-22/lib/libLLVM.so"),
    Wanted::file("libpolly-22-dev", "/usr/lib/llvm-22/lib/libPolly.a"),
];

/// Debian's compiler and a linker for it.
pub(crate) struct Debian {
    /// The bpf-linker built on Debian's LLVM.
    pub(crate) linker: PathBuf,
    /// The compiler's release.
    pub(crate) rustc: String,
}

/// The packages that still have to be installed.
pub(crate) fn missing_packages() -> Vec<&'static str> {
    let rustc = compiler().is_err().then_some("rustc-web");
    rustc.into_iter().chain(setup::missing(&PACKAGES)).collect()
}

/// The packages of this way, for a message.
pub(crate) fn all_packages() -> impl Iterator<Item = &'static str> {
    ["rustc-web"].into_iter().chain(PACKAGES.iter().map(|wanted| wanted.package))
}

/// Whether `rust-web-clippy` is there.
pub(crate) fn has_clippy() -> bool {
    Path::new(CARGO_CLIPPY).exists() && Path::new("/usr/bin/clippy-driver").exists()
}

/// With the packages installed: takes the linker from the cache, or builds it into it.
pub(crate) fn ready(workspace: &Workspace) -> Result<Debian> {
    let rustc = compiler().map_err(anyhow::Error::msg)?;
    let root = workspace.cache().join(format!("bpf-linker-{LINKER_VERSION}-llvm-{LLVM}"));
    let linker = root.join("bin/bpf-linker");
    // Asked, not looked for: a copy whose LLVM has been removed does not start.
    if ask(Command::new(&linker).arg("--version")).is_none() {
        setup::may_install(&format!("bpf-linker {LINKER_VERSION}, built into {}", root.display()))?;
        eprintln!(
            "building bpf-linker {LINKER_VERSION} on Debian's LLVM {LLVM}, once, into {}",
            root.display()
        );
        run(&mut install_linker(&root)).context("building bpf-linker")?;
    }
    Ok(Debian { linker, rustc })
}

fn install_linker(root: &Path) -> Command {
    let mut command = Command::new(cargo_program());
    command
        .args(["install", "--locked", "bpf-linker", "--version", LINKER_VERSION])
        .args(["--no-default-features", "--features", "llvm-22", "--force", "--root"])
        .arg(root)
        .env("LLVM_PREFIX", LLVM_PREFIX)
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("CARGO_BUILD_TARGET");
    command
}

/// The release of Debian's compiler, if it can build this workspace for that linker.
fn compiler() -> Result<String, String> {
    let version = ask(Command::new(RUSTC).arg("-vV")).ok_or_else(|| format!("{RUSTC} is not there"))?;
    suitable(&version, env!("CARGO_PKG_RUST_VERSION"))
}

/// Takes a compiler that is new enough for the workspace and whose bitcode an LLVM of that version can read.
fn suitable(version: &str, minimum: &str) -> Result<String, String> {
    let field = |key: &str| version.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
    let release = field("release:").ok_or_else(|| format!("{RUSTC} does not tell its version"))?;
    if major_minor(release) < major_minor(minimum) {
        return Err(format!("{RUSTC} is {release}, older than {minimum}"));
    }
    let llvm = field("LLVM version:").and_then(major_minor);
    if llvm.is_none_or(|(major, _)| major > LLVM) {
        return Err(format!("{RUSTC} uses an LLVM newer than bpf-linker's {LLVM}"));
    }
    Ok(release.to_owned())
}

fn major_minor(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.').map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUSTC_WEB: &str =
        "rustc 1.96.0 (ac68faa20 2026-05-25)\nbinary: rustc\nrelease: 1.96.0\nLLVM version: 22.1.8\n";

    #[test]
    fn a_compiler_has_to_be_new_enough_and_its_llvm_old_enough() {
        assert_eq!(suitable(RUSTC_WEB, "1.95"), Ok("1.96.0".to_owned()));
        for (version, complaint) in [
            (RUSTC_WEB.replace("1.96.0", "1.63.0"), "/usr/bin/rustc is 1.63.0, older than 1.95"),
            (RUSTC_WEB.replace("22.1.8", "23.1.0"), "/usr/bin/rustc uses an LLVM newer than bpf-linker's 22"),
            (String::new(), "/usr/bin/rustc does not tell its version"),
        ] {
            assert_eq!(suitable(&version, "1.95"), Err(complaint.to_owned()));
        }
    }

    #[test]
    fn versions_compare_as_numbers() {
        assert!(major_minor("1.100.0") > major_minor("1.95"));
        assert_eq!(major_minor("nonsense"), None);
    }
}
