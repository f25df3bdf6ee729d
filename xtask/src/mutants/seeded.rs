//! The bugs, as `tests/mutations.toml` has them.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

/// One bug.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mutation {
    pub(crate) name: String,
    /// What is wrong then.
    pub(crate) bug: String,
    /// The source file, below the root.
    pub(crate) file: String,
    find: String,
    replace: String,
    /// How the names of the tests begin that have to notice.
    pub(crate) tests: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    mutation: Vec<Mutation>,
}

/// All of them.
pub(crate) fn read(root: &Path) -> Result<Vec<Mutation>> {
    let path = root.join("tests/mutations.toml");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let file: File = toml::from_str(&text).with_context(|| format!("reading {}", path.display()))?;
    Ok(file.mutation)
}

/// Those of these names; all if there are none.
pub(crate) fn chosen(all: Vec<Mutation>, names: &[String]) -> Result<Vec<Mutation>> {
    if let Some(unknown) = names.iter().find(|name| all.iter().all(|mutation| mutation.name != **name)) {
        let known: Vec<_> = all.iter().map(|mutation| mutation.name.as_str()).collect();
        bail!("there is no mutation {unknown}; there are {}", known.join(", "));
    }
    let is_chosen = |mutation: &Mutation| names.is_empty() || names.contains(&mutation.name);
    Ok(all.into_iter().filter(is_chosen).collect())
}

impl Mutation {
    /// The source with the bug in it.
    pub(crate) fn apply(&self, source: &str) -> Result<String> {
        match source.matches(&self.find).count() {
            1 => Ok(source.replacen(&self.find, &self.replace, 1)),
            count => bail!("mutation {}: what it replaces is {count} times in {}", self.name, self.file),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{rows, workspace::Workspace};

    #[test]
    fn every_mutation_fits_the_sources_and_names_tests_that_there_are() {
        let root = Workspace::locate().unwrap().root;
        let tests = rows::test_names(&root).unwrap();
        let all = read(&root).unwrap();
        assert!(all.len() >= 16);
        for mutation in &all {
            let source = fs::read_to_string(root.join(&mutation.file)).unwrap();
            assert_ne!(mutation.apply(&source).unwrap(), source);
            assert!(!mutation.tests.is_empty(), "{}", mutation.name);
            for start in &mutation.tests {
                assert!(tests.iter().any(|name| name.starts_with(start)), "{}: {start}", mutation.name);
            }
            let namesakes = all.iter().filter(|other| other.name == mutation.name).count();
            assert_eq!(namesakes, 1, "{}", mutation.name);
        }
    }

    #[test]
    fn a_mutation_replaces_what_is_there_once() {
        let mutation = Mutation {
            name: "never".to_owned(),
            bug: String::new(),
            file: "file.rs".to_owned(),
            find: "x == y".to_owned(),
            replace: "false".to_owned(),
            tests: Vec::new(),
        };
        assert_eq!(mutation.apply("if x == y {").unwrap(), "if false {");
        for source in ["", "x == y || x == y"] {
            assert!(mutation.apply(source).is_err(), "{source}");
        }
    }
}
