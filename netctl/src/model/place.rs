//! The places of a topology: the namespaces of the file, and the host.

use std::{collections::BTreeMap, ops::Range};

use super::{Namespace, NetnsName, Place, Problem, error::Error};
use crate::spec::{self, KeyPath, key_path, nearest};

/// How many namespaces one table of the file may stand for.
pub(super) const MOST: i64 = 100_000;

/// The namespaces that the file declares.
#[derive(Default)]
pub(super) struct Places {
    names: Vec<NetnsName>,
    /// What each name of the file, or made from one, stands for.
    known: BTreeMap<String, Known>,
}

/// What a name stands for, and which table of the file it is from.
struct Known {
    /// As indexes of `Places::names`.
    range: Range<usize>,
    /// Whether it is the name of a table with `count`.
    counted: bool,
    table: KeyPath,
}

impl Places {
    pub(super) fn declare(namespaces: &[(String, spec::Namespace)]) -> Result<Self, Error> {
        let mut places = Self::default();
        for (name, namespace) in namespaces {
            let table = key_path!["namespaces", name.as_str()];
            let Some(count) = namespace.count else {
                places.add(name, &table)?;
                continue;
            };
            if !(1..=MOST).contains(&count) {
                return Err(Error::new(table.key("count"), Problem::Count { count, most: MOST }));
            }
            let first = places.names.len();
            let _: NetnsName = parse(name, &table)?;
            for number in 0..count {
                places.add(&format!("{name}-{number}"), &table)?;
            }
            let range = first..places.names.len();
            places.know(name, Known { range, counted: true, table })?;
        }
        Ok(places)
    }

    fn add(&mut self, name: &str, table: &KeyPath) -> Result<(), Error> {
        let index = self.names.len();
        self.names.push(parse(name, table)?);
        self.know(name, Known { range: index..index + 1, counted: false, table: table.clone() })
    }

    fn know(&mut self, name: &str, known: Known) -> Result<(), Error> {
        let path = known.table.clone();
        match self.known.insert(name.to_owned(), known) {
            None => Ok(()),
            Some(Known { table: other, .. }) => {
                Err(Error::new(path, Problem::NamespaceTaken { name: name.to_owned(), other }))
            }
        }
    }

    /// The one place that the name at `path` refers to.
    pub(super) fn resolve(&self, name: &str, path: &KeyPath) -> Result<Place, Error> {
        if self.is_counted(name) {
            let count = self.all(name, path)?.len();
            let name = name.to_owned();
            return Err(Error::new(path.clone(), Problem::CountedName { name, count }));
        }
        let mut places = self.all(name, path)?;
        Ok(places.pop().unwrap_or(Place::Host))
    }

    /// Whether the name stands for all namespaces of a table with `count`.
    pub(super) fn is_counted(&self, name: &str) -> bool {
        self.known.get(name).is_some_and(|known| known.counted)
    }

    /// Every place that the name at `path` stands for, in order.
    pub(super) fn all(&self, name: &str, path: &KeyPath) -> Result<Vec<Place>, Error> {
        if name == "host" {
            return Ok(vec![Place::Host]);
        }
        if let Some(known) = self.known.get(name) {
            return Ok(self.names[known.range.clone()].iter().cloned().map(Place::Netns).collect());
        }
        let names = self.known.iter().filter(|(_, known)| !known.counted).map(|(name, _)| name.as_str());
        let problem = Problem::UnknownNamespace {
            name: name.to_owned(),
            nearest: nearest(name, names.chain(["host"])).map(str::to_owned),
        };
        Err(Error::new(path.clone(), problem))
    }

    pub(super) fn into_namespaces(self) -> Vec<Namespace> {
        self.names.into_iter().map(|name| Namespace { name }).collect()
    }
}

fn parse(name: &str, table: &KeyPath) -> Result<NetnsName, Error> {
    name.parse().map_err(|error| Error::new(table.clone(), Problem::Name(error)))
}

#[cfg(test)]
mod tests {
    use super::super::trial::{assert_office_refused, assert_refused, topology};

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

    #[test]
    fn a_count_makes_so_many_in_the_place_of_the_table() {
        let names = |text: &str| -> Vec<String> {
            topology(text).namespaces.iter().map(|namespace| namespace.name.to_string()).collect()
        };
        assert_eq!(
            names("[namespaces.a]\n[namespaces.w]\ncount = 3\n[namespaces.b]"),
            ["a", "w-0", "w-1", "w-2", "b"]
        );
        assert_eq!(names("[namespaces.w]\ncount = 1"), ["w-0"]);
        assert_eq!(names("[namespaces.w]\ncount = 100000").len(), 100_000);
    }

    #[test]
    fn a_count_that_makes_no_sense_is_refused() {
        let range =
            |count: &str| format!("2: a count of {count} is not between 1 and 100000 (`namespaces.w.count`)");
        for count in ["0", "-1", "100001", "9223372036854775807"] {
            assert_refused(&[(&format!("[namespaces.w]\ncount = {count}"), &range(count), "")]);
        }
    }

    #[test]
    fn a_counted_name_is_nobody_elses() {
        let another = "give one of them another name";
        assert_refused(&[
            (
                "[namespaces.w]\ncount = 3\n[namespaces.w-1]",
                "3: two namespaces called `w-1`: the other is of `namespaces.w` (`namespaces.w-1`)",
                another,
            ),
            (
                "[namespaces.w-1]\n[namespaces.w]\ncount = 3",
                "2: two namespaces called `w-1`: the other is of `namespaces.w-1` (`namespaces.w`)",
                another,
            ),
            (
                "[namespaces.w]\ncount = 3\n[namespaces.w-1]\ncount = 2",
                "3: two namespaces called `w-1`: the other is of `namespaces.w` (`namespaces.w-1`)",
                another,
            ),
            (
                &format!("[namespaces.{}]\ncount = 101", "x".repeat(252)),
                &format!(
                    "1: `{0}-100` is 256 bytes long, at most 255 are allowed (`namespaces.{0}`)",
                    "x".repeat(252)
                ),
                "",
            ),
            (
                "[namespaces.host]\ncount = 2",
                "1: `host` is reserved (`namespaces.host`)",
                "`host` is where netctl is started and needs no declaration",
            ),
        ]);
    }

    #[test]
    fn one_of_many_is_named_by_its_number() {
        let workers = "[namespaces.worker]\ncount = 12\n";
        let counted = "`worker` stands for 12 namespaces";
        let numbers = "name one of `worker-0` to `worker-11`";
        for (key, text) in [
            ("routes[0].namespace", "[[routes]]\nto = 'default'\nvia = '10.0.0.5'\nnamespace = 'worker'"),
            (
                "cables[0].a.namespace",
                "[[cables]]\nb = { namespace = 'host', interface = 'x' }\n\n\
                 a = { namespace = 'worker', interface = 'x' }",
            ),
            (
                "nat.masquerade[0].namespace",
                "[[nat.masquerade]]\nsource = '10.0.0.0/8'\n\nnamespace = 'worker'",
            ),
            (
                "nat.forward[0].namespace",
                "[[nat.forward]]\nto = '10.0.0.1'\nlisten = '80'\nnamespace = 'worker'",
            ),
            ("bridges.b.namespace", "\n\n[bridges.b]\nnamespace = 'worker'"),
        ] {
            assert_refused(&[(&format!("{workers}{text}"), &format!("6: {counted} (`{key}`)"), numbers)]);
        }
        assert_refused(&[(
            &format!("{workers}[bridges.b]\nnamespace = 'wroker-11'"),
            "4: unknown namespace `wroker-11` (`bridges.b.namespace`)",
            "did you mean `worker-11`?",
        )]);
        topology(&format!("{workers}[bridges.b]\nnamespace = 'worker-7'"));
    }
}
