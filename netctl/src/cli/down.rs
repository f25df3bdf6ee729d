//! `netctl down`: remove what `up` made.

use std::io;

use netctl::{
    down::{self, Report},
    model::{NetnsName, TopologyName},
    state::Directories,
};
use serde::Serialize;

use super::{
    Exit, Failure, Printer, print,
    source::{self, Down},
};

/// What to take down.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The topology, by its name or its file [default: that of ./netctl.toml, else the only one that is up]
    #[arg(value_name = "NAME|FILE", conflicts_with = "all")]
    topology: Option<String>,
    /// Every topology that is up
    #[arg(long)]
    all: bool,
    /// Also if its host is another network namespace: what can be reached from here
    #[arg(long)]
    force: bool,
}

#[derive(Serialize)]
struct Document {
    topology: TopologyName,
    removed: bool,
    namespaces: Vec<String>,
    links: Vec<String>,
    routes: Vec<String>,
    sysctls: Vec<String>,
    errors: Vec<String>,
}

pub(super) fn run(args: &Args, directories: &Directories, printer: &mut Printer) -> Result<Exit, Failure> {
    let mut is_guess = false;
    let names = match (&args.topology, args.all) {
        (_, true) => directories.topologies()?,
        (Some(text), false) => vec![source::name(text)?],
        (None, false) => match source::to_take_down(directories)? {
            Down::One(name) => vec![name],
            // Its marks may be there where its record is lost.
            Down::Nothing => {
                is_guess = true;
                vec![source::quickstart_name()?]
            }
        },
    };
    let (mut reports, mut refused) = (Vec::new(), Vec::new());
    for name in names {
        let report = match down::down(&name, args.force, directories) {
            // One that cannot be taken down keeps none of the others, and what was done is told.
            Err(error) if args.all => {
                refused.push(error);
                continue;
            }
            report => report?,
        };
        warn_of_residents(&report.namespaces, printer);
        if is_guess && report.is_empty() {
            continue;
        }
        let is_a_name = args.topology.as_deref().is_some_and(|text| !source::is_file(text));
        if report.is_empty() && is_a_name && name != source::quickstart_name()? {
            return Err(source::unknown(name, directories));
        }
        reports.push((name, report));
    }
    let documents: Vec<Document> = reports.iter().map(|(name, report)| document(name, report)).collect();
    printer.report(&documents, |printer| {
        if reports.is_empty() && refused.is_empty() {
            return printer.line("no topology is up: nothing to do");
        }
        reports.iter().try_for_each(|(name, report)| tell(name, report, printer))
    })?;
    let errors = reports.into_iter().flat_map(|(_, report)| report.errors);
    let errors: Vec<down::Error> = errors.chain(refused).collect();
    let failed = !errors.is_empty();
    for error in errors {
        printer.failure(&error.into());
    }
    Ok(if failed { Exit::Failed } else { Exit::Done })
}

/// Says which processes have lost their namespace's name.
pub(super) fn warn_of_residents(namespaces: &[(NetnsName, Vec<u32>)], printer: &Printer) {
    for (namespace, holders) in namespaces.iter().filter(|(_, holders)| !holders.is_empty()) {
        let pids: Vec<String> = holders.iter().map(u32::to_string).collect();
        printer.warning(&format!("processes still live in namespace `{namespace}`: {}", pids.join(", ")));
    }
}

fn document(name: &TopologyName, report: &Report) -> Document {
    Document {
        topology: name.clone(),
        removed: !report.is_empty(),
        namespaces: report.namespaces.iter().map(|(namespace, _)| namespace.to_string()).collect(),
        links: report.links.clone(),
        routes: report.routes.clone(),
        sysctls: report.sysctls.clone(),
        errors: report.errors.iter().map(ToString::to_string).collect(),
    }
}

fn tell(name: &TopologyName, report: &Report, printer: &mut Printer) -> io::Result<()> {
    let name = printer.paint(print::NAME, name.as_str());
    if report.is_empty() {
        return printer.line(&format!("{name} is not up: nothing to do"));
    }
    let mut removed = Vec::new();
    match report.namespaces.len() {
        0 => {}
        1 => removed.push("1 namespace".to_owned()),
        n => removed.push(format!("{n} namespaces")),
    }
    match report.links.len() {
        0 => {}
        1 => removed.push("1 link on the host".to_owned()),
        n => removed.push(format!("{n} links on the host")),
    }
    match report.routes.len() {
        0 => {}
        1 => removed.push("1 route or policy rule of the host".to_owned()),
        n => removed.push(format!("{n} routes and policy rules of the host")),
    }
    if report.nat {
        removed.push("its NAT".to_owned());
    }
    let removed = if removed.is_empty() { "its record".to_owned() } else { removed.join(", ") };
    let restored = match report.sysctls.len() {
        0 => String::new(),
        1 => "; put back 1 sysctl of the host".to_owned(),
        n => format!("; put back {n} sysctls of the host"),
    };
    printer.line(&format!("{name} is down: removed {removed}{restored}"))
}
