//! `netctl ls`: the topologies that are up.

use std::path::PathBuf;

use anstyle::Style;
use netctl::{
    advice,
    model::{Topology, TopologyName},
    ownership,
    state::{Directories, Record},
};
use serde::Serialize;

use super::{Exit, Failure, Printer, print};

#[derive(Serialize)]
struct Line {
    name: String,
    state: State,
    /// The file that it was brought up from.
    file: Option<PathBuf>,
    /// The network namespace that it calls the host, where that is another one than here.
    elsewhere: Option<String>,
    namespaces: usize,
    bridges: usize,
    cables: usize,
    gateways: Vec<String>,
}

/// What there is to say of a topology.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Up,
    /// A command was killed half-way, or one is at work.
    Incomplete,
    /// Its record cannot be read.
    Damaged,
    /// It belongs to another host.
    Elsewhere,
}

impl State {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Incomplete => "incomplete",
            Self::Damaged => "damaged",
            Self::Elsewhere => "elsewhere",
        }
    }
}

impl Line {
    fn damaged(name: &TopologyName) -> Self {
        Self { state: State::Damaged, ..Self::new(&Record::new(Topology::empty(name.clone()), None, None)) }
    }

    fn new(record: &Record) -> Self {
        let topology = &record.topology;
        let elsewhere = match ownership::check_host(Some(record)) {
            Err(ownership::Error::Elsewhere { theirs, .. }) => Some(theirs.to_string()),
            Ok(_) | Err(_) => None,
        };
        let state = match (&elsewhere, record.complete) {
            (Some(_), _) => State::Elsewhere,
            (None, true) => State::Up,
            (None, false) => State::Incomplete,
        };
        Self {
            name: topology.name.to_string(),
            state,
            file: record.file.clone(),
            elsewhere,
            namespaces: topology.namespaces.len(),
            bridges: topology.bridges.len(),
            cables: topology.cables.len(),
            gateways: topology.gateways.iter().map(|gateway| gateway.place.to_string()).collect(),
        }
    }

    fn cells(&self) -> Vec<(Style, String)> {
        let state = if self.state == State::Up { print::GOOD } else { print::BAD };
        let plain = |n: usize| (Style::new(), n.to_string());
        vec![
            (print::NAME, self.name.clone()),
            (state, self.state.as_str().to_owned()),
            plain(self.namespaces),
            plain(self.bridges),
            plain(self.cables),
            (Style::new(), if self.gateways.is_empty() { "-".to_owned() } else { self.gateways.join(",") }),
        ]
    }
}

pub(super) fn run(directories: &Directories, printer: &mut Printer) -> Result<Exit, Failure> {
    let mut lines = Vec::new();
    let mut damaged = Vec::new();
    for (name, record) in directories.records()? {
        match record {
            Ok(record) => lines.push(Line::new(&record)),
            Err(error) => {
                lines.push(Line::damaged(&name));
                damaged.push(error);
            }
        }
    }
    printer.show(&lines, |printer| {
        if lines.is_empty() {
            return printer.line("no topology is up");
        }
        let titles = ["NAME", "STATE", "NAMESPACES", "BRIDGES", "CABLES", "GATEWAYS"];
        let mut rows = vec![titles.map(|title| (print::FAINT, title.to_owned())).to_vec()];
        rows.extend(lines.iter().map(Line::cells));
        printer.table("", &rows)
    })?;
    for line in &lines {
        if let Some(host) = &line.elsewhere {
            printer.warning(&format!("topology `{}` belongs to {host}", line.name));
        }
    }
    for error in damaged {
        let hint = advice::of(&error).map_or_else(String::new, |hint| format!("; {hint}"));
        printer.warning(&format!("{error}{hint}"));
    }
    Ok(Exit::Done)
}
