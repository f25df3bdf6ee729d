//! What can be wrong with a file before its values are looked at.

use std::fmt;

use super::{
    KeyPath,
    document::{Mistake, line_at, line_of},
    fault::Fault,
    nearest,
};
use crate::hint::Advise;

/// An error of a topology file, with its place in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What the file is called.
    pub file: String,
    /// The line, counted from 1.
    pub line: usize,
    /// The value or table at fault; the root for bad syntax.
    pub path: KeyPath,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Neither TOML nor JSON.
    #[error("{message}")]
    Syntax {
        /// The parser's message.
        message: String,
    },
    /// A key that the table does not have.
    #[error("unknown key `{key}`")]
    UnknownKey {
        /// The key as written.
        key: String,
        /// The keys that the table has.
        known: &'static [&'static str],
    },
    /// A key that cannot be left out.
    #[error("missing key `{key}`")]
    MissingKey {
        /// The key.
        key: &'static str,
    },
    /// A value of another type than the key has.
    #[error("expected {expected}, found {found}")]
    WrongType {
        /// The type that the key has.
        expected: String,
        /// What is written.
        found: String,
    },
    /// Anything else that a deserializer may object to.
    #[error("{message}")]
    Value {
        /// The deserializer's message.
        message: String,
    },
}

impl Error {
    /// The error of a text that is no document.
    pub(super) fn syntax(mistake: Mistake, text: &str, file: &str) -> Self {
        Self {
            file: file.to_owned(),
            line: line_at(text, mistake.offset),
            path: KeyPath::default(),
            problem: Problem::Syntax { message: mistake.message },
        }
    }

    /// Finds the line of a fault.
    pub(super) fn locate(Fault { path, problem }: Fault, text: &str, file: &str) -> Self {
        let line = match &problem {
            Problem::UnknownKey { key, .. } => line_of(text, file, &path.key(key)),
            _ => line_of(text, file, &path),
        };
        Self { file: file.to_owned(), line, path, problem }
    }
}

impl Advise for Error {
    fn advice(&self) -> Option<String> {
        match &self.problem {
            Problem::UnknownKey { key, known } => Some(match nearest(key, known.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("the keys here are `{}`", known.join("`, `")),
            }),
            Problem::WrongType { found, .. } if found == "`null`" => Some("leave the key out".to_owned()),
            Problem::WrongType { expected, found } if expected == "a string" => {
                if found == "a table" {
                    Some("a key that contains dots needs quotes around it".to_owned())
                } else {
                    found.contains('`').then(|| "put it in quotes".to_owned())
                }
            }
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.problem)?;
        if !self.path.is_root() {
            write!(f, " in `{}`", self.path)?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use crate::{advice, spec::Spec};

    /// The error of a file, as printed, and its hint.
    fn refusal(text: &str) -> (String, Option<String>) {
        let error = Spec::parse(text, "office.toml").unwrap_err();
        (error.to_string(), advice::of(&error))
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_the_nearest_valid_key() {
        let text = "[namespaces.red]\n\n[bridges.v-net-0.ports]\nred = { addreses = [] }\n";
        let (message, hint) = refusal(text);
        assert_eq!(message, "office.toml:4: unknown key `addreses` in `bridges.v-net-0.ports.red`");
        assert_eq!(hint.unwrap(), "did you mean `addresses`?");
        let cases = [
            ("[[nat.masquerade]]\nmaping = ''", "2: unknown key `maping` in `nat.masquerade[0]`", "mapping"),
            (
                "[[nat.masquerade]]\nfiltring = ''",
                "2: unknown key `filtring` in `nat.masquerade[0]`",
                "filtering",
            ),
            ("[nat]\nmax-flow = 1", "2: unknown key `max-flow` in `nat`", "max-flows"),
            ("[nat]\ntimeout = {}", "2: unknown key `timeout` in `nat`", "timeouts"),
            (
                "[nat.timeouts]\ntcp_established = 1",
                "2: unknown key `tcp_established` in `nat.timeouts`",
                "tcp-established",
            ),
            ("[[nat.forward]]\nallowed = []", "2: unknown key `allowed` in `nat.forward[0]`", "allow"),
        ];
        for (text, message, meant) in cases {
            let (refused, hint) = refusal(text);
            assert_eq!(refused, format!("office.toml:{message}"));
            assert_eq!(hint.unwrap(), format!("did you mean `{meant}`?"));
        }
    }

    #[test]
    fn an_unknown_key_like_no_other_gets_the_list_of_valid_ones() {
        let cases = [
            (
                "[nat]\nengine = 'ebpf'",
                "2: unknown key `engine` in `nat`",
                "`backend`, `masquerade`, `forward`, `shortcut`, `timeouts`, `max-flows`",
            ),
            (
                "\ncolour = 1",
                "2: unknown key `colour`",
                "`$schema`, `name`, `namespaces`, `bridges`, `cables`, `links`, `routes`, `rules`, `nat`",
            ),
            (
                "[namespaces.worker]\ncopies = 3",
                "2: unknown key `copies` in `namespaces.worker`",
                "`count`, `forwarding`, `sysctls`",
            ),
            (
                "[[cables]]\na = { namespace = 'a', interface = 'b' }\nb = { namespace = 'c',\n colour = 1 }",
                "4: unknown key `colour` in `cables[0].b`",
                "`namespace`, `interface`, `addresses`, `mtu`",
            ),
        ];
        for (text, message, keys) in cases {
            let refused = refusal(text);
            assert_eq!(refused.0, format!("office.toml:{message}"));
            assert_eq!(refused.1.unwrap(), format!("the keys here are {keys}"));
        }
    }

    #[test]
    fn a_missing_key_is_named_with_the_table_it_is_missing_in() {
        let cases = [
            ("\n[[cables]]\na = { namespace = 'a' }", "3: missing key `interface` in `cables[0].a`"),
            ("[[routes]]\nnamespace = 'a'\nvia = 'c'", "1: missing key `to` in `routes[0]`"),
            (
                "[[routes]]\nnamespace = 'a'\nto = 'b'\nvia = 'c'\n[[routes]]\n",
                "5: missing key `namespace` in `routes[1]`",
            ),
        ];
        for (text, message) in cases {
            assert_eq!(refusal(text).0, format!("office.toml:{message}"));
        }
    }

    #[test]
    fn a_wrong_type_is_told_in_the_files_words() {
        let cases = [
            ("name = 5", "1: expected a string, found the number `5` in `name`", Some("put it in quotes")),
            ("cables = 'x'", "1: expected a list, found the string \"x\" in `cables`", None),
            (
                "[[cables]]\na = ['router', 'wan0']",
                "2: expected a table, found a list in `cables[0].a`",
                None,
            ),
            (
                "[bridges.b]\nmtu = '1500'",
                "2: expected a whole number, found the string \"1500\" in `bridges.b.mtu`",
                None,
            ),
            (
                "[bridges.b]\naddresses = [\n  '10.0.0.1/8',\n  5,\n]",
                "4: expected a string, found the number `5` in `bridges.b.addresses[1]`",
                Some("put it in quotes"),
            ),
            (
                "[namespaces.r.sysctls]\nnet.ipv4.ip_forward = '1'",
                "2: expected a string, found a table in `namespaces.r.sysctls.net`",
                Some("a key that contains dots needs quotes around it"),
            ),
            (
                "[nat.timeouts]\nudp = 1.5",
                "2: expected a duration such as \"5m\", or a number of seconds, found the number `1.5` in \
                 `nat.timeouts.udp`",
                None,
            ),
            ("name = 2024-01-01", "1: expected a string, found a date or time in `name`", None),
            (
                "[bridges.b]\nmtu = 99999999999999999999",
                "2: expected a whole number, found a number beyond 64 bits in `bridges.b.mtu`",
                None,
            ),
        ];
        for (text, message, hint) in cases {
            assert_eq!(refusal(text), (format!("office.toml:{message}"), hint.map(str::to_owned)));
        }
    }

    #[test]
    fn bad_syntax_is_told_with_its_line() {
        for (text, line) in
            [("name = \"x\n", 1), ("\n\n[bridges\n", 3), ("name = 'a'\nname = 'b'\n", 2), ("a = 1\nb =", 2)]
        {
            let (message, _) = refusal(text);
            assert!(message.starts_with(&format!("office.toml:{line}: ")), "{message}");
            assert!(!message.contains('\n') && message == message.to_lowercase(), "{message}");
        }
    }

    #[test]
    fn json_is_refused_in_the_same_words() {
        let cases = [
            ("{\n\"nmae\": \"x\"}", "2: unknown key `nmae`", Some("did you mean `name`?")),
            ("{\n\"cables\": [\n{}]}", "3: missing key `a` in `cables[0]`", None),
            (
                "{\"bridges\": {\"b\": {\n\"mtu\": 1500.0}}}",
                "2: expected a whole number, found the number `1500.0` in `bridges.b.mtu`",
                None,
            ),
            ("{\"name\":\nnull}", "1: expected a string, found `null` in `name`", Some("leave the key out")),
            ("{\"name\": \"a\",\n\"name\": \"b\"}", "2: duplicate key `name`", None),
            ("{\n\n", "3: expected a key in double quotes, found the end of the file", None),
        ];
        for (text, message, hint) in cases {
            assert_eq!(refusal(text), (format!("office.toml:{message}"), hint.map(str::to_owned)));
        }
    }

    #[test]
    fn a_file_that_is_called_json_is_json() {
        let error = Spec::parse("name = 'x'", "x.json").unwrap_err();
        assert_eq!(error.to_string(), "x.json:1: expected an object, found `n`");
    }
}
