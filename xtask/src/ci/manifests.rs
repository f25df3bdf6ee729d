//! The house rules for manifests: one set of lints, and every version in the root manifest.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail};
use toml::{Table, Value};

/// Fails with a list of everything that breaks the rules.
pub(crate) fn check(root: &Path) -> Result<()> {
    let mut complaints = Vec::new();
    for member in members(&read(&root.join("Cargo.toml"))?)? {
        let manifest = read(&root.join(&member).join("Cargo.toml"))?;
        complaints.extend(
            complaints_about(&manifest).into_iter().map(|what| format!("{member}/Cargo.toml: {what}")),
        );
    }
    if !complaints.is_empty() {
        bail!("manifests:\n  {}", complaints.join("\n  "));
    }
    Ok(())
}

fn read(file: &Path) -> Result<Table> {
    let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    text.parse().with_context(|| format!("parsing {}", file.display()))
}

fn members(root: &Table) -> Result<Vec<String>> {
    let list = root.get("workspace").and_then(|workspace| workspace.get("members")).and_then(Value::as_array);
    let list = list.context("the root manifest names no members")?;
    Ok(list.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

fn complaints_about(manifest: &Table) -> Vec<String> {
    let mut complaints = Vec::new();
    if !manifest.get("lints").is_some_and(is_inherited) {
        complaints.push("says no `[lints] workspace = true`".to_owned());
    }
    let package = manifest.get("package");
    for key in ["version", "edition", "rust-version"] {
        if !package.and_then(|package| package.get(key)).is_some_and(is_inherited) {
            complaints.push(format!("says no `{key}.workspace = true`"));
        }
    }
    let targets = manifest.get("target").and_then(Value::as_table);
    let tables = targets.into_iter().flat_map(Table::values).filter_map(Value::as_table).chain([manifest]);
    for (name, dependency) in tables.flat_map(dependencies) {
        if !is_inherited(dependency) {
            complaints.push(format!("dependency `{name}` does not come from the root manifest"));
        }
    }
    complaints
}

fn dependencies(table: &Table) -> impl Iterator<Item = (&String, &Value)> {
    ["dependencies", "dev-dependencies", "build-dependencies"]
        .into_iter()
        .filter_map(|kind| table.get(kind)?.as_table())
        .flatten()
}

fn is_inherited(value: &Value) -> bool {
    value.get("workspace").and_then(Value::as_bool) == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "
        [package]
        version.workspace = true
        edition.workspace = true
        rust-version.workspace = true
        [lints]
        workspace = true
        [dependencies]
        anyhow.workspace = true
        aya = { workspace = true, optional = true }
    ";

    fn complaints(manifest: &str) -> Vec<String> {
        complaints_about(&manifest.parse().unwrap())
    }

    #[test]
    fn a_member_that_inherits_everything_is_fine() {
        assert!(complaints(GOOD).is_empty());
    }

    #[test]
    fn each_thing_that_is_not_inherited_is_named() {
        for (old, new, complaint) in [
            ("[lints]\n        workspace = true", "", "says no `[lints] workspace = true`"),
            ("edition.workspace = true", "edition = '2024'", "says no `edition.workspace = true`"),
            (
                "anyhow.workspace = true",
                "anyhow = '1'",
                "dependency `anyhow` does not come from the root manifest",
            ),
            (
                "[dependencies]",
                "[target.'cfg(unix)'.dev-dependencies]\nnix = { version = '1' }\n[dependencies]",
                "dependency `nix` does not come from the root manifest",
            ),
        ] {
            assert_eq!(complaints(&GOOD.replace(old, new)), [complaint]);
        }
    }
}
