//! The topology file as written: plain types, in the order of the file, with unknown keys refused.
//!
//! What the values mean is `model`'s business: here an address is still text. Errors give the line, the key and,
//! where one is close, the key that was probably meant.

mod de;
mod error;
mod fault;
mod nearest;
mod path;

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::de::DeTable;

pub(crate) use self::path::key_path;
pub use self::{
    error::{Error, Problem},
    nearest::nearest,
    path::{KeyPath, Step, line_of},
};

/// The built-in topology: what `up` builds when there is no file.
pub const QUICKSTART: &str = include_str!("../quickstart.toml");

/// A topology file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct Spec {
    /// The topology's name; the file's stem when left out.
    pub name: Option<String>,
    /// `[namespaces.NAME]`, in the order of the file.
    #[serde(default, deserialize_with = "de::named")]
    pub namespaces: Vec<(String, Namespace)>,
    /// `[bridges.NAME]`, in the order of the file.
    #[serde(default, deserialize_with = "de::named")]
    pub bridges: Vec<(String, Bridge)>,
    /// `[[cables]]`.
    #[serde(default)]
    pub cables: Vec<Cable>,
    /// `[[routes]]`.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// `[nat]`.
    #[serde(default)]
    pub nat: Nat,
}

/// `[namespaces.NAME]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct Namespace {
    /// Whether it forwards packets between its links; worked out from its part in the topology when left out.
    pub forwarding: Option<bool>,
    /// `net.*` sysctls, in dotted form.
    #[serde(default)]
    pub sysctls: BTreeMap<String, String>,
}

/// `[bridges.NAME]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct Bridge {
    /// Where it lives; `host` when left out.
    pub namespace: Option<String>,
    /// The bridge's own addresses.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// Bytes, for the bridge and both ends of its ports.
    pub mtu: Option<i64>,
    /// `ports.NAMESPACE`, in the order of the file.
    #[serde(default, deserialize_with = "de::named")]
    pub ports: Vec<(String, Port)>,
}

/// `[bridges.BRIDGE.ports]`, `NAMESPACE = { … }`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "a table")]
pub struct Port {
    /// The addresses of the namespace's end.
    pub addresses: Vec<String>,
    /// The name of the namespace's end.
    pub interface: Option<String>,
    /// The name of the bridge's end.
    pub port: Option<String>,
    /// Bytes, for both ends.
    pub mtu: Option<i64>,
    /// Whether the namespace's default route goes through the bridge's address.
    pub default_route: Option<bool>,
}

/// `[[cables]]`: a veth pair.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct Cable {
    /// One end.
    pub a: End,
    /// The other end.
    pub b: End,
}

/// One end of a cable.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct End {
    /// Where it lives; may be `host`.
    pub namespace: String,
    /// Its interface name.
    pub interface: String,
    /// Its addresses.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// Bytes.
    pub mtu: Option<i64>,
}

/// `[[routes]]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct Route {
    /// Where it is set.
    pub namespace: String,
    /// A network, or `default`.
    pub to: String,
    /// The next hop.
    pub via: String,
}

/// `[nat]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct Nat {
    /// `[[nat.masquerade]]`.
    #[serde(default)]
    pub masquerade: Vec<Masquerade>,
    /// `[[nat.forward]]`.
    #[serde(default)]
    pub forward: Vec<Forward>,
}

/// `[[nat.masquerade]]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct Masquerade {
    /// The gateway.
    pub namespace: String,
    /// The inside network.
    pub source: String,
    /// The uplink; every interface but the one that `source` lives behind when left out.
    pub out: Option<String>,
    /// The outside address to take.
    pub address: Option<String>,
    /// The ports to choose from, `FIRST-LAST`.
    pub ports: Option<String>,
    /// Lets in what comes from outside straight to an inside address.
    #[serde(default)]
    pub routed: bool,
}

/// `[[nat.forward]]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct Forward {
    /// The gateway.
    pub namespace: String,
    /// `[ADDRESS:]PORT[-PORT][/tcp|udp|tcp+udp]`.
    pub listen: String,
    /// `ADDRESS[:PORT]`.
    pub to: String,
}

impl Spec {
    /// Reads the text of a topology file; `source_name` is what errors call it.
    pub fn parse(text: &str, source_name: &str) -> Result<Self, Error> {
        let document = DeTable::parse(text).map_err(|error| Error::syntax(&error, text, source_name))?;
        Self::deserialize(de::Node::from(document.into_inner()))
            .map_err(|fault| Error::locate(fault, text, source_name))
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
