//! Where packets go straight, as a file says it: a word, or a switch.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Serialize,
    de::{Deserializer, Error, Visitor},
};

/// Where packets go straight, which nobody has understood yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Shortcut {
    /// `false`: nowhere.
    Switch(bool),
    /// A word.
    Word(String),
}

impl<'de> Deserialize<'de> for Shortcut {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl Visitor<'_> for Either {
            type Value = Shortcut;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"auto\", \"leased\" or false")
            }

            fn visit_bool<E: Error>(self, switch: bool) -> Result<Shortcut, E> {
                Ok(Shortcut::Switch(switch))
            }

            fn visit_str<E: Error>(self, word: &str) -> Result<Shortcut, E> {
                Ok(Shortcut::Word(word.to_owned()))
            }
        }

        deserializer.deserialize_any(Either)
    }
}

impl JsonSchema for Shortcut {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Shortcut".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "boolean"] })
    }
}
