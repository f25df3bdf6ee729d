//! Paths of keys.

use std::fmt;

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

    /// From the document to the value.
    pub(crate) fn steps(&self) -> &[Step] {
        &self.0
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

#[cfg(test)]
mod tests {
    #[test]
    fn a_path_is_written_as_toml_writes_it() {
        let path = key_path!["bridges", "v-net-0", "ports", "red", "addresses", 0];
        assert_eq!(path.to_string(), "bridges.v-net-0.ports.red.addresses[0]");
        assert_eq!(key_path!["bridges", "br0.100"].to_string(), "bridges.\"br0.100\"");
        assert_eq!(key_path!["cables", 1].key("a").index(2).to_string(), "cables[1].a[2]");
    }
}
