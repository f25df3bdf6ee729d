//! `netctl ping`: the reachability matrix.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    time::Duration,
};

use anstyle::Style;
use netctl::{
    model::Place,
    ping::{How, Outcome, Probe, Report, ping},
    state::Directories,
};
use serde::Serialize;

use super::{
    Exit, Failure, Printer,
    cells::{self, Row},
    print, source,
};

/// Shown below the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  netctl ping                   the topology that is up
  netctl ping office --timeout 3
  netctl ping --json | jq '.probes[] | select(.expected and (.answered | not))'

Every namespace pings every address of the others, and connects to every forwarded TCP port; where nobody listens behind
it, netctl does for that moment. What should be reached is what the topology's routes and NAT rules lead to and back:
`-` is a place that should not be reached and is not, `FAIL` one that should and is not. Exit status 3 if anything fails.";

/// More places than a table has columns for.
const WIDE: usize = 10;

/// As many failures as a screen has room for.
const MOST: usize = 20;

/// Whom to ask.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The topology, by its name or its file [default: the one that is up, else as `up` without a file]
    #[arg(value_name = "NAME|FILE")]
    topology: Option<String>,
    /// How long to wait for answers, in seconds
    #[arg(short, long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    timeout: Duration,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("`{text}` is no number of seconds"))?;
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|timeout| (0.01..=3600.0).contains(&timeout.as_secs_f64()))
        .ok_or_else(|| "between 0.01 and 3600 seconds".to_owned())
}

#[derive(Serialize)]
struct Document<'a> {
    topology: &'a str,
    holds: bool,
    probes: Vec<Line<'a>>,
}

#[derive(Serialize)]
struct Line<'a> {
    from: &'a Place,
    to: &'a Place,
    protocol: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    forward: Option<&'a str>,
    address: String,
    expected: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    why_not: Option<String>,
    answered: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    microseconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

impl<'a> Line<'a> {
    fn new(probe: &'a Probe) -> Self {
        let (protocol, forward, address) = match &probe.how {
            How::Echo(address) => ("icmp", None, address.to_string()),
            How::Connect { listen, at } => ("tcp", Some(listen.as_str()), at.to_string()),
        };
        let (microseconds, error) = match &probe.outcome {
            Outcome::Answered(after) => (Some(after.as_micros().try_into().unwrap_or(u64::MAX)), None),
            Outcome::Failed(why) => (None, Some(why.as_str())),
        };
        Self {
            from: &probe.from,
            to: &probe.to,
            protocol,
            forward,
            address,
            expected: probe.expected.is_ok(),
            why_not: probe.expected.as_ref().err().map(ToString::to_string),
            answered: microseconds.is_some(),
            microseconds,
            error,
        }
    }
}

pub(super) fn run(args: &Args, directories: &Directories, printer: &mut Printer) -> Result<Exit, Failure> {
    let name = source::up(args.topology.as_deref(), directories)?;
    let report = ping(&name, args.timeout, directories)?;
    let holds = !report.probes.iter().any(Probe::is_failure);
    let document = Document {
        topology: report.topology.as_str(),
        holds,
        probes: report.probes.iter().map(Line::new).collect(),
    };
    printer.show(&document, |printer| tell(&report, printer))?;
    if report.overflows > 0 {
        printer.warning(&format!(
            "meanwhile the kernel's table of neighbours was full {}: `netctl doctor` says how to make room",
            cells::count(report.overflows, "time")
        ));
    }
    Ok(if holds { Exit::Done } else { Exit::NotHeld })
}

fn tell(report: &Report, printer: &mut Printer) -> io::Result<()> {
    for (family, ipv4) in [("IPv4", true), ("IPv6", false)] {
        let is_its = |probe: &&Probe| matches!(probe.how, How::Echo(to) if to.is_ipv4() == ipv4);
        let probes: Vec<&Probe> = report.probes.iter().filter(is_its).collect();
        if probes.is_empty() {
            continue;
        }
        let rows = report
            .places
            .iter()
            .map(|from| (from.to_string(), probes_of(&probes, |probe| probe.from == *from)));
        matrix(family, rows.collect(), &report.places, |probe| &probe.to, printer)?;
        printer.line("")?;
    }
    let forwards = forwards(&report.probes);
    if !forwards.is_empty() {
        matrix("forward", forwards, &report.places, |probe| &probe.from, printer)?;
        printer.line("")?;
    }
    strays(report, printer)?;
    verdict(report, printer)
}

fn probes_of<'a>(probes: &[&'a Probe], is_its: impl Fn(&Probe) -> bool) -> Vec<&'a Probe> {
    probes.iter().copied().filter(|probe| is_its(probe)).collect()
}

/// The probes of each forward, in the order of the topology; where several gateways have some, with the gateway's name.
fn forwards(probes: &[Probe]) -> Vec<(String, Vec<&Probe>)> {
    let calls = || {
        probes.iter().filter_map(|probe| match &probe.how {
            How::Connect { listen, .. } => Some((listen, probe)),
            How::Echo(_) => None,
        })
    };
    let are_several = calls().map(|(_, probe)| &probe.to).collect::<BTreeSet<_>>().len() > 1;
    let mut forwards: Vec<(String, Vec<&Probe>)> = Vec::new();
    for (listen, probe) in calls() {
        let row = if are_several { format!("{} {listen}", probe.to) } else { listen.clone() };
        match forwards.last_mut() {
            Some((last, its)) if *last == row && its[0].to == probe.to => its.push(probe),
            _ => forwards.push((row, vec![probe])),
        }
    }
    forwards
}

/// A row each, with a column for each place; where those are too many, with their number alone.
fn matrix(
    title: &str,
    rows: Vec<(String, Vec<&Probe>)>,
    places: &[Place],
    column: impl Fn(&Probe) -> &Place,
    printer: &mut Printer,
) -> io::Result<()> {
    let faint = |text: &dyn ToString| cells::faint(text.to_string());
    let is_wide = places.len() > WIDE;
    let mut titles = vec![cells::faint(title)];
    if is_wide {
        titles.push(cells::faint("answered"));
    } else {
        titles.extend(places.iter().map(|place| faint(place)));
    }
    let mut table: Vec<Row> = vec![titles];
    for (name, probes) in rows {
        let mut row = vec![cells::name(name)];
        if is_wide {
            row.push(count(&probes));
        } else {
            row.extend(places.iter().map(|place| cell(&probes_of(&probes, |probe| column(probe) == place))));
        }
        table.push(row);
    }
    printer.table("", &table)
}

/// How many of those that should answer do.
fn count(probes: &[&Probe]) -> (Style, String) {
    let expected = probes.iter().filter(|probe| probe.expected.is_ok()).count();
    let failed = probes.iter().filter(|probe| probe.is_failure()).count();
    let style = if failed == 0 { print::GOOD } else { print::BAD };
    (style, format!("{} of {expected}", expected - failed))
}

/// What came of the probes from one place to another: the failure, if there is one, else the time of the first answer.
fn cell(probes: &[&Probe]) -> (Style, String) {
    if probes.iter().any(|probe| probe.is_failure()) {
        return (print::BAD, "FAIL".to_owned());
    }
    let answered = |probe: &&Probe| match probe.outcome {
        Outcome::Answered(after) => Some((probe.expected.is_ok(), after)),
        Outcome::Failed(_) => None,
    };
    let mut answers: Vec<(bool, Duration)> = probes.iter().filter_map(answered).collect();
    answers.sort_by_key(|(expected, _)| !expected);
    match answers.first() {
        Some((true, after)) => (print::GOOD, milliseconds(*after)),
        Some((false, after)) => (print::CHANGED, format!("{} !", milliseconds(*after))),
        None if probes.is_empty() => cells::plain(""),
        None => cells::faint("-"),
    }
}

fn milliseconds(after: Duration) -> String {
    let milliseconds = after.as_secs_f64() * 1000.0;
    if milliseconds < 9.95 { format!("{milliseconds:.2} ms") } else { format!("{milliseconds:.0} ms") }
}

/// Who did not answer and should have, and who is not expected to, with the reasons.
fn strays(report: &Report, printer: &mut Printer) -> io::Result<()> {
    let failures: Vec<&Probe> = report.probes.iter().filter(|probe| probe.is_failure()).collect();
    for Probe { from, to, how, outcome, .. } in failures.iter().take(MOST) {
        let Outcome::Failed(why) = outcome else { continue };
        let what = match how {
            How::Echo(address) => format!("{from} to {to}, {address}: {why}"),
            How::Connect { at, .. } => format!("{from} to {to}, tcp {at}: {why}"),
        };
        printer.line(&format!("{}  {what}", printer.paint(print::BAD, "FAIL")))?;
    }
    if let Some(more @ 1..) = failures.len().checked_sub(MOST) {
        printer.line(&format!("FAIL  and {more} more: `--json` has them all"))?;
    }
    let mut reasons: BTreeMap<(bool, &Place, String), Vec<&Place>> = BTreeMap::new();
    for Probe { from, to, expected, outcome, .. } in &report.probes {
        let Err(why) = expected else { continue };
        let answered = matches!(outcome, Outcome::Answered(_));
        let places = reasons.entry((answered, from, why.to_string())).or_default();
        if !places.contains(&to) {
            places.push(to);
        }
    }
    for ((answered, from, why), places) in reasons {
        let (sign, style) = if answered { ("!", print::CHANGED) } else { ("-", print::FAINT) };
        let places = if places.len() > WIDE {
            format!("{} places", places.len())
        } else {
            places.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        };
        printer.line(&format!("{}     {from} to {places}: {why}", printer.paint(style, sign)))?;
    }
    Ok(())
}

fn verdict(report: &Report, printer: &mut Printer) -> io::Result<()> {
    let expected = report.probes.iter().filter(|probe| probe.expected.is_ok()).count();
    let failed = report.probes.iter().filter(|probe| probe.is_failure()).count();
    let name = printer.paint(print::NAME, report.topology.as_str());
    let verdict = match failed {
        0 => printer.paint(print::GOOD, &format!("all {expected} that should answer do")),
        _ => printer.paint(print::BAD, &format!("{failed} of {expected} that should answer do not")),
    };
    printer.line(&format!("{name}: {verdict}"))
}
