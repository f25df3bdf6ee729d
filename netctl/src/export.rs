//! `netctl export`: a topology file of what is there, made by netctl or by hand.
//!
//! `look` reads the chosen places; the rest is pure. `links`, `routes` and `nat` write what a file can have, as it is and
//! with the fewest keys; `settle` asks the model what that comes to, adds the keys that are missing, and takes out what the
//! model refuses. So the file passes `netctl check`, whatever was there.

mod left;
mod links;
mod look;
mod nat;
mod routes;
mod seen;
mod settings;
mod settle;
#[cfg(test)]
mod tests;
mod wanted;

use toml::Table;

pub use self::left::Left;
use self::{seen::Seen, settle::settle};
use crate::{
    hint::Advise,
    model::{self, NetnsName, Place, TopologyName},
    nat::ebpf,
    netlink,
    netns::NetnsError,
    ownership, place,
    spec::{self, Spec},
    state::{self, Directories},
    sysctl::SysctlError,
    up,
};

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// This process may not look.
    #[error("{0}")]
    Up(#[from] up::Error),
    /// A chosen namespace is not there.
    #[error("there is no namespace `{0}`")]
    NoNamespace(NetnsName),
    /// The namespaces could not be listed.
    #[error("{0}")]
    Netns(#[from] NetnsError),
    /// A place could not be entered.
    #[error("{0}")]
    Place(#[from] place::Error),
    /// A place does not answer.
    #[error("look around {}: {source}", model::At(place))]
    Netlink {
        /// Where.
        place: Place,
        /// Why.
        source: netlink::Error,
    },
    /// A sysctl could not be read.
    #[error("{0}")]
    Sysctl(#[from] SysctlError),
    /// A record could not be read.
    #[error("{0}")]
    State(#[from] state::Error),
    /// The NAT maps could not be read.
    #[error("look at the translation: {0}")]
    Nat(#[source] ebpf::Error),
    /// The model refuses what cannot be taken out.
    #[error("no file can have what is there: {0}")]
    Unfit(#[source] model::Error),
    /// The file could not be written.
    #[error("write the file: {0}")]
    Write(#[from] toml::ser::Error),
}

impl Advise for Error {
    fn advice(&self) -> Option<String> {
        match self {
            Self::NoNamespace(_) => Some("`netctl ns ls` lists the namespaces".to_owned()),
            Self::Up(_)
            | Self::Netns(_)
            | Self::Place(_)
            | Self::Netlink { .. }
            | Self::Sysctl(_)
            | Self::State(_)
            | Self::Nat(_)
            | Self::Unfit(_)
            | Self::Write(_) => None,
        }
    }
}

/// A topology file of what is there.
#[derive(Debug, Clone, PartialEq)]
pub struct Export {
    /// The file.
    pub document: Table,
    /// What is there, too, and not in the file.
    pub left: Vec<Left>,
}

impl Export {
    /// The file as TOML, what is left out in comments at its end.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut text = spec::to_toml(&self.document);
        if !self.left.is_empty() && !text.is_empty() {
            text.push('\n');
        }
        for left in &self.left {
            // A comment ends with its line.
            let words: String =
                left.to_string().chars().map(|c| if c.is_control() { '?' } else { c }).collect();
            text.push_str("# not exported: ");
            text.push_str(&words);
            text.push('\n');
        }
        text
    }
}

/// Writes down the chosen places; without any, all named namespaces and what of the host hangs together with them.
///
/// # Errors
/// If a place is not there or does not answer.
pub fn export(chosen: &[Place], directories: &Directories) -> Result<Export, Error> {
    up::require_root()?;
    compose(&look::look(chosen, directories)?)
}

/// The file of what was seen.
fn compose(seen: &Seen) -> Result<Export, Error> {
    let mut left = Vec::new();
    for (alias, first) in &seen.aliases {
        left.push(Left::new(alias, "the namespace", format!("it is `{first}` under another name")));
    }
    let mut spec = Spec { name: owner(seen).map(|name| name.to_string()), ..Spec::default() };
    for place in seen.places.keys().filter(|place| **place != Place::Host) {
        spec.namespaces.push((place.to_string(), spec::Namespace::default()));
    }
    let mut wanted = links::write(seen, &mut spec, &mut left);
    routes::write(seen, &wanted, &mut spec, &mut left);
    nat::write(seen, &mut wanted, &mut spec, &mut left);
    settings::find(seen, &mut wanted);
    for (place, there) in &seen.places {
        if !(seen.is_host_in_part && *place == Place::Host) {
            let firewalls = there.firewalls.iter().map(|table| format!("firewall rules of table `{table}`"));
            let others = there.others.iter().cloned().chain(firewalls);
            left.extend(others.map(|what| Left::new(place, what, "no file has such things")));
        }
    }
    let spec = settle(spec, &wanted, &mut left)?;
    left.sort();
    left.dedup();
    Ok(Export { document: spec.to_document()?, left })
}

/// The topology that has made all of it, if one has.
fn owner(seen: &Seen) -> Option<TopologyName> {
    let of_links = |place: &Place| {
        let links = seen.places.get(place).map(|there| there.links.as_slice()).unwrap_or_default();
        links.iter().filter_map(|link| ownership::owner(link.alias.as_deref()?)).collect::<Vec<_>>()
    };
    let namespaces = seen.places.iter().filter(|(place, _)| **place != Place::Host);
    let mut owners: Vec<Option<TopologyName>> = namespaces.map(|(_, there)| there.owner.clone()).collect();
    owners.extend(of_links(&Place::Host).into_iter().map(Some));
    let first = owners.first().cloned().flatten()?;
    owners.iter().all(|owner| owner.as_ref() == Some(&first)).then_some(first)
}
