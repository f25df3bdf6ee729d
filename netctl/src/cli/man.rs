//! `netctl man`: the manual's pages, one for the program and one for each verb. `cargo xtask man` is its user.

use std::{fs, path::PathBuf};

use clap::CommandFactory as _;

use super::{Cli, Exit, Failure};

/// Where to.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The directory that the pages go into
    #[arg(value_name = "DIRECTORY")]
    directory: PathBuf,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    fs::create_dir_all(&args.directory)?;
    clap_mangen::generate_to(Cli::command().disable_help_subcommand(true), &args.directory)?;
    Ok(Exit::Done)
}
