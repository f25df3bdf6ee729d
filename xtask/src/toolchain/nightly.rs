//! The first way: a rustup nightly with `rust-src`, and a bpf-linker on the PATH.
//!
//! Whether that linker's LLVM can read the nightly's bitcode shows only when it is tried. A refusal is remembered
//! below the target directory until either of the two changes, so that it is not tried again on every run.

use std::{
    env,
    env::consts::ARCH,
    fs,
    path::{Path, PathBuf},
};

use crate::{run::find_program, workspace::Workspace};

/// A nightly that looks able to build the programs.
pub(crate) struct Nightly {
    /// The bpf-linker on the PATH.
    pub(crate) linker: PathBuf,
    toolchain: PathBuf,
}

/// Finds the nightly and its linker, or says what is missing.
pub(crate) fn find(workspace: &Workspace) -> Result<Nightly, String> {
    let dir = toolchains_dir().ok_or("neither RUSTUP_HOME nor HOME is set")?;
    let nightly = look(&dir, find_program("rustup"), find_program("bpf-linker"))?;
    match fs::read_to_string(refusal_file(workspace)) {
        Ok(refusal) => match refusal.split_once('\n') {
            Some((fingerprint, reason)) if fingerprint == nightly.fingerprint() => {
                Err(reason.trim_end().to_owned())
            }
            _ => Ok(nightly),
        },
        Err(_) => Ok(nightly),
    }
}

fn look(toolchains: &Path, rustup: Option<PathBuf>, linker: Option<PathBuf>) -> Result<Nightly, String> {
    rustup.ok_or("rustup is not on the PATH")?;
    let toolchain = nightly_in(toolchains).ok_or("no nightly toolchain is installed")?;
    if !toolchain.join("lib/rustlib/src/rust/library/core/Cargo.toml").exists() {
        return Err("the nightly toolchain lacks its component rust-src".to_owned());
    }
    let linker = linker.ok_or("bpf-linker is not on the PATH")?;
    Ok(Nightly { linker, toolchain })
}

impl Nightly {
    /// Whether the component clippy is there.
    pub(crate) fn has_clippy(&self) -> bool {
        self.toolchain.join("bin/clippy-driver").exists()
    }

    /// Keeps `reason` for the next run; forgotten once the nightly or the linker is another.
    pub(crate) fn remember_refusal(&self, workspace: &Workspace, reason: &str) -> std::io::Result<()> {
        fs::create_dir_all(workspace.ebpf_target())?;
        fs::write(refusal_file(workspace), format!("{}\n{reason}\n", self.fingerprint()))
    }

    fn fingerprint(&self) -> String {
        format!(
            "{} {}",
            stamp(&self.toolchain.join("lib/rustlib/multirust-channel-manifest.toml")),
            stamp(&self.linker)
        )
    }
}

/// The name, size and time of a file; a replaced one differs.
fn stamp(file: &Path) -> String {
    let meta = fs::metadata(file).ok();
    let modified = meta.as_ref().and_then(|meta| meta.modified().ok());
    format!("{} {:?} {modified:?}", file.display(), meta.map(|meta| meta.len()))
}

fn refusal_file(workspace: &Workspace) -> PathBuf {
    workspace.ebpf_target().join("nightly-refused")
}

fn toolchains_dir() -> Option<PathBuf> {
    let home = env::var_os("RUSTUP_HOME").map(PathBuf::from);
    Some(home.or_else(|| Some(Path::new(&env::var_os("HOME")?).join(".rustup")))?.join("toolchains"))
}

/// The directory of `rustup run nightly`'s toolchain. Reading the disk takes no time; asking rustup takes a process.
fn nightly_in(toolchains: &Path) -> Option<PathBuf> {
    let prefix = format!("nightly-{ARCH}-");
    fs::read_dir(toolchains)
        .ok()?
        .filter_map(Result::ok)
        .find(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
        .map(|entry| entry.path())
}

/// The line of a failed build's stderr that lays the failure on the toolchain; None if the programs are to blame.
pub(crate) fn blames_toolchain(stderr: &str) -> Option<&str> {
    let linking = stderr.lines().find(|line| line.contains("linking with") || line.contains("linker `"));
    if linking.is_some() {
        let said = |line: &&str| line.contains("ERROR") && line.contains("llvm");
        let line = stderr.lines().find(said).or(linking)?.trim();
        return Some(line.strip_prefix("= note: ").unwrap_or(line).trim_start());
    }
    if stderr.contains("could not compile `netctl-") {
        return None;
    }
    stderr.lines().map(str::trim).find(|line| line.starts_with("error"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_in_the_programs_is_not_laid_on_the_toolchain() {
        let stderr = "error[E0425]: cannot find value `x`\nerror: could not compile `netctl-ebpf` (bin) due to 1 error";
        assert_eq!(blames_toolchain(stderr), None);
    }

    #[test]
    fn a_linker_that_cannot_read_the_bitcode_is() {
        let stderr = "error: linking with `/usr/bin/bpf-linker` failed: exit status: 1\n  = note: 12:00 ERROR llvm: \
                      Unknown attribute kind (102)\nerror: could not compile `netctl-ebpf` (bin \"netctl-ebpf\")";
        assert_eq!(blames_toolchain(stderr), Some("12:00 ERROR llvm: Unknown attribute kind (102)"));
    }

    #[test]
    fn a_nightly_too_old_for_the_workspace_is() {
        let stderr =
            "    Updating index\nerror: rustc 1.90.0-nightly is not supported by the following package:\n";
        assert_eq!(
            blames_toolchain(stderr),
            Some("error: rustc 1.90.0-nightly is not supported by the following package:")
        );
    }

    #[test]
    fn each_missing_part_is_named() {
        let none = Path::new("/no/such/toolchains");
        let rustup = || Some(PathBuf::from("/usr/bin/rustup"));
        assert_eq!(look(none, None, None).err().unwrap(), "rustup is not on the PATH");
        assert_eq!(look(none, rustup(), None).err().unwrap(), "no nightly toolchain is installed");
    }
}
