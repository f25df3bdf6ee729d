//! What this kernel, this user and the gateways that are up can and cannot do, and what to do about it: what `netctl
//! doctor` tells. Everything is tried or read, nothing is guessed from version numbers, and nothing is left changed.

mod by_hand;
mod crowd;
mod gateway;
mod kernel;
mod topology;
mod user;

pub(crate) use self::crowd::tables;
pub use self::{
    crowd::{Crowd, crowds},
    user::{HIDDEN, UNHIDE},
};
pub use crate::verdict::Verdict;

use serde::Serialize;

use crate::{
    advice,
    model::{Topology, TopologyName},
    state::{self, Directories, NotUp},
};

/// Why nothing could be looked at.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The record could not be read.
    #[error("{0}")]
    State(#[from] state::Error),
    /// It is not up.
    #[error("{0}")]
    NotUp(#[from] NotUp),
}

/// What was found, by what it is about.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// In the order in which it was looked at.
    pub sections: Vec<Section>,
}

/// What was found about one thing.
#[derive(Debug, Serialize)]
pub struct Section {
    /// `user`, `kernel`, a topology, or `gateways made by hand`.
    pub about: String,
    /// Each by itself.
    pub findings: Vec<Finding>,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it comes to.
    pub verdict: Verdict,
    /// What was found.
    pub text: String,
    /// What to do about it: a command, or a phrase.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Finding {
    fn ok(text: impl Into<String>) -> Self {
        Self { verdict: Verdict::Ok, text: text.into(), fix: None }
    }

    fn warning(text: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { verdict: Verdict::Warning, text: text.into(), fix: Some(fix.into()) }
    }

    fn problem(text: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { verdict: Verdict::Problem, text: text.into(), fix: Some(fix.into()) }
    }

    /// What could not be looked at.
    fn unknown(what: &str, error: &dyn std::error::Error) -> Self {
        Self { verdict: Verdict::Warning, text: format!("{what} could not be looked at: {error}"), fix: None }
    }
}

impl Report {
    /// The worst of all.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let all = self.sections.iter().flat_map(|section| &section.findings);
        all.map(|finding| finding.verdict).max().unwrap_or(Verdict::Ok)
    }

    fn add(&mut self, about: impl Into<String>, findings: Vec<Finding>) {
        self.sections.push(Section { about: about.into(), findings });
    }
}

/// Which topologies to look at.
#[derive(Debug, Clone, Copy)]
pub enum About<'a> {
    /// All that are up, and the gateways that belong to none.
    Everything,
    /// One that is up.
    Up(&'a TopologyName),
    /// One that may yet be brought up.
    File(&'a Topology),
}

/// Looks at everything.
///
/// # Errors
/// If it cannot be told which topologies are up.
pub fn examine(about: About<'_>, directories: &Directories) -> Result<Report, Error> {
    let mut report = Report::default();
    let (user, may_try) = user::examine(&directories.bpffs);
    report.add("user", user);
    let mut kernel = kernel::examine(may_try);
    kernel.extend(crowd::examine());
    report.add("kernel", kernel);
    if !may_try {
        return Ok(report);
    }
    match about {
        About::File(topology) => report.add(topology.name.as_str(), topology::foresee(topology, directories)),
        About::Up(name) => {
            let record = directories.record(name)?.ok_or_else(|| NotUp(name.clone()))?;
            report.add(name.as_str(), topology::examine(&record, directories));
        }
        About::Everything => {
            for (name, record) in directories.records()? {
                let findings = match record {
                    Ok(record) => topology::examine(&record, directories),
                    Err(error) => {
                        vec![Finding::problem(error.to_string(), advice::of(&error).unwrap_or_default())]
                    }
                };
                report.add(name.as_str(), findings);
            }
            let by_hand = by_hand::examine(directories);
            if !by_hand.is_empty() {
                report.add("gateways made by hand", by_hand);
            }
        }
    }
    Ok(report)
}
