//! How a masquerade rule maps and filters, in the words of RFC 4787.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Problem, error::Error};
use crate::spec::KeyPath;

/// What an inside endpoint's outside port depends on (RFC 4787 section 4.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mapping {
    /// Whom it talks to: as netfilter has it, flows to different peers share a port.
    #[default]
    AddressAndPortDependent,
    /// Nothing: one outside port for one inside endpoint (REQ-1).
    EndpointIndependent,
}

/// Who outside may send to a mapping (RFC 4787 section 5).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Filtering {
    /// Those address and port that the inside endpoint has sent to.
    #[default]
    AddressAndPortDependent,
    /// Those addresses that it has sent to.
    AddressDependent,
    /// Everyone.
    EndpointIndependent,
}

/// One of a few words that a key of the file takes.
pub(super) trait Word: Copy + 'static {
    /// All of them, the default one first.
    const ALL: &'static [Self];

    /// As the file has it.
    fn as_str(self) -> &'static str;

    /// What a word of the file stands for.
    fn of(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|value| value.as_str() == text)
    }
}

/// What the text of a key stands for, the default one where it is left out.
pub(super) fn word<T: Word + Default>(text: Option<&str>, path: &KeyPath) -> Result<T, Error> {
    text.map_or(Ok(T::default()), |text| required(text, path))
}

/// What the text of a key that is there stands for.
pub(super) fn required<T: Word>(text: &str, path: &KeyPath) -> Result<T, Error> {
    let words = || T::ALL.iter().map(|value| value.as_str()).collect();
    T::of(text)
        .ok_or_else(|| Error::new(path.clone(), Problem::Word { text: text.to_owned(), words: words() }))
}

impl Word for Mapping {
    const ALL: &'static [Self] = &[Self::AddressAndPortDependent, Self::EndpointIndependent];

    fn as_str(self) -> &'static str {
        match self {
            Self::AddressAndPortDependent => "address-and-port-dependent",
            Self::EndpointIndependent => "endpoint-independent",
        }
    }
}

impl Word for Filtering {
    const ALL: &'static [Self] =
        &[Self::AddressAndPortDependent, Self::AddressDependent, Self::EndpointIndependent];

    fn as_str(self) -> &'static str {
        match self {
            Self::AddressAndPortDependent => "address-and-port-dependent",
            Self::AddressDependent => "address-dependent",
            Self::EndpointIndependent => "endpoint-independent",
        }
    }
}

impl fmt::Display for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Filtering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{super::Backend, *};

    /// The words of a key as the schema lists them, and those of its values in JSON.
    fn words<T: Word + Serialize>(table: &str, key: &str) -> (Value, Value, Value) {
        let described = crate::spec::schema()["$defs"][table]["properties"][key]["enum"].clone();
        let words: Vec<&str> = T::ALL.iter().map(|value| value.as_str()).collect();
        (described, json!(words), json!(T::ALL))
    }

    #[test]
    fn schema_file_and_json_have_the_same_words() {
        for (described, words, serialized) in [
            words::<Mapping>("Masquerade", "mapping"),
            words::<Filtering>("Masquerade", "filtering"),
            words::<Backend>("Nat", "backend"),
        ] {
            assert_eq!(described, words);
            assert_eq!(serialized, words);
        }
    }
}
