//! Finds the tests that say which rows they prove.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use super::LAST;

/// Where such tests are, below the root.
const PLACES: [&str; 3] = ["ebpf/src", "netctl/src", "tests"];

/// The tests by name, each with the rows that it proves.
pub(crate) fn row_tests(root: &Path) -> Result<BTreeMap<String, Vec<u16>>> {
    let mut tests = BTreeMap::new();
    for name in functions_of(root)? {
        let rows = rows_of(&name).with_context(|| name.clone())?;
        if !rows.is_empty() && tests.insert(name.clone(), rows).is_some() {
            bail!("two tests are called {name}");
        }
    }
    Ok(tests)
}

/// The names of all functions, tests among them, where such tests are.
pub(crate) fn functions_of(root: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for place in PLACES {
        for file in rust_files(&root.join(place))? {
            let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
            names.extend(functions(&text).map(str::to_owned));
        }
    }
    Ok(names)
}

/// The rows that a test proves, by its name: none if it does not begin like one that proves any.
pub(crate) fn rows_of(name: &str) -> Result<Vec<u16>> {
    let (rest, many) = match (name.strip_prefix("row_"), name.strip_prefix("rows_")) {
        (Some(rest), _) => (rest, false),
        (_, Some(rest)) => (rest, true),
        _ => return Ok(Vec::new()),
    };
    let numbers: Vec<u16> = rest.split('_').map_while(|word| word.parse().ok()).collect();
    if (numbers.len() > 1) != many || numbers.is_empty() {
        bail!("it is `row_1_…` or `rows_1_2_…`, and then words");
    }
    if let Some(beyond) = numbers.iter().find(|row| !(1..=LAST).contains(*row)) {
        bail!("there is no row {beyond}");
    }
    Ok(numbers)
}

/// The names of the functions that begin a line.
fn functions(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| line.trim_start().strip_prefix("fn ")?.split(['(', '<']).next())
}

fn rust_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("listing {}", dir.display()))? {
        let path = entry.with_context(|| format!("listing {}", dir.display()))?.path();
        if path.is_dir() {
            // What the fuzz targets' own workspace builds.
            if !path.ends_with("target") {
                files.extend(rust_files(&path)?);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_begins_with_its_rows() {
        for (name, rows) in [
            ("row_12_a_sentence", &[12][..]),
            ("rows_20_21_172_a_sentence", &[20, 21, 172]),
            ("a_sentence_about_row_12", &[]),
            ("rowing_is_a_sport", &[]),
        ] {
            assert_eq!(rows_of(name).unwrap(), rows, "{name}");
        }
        for name in ["row_a_sentence", "rows_12_a_sentence", "row_12_13_a_sentence", "row_0_x", "row_173_x"] {
            assert!(rows_of(name).is_err(), "{name}");
        }
    }

    #[test]
    fn functions_are_found_wherever_they_are_indented() {
        let text = "fn one() {}\n    #[test]\n    fn two<T>(x: T) {\n// fn three()\n";
        assert_eq!(functions(text).collect::<Vec<_>>(), ["one", "two"]);
    }
}
