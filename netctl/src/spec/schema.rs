//! The JSON Schema of the topology file, by which editors complete keys and underline mistakes.

use schemars::{
    Schema,
    generate::SchemaSettings,
    transform::{Transform, transform_subschemas},
};
use serde_json::Value;

use super::Spec;

/// The schema, of draft 2020-12.
#[must_use]
pub fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12().with_transform(Ours);
    settings.into_generator().into_root_schema_for::<Spec>().into()
}

/// Makes schemars's schema ours: a key that may be left out may still not be null.
#[derive(Debug, Clone)]
struct Ours;

impl Transform for Ours {
    fn transform(&mut self, schema: &mut Schema) {
        if let Some(Value::Array(types)) = schema.get_mut("type") {
            types.retain(|name| name != "null");
            if let [only] = types.as_slice() {
                let only = only.clone();
                schema.insert("type".to_owned(), only);
            }
        }
        for noise in ["format", "default"] {
            schema.remove(noise);
        }
        // The lines of a comment are one sentence.
        if let Some(Value::String(text)) = schema.get_mut("description") {
            *text = text.replace('\n', " ");
        }
        transform_subschemas(self, schema);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use serde::{
        Deserialize,
        de::{Deserializer, Error as _, Visitor, value},
        forward_to_deserialize_any,
    };

    use super::*;
    use crate::spec::{
        Bridge, Cable, End, Forward, Link, Masquerade, Namespace, Nat, Port, Route, Rule, Timeouts,
    };

    /// Notes which keys a type asks for.
    struct Probe<'a>(&'a mut BTreeSet<&'static str>);

    impl<'de> Deserializer<'de> for Probe<'_> {
        type Error = value::Error;

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, value::Error> {
            Err(value::Error::custom("not a struct"))
        }

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            visitor: V,
        ) -> Result<V::Value, value::Error> {
            self.0.extend(fields);
            self.deserialize_any(visitor)
        }

        forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
            newtype_struct seq tuple tuple_struct map enum identifier ignored_any option
        }
    }

    fn keys_of<'de, T: Deserialize<'de>>() -> BTreeSet<&'static str> {
        let mut keys = BTreeSet::new();
        assert!(T::deserialize(Probe(&mut keys)).is_err());
        keys
    }

    /// The keys that the parser knows, by table.
    fn parsed() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
        BTreeMap::from([
            ("Spec", keys_of::<Spec>()),
            ("Namespace", keys_of::<Namespace>()),
            ("Bridge", keys_of::<Bridge>()),
            ("Port", keys_of::<Port>()),
            ("Cable", keys_of::<Cable>()),
            ("End", keys_of::<End>()),
            ("Link", keys_of::<Link>()),
            ("Route", keys_of::<Route>()),
            ("Rule", keys_of::<Rule>()),
            ("Nat", keys_of::<Nat>()),
            ("Timeouts", keys_of::<Timeouts>()),
            ("Masquerade", keys_of::<Masquerade>()),
            ("Forward", keys_of::<Forward>()),
        ])
    }

    /// The tables of the schema.
    fn described(schema: &Value) -> BTreeMap<&str, &Value> {
        let defs = schema["$defs"].as_object().unwrap();
        defs.iter().map(|(name, table)| (name.as_str(), table)).chain([("Spec", schema)]).collect()
    }

    #[test]
    fn the_schema_has_the_keys_of_the_parser_and_no_others() {
        let schema = schema();
        let keys = |table: &Value| -> BTreeSet<String> {
            table["properties"].as_object().unwrap().keys().cloned().collect()
        };
        let described: BTreeMap<_, _> =
            described(&schema).into_iter().map(|(name, table)| (name, keys(table))).collect();
        let parsed: BTreeMap<_, BTreeSet<String>> = parsed()
            .into_iter()
            .map(|(name, keys)| (name, keys.into_iter().map(str::to_owned).collect()))
            .collect();
        assert_eq!(described, parsed);
    }

    #[test]
    fn every_table_is_closed_and_every_key_described() {
        let schema = schema();
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        for (name, table) in described(&schema) {
            assert_eq!(table["additionalProperties"], false, "{name}");
            for (key, property) in table["properties"].as_object().unwrap() {
                let text = property["description"].as_str().unwrap_or_default();
                assert!(!text.is_empty() && !text.contains('\n'), "{name}.{key}: {text:?}");
                assert!(!property.to_string().contains("null"), "{name}.{key} may be null");
            }
        }
        assert_eq!(schema["$defs"]["Cable"]["required"], serde_json::json!(["a", "b"]));
        assert_eq!(schema["$defs"]["Bridge"]["properties"]["mtu"]["type"], "integer");
    }

    #[test]
    fn the_page_about_the_file_has_every_key_in_its_place() {
        let page = include_str!("../../../docs/topology.md");
        let headings = BTreeMap::from([
            ("Spec", "## The file"),
            ("Namespace", "## `[namespaces.NAME]`"),
            ("Bridge", "## `[bridges.NAME]`"),
            ("Port", "## `[bridges.NAME.ports]`"),
            ("Cable", "## `[[cables]]`"),
            ("End", "## `[[cables]]`"),
            ("Link", "## `[[links]]`"),
            ("Route", "## `[[routes]]`"),
            ("Rule", "## `[[rules]]`"),
            ("Nat", "## `[nat]`"),
            ("Timeouts", "## `[nat.timeouts]`"),
            ("Masquerade", "## `[[nat.masquerade]]`"),
            ("Forward", "## `[[nat.forward]]`"),
        ]);
        let section = |heading: &str| {
            let (_, rest) =
                page.split_once(&format!("{heading}\n")).unwrap_or_else(|| panic!("no {heading}"));
            rest.split("\n## ").next().unwrap().to_owned()
        };
        let rows = |heading: &str| -> BTreeSet<String> {
            let keys = section(heading);
            let keys = keys.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
            keys.map(|(key, _)| key.to_owned()).collect()
        };
        let mut expected: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for (table, keys) in parsed() {
            expected.entry(headings[table]).or_default().extend(keys.into_iter().map(str::to_owned));
        }
        for (heading, keys) in expected {
            assert_eq!(rows(heading), keys, "{heading}");
        }
    }

    #[test]
    fn the_examples_of_the_page_are_topologies() {
        let page = include_str!("../../../docs/topology.md");
        let blocks = page.split("```").skip(1).step_by(2);
        let mut count = 0;
        for block in blocks {
            let Some(text) = block.strip_prefix("toml\n").or_else(|| block.strip_prefix("json\n")) else {
                continue;
            };
            let parsed = crate::model::Topology::parse(text, "the page", "page".parse().unwrap());
            assert!(parsed.is_ok(), "{}\n{text}", parsed.unwrap_err());
            count += 1;
        }
        assert!(count > 0);
    }
}
