//! A duration as the file has it: text such as `5m`, or a number of seconds.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Serialize,
    de::{Deserializer, Error, Visitor},
};

/// A duration that nobody has looked at yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Duration {
    /// A number of seconds.
    Seconds(i64),
    /// Numbers with units: `2h4m`.
    Text(String),
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seconds(seconds) => seconds.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl Visitor<'_> for Either {
            type Value = Duration;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as \"5m\", or a number of seconds")
            }

            fn visit_i64<E: Error>(self, seconds: i64) -> Result<Duration, E> {
                Ok(Duration::Seconds(seconds))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
                Ok(Duration::Text(text.to_owned()))
            }
        }

        deserializer.deserialize_any(Either)
    }
}

impl JsonSchema for Duration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "integer"],
            "pattern": "^(\\d+d)?(\\d+h)?(\\d+m)?(\\d+s)?$",
            "minLength": 2,
            "minimum": 1,
        })
    }
}
