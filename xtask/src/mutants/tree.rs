//! The copy of the checkout that bugs are put into.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::seeded::Mutation;
use crate::{
    build_ebpf,
    run::ask,
    test::{self, results::Results},
    toolchain::Way,
    workspace::{Profile, Workspace},
};

/// The copy, and what builds its programs.
pub(super) struct Tree {
    workspace: Workspace,
    way: Way,
}

impl Tree {
    /// Brings the copy up to date; what has not changed keeps its time, and needs not be built again.
    pub(super) fn copy(workspace: &Workspace, way: Way) -> Result<Self> {
        let root = workspace.target.join("mutants");
        let mut copied = 0;
        for file in files(&workspace.root)? {
            copied += u32::from(copy_changed(&workspace.root.join(&file), &root.join(&file))?);
        }
        eprintln!("{copied} files copied to {}", root.display());
        let target = root.join("target");
        let workspace = Workspace { root, target };
        let way = build_ebpf::build_with(&workspace, way)?;
        Ok(Self { workspace, way })
    }

    /// Runs `f` with a bug in the copy, and takes it out again.
    pub(super) fn seeded<T>(&self, mutation: &Mutation, f: impl FnOnce(&Self) -> Result<T>) -> Result<T> {
        let path = self.workspace.root.join(&mutation.file);
        let source = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let write =
            |text: &str| fs::write(&path, text).with_context(|| format!("writing {}", path.display()));
        write(&mutation.apply(&source)?)?;
        let result = f(self);
        write(&source)?;
        result.with_context(|| format!("with mutation {}", mutation.name))
    }

    /// Builds the copy and runs the tests whose names begin so.
    pub(super) fn test(&self, starts: &[String]) -> Result<Results> {
        build_ebpf::build_again(&self.workspace, &self.way)?;
        let filters: Vec<OsString> = starts.iter().map(OsString::from).collect();
        let packages = ["netctl-ebpf", "netctl-tests"];
        Ok(test::build_and_run(&self.workspace, Profile::Dev, &packages, &filters)?.1)
    }
}

/// What git knows of, and what it would ask about.
fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut git = Command::new("git");
    git.arg("-C").arg(root).args(["ls-files", "--cached", "--others", "--exclude-standard"]);
    let listed = ask(&mut git).context("the sources are listed by git, which does not")?;
    let files: Vec<PathBuf> =
        listed.lines().map(PathBuf::from).filter(|file| root.join(file).is_file()).collect();
    if files.is_empty() {
        bail!("git knows of no file in {}", root.display());
    }
    Ok(files)
}

/// Copies a file unless its copy is the same; tells whether it did.
fn copy_changed(from: &Path, to: &Path) -> Result<bool> {
    let content = fs::read(from).with_context(|| format!("reading {}", from.display()))?;
    if fs::read(to).is_ok_and(|old| old == content) {
        return Ok(false);
    }
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
    }
    fs::write(to, content).with_context(|| format!("writing {}", to.display()))?;
    Ok(true)
}
