//! `netctl-bench`: netctl beside what else there is, on networks of its own. `cargo xtask bench` builds and runs it.
//!
//! A suite measures one thing for every contender, in turns, several times over; what it finds are [`Record`]s, which
//! [`report`] shows.
#![expect(clippy::print_stderr, reason = "a benchmark tells how far it is")]

mod connections;
mod contender;
mod control;
mod load;
mod machine;
mod memory;
mod options;
mod packet_rate;
mod programs;
mod record;
mod rules;
mod site;
mod spread;
mod stream;
mod table;

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::{Parser as _, ValueEnum as _};

use crate::{
    options::{Options, Suite},
    record::Records,
};

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!("namespaces take root: run this with sudo");
    }
    options.check()?;
    let mut records = Records::default();
    for suite in options.suites() {
        let measure = match suite {
            Suite::PacketRate => packet_rate::measure,
            Suite::Stream => stream::measure,
            Suite::Connections => connections::measure,
            Suite::Rules => rules::measure,
            Suite::Memory => memory::measure,
            Suite::Load => load::measure,
            Suite::Control => control::measure,
        };
        let name = suite.to_possible_value().context("a suite without a name")?;
        measure(options, &mut records).with_context(|| name.get_name().to_owned())?;
    }
    records.print(options.markdown)
}
