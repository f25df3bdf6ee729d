//! `netctl-bench`: netctl beside what else there is, on networks of its own. `cargo xtask bench` builds and runs it.
//!
//! A suite measures one thing for every contender, in turns, several times over; what it finds are [`Record`]s, which
//! [`report`] shows.
#![expect(clippy::print_stderr, reason = "a benchmark tells how far it is")]

mod contender;
mod control;
mod machine;
mod packet_rate;
mod programs;
mod record;
mod site;
mod spread;
mod table;

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser;

use crate::site::Wanted;

/// Measures netctl beside what else there is.
#[derive(Parser)]
#[command(bin_name = "cargo xtask bench")]
struct Cli {
    #[command(subcommand)]
    suite: Suite,
    /// Print tables in Markdown
    #[arg(long, global = true)]
    markdown: bool,
}

#[derive(clap::Subcommand)]
enum Suite {
    /// Nanoseconds a packet, by a generator and a sink in the kernel
    PacketRate(packet_rate::Args),
    /// Networks built by netctl, by a script of `ip` commands and by `ip -batch`
    Control(control::Args),
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!("namespaces take root: run this with sudo");
    }
    let records = match &cli.suite {
        Suite::PacketRate(args) => packet_rate::measure(args, &Wanted::default())?,
        Suite::Control(args) => control::measure(args)?,
    };
    records.print(cli.markdown)
}
