//! `man`: the manual's pages, which netctl itself writes from its help.

use std::path::PathBuf;

use anyhow::Result;

use crate::{run::run, workspace::Workspace};

/// Where to.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The directory that the pages go into [default: target/man]
    directory: Option<PathBuf>,
}

/// Builds netctl and has it write its pages.
pub(crate) fn man(workspace: &Workspace, args: &Args) -> Result<()> {
    let directory = args.directory.clone().unwrap_or_else(|| workspace.target.join("man"));
    run(workspace.cargo("run").args(["--quiet", "--package", "netctl", "--", "man"]).arg(&directory))?;
    eprintln!("the pages are in {0}: man -l {0}/netctl.1", directory.display());
    Ok(())
}
