//! A topology: whether it is as it was made, or could be.

use super::{Finding, crowds, gateway};
use crate::{
    advice,
    model::Topology,
    state::{Directories, Record},
    up::{self, Wanted, preview},
};

/// As many differences as are told one by one.
const MOST: usize = 8;

/// What `up` would find.
pub(super) fn foresee(topology: &Topology, directories: &Directories) -> Vec<Finding> {
    let mut findings = vec![match preview(Wanted::again(topology), directories) {
        Ok(ops) if ops.is_empty() => Finding::ok("up, and as the file says"),
        Ok(ops) => Finding::ok(format!("nothing is in its way: `netctl up` would take {} steps", ops.len())),
        Err(error) => refused(&error),
    }];
    findings.extend(crowded(topology));
    findings
}

fn crowded(topology: &Topology) -> Vec<Finding> {
    crowds(topology).iter().map(|crowd| Finding::warning(crowd.text(), crowd.remedy())).collect()
}

/// What has become of it since it was brought up, and of its gateways.
pub(super) fn examine(record: &Record, directories: &Directories) -> Vec<Finding> {
    let (topology, name) = (&record.topology, &record.topology.name);
    let again = up::again(name);
    let mut findings = Vec::new();
    if !record.complete {
        let fix = format!("{again}, or `netctl down {name:#}`");
        findings.push(Finding::problem("a command was killed while it changed this topology", fix));
    }
    match preview(Wanted::again(topology), directories) {
        Ok(ops) if ops.is_empty() => findings.push(Finding::ok("as it was made")),
        Ok(ops) => {
            let differs =
                |op| Finding::problem(format!("not as it was made; to be done again: {op}"), &again);
            findings.extend(ops.iter().take(MOST).map(differs));
            if let Some(more @ 1..) = ops.len().checked_sub(MOST) {
                findings
                    .push(Finding::problem(format!("and {more} more steps"), "`netctl plan` has them all"));
            }
        }
        Err(error) => findings.push(refused(&error)),
    }
    for gateway in &topology.gateways {
        findings.extend(gateway::examine(gateway, Some(name), directories));
    }
    findings.extend(crowded(topology));
    findings
}

fn refused(error: &up::Error) -> Finding {
    Finding::problem(error.to_string(), advice::of(error).unwrap_or_else(|| "see above".to_owned()))
}
