//! netctl beside what else there is, on networks of its own. `cargo xtask bench` builds and runs it.
//!
//! A suite measures one thing for every contender, in turns, several times over, and adds what it finds to the
//! records, of which the report makes something to look at.
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
mod report;
mod rewrite;
mod rules;
mod site;
mod spread;
mod stream;
mod table;

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser as _;

pub use crate::{contender::Contender, rewrite::Rewrite};
use crate::{
    options::{Options, Suite},
    record::Records,
    report::Report,
};

/// What `netctl-bench` is told, done.
#[must_use]
pub fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(3),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Tells whether nothing has become slower, if that was asked for.
fn run(options: &Options) -> Result<bool> {
    if !nix::unistd::geteuid().is_root() {
        bail!("namespaces take root: run this with sudo");
    }
    options.check()?;
    // Before an hour is spent on what it is to be compared with.
    let base = options.compare.as_deref().map(Report::read).transpose()?;
    let mut records = Records::default();
    let mut failed = Vec::new();
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
        // What the others found is not lost.
        if let Err(error) = measure(options, &mut records) {
            failed.push(format!("{suite:?}: {error:#}"));
        }
    }
    let report = Report::new(records);
    report.print(options.markdown)?;
    if let Some(directory) = &options.report {
        report.write(directory)?;
    }
    if !failed.is_empty() {
        bail!("{}", failed.join("; "));
    }
    base.map_or(Ok(true), |base| report.compare(&base))
}
