//! Feeds a parsed document to serde.
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

use super::{
    Step,
    document::{Entry, Item, Value},
    fault::Fault,
};

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

/// A value that serde can read.
pub(super) struct Node<'de>(Value<'de>);

impl<'de> From<Value<'de>> for Node<'de> {
    fn from(document: Value<'de>) -> Self {
        Self(document)
    }
}

impl<'de> Deserializer<'de> for Node<'de> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Boolean(value) => visitor.visit_bool(value),
            Value::Integer(number) => visitor.visit_i64(number),
            Value::Float(number) => visitor.visit_f64(number),
            Value::Huge => Err(Fault::invalid_value(Unexpected::Other("a number beyond 64 bits"), &visitor)),
            Value::Date => Err(Fault::invalid_type(Unexpected::Other("a date or time"), &visitor)),
            Value::Text(Cow::Borrowed(text)) => visitor.visit_borrowed_str(text),
            Value::Text(Cow::Owned(text)) => visitor.visit_string(text),
            Value::List(items) => visitor.visit_seq(Items(items.into_iter().enumerate())),
            Value::Table(entries) => visitor.visit_map(Pairs { rest: entries.into_iter(), value: None }),
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
            Value::List(_) => Err(Fault::invalid_type(Unexpected::Seq, &visitor)),
            _ => self.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// The items of a list.
struct Items<'de>(Enumerate<vec::IntoIter<Item<'de>>>);

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let Some((index, item)) = self.0.next() else {
            return Ok(None);
        };
        seed.deserialize(Node(item.value)).map(Some).map_err(|fault| fault.within(Step::Index(index)))
    }
}

/// The keys and values of a table.
struct Pairs<'de> {
    rest: vec::IntoIter<Entry<'de>>,
    value: Option<(Cow<'de, str>, Value<'de>)>,
}

impl<'de> MapAccess<'de> for Pairs<'de> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let Some(Entry { key, value, .. }) = self.rest.next() else {
            return Ok(None);
        };
        self.value = Some((key.clone(), value));
        let key: CowStrDeserializer<'_, Fault> = key.into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let (key, value) =
            self.value.take().ok_or_else(|| Fault::custom("a value was asked for before its key"))?;
        seed.deserialize(Node(value)).map_err(|fault| fault.within(Step::Key(key.into_owned())))
    }
}
