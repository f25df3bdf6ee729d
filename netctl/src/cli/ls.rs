//! `netctl ls`: the topologies that are up.

use anstyle::Style;
use netctl::{model::Topology, state::Directories};
use serde::Serialize;

use super::{Exit, Failure, Printer, print};

#[derive(Serialize)]
struct Line {
    name: String,
    state: &'static str,
    namespaces: usize,
    bridges: usize,
    cables: usize,
    gateways: Vec<String>,
}

impl Line {
    fn new(topology: &Topology, complete: bool) -> Self {
        Self {
            name: topology.name.to_string(),
            state: if complete { "up" } else { "incomplete" },
            namespaces: topology.namespaces.len(),
            bridges: topology.bridges.len(),
            cables: topology.cables.len(),
            gateways: topology.gateways.iter().map(|gateway| gateway.place.to_string()).collect(),
        }
    }

    fn cells(&self) -> Vec<(Style, String)> {
        let state = if self.state == "up" { print::GOOD } else { print::BAD };
        let plain = |n: usize| (Style::new(), n.to_string());
        vec![
            (print::NAME, self.name.clone()),
            (state, self.state.to_owned()),
            plain(self.namespaces),
            plain(self.bridges),
            plain(self.cables),
            (Style::new(), if self.gateways.is_empty() { "-".to_owned() } else { self.gateways.join(",") }),
        ]
    }
}

pub(super) fn run(directories: &Directories, printer: &mut Printer) -> Result<Exit, Failure> {
    let mut lines = Vec::new();
    for name in directories.topologies()? {
        // Gone since it was listed: another command's `down`.
        let Some(record) = directories.record(&name)? else { continue };
        lines.push(Line::new(&record.topology, record.complete));
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
    Ok(Exit::Done)
}
