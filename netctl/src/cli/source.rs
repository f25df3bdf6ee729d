//! Which topology a verb is about: a file, the file of this directory, or the built-in quickstart.

use std::{
    fs,
    path::{Path, PathBuf},
};

use netctl::{
    model::{Topology, TopologyName},
    spec,
};

use super::Failure;

/// What is taken where no file is named.
const DEFAULT_FILE: &str = "netctl.toml";

/// Reads and checks the topology in `file`, else in `./netctl.toml`, else the quickstart.
pub(super) fn topology(file: Option<&Path>) -> Result<Topology, Failure> {
    let default = Path::new(DEFAULT_FILE);
    match file.or_else(|| default.exists().then_some(default)) {
        Some(path) => read(path),
        None => quickstart(),
    }
}

/// The name of the topology that an argument means: a file's, or itself.
pub(super) fn name(argument: Option<&str>) -> Result<TopologyName, Failure> {
    match argument {
        Some(text) if text.contains('/') || text.ends_with(".toml") => Ok(read(Path::new(text))?.name),
        Some(text) => text.parse().map_err(|source| Failure::Argument { text: text.to_owned(), source }),
        None => Ok(topology(None)?.name),
    }
}

fn read(path: &Path) -> Result<Topology, Failure> {
    let text = fs::read_to_string(path).map_err(|source| Failure::File { path: path.to_owned(), source })?;
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let default_name = stem
        .replace('.', "-")
        .parse()
        .map_err(|source| Failure::Name { path: PathBuf::from(path), source })?;
    Ok(Topology::parse(&text, &path.display().to_string(), default_name)?)
}

fn quickstart() -> Result<Topology, Failure> {
    let path = PathBuf::from("quickstart.toml");
    let name = "quickstart".parse().map_err(|source| Failure::Name { path, source })?;
    Ok(Topology::parse(spec::QUICKSTART, "the built-in quickstart", name)?)
}
