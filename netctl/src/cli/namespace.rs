//! `-n NS`: where a single command acts, as in `ip -n NS`.

use netctl::{
    model::{NameError, Place},
    single::{self, Session},
    state::Directories,
};

use super::{Printer, words};

/// What a single command works with.
pub(super) struct Desk<'a> {
    /// What `-n` before the verb names.
    pub(super) before: Option<&'a Place>,
    pub(super) directories: &'a Directories,
    pub(super) printer: &'a mut Printer,
}

impl<'a> Desk<'a> {
    /// Begins to change something; with `force`, also what topologies own.
    pub(super) fn session(&self, force: bool) -> Result<Session<'a>, single::Error> {
        Session::begin(self.directories, force)
    }
}

/// A verb that acts in one place and without more words lists what is there.
#[derive(Debug, clap::Args)]
pub(super) struct Placed<V: clap::Subcommand> {
    #[command(flatten)]
    pub(super) namespace: Namespace,
    #[command(subcommand)]
    pub(super) verb: Option<V>,
}

/// A verb that acts in one place, or several, and needs more words.
#[derive(Debug, clap::Args)]
pub(super) struct Acting<V: clap::Subcommand> {
    #[command(flatten)]
    pub(super) namespace: Namespace,
    #[command(subcommand)]
    pub(super) verb: V,
}

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
