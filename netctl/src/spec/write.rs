//! A topology file as it is written: TOML with a section a namespace, bridge, cable, link, route and rule, and short
//! tables in a line.

use std::fmt::{self, Write as _};

use toml::{Table, Value};

use super::Spec;

/// The tables of named things: they have no keys of their own.
const OF_NAMES: [&str; 2] = ["namespaces", "bridges"];
/// The table whose entries take a line each.
const OF_LINES: &str = "ports";

impl Spec {
    /// The document that [`Spec::parse`] reads as this, in its order and without what may be left out.
    ///
    /// # Errors
    /// If TOML has no such value. It has all that a file can have.
    pub fn to_document(&self) -> Result<Table, toml::ser::Error> {
        Table::try_from(self)
    }
}

/// A document as TOML.
#[must_use]
pub fn to_toml(document: &Table) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = section(&mut text, &mut Vec::new(), document);
    text.trim_start().to_owned()
}

/// The keys of a table, then the sections below it.
fn section(text: &mut String, path: &mut Vec<String>, table: &Table) -> fmt::Result {
    let is_of_lines = is_of_lines(path);
    let is_section = |value: &Value| is_list_of_tables(value) || value.is_table() && !is_of_lines;
    for (key, value) in table.iter().filter(|(_, value)| !is_section(value)) {
        writeln!(text, "{} = {value}", word(key))?;
    }
    // Of the document, sections are in its order; below it, lists come last.
    let mut sections: Vec<_> = table.iter().filter(|(_, value)| is_section(value)).collect();
    if !path.is_empty() {
        sections.sort_by_key(|(_, value)| value.is_array());
    }
    for (key, value) in sections {
        path.push(key.clone());
        match value {
            Value::Table(inner) => {
                header(text, path, inner)?;
                section(text, path, inner)?;
            }
            Value::Array(items) => {
                for item in items.iter().filter_map(Value::as_table) {
                    writeln!(text, "\n[[{}]]", dotted(path))?;
                    for (key, value) in item {
                        writeln!(text, "{} = {value}", word(key))?;
                    }
                }
            }
            Value::String(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Boolean(_)
            | Value::Datetime(_) => {}
        }
        path.pop();
    }
    Ok(())
}

/// The line that a table begins with, where it has keys of its own or nothing at all.
fn header(text: &mut String, path: &[String], table: &Table) -> fmt::Result {
    let is_of_names = path.len() == 1 && OF_NAMES.contains(&path[0].as_str());
    let is_only_sections =
        table.values().all(|value| value.is_table() || is_list_of_tables(value)) && !is_of_lines(path);
    if is_of_names || is_only_sections && !table.is_empty() {
        return Ok(());
    }
    // Namespaces of which there is nothing to say stand close together.
    let last = text.lines().last().unwrap_or_default();
    if !(path[0] == OF_NAMES[0] && table.is_empty() && last.starts_with("[namespaces.")) {
        text.push('\n');
    }
    writeln!(text, "[{}]", dotted(path))
}

fn is_of_lines(path: &[String]) -> bool {
    path.len() == 3 && path.last().is_some_and(|last| last == OF_LINES)
}

fn is_list_of_tables(value: &Value) -> bool {
    value.as_array().is_some_and(|items| !items.is_empty() && items.iter().all(Value::is_table))
}

fn dotted(path: &[String]) -> String {
    path.iter().map(|key| word(key)).collect::<Vec<_>>().join(".")
}

/// A key, in quotes where it needs them.
fn word(key: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !key.is_empty() && key.chars().all(is_bare) {
        key.to_owned()
    } else {
        Value::String(key.to_owned()).to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;
    use crate::spec::QUICKSTART;

    #[track_caller]
    fn assert_written_as_read(text: &str) {
        let spec = Spec::parse(text, "f").unwrap();
        let document = spec.to_document().unwrap();
        let written = to_toml(&document);
        assert_eq!(Spec::parse(&written, "written").unwrap(), spec, "{written}");
        let json = serde_json::to_string(&document).unwrap();
        assert_eq!(Spec::parse(&json, "f.json").unwrap(), spec, "{json}");
    }

    #[test]
    fn what_is_written_is_read_as_it_was() {
        assert_written_as_read(QUICKSTART);
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples");
        for file in fs::read_dir(examples).unwrap().map(|file| file.unwrap().path()) {
            if file.extension().is_some_and(|extension| extension == "toml") {
                assert_written_as_read(&fs::read_to_string(file).unwrap());
            }
        }
        let page = include_str!("../../../docs/topology.md");
        for block in page.split("```toml\n").skip(1) {
            assert_written_as_read(block.split("```").next().unwrap());
        }
    }

    #[test]
    fn a_file_is_written_as_people_write_it() {
        let text = "\
name = \"office\"

[namespaces.red]
[namespaces.\"b.l\"]

[namespaces.router]
forwarding = true

[namespaces.router.sysctls]
\"net.ipv4.ip_default_ttl\" = \"42\"

[bridges.lan]
namespace = \"router\"
addresses = [\"10.0.0.1/24\"]

[bridges.lan.ports]
red = { addresses = [\"10.0.0.2/24\"], default-route = false }
\"b.l\" = { addresses = [] }

[[cables]]
a = { namespace = \"red\", interface = \"it's\" }
b = { namespace = \"router\", interface = \"x\", mtu = 1400 }

[[routes]]
namespace = \"red\"
to = \"10.1.0.0/16\"
dev = \"it's\"

[nat]
max-flows = 1000

[nat.timeouts]
udp = \"5m\"
icmp = 7

[[nat.forward]]
namespace = \"router\"
listen = \"80\"
to = \"10.0.0.2\"
";
        assert_eq!(to_toml(&Spec::parse(text, "f").unwrap().to_document().unwrap()), text);
    }
}
