//! `-n NS`: where a single command acts, as in `ip -n NS`.

use netctl::model::{NameError, Place};

use super::words;

/// The switch, after the verb's first word.
#[derive(Debug, clap::Args)]
pub(super) struct Namespace {
    /// Act in this namespace instead of the one netctl is started in
    #[arg(short = 'n', long = "netns", global = true, value_name = "NS", value_parser = place)]
    namespace: Option<Place>,
}

impl Namespace {
    /// Where to act, given the switch before the verb.
    pub(super) fn or(&self, before: Option<&Place>) -> Result<Place, words::Error> {
        Ok(self.given(before)?.cloned().unwrap_or(Place::Host))
    }

    /// What either switch names.
    pub(super) fn given<'a>(&'a self, before: Option<&'a Place>) -> Result<Option<&'a Place>, words::Error> {
        match (before, &self.namespace) {
            (Some(_), Some(_)) => Err(words::Error::NamespaceTwice),
            (before, after) => Ok(before.or(after.as_ref())),
        }
    }
}

/// `host` or a namespace.
pub(super) fn place(text: &str) -> Result<Place, NameError> {
    text.to_owned().try_into()
}
