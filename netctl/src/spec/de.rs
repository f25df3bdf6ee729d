//! Feeds a parsed TOML document to serde.
//!
//! The toml crate's own deserializer gives errors as finished sentences and visits tables in alphabetical order.
//! This one keeps the typed error with the path of its key, and visits tables in the order of the file.

use std::{borrow::Cow, fmt, iter::Enumerate, marker::PhantomData, vec};

use serde::{
    Deserialize,
    de::{
        DeserializeSeed, Deserializer, Error as _, IntoDeserializer, MapAccess, SeqAccess, Unexpected,
        Visitor, value::CowStrDeserializer,
    },
    forward_to_deserialize_any,
};
use toml::{
    Spanned,
    de::{DeArray, DeString, DeTable, DeValue},
};

use super::{Step, fault::Fault};

/// Reads a table of named things as a list, which keeps the order of the file.
pub(super) fn named<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<(String, T)>, D::Error> {
    struct Named<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Named<T> {
        type Value = Vec<(String, T)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a table")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut entries = Vec::new();
            while let Some(entry) = map.next_entry()? {
                entries.push(entry);
            }
            Ok(entries)
        }
    }

    deserializer.deserialize_map(Named(PhantomData))
}

/// A value of the document.
pub(super) struct Node<'de>(DeValue<'de>);

impl<'de> From<DeTable<'de>> for Node<'de> {
    fn from(document: DeTable<'de>) -> Self {
        Self(DeValue::Table(document))
    }
}

impl<'de> Deserializer<'de> for Node<'de> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.0 {
            DeValue::String(Cow::Borrowed(text)) => visitor.visit_borrowed_str(text),
            DeValue::String(Cow::Owned(text)) => visitor.visit_string(text),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => visitor.visit_i64(number),
                Err(_) => Err(Fault::invalid_value(Unexpected::Other("a number beyond 64 bits"), &visitor)),
            },
            DeValue::Float(number) => match number.as_str().parse() {
                Ok(number) => visitor.visit_f64(number),
                Err(_) => Err(Fault::invalid_value(Unexpected::Other("a number beyond 64 bits"), &visitor)),
            },
            DeValue::Boolean(value) => visitor.visit_bool(value),
            DeValue::Datetime(_) => Err(Fault::invalid_type(Unexpected::Other("a date or time"), &visitor)),
            DeValue::Array(items) => visitor.visit_seq(Items::from(items)),
            DeValue::Table(table) => visitor.visit_map(Pairs::from(table)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    /// Derived structs would take a list for their fields one by one; in a file that is a mistake.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match self.0 {
            DeValue::Array(_) => Err(Fault::invalid_type(Unexpected::Seq, &visitor)),
            _ => self.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// The items of a list.
struct Items<'de>(Enumerate<<DeArray<'de> as IntoIterator>::IntoIter>);

impl<'de> From<DeArray<'de>> for Items<'de> {
    fn from(items: DeArray<'de>) -> Self {
        Self(items.into_iter().enumerate())
    }
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let Some((index, item)) = self.0.next() else {
            return Ok(None);
        };
        seed.deserialize(Node(item.into_inner())).map(Some).map_err(|fault| fault.within(Step::Index(index)))
    }
}

/// The keys and values of a table.
struct Pairs<'de> {
    rest: vec::IntoIter<(Spanned<DeString<'de>>, Spanned<DeValue<'de>>)>,
    value: Option<(String, DeValue<'de>)>,
}

impl<'de> From<DeTable<'de>> for Pairs<'de> {
    fn from(table: DeTable<'de>) -> Self {
        let mut pairs: Vec<_> = table.into_iter().collect();
        pairs.sort_by_key(|(key, _)| key.span().start);
        Self { rest: pairs.into_iter(), value: None }
    }
}

impl<'de> MapAccess<'de> for Pairs<'de> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let Some((key, value)) = self.rest.next() else {
            return Ok(None);
        };
        let key = key.into_inner();
        self.value = Some((key.to_string(), value.into_inner()));
        let key: CowStrDeserializer<'_, Fault> = key.into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let (key, value) =
            self.value.take().ok_or_else(|| Fault::custom("a value was asked for before its key"))?;
        seed.deserialize(Node(value)).map_err(|fault| fault.within(Step::Key(key)))
    }
}
