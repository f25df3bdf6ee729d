//! The differential test: netctl's NAT against the kernel's own netfilter and against a small model.
//!
//! Two labs are alike but for their gateways' NAT. A case is a list of steps, drawn from a seed; each step puts the same
//! packet into both labs, and what comes out of them is compared, and with what the model says. Where netctl is meant to
//! differ is listed in [`known`], each place with its number. Any other difference fails, is made small and is kept as a
//! file.

pub mod arena;
pub mod build;
pub mod campaign;
pub mod conntrack;
pub mod cut;
pub mod draw;
pub mod edit;
pub mod known;
pub mod model;
pub mod mutants;
pub mod names;
pub mod seen;
pub mod shrink;
pub mod side;
pub mod step;
pub mod tap;
pub mod world;

use std::{fs, io, path::Path};

use serde::{Deserialize, Serialize};

use self::step::Step;

/// A case in a file.
#[derive(Debug, Serialize, Deserialize)]
pub struct Seed {
    /// What it once showed.
    pub about: String,
    /// Its steps.
    pub steps: Vec<Step>,
}

impl Seed {
    /// Reads a case.
    ///
    /// # Errors
    /// If the file cannot be read or is none.
    pub fn read(path: &Path) -> io::Result<Self> {
        serde_json::from_str(&fs::read_to_string(path)?).map_err(io::Error::other)
    }

    /// Writes it, a step a line.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let steps: Result<Vec<_>, _> = self.steps.iter().map(serde_json::to_string).collect();
        let (about, steps) = (serde_json::to_string(&self.about)?, steps?.join(",\n  "));
        fs::write(path, format!("{{\n\"about\": {about},\n\"steps\": [\n  {steps}\n]\n}}\n"))
    }
}
