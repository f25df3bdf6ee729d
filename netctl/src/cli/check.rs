//! `netctl check`: whether a topology file is right, by the file alone.

use std::{
    io,
    path::{Path, PathBuf},
};

use netctl::model::{Topology, TopologyName};
use serde::Serialize;

use super::{Exit, Failure, Printer, print, source};

/// Shown below the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  netctl check office.toml
  netctl check && netctl up
  generate | netctl check -

Needs no root and asks the kernel nothing, so it runs anywhere: before a commit, say. What is wrong is told with its line,
exit status 2.";

/// What stands for standard input.
const STDIN: &str = "-";

/// What to check.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The topology file, or - for standard input [default: ./netctl.toml or ./netctl.json, else the built-in quickstart]
    file: Option<PathBuf>,
}

#[derive(Serialize)]
struct Document<'a> {
    file: Option<String>,
    topology: &'a str,
    ok: bool,
    unchecked: &'a [String],
}

/// A file that is not right is a failure like any other.
pub(super) fn run(args: &Args, printer: &mut Printer) -> Result<Exit, Failure> {
    let file = match &args.file {
        Some(file) => Some(file.clone()),
        None => source::default_file()?,
    };
    let topology = match &file {
        Some(file) if file == Path::new(STDIN) => from_stdin()?,
        file => source::topology(file.as_deref())?.topology,
    };
    let unchecked = topology.unchecked();
    let name = topology.name.as_str();
    let document = Document {
        file: file.as_ref().map(|file| file.display().to_string()),
        topology: name,
        ok: true,
        unchecked: &unchecked,
    };
    printer.show(&document, |printer| {
        let what = match &document.file {
            Some(file) => format!("`{file}`"),
            None => "the built-in quickstart".to_owned(),
        };
        printer.line(&format!("{what} is right: topology `{name}`"))?;
        if unchecked.is_empty() {
            return Ok(());
        }
        printer.line(&printer.paint(print::FAINT, &format!("not checked here: {}", unchecked.join("; "))))
    })?;
    Ok(Exit::Done)
}

fn from_stdin() -> Result<Topology, Failure> {
    let path = || PathBuf::from(STDIN);
    let text = io::read_to_string(io::stdin()).map_err(|source| Failure::File { path: path(), source })?;
    let name: TopologyName = "stdin".parse().map_err(|source| Failure::Name { path: path(), source })?;
    Ok(Topology::parse(&text, "standard input", name)?)
}
