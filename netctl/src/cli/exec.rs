//! `netctl exec`: run a command in a namespace, as `ip netns exec` does.

use std::{ffi::OsString, os::unix::process::CommandExt as _, process::Command};

use netctl::{model::NetnsName, single::ns, up::require_root};

use super::{Exit, Failure};

/// Shown below the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  netctl exec red -- ping -c 3 203.0.113.2
  netctl exec red -- bash

The command sees the namespace's /sys and, bound over /etc, its files in /etc/netns/NS. The exit status is the command's
own.";

/// What to run, and where.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The namespace
    #[arg(value_name = "NS")]
    namespace: NetnsName,
    /// The command and its arguments
    #[arg(value_name = "CMD", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    require_root()?;
    ns::open(&args.namespace)?.enter_for_exec(&args.namespace)?;
    let mut words = args.command.iter();
    let program = words.next().cloned().unwrap_or_default();
    // Only comes back if it failed.
    let source = Command::new(&program).args(words).exec();
    Err(Failure::Command { command: program.to_string_lossy().into_owned(), source })
}
