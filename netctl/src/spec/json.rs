//! Reads JSON (RFC 8259) into a document. serde_json would do it without telling where each value stands; it is still
//! who reads the strings and the numbers. A key that is there twice is a mistake, as it is in TOML.

use std::{borrow::Cow, collections::HashSet};

use super::document::{Entry, Item, Mistake, Value};

/// How deep lists and objects may be nested: as deep as serde_json has it.
const DEPTH: usize = 128;

/// Reads a text that is one object.
pub(super) fn parse(text: &str) -> Result<Value<'_>, Mistake> {
    let mut reader = Reader { text, at: 0, depth: 0 };
    reader.skip_blanks();
    if reader.peek() != Some(b'{') {
        return Err(reader.expected("an object"));
    }
    let value = reader.value()?;
    reader.skip_blanks();
    match reader.peek() {
        None => Ok(value),
        Some(_) => Err(reader.expected("the end of the file")),
    }
}

struct Reader<'a> {
    text: &'a str,
    /// The next byte to read; always at the border of a character.
    at: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self) -> Result<Value<'a>, Mistake> {
        match self.peek() {
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::list),
            Some(b'"') => self.string().map(Value::Text),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.word(),
        }
    }

    /// Reads what has values inside, one level deeper.
    fn nested(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<Value<'a>, Mistake>,
    ) -> Result<Value<'a>, Mistake> {
        if self.depth == DEPTH {
            return Err(self.mistake(self.at, format!("nested more than {DEPTH} deep")));
        }
        self.at += 1;
        self.depth += 1;
        let value = read(self);
        self.depth -= 1;
        value
    }

    fn object(&mut self) -> Result<Value<'a>, Mistake> {
        let mut entries = Vec::new();
        let mut keys = HashSet::new();
        self.separated(b'}', |reader| {
            let offset = reader.at;
            if reader.peek() != Some(b'"') {
                return Err(reader.expected("a key in double quotes"));
            }
            let key = reader.string()?;
            if !keys.insert(key.clone()) {
                return Err(reader.mistake(offset, format!("duplicate key `{key}`")));
            }
            reader.skip_blanks();
            if !reader.take(b':') {
                return Err(reader.expected("`:`"));
            }
            reader.skip_blanks();
            entries.push(Entry { key, offset, value: reader.value()? });
            Ok(())
        })?;
        Ok(Value::Table(entries))
    }

    fn list(&mut self) -> Result<Value<'a>, Mistake> {
        let mut items = Vec::new();
        self.separated(b']', |reader| {
            let offset = reader.at;
            items.push(Item { offset, value: reader.value()? });
            Ok(())
        })?;
        Ok(Value::List(items))
    }

    /// Reads what stands between commas, up to and with the closing bracket.
    fn separated(
        &mut self,
        close: u8,
        mut read: impl FnMut(&mut Self) -> Result<(), Mistake>,
    ) -> Result<(), Mistake> {
        self.skip_blanks();
        if self.take(close) {
            return Ok(());
        }
        loop {
            self.skip_blanks();
            read(self)?;
            self.skip_blanks();
            if self.take(close) {
                return Ok(());
            }
            if !self.take(b',') {
                return Err(self.expected(&format!("`,` or `{}`", char::from(close))));
            }
        }
    }

    fn string(&mut self) -> Result<Cow<'a, str>, Mistake> {
        let start = self.at;
        let mut escaped = false;
        let is_end = |byte: u8| {
            let ends = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            ends
        };
        let Some(length) = self.text.bytes().skip(start + 1).position(is_end) else {
            return Err(self.mistake(start, "a string that never ends".to_owned()));
        };
        self.at = start + length + 2;
        let inside = self.text.get(start + 1..start + 1 + length).unwrap_or_default();
        if !inside.contains(|c: char| c == '\\' || c.is_ascii_control()) {
            return Ok(Cow::Borrowed(inside));
        }
        let token = self.text.get(start..self.at).unwrap_or_default();
        let refused = |_| self.mistake(start, format!("{token} is not a string"));
        serde_json::from_str::<String>(token).map(Cow::Owned).map_err(refused)
    }

    fn number(&mut self) -> Result<Value<'a>, Mistake> {
        let start = self.at;
        let token = self.token(|c| matches!(c, '+' | '-' | '.' | '0'..='9' | 'e' | 'E'));
        match serde_json::from_str::<serde_json::Number>(token) {
            Ok(number) => Ok(match (number.as_i64(), number.is_f64(), number.as_f64()) {
                (Some(number), ..) => Value::Integer(number),
                (None, true, Some(number)) => Value::Float(number),
                _ => Value::Huge,
            }),
            // Such as 1e999: well written, but more than any type holds.
            Err(error) if error.to_string().starts_with("number out of range") => Ok(Value::Huge),
            Err(_) => Err(self.mistake(start, format!("`{token}` is not a number"))),
        }
    }

    fn word(&mut self) -> Result<Value<'a>, Mistake> {
        let start = self.at;
        match self.token(|c| c.is_alphanumeric() || c == '_') {
            "true" => Ok(Value::Boolean(true)),
            "false" => Ok(Value::Boolean(false)),
            "null" => Ok(Value::Null),
            "" => Err(self.expected("a value")),
            word => {
                Err(self.mistake(start, format!("`{word}` is not a value; strings stand in double quotes")))
            }
        }
    }

    /// The characters ahead that belong to it.
    fn token(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let token = &rest[..rest.find(|c| !belongs(c)).unwrap_or(rest.len())];
        self.at += token.len();
        token
    }

    fn skip_blanks(&mut self) {
        self.token(|c| matches!(c, ' ' | '\t' | '\n' | '\r'));
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn expected(&self, what: &str) -> Mistake {
        let found = match self.text.get(self.at..).and_then(|rest| rest.chars().next()) {
            Some(character) if character.is_control() => format!("`{}`", character.escape_debug()),
            Some(character) => format!("`{character}`"),
            None => "the end of the file".to_owned(),
        };
        self.mistake(self.at, format!("expected {what}, found {found}"))
    }

    #[expect(clippy::unused_self, reason = "reads as the reader's own complaint")]
    fn mistake(&self, offset: usize, message: String) -> Mistake {
        Mistake { offset, message }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What serde_json would have read.
    fn plain(value: &Value<'_>) -> serde_json::Value {
        match value {
            Value::Boolean(value) => (*value).into(),
            Value::Integer(number) => (*number).into(),
            Value::Float(number) => (*number).into(),
            Value::Text(text) => text.as_ref().into(),
            Value::List(items) => items.iter().map(|item| plain(&item.value)).collect(),
            Value::Table(entries) => {
                entries.iter().map(|entry| (entry.key.to_string(), plain(&entry.value))).collect()
            }
            Value::Null | Value::Huge | Value::Date => serde_json::Value::Null,
        }
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        let cases = [
            ("[]", 0, "expected an object, found `[`"),
            ("{} x", 3, "expected the end of the file, found `x`"),
            ("{\"a\": 1,}", 8, "expected a key in double quotes, found `}`"),
            ("{a: 1}", 1, "expected a key in double quotes, found `a`"),
            ("{\"a\" 1}", 5, "expected `:`, found `1`"),
            ("{\"a\": 1 \"b\": 2}", 8, "expected `,` or `}`, found `\"`"),
            ("{\"a\": 1, \"a\": 2}", 9, "duplicate key `a`"),
            ("{\"a\": [1, 2", 11, "expected `,` or `]`, found the end of the file"),
            ("{\"a\": yes}", 6, "`yes` is not a value; strings stand in double quotes"),
            ("{\"a\": 01}", 6, "`01` is not a number"),
            ("{\"a\": \"x}", 6, "a string that never ends"),
            ("{\"a\": \"\\x\"}", 6, "\"\\x\" is not a string"),
            ("{\"a\": }", 6, "expected a value, found `}`"),
        ];
        for (text, offset, message) in cases {
            let mistake = parse(text).unwrap_err();
            assert_eq!((mistake.offset, mistake.message.as_str()), (offset, message), "{text}");
        }
    }

    #[test]
    fn no_depth_is_a_danger() {
        for depth in [127, 128, 100_000] {
            let text = format!("{{\"a\": {}{}}}", "[".repeat(depth), "]".repeat(depth));
            assert_eq!(parse(&text).is_ok(), depth < DEPTH, "{depth}");
        }
    }

    #[test]
    fn numbers_of_any_size_are_numbers() {
        let huge =
            |text: &str| matches!(parse(text), Ok(Value::Table(t)) if matches!(t[0].value, Value::Huge));
        assert!(huge("{\"a\": 18446744073709551615}") && huge("{\"a\": 1e999}"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_as_serde_json_reads_it_or_refused(text in "[\\[\\]{},:\"\\\\a\u{e9}0-2\\-.eE \\n]{0,40}") {
            let text = format!("{{\"k\": {text}}}");
            match (parse(&text), serde_json::from_str::<serde_json::Value>(&text)) {
                (Ok(own), Ok(theirs)) => prop_assert_eq!(plain(&own).to_string().len(), theirs.to_string().len()),
                (Err(mistake), Ok(_)) => prop_assert!(mistake.message.starts_with("duplicate key")),
                (Ok(value), Err(_)) => prop_assert!(format!("{value:?}").contains("Huge"), "{}", text),
                (Err(_), Err(_)) => {}
            }
        }
    }
}
