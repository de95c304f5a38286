//! JSON documents into [`Value`]s: strict (RFC 8259), borrowing, exact in numbers, bounded in depth,
//! and with the line and column of what is wrong.

use std::borrow::Cow;

use thiserror::Error;

use crate::value::Value;

/// How deeply lists and objects nest in a document, unless the configuration says otherwise.
pub const MAX_DEPTH: usize = 64;

/// Where and why a text is not JSON. The document's content is never repeated.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("line {line}, column {column}: {what}")]
pub struct JsonError {
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// What was expected or found.
    pub what: &'static str,
}

/// Reads exactly one JSON value, at most `max_depth` lists and objects deep.
pub fn parse(text: &str, max_depth: usize) -> Result<Value<'_>, JsonError> {
    let mut parser = Parser { text, at: 0, depth: max_depth };
    parser
        .value()
        .and_then(|value| {
            parser.blanks();
            if parser.at == text.len() {
                Ok(value)
            } else {
                Err("expected the end of the document")
            }
        })
        .map_err(|what| parser.error(what))
}

/// A place in a text.
struct Parser<'a> {
    /// The whole document.
    text: &'a str,
    /// The next byte to read.
    at: usize,
    /// How much deeper it may go.
    depth: usize,
}

/// A value, or what was wrong at the parser's place.
type Parsed<T> = Result<T, &'static str>;

impl<'a> Parser<'a> {
    /// The next value, whatever it is.
    fn value(&mut self) -> Parsed<Value<'a>> {
        self.blanks();
        match self.peek() {
            Some(b'"') => Ok(Value::Text(self.string()?)),
            Some(b'{') => self.object(),
            Some(b'[') => self.array(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            Some(_) => Err("expected a value"),
            None => Err("the document ends where a value is expected"),
        }
    }

    /// An object, its brace being next.
    fn object(&mut self) -> Parsed<Value<'a>> {
        self.enter()?;
        self.blanks();
        if self.skip(b'}') {
            self.depth += 1;
            return Ok(Value::Object(Vec::new()));
        }
        let mut members = Vec::with_capacity(8);
        loop {
            self.blanks();
            if self.peek() != Some(b'"') {
                return Err("expected a name in double quotes");
            }
            let name = self.string()?;
            self.blanks();
            if !self.skip(b':') {
                return Err("expected `:`");
            }
            members.push((name, self.value()?));
            self.blanks();
            if self.skip(b',') {
                continue;
            }
            if !self.skip(b'}') {
                return Err("expected `,` or `}`");
            }
            self.depth += 1;
            return Ok(Value::Object(members));
        }
    }

    /// A list, its bracket being next.
    fn array(&mut self) -> Parsed<Value<'a>> {
        self.enter()?;
        let mut items = Vec::new();
        self.blanks();
        if self.skip(b']') {
            self.depth += 1;
            return Ok(Value::Array(items));
        }
        loop {
            items.push(self.value()?);
            self.blanks();
            if self.skip(b',') {
                continue;
            }
            if !self.skip(b']') {
                return Err("expected `,` or `]`");
            }
            self.depth += 1;
            return Ok(Value::Array(items));
        }
    }

    /// Steps over an opening bracket, one level down.
    fn enter(&mut self) -> Parsed<()> {
        self.depth = self.depth.checked_sub(1).ok_or("nests deeper than `max_depth`")?;
        self.at += 1;
        Ok(())
    }

    /// A string, its quote being next.
    fn string(&mut self) -> Parsed<Cow<'a, str>> {
        self.at += 1;
        let first = self.plain()?;
        if self.skip(b'"') {
            return Ok(Cow::Borrowed(first));
        }
        let mut owned = first.to_owned();
        while !self.skip(b'"') {
            self.at += 1;
            owned.push(self.escape()?);
            owned.push_str(self.plain()?);
        }
        Ok(Cow::Owned(owned))
    }

    /// What stands before the next quote or backslash.
    fn plain(&mut self) -> Parsed<&'a str> {
        let rest = self.rest();
        let length = rest
            .iter()
            .position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f))
            .ok_or("the document ends inside a string")?;
        let plain = self.text.get(self.at..self.at + length).unwrap_or_default();
        self.at += length;
        match self.peek() {
            Some(b'"' | b'\\') => Ok(plain),
            _ => Err("a control character inside a string must be escaped"),
        }
    }

    /// The character that an escape stands for, its backslash already read.
    fn escape(&mut self) -> Parsed<char> {
        let letter = self.peek().ok_or("the document ends inside a string")?;
        self.at += 1;
        Ok(match letter {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(),
            _ => return Err("no such escape"),
        })
    }

    /// The character of a `\u` escape, or of the two that make a surrogate pair.
    fn unicode(&mut self) -> Parsed<char> {
        const ALONE: &str = "half of a surrogate pair stands alone";
        let high = self.hex()?;
        if !(0xd800..0xe000).contains(&high) {
            return char::from_u32(high).ok_or(ALONE);
        }
        if high >= 0xdc00 || !(self.skip(b'\\') && self.skip(b'u')) {
            return Err(ALONE);
        }
        let low = self.hex()?;
        if !(0xdc00..0xe000).contains(&low) {
            return Err(ALONE);
        }
        char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)).ok_or(ALONE)
    }

    /// Four hexadecimal digits.
    fn hex(&mut self) -> Parsed<u32> {
        const WRONG: &str = "expected four hexadecimal digits";
        let digits = self.rest().first_chunk::<4>().ok_or(WRONG)?;
        let mut code = 0;
        for digit in digits {
            code = code * 16 + char::from(*digit).to_digit(16).ok_or(WRONG)?;
        }
        self.at += 4;
        Ok(code)
    }

    /// A number, kept as it is written.
    fn number(&mut self) -> Parsed<Value<'a>> {
        let start = self.at;
        self.skip(b'-');
        if !self.skip(b'0') {
            self.digits()?;
        }
        if self.skip(b'.') {
            self.digits()?;
        }
        if self.skip(b'e') || self.skip(b'E') {
            let _signed = self.skip(b'+') || self.skip(b'-');
            self.digits()?;
        }
        Ok(Value::Number(Cow::Borrowed(self.text.get(start..self.at).unwrap_or_default())))
    }

    /// One digit or more.
    fn digits(&mut self) -> Parsed<()> {
        let length = self.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += length;
        if length == 0 { Err("expected a digit") } else { Ok(()) }
    }

    /// A literal.
    fn word(&mut self, word: &str, value: Value<'a>) -> Parsed<Value<'a>> {
        if !self.rest().starts_with(word.as_bytes()) {
            return Err("expected a value");
        }
        self.at += word.len();
        Ok(value)
    }

    /// Steps over blanks.
    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    /// Steps over one byte if it is the one given.
    fn skip(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// The next byte.
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// All bytes not read yet.
    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    /// An error at the parser's place.
    fn error(&self, what: &'static str) -> JsonError {
        let before = self.text.as_bytes().get(..self.at).unwrap_or_default();
        let line = before.split(|byte| *byte == b'\n').count();
        let since = before.iter().rev().take_while(|byte| **byte != b'\n');
        // Bytes that continue a character are no column of their own.
        let column = 1 + since.filter(|byte| **byte & 0xc0 != 0x80).count();
        JsonError { line, column, what }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Value<'_>, JsonError> {
        parse(text, MAX_DEPTH)
    }

    #[test]
    fn numbers_and_texts_are_kept_as_written() {
        let value = read(
            r#" {"a": 19.990, "b": 12345678901234567890, "c": "x\u00e9\n\ud834\udd1e", "d": [] } "#,
        )
        .unwrap();
        assert_eq!(value.get("a"), Some(&Value::Number("19.990".into())));
        assert_eq!(value.get("b"), Some(&Value::Number("12345678901234567890".into())));
        assert_eq!(value.get("c").unwrap().as_str(), Some("xé\n𝄞"));
        assert!(matches!(read(r#""plain""#), Ok(Value::Text(Cow::Borrowed("plain")))));
    }

    #[test]
    fn errors_say_where() {
        let place =
            |text| read(text).map_err(|error| (error.line, error.column, error.what)).unwrap_err();
        assert_eq!(place("{\"é\": 1,\n  }"), (2, 3, "expected a name in double quotes"));
        assert_eq!(place("[1, 2"), (1, 6, "expected `,` or `]`"));
        assert_eq!(place("\"é\" x"), (1, 5, "expected the end of the document"));
        assert_eq!(place(""), (1, 1, "the document ends where a value is expected"));
        assert_eq!(place("[1,]"), (1, 4, "expected a value"));
        assert_eq!(place(r#""\ud834""#), (1, 8, "half of a surrogate pair stands alone"));
        assert_eq!(read("[[1]]").unwrap().to_json(), "[[1]]");
        assert_eq!(parse("[[1]]", 1).unwrap_err().what, "nests deeper than `max_depth`");
        let deep = "[".repeat(100_000);
        assert_eq!(read(&deep).unwrap_err().what, "nests deeper than `max_depth`");
    }

    #[test]
    fn siblings_do_not_count_as_depth() {
        assert!(parse("[[],[],{},[{}],{}]", 3).is_ok());
    }

    #[test]
    fn accepts_exactly_what_another_parser_accepts() {
        for text in [
            "01",
            "-",
            "1.",
            ".5",
            "1e",
            "1e+",
            "+1",
            "NaN",
            "'a'",
            "tru",
            "truex",
            "nul",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\t\"",
            "{\"a\"}",
            "{a:1}",
            "{\"a\":1,}",
            "[1 2]",
            "1 2",
            "// c\n1",
            "\u{feff}1",
            "-0",
            "-0.0e-10",
            "[]",
            "{}",
            " \n\t\r1 ",
            "\"\\/\\b\\f\"",
            "\"\\u0000\"",
            "1E5",
            "\u{a0}1",
            "[\"\u{7f}\"]",
            "\"\\udc00\"",
        ] {
            assert_eq!(
                read(text).is_ok(),
                serde_json::from_str::<serde_json::Value>(text).is_ok(),
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn agrees_with_another_parser(text in r#"[\[\]{},:"\\ua0-9eE.+ \-tfn]{0,24}"#) {
            let other = serde_json::from_str::<serde_json::Value>(&text).ok();
            // It reads numbers too large for a float as errors; they are JSON all the same.
            let mine = read(&text).ok();
            if let Some(other) = &other {
                let mine = mine.clone().unwrap();
                let again: serde_json::Value = serde_json::from_str(&mine.to_json()).unwrap();
                prop_assert_eq!(&again, other);
            }
            if mine.is_some() && other.is_none() {
                prop_assert!(text.contains(['e', 'E']), "{}", text);
            }
        }

        #[test]
        fn writing_and_reading_are_inverse(text in ".{0,40}", number in r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{0,8}[1-9])?") {
            prop_assume!(number != "-0");
            let value = Value::Object(vec![
                (text.clone().into(), Value::Array(vec![Value::Text(text.into()), Value::Number(number.into())])),
            ]);
            let written = value.to_json();
            prop_assert_eq!(read(&written).unwrap(), value);
        }
    }
}
