//! JSON text from values: numbers exact and canonical, nothing that AEP would misread.

use crate::decimal;
use crate::value::Value;

/// Appends a value as JSON.
pub fn value(out: &mut String, value: &Value<'_>) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(source) => number(out, source),
        Value::Text(source) => text(out, source),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                self::value(out, item);
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for (index, (key, member)) in members.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                text(out, key);
                out.push(':');
                self::value(out, member);
            }
            out.push('}');
        }
    }
}

/// Appends a number in its shortest exact form: whole numbers without a fraction (AEP reads `1.0`
/// as no integer), no trailing zeros, no exponent up to [`decimal::MAX_DIGITS`] digits.
pub fn number(out: &mut String, source: &str) {
    if !decimal::write_canonical(out, source) {
        out.push_str(source);
    }
}

/// Appends a text in quotes, escaping what JSON demands and no more.
pub fn text(out: &mut String, source: &str) {
    out.push('"');
    let mut rest = source;
    while let Some(at) = rest.bytes().position(|byte| byte < 0x20 || byte == b'"' || byte == b'\\')
    {
        // `at` is the place of an ASCII byte, so both sides are whole characters.
        let (before, after) = rest.split_at(at);
        out.push_str(before);
        let mut after = after.chars();
        if let Some(escaped) = after.next() {
            escape(out, escaped);
        }
        rest = after.as_str();
    }
    out.push_str(rest);
    out.push('"');
}

/// Appends one character that can not stand for itself.
fn escape(out: &mut String, character: char) {
    match character {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        other => {
            const HEX: [char; 16] =
                ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
            let code = other as usize;
            out.push_str("\\u00");
            out.extend(HEX.get(code >> 4 & 15));
            out.extend(HEX.get(code & 15));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_back_by_another_parser() {
        let all: String =
            (0..0x300u32).filter_map(char::from_u32).chain("ʤ𝄞\u{2028}".chars()).collect();
        let mut out = String::new();
        text(&mut out, &all);
        assert_eq!(serde_json::from_str::<String>(&out).unwrap(), all);
    }

    #[test]
    fn numbers_are_canonical() {
        for (source, expected) in [
            ("1.0", "1"),
            ("19.990", "19.99"),
            ("-0.0", "0"),
            ("1e3", "1000"),
            ("1.5E-3", "0.0015"),
            ("12345678901234567890123", "12345678901234567890123"),
            ("100", "100"),
            ("0.10", "0.1"),
            ("-7", "-7"),
            ("1e400", "1e400"),
        ] {
            let mut out = String::new();
            number(&mut out, source);
            assert_eq!(out, expected, "{source}");
        }
    }
}
