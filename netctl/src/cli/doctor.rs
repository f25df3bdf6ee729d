//! `netctl doctor`: what this machine can and cannot do, and what to do about it.

use std::io;

use netctl::{
    doctor::{About, Finding, Report, Verdict, examine},
    state::Directories,
};
use serde::Serialize;

use super::{
    Exit, Failure, Printer, print,
    source::{self, Meant},
};

/// Shown below the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  sudo netctl doctor            kernel, user, and every topology that is up
  sudo netctl doctor office     one of them
  sudo netctl doctor office.toml   what `netctl up office.toml` would meet
  netctl doctor --json | jq '.sections[].findings[] | select(.verdict != \"ok\")'

Features are tried, not guessed from the kernel's version, and nothing is changed. Exit status 3 if there is a problem;
warnings are none.";

/// What to look at.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A topology, by its name or its file [default: all that are up]
    #[arg(value_name = "NAME|FILE")]
    topology: Option<String>,
}

#[derive(Serialize)]
struct Document<'a> {
    verdict: Verdict,
    #[serde(flatten)]
    report: &'a Report,
}

pub(super) fn run(args: &Args, directories: &Directories, printer: &mut Printer) -> Result<Exit, Failure> {
    let meant = args.topology.as_deref().map(|text| source::meant(Some(text), directories)).transpose()?;
    let about = match &meant {
        None => About::Everything,
        Some(Meant::Up(name)) => About::Up(name),
        Some(Meant::File(topology)) => About::File(topology),
    };
    let report = examine(about, directories)?;
    let verdict = report.verdict();
    printer.show(&Document { verdict, report: &report }, |printer| tell(&report, printer))?;
    Ok(if verdict == Verdict::Problem { Exit::NotHeld } else { Exit::Done })
}

fn tell(report: &Report, printer: &mut Printer) -> io::Result<()> {
    for section in &report.sections {
        printer.line(&printer.paint(print::NAME, &section.about))?;
        for (index, finding) in section.findings.iter().enumerate() {
            let next = section.findings.get(index + 1).and_then(|next| next.fix.as_ref());
            tell_one(finding, next, printer)?;
        }
        printer.line("")?;
    }
    let count = |verdict| {
        let all = report.sections.iter().flat_map(|section| &section.findings);
        all.filter(|finding| finding.verdict == verdict).count()
    };
    let plural = |n: usize, what: &str| if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") };
    printer.line(&match (count(Verdict::Problem), count(Verdict::Warning)) {
        (0, 0) => printer.paint(print::GOOD, "nothing to complain of"),
        (0, warnings) => printer.paint(print::CHANGED, &plural(warnings, "warning")),
        (problems, 0) => printer.paint(print::BAD, &plural(problems, "problem")),
        (problems, warnings) => {
            let words = format!("{}, {}", plural(problems, "problem"), plural(warnings, "warning"));
            printer.paint(print::BAD, &words)
        }
    })
}

/// One finding. What puts several right is said once, below the last of them.
fn tell_one(finding: &Finding, next: Option<&String>, printer: &mut Printer) -> io::Result<()> {
    let Finding { verdict, text, fix } = finding;
    let (style, word) = match verdict {
        Verdict::Ok => (print::GOOD, "ok"),
        Verdict::Warning => (print::CHANGED, "warning"),
        Verdict::Problem => (print::BAD, "problem"),
    };
    printer.line(&format!("  {}  {text}", printer.paint(style, &format!("{word:7}"))))?;
    match fix.as_ref().filter(|fix| Some(*fix) != next) {
        Some(fix) => printer.line(&format!("           {} {fix}", printer.paint(print::FAINT, "fix:"))),
        None => Ok(()),
    }
}
