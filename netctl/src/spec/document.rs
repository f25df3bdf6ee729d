//! A parsed document in either notation, TOML or JSON, with the place of each value in the text.

use std::{borrow::Cow, path::Path};

use toml::{
    Spanned,
    de::{DeString, DeTable, DeValue},
};

use super::{KeyPath, Step, json};

/// A value of the document.
#[derive(Debug)]
pub(super) enum Value<'a> {
    Null,
    Boolean(bool),
    Integer(i64),
    Float(f64),
    /// A number that neither of those can hold.
    Huge,
    /// A date or a time, which only TOML has.
    Date,
    Text(Cow<'a, str>),
    List(Vec<Item<'a>>),
    /// In the order of the text.
    Table(Vec<Entry<'a>>),
}

/// An item of a list.
#[derive(Debug)]
pub(super) struct Item<'a> {
    /// Where it begins, in bytes.
    pub(super) offset: usize,
    pub(super) value: Value<'a>,
}

/// A key and its value.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) key: Cow<'a, str>,
    /// Where the key begins, in bytes.
    pub(super) offset: usize,
    pub(super) value: Value<'a>,
}

/// What is wrong with the notation, and where.
#[derive(Debug)]
pub(super) struct Mistake {
    pub(super) offset: usize,
    pub(super) message: String,
}

/// Reads a text as what it is: JSON if it begins as an object, which TOML never does, or if its file says so.
pub(super) fn parse<'a>(text: &'a str, file: &str) -> Result<Value<'a>, Mistake> {
    let named_json = Path::new(file).extension().is_some_and(|extension| extension == "json");
    if named_json || text.trim_start().starts_with('{') {
        return json::parse(text);
    }
    match DeTable::parse(text) {
        Ok(document) => Ok(of_table(document.into_inner())),
        Err(error) => {
            let offset = error.span().map_or(0, |span| span.start);
            Err(Mistake { offset, message: uncapitalised(error.message()) })
        }
    }
}

/// The line, counted from 1, on which the value at `path` is written, or else its nearest ancestor that is written
/// at all. Line 1 for a text that is not a document.
#[must_use]
pub fn line_of(text: &str, file: &str, path: &KeyPath) -> usize {
    let Ok(root) = parse(text, file) else {
        return 1;
    };
    let mut value = &root;
    let mut offset = 0;
    for step in path.steps() {
        let found = match (step, value) {
            (Step::Key(key), Value::Table(entries)) => {
                entries.iter().find(|entry| entry.key == *key).map(|entry| (entry.offset, &entry.value))
            }
            (Step::Index(index), Value::List(items)) => {
                items.get(*index).map(|item| (item.offset, &item.value))
            }
            _ => None,
        };
        let Some(inner) = found else { break };
        (offset, value) = inner;
    }
    line_at(text, offset)
}

/// The line, counted from 1, that the byte at `offset` is on.
pub(super) fn line_at(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|&byte| byte == b'\n').count()
}

fn of_table<'a>(table: DeTable<'a>) -> Value<'a> {
    let entry = |(key, value): (Spanned<DeString<'a>>, Spanned<DeValue<'a>>)| Entry {
        offset: key.span().start,
        key: key.into_inner(),
        value: of_toml(value.into_inner()),
    };
    let mut entries: Vec<Entry<'_>> = table.into_iter().map(entry).collect();
    entries.sort_by_key(|entry| entry.offset);
    Value::Table(entries)
}

fn of_toml<'a>(value: DeValue<'a>) -> Value<'a> {
    match value {
        DeValue::String(text) => Value::Text(text),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).map_or(Value::Huge, Value::Integer)
        }
        DeValue::Float(number) => number.as_str().parse().map_or(Value::Huge, Value::Float),
        DeValue::Boolean(value) => Value::Boolean(value),
        DeValue::Datetime(_) => Value::Date,
        DeValue::Array(items) => {
            let item = |item: Spanned<DeValue<'a>>| Item {
                offset: item.span().start,
                value: of_toml(item.into_inner()),
            };
            Value::List(items.into_iter().map(item).collect())
        }
        DeValue::Table(table) => of_table(table),
    }
}

/// The text with its first letter in lower case, as all messages begin.
fn uncapitalised(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|c| c.to_ascii_lowercase());
    first.into_iter().chain(characters).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::key_path, *};

    #[test]
    fn a_path_is_on_the_line_of_its_key_or_of_its_nearest_ancestor() {
        let text = "name = 'x'\n\n[bridges.br]\nmtu = 1\n[bridges.br.ports]\nred = { addresses = [\n'a',\n'b'] }\n\
                    [[cables]]\na = {}\n\n[[cables]]\n\nb = {}\n";
        let cases = [
            (key_path![], 1),
            (key_path!["name"], 1),
            (key_path!["bridges", "br"], 3),
            (key_path!["bridges", "br", "mtu"], 4),
            (key_path!["bridges", "br", "ports"], 5),
            (key_path!["bridges", "br", "ports", "red", "addresses"], 6),
            (key_path!["bridges", "br", "ports", "red", "addresses", 1], 8),
            (key_path!["bridges", "br", "ports", "red", "port"], 6),
            (key_path!["bridges", "br", "ports", "blue", "port"], 5),
            (key_path!["cables", 0, "a"], 10),
            (key_path!["cables", 1], 12),
            (key_path!["cables", 1, "b", "mtu"], 14),
            (key_path!["cables", 7], 9),
            (key_path!["nowhere", 1, "x"], 1),
        ];
        for (path, line) in cases {
            assert_eq!(line_of(text, "f", &path), line, "{path}");
        }
    }

    #[test]
    fn a_path_is_on_its_line_of_json_too() {
        let text = "\n{ \"name\": \"x\",\n\"cables\": [\n {},\n { \"a\":\n {\"mtu\": 1}}]}";
        let cases = [
            (key_path!["name"], 2),
            (key_path!["cables"], 3),
            (key_path!["cables", 1], 5),
            (key_path!["cables", 1, "a", "mtu"], 6),
            (key_path!["cables", 1, "b"], 5),
        ];
        for (path, line) in cases {
            assert_eq!(line_of(text, "f", &path), line, "{path}");
        }
    }

    #[test]
    fn text_that_is_no_document_has_only_its_first_line() {
        assert_eq!(line_of("\n\n[", "f", &key_path!["name"]), 1);
        assert_eq!(line_of("\n\n[", "f.json", &key_path!["name"]), 1);
    }
}
