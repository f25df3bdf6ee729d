//! Paths of keys, and the lines of the file that they are written on.

use std::fmt;

use toml::de::{DeTable, DeValue};

/// Where a value stands in the file, as in `bridges.v-net-0.ports.red.addresses[0]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyPath(Vec<Step>);

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Into a table.
    Key(String),
    /// Into a list.
    Index(usize),
}

/// Builds a [`KeyPath`] of keys and indices: `key_path!["cables", 0, "a"]`.
macro_rules! key_path {
    ($($step:expr),* $(,)?) => {
        [$($crate::spec::Step::from($step)),*].into_iter().collect::<$crate::spec::KeyPath>()
    };
}
pub(crate) use key_path;

impl KeyPath {
    /// The path of `key` in the table at this path.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.then(key.into())
    }

    /// The path of the item at `index` in the list at this path.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.then(index.into())
    }

    /// Whether this is the path of the document itself.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    fn then(&self, step: Step) -> Self {
        self.0.iter().cloned().chain([step]).collect()
    }

    /// The same path seen from one level further out.
    pub(super) fn within(mut self, step: Step) -> Self {
        self.0.insert(0, step);
        self
    }
}

impl From<&str> for Step {
    fn from(key: &str) -> Self {
        Self::Key(key.to_owned())
    }
}

impl From<usize> for Step {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

impl FromIterator<Step> for KeyPath {
    fn from_iter<I: IntoIterator<Item = Step>>(steps: I) -> Self {
        Self(steps.into_iter().collect())
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        for (position, step) in self.0.iter().enumerate() {
            let dot = if position == 0 { "" } else { "." };
            match step {
                Step::Key(key) if !key.is_empty() && key.chars().all(bare) => write!(f, "{dot}{key}")?,
                Step::Key(key) => write!(f, "{dot}{key:?}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// The line, counted from 1, on which the value at `path` is written, or else its nearest ancestor that is written
/// at all. Line 1 for a text that is not TOML.
#[must_use]
pub fn line_of(text: &str, path: &KeyPath) -> usize {
    let Ok(document) = DeTable::parse(text) else {
        return 1;
    };
    let root = DeValue::Table(document.into_inner());
    let mut value = &root;
    let mut offset = 0;
    for step in &path.0 {
        let found = match (step, value) {
            (Step::Key(key), DeValue::Table(table)) => {
                table.get_key_value(key.as_str()).map(|(key, value)| (key.span(), value))
            }
            (Step::Index(index), DeValue::Array(items)) => items.get(*index).map(|item| (item.span(), item)),
            _ => None,
        };
        let Some((span, inner)) = found else { break };
        offset = span.start;
        value = inner.get_ref();
    }
    line_at(text, offset)
}

/// The line, counted from 1, that the byte at `offset` is on.
pub(super) fn line_at(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|&byte| byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_written_as_toml_writes_it() {
        let path = key_path!["bridges", "v-net-0", "ports", "red", "addresses", 0];
        assert_eq!(path.to_string(), "bridges.v-net-0.ports.red.addresses[0]");
        assert_eq!(key_path!["bridges", "br0.100"].to_string(), "bridges.\"br0.100\"");
        assert_eq!(key_path!["cables", 1].key("a").index(2).to_string(), "cables[1].a[2]");
    }

    #[test]
    fn a_path_is_on_the_line_of_its_key_or_of_its_nearest_ancestor() {
        let text = "name = 'x'\n\n[bridges.br]\nmtu = 1\n[bridges.br.ports]\nred = { addresses = [\n'a',\n'b'] }\n\
                    [[cables]]\na = {}\n\n[[cables]]\n\nb = {}\n";
        let cases = [
            (key_path![], 1),
            (key_path!["name"], 1),
            (key_path!["bridges", "br"], 3),
            (key_path!["bridges", "br", "mtu"], 4),
            (key_path!["bridges", "br", "ports"], 5),
            (key_path!["bridges", "br", "ports", "red", "addresses"], 6),
            (key_path!["bridges", "br", "ports", "red", "addresses", 1], 8),
            (key_path!["bridges", "br", "ports", "red", "port"], 6),
            (key_path!["bridges", "br", "ports", "blue", "port"], 5),
            (key_path!["cables", 0, "a"], 10),
            (key_path!["cables", 1], 12),
            (key_path!["cables", 1, "b", "mtu"], 14),
            (key_path!["cables", 7], 9),
            (key_path!["nowhere", 1, "x"], 1),
        ];
        for (path, line) in cases {
            assert_eq!(line_of(text, &path), line, "{path}");
        }
    }

    #[test]
    fn text_that_is_not_toml_has_only_its_first_line() {
        assert_eq!(line_of("\n\n[", &key_path!["name"]), 1);
    }
}
