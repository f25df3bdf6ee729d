//! `netctl graph`: the picture of a topology.

use anstyle::Style;
use netctl::{
    graph::{
        Graph, dot, mermaid, svg,
        text::{self, Ink},
    },
    show::{Object, show},
    state::{Directories, NotUp},
};

use super::{
    Exit, Failure, Printer, print,
    source::{self, Meant},
};

/// Shown below the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  netctl graph                              the topology that is up, with what is down in red
  netctl graph office.toml                  a file, which need not be up
  netctl graph --format svg > network.svg
  netctl graph --format dot | dot -Tpdf > network.pdf
  netctl graph --format mermaid             for Markdown pages; --json for programs";

/// What to draw, and how.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The topology: by its name as it is, by its file as it should be [default: the one that is up, else as `up` without
    /// a file]
    #[arg(value_name = "NAME|FILE")]
    topology: Option<String>,
    /// As what
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// What a picture is made of.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    /// Characters, for a terminal
    Text,
    /// For Markdown pages
    Mermaid,
    /// For Graphviz
    Dot,
    /// For browsers, drawn by netctl itself
    Svg,
}

pub(super) fn run(args: &Args, directories: &Directories, printer: &mut Printer) -> Result<Exit, Failure> {
    let graph = match source::meant(args.topology.as_deref(), directories)? {
        Meant::File(topology) => Graph::new(&topology, None),
        Meant::Up(name) => {
            let shown = show(&Object::Topology(name.clone()), directories)?;
            let record = directories.record(&name)?.ok_or(netctl::show::Error::from(NotUp(name)))?;
            Graph::new(&record.topology, Some(&shown))
        }
    };
    printer.show(&graph, |printer| match args.format {
        Format::Text => text::render(&graph).iter().try_for_each(|line| {
            let pieces = line.iter().map(|(ink, text)| printer.paint(style(*ink), text));
            let line: String = pieces.collect();
            printer.line(&line)
        }),
        Format::Mermaid => printer.lines(&mermaid::render(&graph)),
        Format::Dot => printer.lines(&dot::render(&graph)),
        Format::Svg => printer.lines(&svg::render(&graph)),
    })?;
    Ok(Exit::Done)
}

fn style(ink: Ink) -> Style {
    match ink {
        Ink::Plain => Style::new(),
        Ink::Name => print::NAME,
        Ink::Faint => print::FAINT,
        Ink::Good => print::GOOD,
        Ink::Bad => print::BAD,
        Ink::Nat => print::NAT,
    }
}
