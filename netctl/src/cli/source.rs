//! Which topology a verb is about: a file, the file of this directory, one that is up, or the built-in quickstart. And
//! what a topology is called whose file gives it no name.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use netctl::{
    model::{Topology, TopologyName},
    spec::{self, nearest},
    state::Directories,
    up::Wanted,
};

use super::Failure;

/// What is taken where no file is named: one of them, not both. A file of such a name is called as its directory.
const DEFAULT_FILES: [&str; 2] = ["netctl.toml", "netctl.json"];

/// A topology that was read.
pub(super) struct Source {
    pub(super) topology: Topology,
    /// The file's absolute path; `None` of the quickstart and of what is no file.
    pub(super) file: Option<PathBuf>,
    /// Whether the quickstart was taken for want of a file.
    pub(super) is_quickstart: bool,
}

impl Source {
    pub(super) fn wanted(&self, force: bool) -> Wanted<'_> {
        Wanted { topology: &self.topology, file: self.file.as_deref(), force }
    }
}

/// Reads and checks the topology in `file`, else in this directory's `netctl.toml` or `netctl.json`, else the
/// quickstart.
pub(super) fn topology(file: Option<&Path>) -> Result<Source, Failure> {
    match file {
        Some(path) => read(path),
        None => of_directory()?.map_or_else(quickstart, Ok),
    }
}

/// The topology in the file of this directory, if it has one.
fn of_directory() -> Result<Option<Source>, Failure> {
    default_file()?.map(|path| read(&path)).transpose()
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

/// A file, or the name of a topology that is up; without either the one that is up, else what `up` would bring up.
pub(super) fn meant(argument: Option<&str>, directories: &Directories) -> Result<Meant, Failure> {
    let file = |source: Source| Meant::File(Box::new(source.topology));
    match argument {
        // Of a file, others than root may ask, too, who cannot see what is up.
        Some(text) if is_file(text) => read(Path::new(text)).map(file),
        Some(text) => named(text).map(Meant::Up),
        None => match present(directories)? {
            Some(name) => Ok(Meant::Up(name)),
            None => topology(None).map(file),
        },
    }
}

/// The topology that is up and that an argument means; without one that of this directory's file, if it is up, else the
/// only one that is.
pub(super) fn up(argument: Option<&str>, directories: &Directories) -> Result<TopologyName, Failure> {
    if let Some(text) = argument {
        return name(text);
    }
    match present(directories)? {
        Some(name) => Ok(name),
        None => Ok(topology(None)?.topology.name),
    }
}

fn present(directories: &Directories) -> Result<Option<TopologyName>, Failure> {
    let up = directories.topologies()?;
    if up.is_empty() {
        return Ok(None);
    }
    if let [only] = up.as_slice() {
        return Ok(Some(only.clone()));
    }
    let its = of_directory()?.map(|source| source.topology.name);
    match its.filter(|name| up.contains(name)) {
        Some(name) => Ok(Some(name)),
        None => Err(Failure::Several { names: up }),
    }
}

/// What `down` without an argument takes down.
pub(super) enum Down {
    /// What this directory's file has, the only one that is up, or the quickstart.
    One(TopologyName),
    /// No topology is up, as far as records tell.
    Nothing,
}

/// What this directory's file has, whether or not it is up, so that nothing else is taken down in its stead; without a
/// file the only one that is up.
pub(super) fn to_take_down(directories: &Directories) -> Result<Down, Failure> {
    if let Some(source) = of_directory()? {
        return Ok(Down::One(source.topology.name));
    }
    match directories.topologies()?.as_slice() {
        [] => Ok(Down::Nothing),
        [only] => Ok(Down::One(only.clone())),
        names => Err(Failure::Several { names: names.to_vec() }),
    }
}

/// The name of the topology that an argument means: a file's, or itself.
pub(super) fn name(text: &str) -> Result<TopologyName, Failure> {
    if is_file(text) { Ok(read(Path::new(text))?.topology.name) } else { named(text) }
}

fn named(text: &str) -> Result<TopologyName, Failure> {
    text.parse().map_err(|source| Failure::Argument { text: text.to_owned(), source })
}

/// That no topology has this name, and which one may be meant.
pub(super) fn unknown(name: TopologyName, directories: &Directories) -> Failure {
    let up = directories.topologies().unwrap_or_default();
    let nearest = nearest(name.as_str(), up.iter().map(TopologyName::as_str)).map(str::to_owned);
    Failure::Unknown { name, nearest, up }
}

/// A topology's name has neither a slash nor a dot.
pub(super) fn is_file(text: &str) -> bool {
    let extension = Path::new(text).extension();
    text.contains('/') || extension.is_some_and(|extension| extension == "toml" || extension == "json")
}

fn read(path: &Path) -> Result<Source, Failure> {
    let text = fs::read_to_string(path).map_err(|source| Failure::File { path: path.to_owned(), source })?;
    let file = absolute(path);
    let default_name = default_name(file.as_deref().unwrap_or(path));
    // The name is asked for only where the file has none.
    let fallback = default_name.as_ref().ok().cloned();
    let fallback = fallback.map_or_else(|| "unnamed".parse(), Ok);
    let named = |source| Failure::Name { path: path.to_owned(), source };
    let topology = Topology::parse(&text, &path.display().to_string(), fallback.map_err(named)?)?;
    match default_name {
        Err(source) if topology.name.as_str() == "unnamed" => Err(named(source)),
        _ => Ok(Source { topology, file, is_quickstart: false }),
    }
}

/// A file's path from the root, its directory without links in it; `None` of what is no file, as standard input.
fn absolute(path: &Path) -> Option<PathBuf> {
    if !fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    let directory = directory.map_or_else(env::current_dir, Path::canonicalize).ok()?;
    let directory = directory.canonicalize().ok()?;
    Some(PathBuf::from(directory.join(path.file_name()?).to_string_lossy().into_owned()))
}

/// What a file is called that has no `name`: as its directory, if its own name is the usual one, else by its own.
fn default_name(path: &Path) -> Result<TopologyName, netctl::model::NameError> {
    let is_usual = path.file_name().is_some_and(|name| DEFAULT_FILES.iter().any(|usual| name == *usual));
    let directory = path.parent().and_then(Path::file_name).filter(|_| is_usual);
    let (name, is_directory) = match directory {
        Some(directory) => (directory.to_string_lossy(), true),
        None => (path.file_stem().unwrap_or_default().to_string_lossy(), false),
    };
    let mended = mended(&name);
    if mended.is_empty() && is_directory {
        return default_name(Path::new(path.file_name().unwrap_or_default()));
    }
    mended.parse()
}

/// A name without the characters that a topology's cannot have: a dash in their stead.
fn mended(name: &str) -> String {
    let is_bad = |c: char| c == '.' || c == '/' || c == '\u{fffd}' || c.is_whitespace() || c.is_control();
    let words = name.split(is_bad).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-").trim_matches('-').to_owned()
}

/// What the quickstart is called.
pub(super) fn quickstart_name() -> Result<TopologyName, Failure> {
    let path = PathBuf::from("quickstart.toml");
    "quickstart".parse().map_err(|source| Failure::Name { path, source })
}

fn quickstart() -> Result<Source, Failure> {
    let topology = Topology::parse(spec::QUICKSTART, "the built-in quickstart", quickstart_name()?)?;
    Ok(Source { topology, file: None, is_quickstart: true })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_name_is_called_as_its_directory_or_by_its_own_name() {
        for (path, name) in [
            ("/home/me/projA/netctl.toml", "projA"),
            ("/home/me/projB/netctl.json", "projB"),
            ("/home/me/projA/office.toml", "office"),
            ("/home/me/office.v2.toml", "office-v2"),
            ("/home/me/My Lab/netctl.toml", "My-Lab"),
            ("/tmp/.tmpX1/netctl.toml", "tmpX1"),
            ("/srv/a..b/netctl.toml", "a-b"),
            ("/netctl.toml", "netctl"),
            ("/.../netctl.toml", "netctl"),
        ] {
            assert_eq!(default_name(Path::new(path)).unwrap().as_str(), name, "{path}");
        }
        for path in ["/srv/by-hand/netctl.toml", "/srv/by-hand.toml"] {
            assert!(default_name(Path::new(path)).is_err(), "{path}");
        }
        let long = format!("/srv/{}/netctl.toml", "x".repeat(201));
        assert!(default_name(Path::new(&long)).is_err());
    }
}
