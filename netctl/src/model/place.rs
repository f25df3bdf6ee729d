//! The places of a topology: the namespaces of the file, and the host.

use super::{Namespace, NetnsName, Place, Problem, error::Error};
use crate::spec::{self, KeyPath, key_path, nearest};

/// The namespaces that the file declares.
pub(super) struct Places(Vec<NetnsName>);

impl Places {
    pub(super) fn declare(namespaces: &[(String, spec::Namespace)]) -> Result<Self, Error> {
        let name = |(name, _): &(String, spec::Namespace)| {
            name.parse()
                .map_err(|error| Error::new(key_path!["namespaces", name.as_str()], Problem::Name(error)))
        };
        namespaces.iter().map(name).collect::<Result<_, _>>().map(Self)
    }

    /// The place that the name at `path` refers to.
    pub(super) fn resolve(&self, name: &str, path: &KeyPath) -> Result<Place, Error> {
        if name == "host" {
            return Ok(Place::Host);
        }
        let names = || self.0.iter().map(NetnsName::as_str);
        match self.0.iter().find(|declared| declared.as_str() == name) {
            Some(declared) => Ok(Place::Netns(declared.clone())),
            None => Err(Error::new(
                path.clone(),
                Problem::UnknownNamespace {
                    name: name.to_owned(),
                    nearest: nearest(name, names().chain(["host"])).map(str::to_owned),
                },
            )),
        }
    }

    pub(super) fn into_namespaces(self) -> Vec<Namespace> {
        self.0.into_iter().map(|name| Namespace { name }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::trial::{assert_office_refused, assert_refused};

    #[test]
    fn an_unknown_namespace_is_refused_with_the_nearest_one() {
        assert_office_refused(&[
            (
                "[[routes]]\nnamespace = 'rde'\nto = 'default'\nvia = '10.0.0.5'",
                "15: unknown namespace `rde` (`routes[0].namespace`)",
                "did you mean `red`?",
            ),
            (
                "[bridges.br1]\nnamespace = 'hots'",
                "15: unknown namespace `hots` (`bridges.br1.namespace`)",
                "did you mean `host`?",
            ),
            (
                "[bridges.br1.ports]\ngreen = { addresses = [] }",
                "15: unknown namespace `green` (`bridges.br1.ports.green`)",
                "declare it: `[namespaces.green]`",
            ),
            (
                "[[nat.masquerade]]\nnamespace = 'outer'\nsource = '10.0.0.0/24'",
                "15: unknown namespace `outer` (`nat.masquerade[0].namespace`)",
                "did you mean `router`?",
            ),
        ]);
    }

    #[test]
    fn the_host_needs_no_declaration() {
        assert_refused(&[(
            "[namespaces.host]",
            "1: `host` is reserved (`namespaces.host`)",
            "`host` is where netctl is started and needs no declaration",
        )]);
    }
}
