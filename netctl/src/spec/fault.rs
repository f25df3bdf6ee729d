//! The deserializer's own error: a problem and the path of its key, with serde's words put into the file's.

use std::fmt;

use serde::de;

use super::{KeyPath, Problem, Step};

/// A problem on its way out of the deserializer: each level it passes adds its step to the path.
#[derive(Debug, thiserror::Error)]
#[error("{problem}")]
pub(super) struct Fault {
    pub(super) path: KeyPath,
    pub(super) problem: Problem,
}

impl Fault {
    /// The same fault seen from one level further out.
    pub(super) fn within(self, step: Step) -> Self {
        Self { path: self.path.within(step), ..self }
    }
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        Self { path: KeyPath::default(), problem }
    }
}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Problem::Value { message: message.to_string() }.into()
    }

    fn unknown_field(key: &str, known: &'static [&'static str]) -> Self {
        Problem::UnknownKey { key: key.to_owned(), known }.into()
    }

    fn missing_field(key: &'static str) -> Self {
        Problem::MissingKey { key }.into()
    }

    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Problem::WrongType { expected: expected_in_words(expected.to_string()), found: found_in_words(found) }
            .into()
    }

    fn invalid_value(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::invalid_type(found, expected)
    }
}

/// TOML's words for serde's.
fn expected_in_words(expected: String) -> String {
    match expected.as_str() {
        "a sequence" => "a list".to_owned(),
        "a map" => "a table".to_owned(),
        "a boolean" => "`true` or `false`".to_owned(),
        "i64" => "a whole number".to_owned(),
        _ => expected,
    }
}

fn found_in_words(found: de::Unexpected<'_>) -> String {
    match found {
        de::Unexpected::Bool(value) => format!("`{value}`"),
        de::Unexpected::Signed(number) => format!("the number `{number}`"),
        de::Unexpected::Float(number) => format!("the number `{number:?}`"),
        de::Unexpected::Str(text) => format!("the string {text:?}"),
        de::Unexpected::Unit => "`null`".to_owned(),
        de::Unexpected::Seq => "a list".to_owned(),
        de::Unexpected::Map => "a table".to_owned(),
        other => other.to_string(),
    }
}
