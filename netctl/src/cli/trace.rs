//! `netctl trace`: what would become of a packet.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use anstyle::Style;
use netctl::{
    model::Place,
    state::Directories,
    trace::{Question, Report, Step, Verdict, Walk, What, trace},
};
use serde::Serialize;

use super::{Exit, Failure, Printer, cells, namespace, print, words};

/// Shown below the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  netctl trace red - 203.0.113.2:80/tcp         a connection out of `red`
  netctl trace red 203.0.113.2                  an echo request; SRC may be left out
  netctl trace internet - 203.0.113.1:8080/tcp  from outside, by a forward
  netctl trace red 192.168.15.1:4321 203.0.113.2:53/udp --size 1472
  netctl trace red - '[2001:db8:113::2]:443/tcp' --json | jq .verdict

Nothing is sent and nothing changes: the kernel is asked for its routes and sockets, and the NAT
programs run on a copy of what they know. Exit status 0 if the packet arrives and its answer comes
back, else 3, with what to do about it.";

/// The smallest that every link takes: of IPv6, 1280.
const SMALL: u32 = 64;

/// What to follow.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where it begins: a namespace, or `host`
    #[arg(value_name = "NS", value_parser = namespace::place)]
    place: Place,
    /// Its source: ADDRESS or ADDRESS:PORT; left out or `-`, the one that routing gives it. Then its destination:
    /// ADDRESS:PORT/tcp, ADDRESS:PORT/udp, or ADDRESS for an echo request
    #[arg(value_name = "[SRC] DST", num_args = 1..=2, required = true)]
    ends: Vec<String>,
    /// How long it is in bytes, the IP header included: what does not fit an MTU is found
    #[arg(long, value_name = "BYTES", default_value_t = SMALL, value_parser = clap::value_parser!(u32).range(28..=65_535))]
    size: u32,
}

#[derive(Debug, Clone, Copy)]
struct Source(Option<IpAddr>, Option<u16>);

#[derive(Debug, Clone, Copy)]
struct Destination(SocketAddr, What);

fn source(text: &str) -> Result<Source, words::Error> {
    match text.parse::<SocketAddr>() {
        _ if text == "-" => Ok(Source(None, None)),
        Ok(end) => Ok(Source(Some(end.ip()), Some(end.port()))),
        Err(_) => {
            let source = address(text).map(|address| Source(Some(address), None));
            source.ok_or("ADDRESS, ADDRESS:PORT or `-`").map_err(words::wrong(text, "source"))
        }
    }
}

fn destination(text: &str) -> Result<Destination, words::Error> {
    let (end, protocol) = text.rsplit_once('/').unwrap_or((text, "icmp"));
    let with_port = || end.parse().ok().filter(|end: &SocketAddr| end.port() != 0);
    let to = match protocol {
        "tcp" => with_port().map(|to| Destination(to, What::Tcp)),
        "udp" => with_port().map(|to| Destination(to, What::Udp)),
        "icmp" | "icmpv6" => address(end).map(|to| Destination(SocketAddr::new(to, 0), What::Echo)),
        _ => None,
    };
    let forms = "ADDRESS:PORT/tcp, ADDRESS:PORT/udp, or ADDRESS for an echo request";
    to.ok_or(forms).map_err(words::wrong(text, "destination"))
}

/// An address, in brackets or not.
fn address(text: &str) -> Option<IpAddr> {
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    inner.unwrap_or(text).parse().ok()
}

#[derive(Serialize)]
struct Document<'a> {
    holds: bool,
    verdict: &'a str,
    hint: Option<&'a str>,
    #[serde(flatten)]
    report: &'a Report,
}

pub(super) fn run(args: &Args, directories: &Directories, printer: &mut Printer) -> Result<Exit, Failure> {
    let Args { place, ends, size } = args;
    let (from, to) = match &ends[..] {
        [from, to] => (from.as_str(), to),
        [to, ..] => ("-", to),
        [] => ("-", &String::new()),
    };
    let (Source(from, port), Destination(to, what)) = (source(from)?, destination(to)?);
    let question = Question { place: place.clone(), from: (from, port), to, what, size: *size };
    let report = trace(&question, directories)?;
    let (holds, verdict, hint) = (report.holds(), report.verdict(), report.hint());
    let document = Document { holds, verdict: &verdict, hint, report: &report };
    printer.show(&document, |printer| tell(&document, printer))?;
    Ok(if holds { Exit::Done } else { Exit::NotHeld })
}

fn tell(document: &Document<'_>, printer: &mut Printer) -> io::Result<()> {
    let Document { holds, verdict, hint, report } = document;
    let steps: Vec<&Step> = report.there.steps.iter().collect();
    walk("", &report.there, (1..).zip(&steps), printer)?;
    if let Some(back) = &report.back {
        // The wires are those of the way there, unless it fails at one.
        let is_wire = |step: &Step| step.verdict == Verdict::Ok && matches!(step.about, "cable" | "bridge");
        let others: Vec<&Step> = back.steps.iter().filter(|step| !is_wire(step)).collect();
        walk("answer ", back, (steps.len() + 1..).zip(&others), printer)?;
    }
    printer.line(&printer.paint(if *holds { print::GOOD } else { print::BAD }, verdict))?;
    match hint {
        Some(hint) => printer.line(&format!("{} {hint}", printer.paint(print::GOOD, "hint:"))),
        None => Ok(()),
    }
}

/// Steps of a way with their numbers, below the packet that goes it.
fn walk<'a>(
    title: &str,
    walk: &Walk,
    steps: impl Iterator<Item = (usize, &'a &'a Step)>,
    printer: &mut Printer,
) -> io::Result<()> {
    printer.line(&format!("{title}{}", printer.paint(print::NAME, &walk.packet.to_string())))?;
    let row = |(number, step): (usize, &&Step)| {
        let style = match step.verdict {
            Verdict::Ok => Style::new(),
            Verdict::Warning => print::CHANGED,
            Verdict::Problem => print::BAD,
        };
        let place = cells::plain(step.place.to_string());
        vec![
            cells::faint(format!("{number:>2}")),
            place,
            cells::faint(step.about),
            (style, step.text.clone()),
        ]
    };
    let rows: Vec<cells::Row> = steps.map(row).collect();
    printer.table("  ", &rows)?;
    printer.line("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_read_as_people_write_them() {
        for (text, to, what) in [
            ("203.0.113.2:80/tcp", "203.0.113.2:80", What::Tcp),
            ("[2001:db8::2]:53/udp", "[2001:db8::2]:53", What::Udp),
            ("203.0.113.2", "203.0.113.2:0", What::Echo),
            ("2001:db8::2/icmp", "[2001:db8::2]:0", What::Echo),
            ("[2001:db8::2]", "[2001:db8::2]:0", What::Echo),
        ] {
            let Destination(found, is) = destination(text).unwrap();
            assert_eq!((found.to_string().as_str(), is), (to, what));
        }
        for text in
            ["203.0.113.2:80", "203.0.113.2/tcp", "203.0.113.2:0/tcp", "blue:80/tcp", "10.0.0.1:1/sctp"]
        {
            destination(text).unwrap_err();
        }
        assert_eq!(source("10.0.0.1:7").unwrap().1, Some(7));
        assert!(source("-").unwrap().0.is_none() && source("fd15::1").unwrap().0.is_some());
        source("red").unwrap_err();
    }
}
