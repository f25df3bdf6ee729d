//! `netctl plan`: what `up` would change.

use std::path::PathBuf;

use netctl::{
    op::{Effect, Line, Op},
    state::Directories,
    up::preview,
};
use serde::Serialize;

use super::{Exit, Failure, Printer, print, source};

/// Shown below the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  netctl plan office.toml
  netctl plan --explain         the ip, sysctl and iptables commands that `up` would equal";

/// What to plan.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The topology file [default: ./netctl.toml or ./netctl.json, else the built-in quickstart]
    file: Option<PathBuf>,
    /// Print the command that each step of `up` equals
    #[arg(long)]
    explain: bool,
}

#[derive(Serialize)]
struct Document<'a> {
    topology: &'a str,
    changes: Vec<Line<'a>>,
}

pub(super) fn run(args: &Args, directories: &Directories, printer: &mut Printer) -> Result<Exit, Failure> {
    let source = source::topology(args.file.as_deref())?;
    let ops = preview(source.wanted(false), directories)?;
    if args.explain {
        explain(&ops, printer)?;
    } else {
        print(source.topology.name.as_str(), &ops, printer)?;
    }
    Ok(if ops.is_empty() { Exit::Done } else { Exit::NotHeld })
}

/// The commands that operations equal.
pub(super) fn explain(ops: &[Op], printer: &mut Printer) -> Result<(), Failure> {
    let commands: Vec<String> = ops.iter().flat_map(Op::commands).collect();
    printer.show(&commands, |printer| commands.iter().try_for_each(|command| printer.lines(command)))
}

/// A line an operation, with its sign.
pub(super) fn print(topology: &str, ops: &[Op], printer: &mut Printer) -> Result<(), Failure> {
    let changes = ops.iter().map(Line::new).collect();
    printer.show(&Document { topology, changes }, |printer| {
        if ops.is_empty() {
            return printer.line(&format!("{topology} is up and as the file says: nothing to change"));
        }
        for op in ops {
            let (sign, style) = match op.effect() {
                Some(Effect::Add) => ('+', print::GOOD),
                Some(Effect::Modify) => ('~', print::CHANGED),
                Some(Effect::Remove) => ('-', print::BAD),
                None => (' ', print::FAINT),
            };
            printer.line(&printer.paint(style, &format!("{sign} {op}")))?;
        }
        Ok(())
    })
}
