//! Which topology a verb is about: a file, the file of this directory, or the built-in quickstart.

use std::{
    fs,
    path::{Path, PathBuf},
};

use netctl::{
    model::{Topology, TopologyName},
    spec,
    state::Directories,
};

use super::Failure;

/// What is taken where no file is named: one of them, not both.
const DEFAULT_FILES: [&str; 2] = ["netctl.toml", "netctl.json"];

/// Reads and checks the topology in `file`, else in this directory's `netctl.toml` or `netctl.json`, else the
/// quickstart.
pub(super) fn topology(file: Option<&Path>) -> Result<Topology, Failure> {
    match file {
        Some(path) => read(path),
        None => default_file()?.map_or_else(quickstart, |path| read(&path)),
    }
}

/// This directory's topology file, if it has one.
pub(super) fn default_file() -> Result<Option<PathBuf>, Failure> {
    match DEFAULT_FILES.map(Path::new).map(Path::exists) {
        [true, true] => Err(Failure::TwoFiles { one: DEFAULT_FILES[0], other: DEFAULT_FILES[1] }),
        [true, false] => Ok(Some(PathBuf::from(DEFAULT_FILES[0]))),
        [false, true] => Ok(Some(PathBuf::from(DEFAULT_FILES[1]))),
        [false, false] => Ok(None),
    }
}

/// What an argument means: the topology in a file, as it should be, or one that is up.
pub(super) enum Meant {
    File(Box<Topology>),
    Up(TopologyName),
}

/// A file, or the name of a topology that is up; without either the only one that is up, else what `up` would bring up.
pub(super) fn meant(argument: Option<&str>, directories: &Directories) -> Result<Meant, Failure> {
    let file = |file| topology(file).map(|topology| Meant::File(Box::new(topology)));
    match (argument, directories.topologies()?.as_slice()) {
        (Some(text), _) if is_file(text) => file(Some(Path::new(text))),
        (None, [only]) => Ok(Meant::Up(only.clone())),
        (None, _) => file(None),
        (argument, _) => name(argument).map(Meant::Up),
    }
}

/// The topology that is up and that an argument means; without one the only one that is.
pub(super) fn up(argument: Option<&str>, directories: &Directories) -> Result<TopologyName, Failure> {
    match (argument, directories.topologies()?.as_slice()) {
        (None, [only]) => Ok(only.clone()),
        _ => name(argument),
    }
}

/// The name of the topology that an argument means: a file's, or itself.
pub(super) fn name(argument: Option<&str>) -> Result<TopologyName, Failure> {
    match argument {
        Some(text) if is_file(text) => Ok(read(Path::new(text))?.name),
        Some(text) => text.parse().map_err(|source| Failure::Argument { text: text.to_owned(), source }),
        None => Ok(topology(None)?.name),
    }
}

/// A topology's name has neither a slash nor a dot.
pub(super) fn is_file(text: &str) -> bool {
    let extension = Path::new(text).extension();
    text.contains('/') || extension.is_some_and(|extension| extension == "toml" || extension == "json")
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
