//! The topology file as written: plain types, in the order of the file, with unknown keys refused.
//!
//! What the values mean is `model`'s business: here an address is still text. Errors give the line, the key and,
//! where one is close, the key that was probably meant.

mod de;
mod document;
mod duration;
mod error;
mod fault;
mod json;
mod nearest;
mod path;
mod schema;
mod ser;
mod shortcut;
mod table;
mod tables;
mod write;

use serde::Deserialize as _;

pub(crate) use self::path::key_path;
pub use self::{
    document::line_of,
    duration::Duration,
    error::{Error, Problem},
    nearest::nearest,
    path::{KeyPath, Step},
    schema::schema,
    shortcut::Shortcut,
    table::Table,
    tables::{
        Bridge, Cable, End, Forward, Link, Masquerade, Namespace, Nat, Port, Route, Rule, Spec, Timeouts,
    },
    write::to_toml,
};

/// The built-in topology: what `up` builds when there is no file.
pub const QUICKSTART: &str = include_str!("../quickstart.toml");

impl Spec {
    /// Reads the text of a topology file, TOML or JSON; `source_name` is what errors call it.
    pub fn parse(text: &str, source_name: &str) -> Result<Self, Error> {
        let document = document::parse(text, source_name)
            .map_err(|mistake| Error::syntax(mistake, text, source_name))?;
        Self::deserialize(de::Node::from(document)).map_err(|fault| Error::locate(fault, text, source_name))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_order_of_the_file_is_kept() {
        let spec = Spec::parse("[namespaces.b]\n[bridges.z]\n[namespaces.a]\n[bridges.y]\n", "f").unwrap();
        let names = |n: &[(String, Namespace)]| n.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&spec.namespaces), ["b", "a"]);
        assert_eq!(spec.bridges[0].0, "z");
    }

    #[test]
    fn a_text_of_any_depth_is_no_danger() {
        for depth in [100, 100_000] {
            let _ = Spec::parse(&format!("name = {}", "[".repeat(depth)), "deep");
            let _ = Spec::parse(&format!("name = {}", "{a=".repeat(depth)), "deep");
            let _ = Spec::parse(&format!("{}a = 1", "a.".repeat(depth)), "deep");
        }
    }

    #[test]
    fn the_quickstart_parses() {
        let spec = Spec::parse(QUICKSTART, "quickstart").unwrap();
        assert_eq!(spec.name.as_deref(), Some("quickstart"));
        assert_eq!(spec.nat.forward.len(), 2);
    }

    proptest! {
        #[test]
        fn any_text_never_panics_the_parser(text in any::<String>()) {
            let _ = Spec::parse(&text, "any");
        }

        #[test]
        fn a_line_of_the_file_can_be_told_for_every_error(at in 0..QUICKSTART.len(), inserted in ".{0,3}") {
            let mut text = QUICKSTART.to_owned();
            if text.is_char_boundary(at) {
                text.insert_str(at, &inserted);
            }
            if let Err(error) = Spec::parse(&text, "any") {
                prop_assert!((1..=text.lines().count() + 1).contains(&error.line));
            }
        }
    }
}
