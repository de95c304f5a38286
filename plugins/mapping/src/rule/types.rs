//! `type` and the keys that go with it.

use super::convert::{Form, Given, Kind, Times, Zone, currency_code};
use super::keys::{Keys, Read, unknown_word, wrong};
use super::read::Rules;
use crate::date::{self, Ambiguous, Unit};
use crate::value::Value;

impl Rules<'_, '_> {
    /// The type that a value must have.
    pub(super) fn kind(&mut self, keys: &Keys<'_>) -> Read<Kind> {
        const TYPES: [&str; 14] = [
            "string",
            "integer",
            "number",
            "boolean",
            "date",
            "date-time",
            "upper",
            "lower",
            "email",
            "phone",
            "id",
            "uri-safe",
            "currency",
            "minor-units",
        ];
        let name = keys.text("type")?.unwrap_or_default();
        for (key, types) in [
            ("format", &["date", "date-time"][..]),
            ("zone", &["date", "date-time"]),
            ("ambiguous", &["date-time"]),
            ("currency", &["minor-units"]),
        ] {
            if keys.has(key) && !types.contains(&name) {
                return wrong(
                    &keys.at,
                    format!("`{key}` needs `type: {}`", types.join("` or `type: ")),
                );
            }
        }
        if keys.has("column") && !keys.has("lookup") {
            return wrong(&keys.at, "`column` needs `lookup`");
        }
        Ok(match name {
            "" => Kind::Any,
            "string" => Kind::Text,
            "integer" => Kind::Integer,
            "number" => Kind::Number,
            "boolean" => Kind::Boolean,
            "date" => Kind::Date(self.times(keys)?),
            "date-time" => Kind::DateTime(self.times(keys)?),
            "upper" => Kind::Upper,
            "lower" => Kind::Lower,
            "email" => Kind::Email,
            "phone" => Kind::Phone,
            "id" => Kind::Id,
            "uri-safe" => Kind::UriSafe,
            "currency" => Kind::Currency,
            "minor-units" => Kind::MinorUnits(self.given(keys, "currency")?),
            other => return wrong(&keys.place("type"), unknown_word(other, &TYPES)),
        })
    }

    /// How times are written.
    fn times(&mut self, keys: &Keys<'_>) -> Read<Times> {
        let place = keys.place("format");
        let forms = match keys.get("format") {
            None => Vec::new(),
            Some(Value::Array(items)) if !items.is_empty() => {
                items.iter().map(|item| form(item, &place)).collect::<Read<_>>()?
            }
            Some(single) => vec![form(single, &place)?],
        };
        let zone = match keys.text("zone")? {
            None => Zone::Unknown,
            Some(text) if text.starts_with(['.', '$', '(']) => Zone::From(
                self.compiler.value(text).or_else(|what| wrong(&keys.place("zone"), what))?,
            ),
            Some(name) => Zone::Fixed(
                date::zone(name).or_else(|error| wrong(&keys.place("zone"), error.to_string()))?,
            ),
        };
        let words = [
            ("compatible", Ambiguous::Compatible),
            ("earlier", Ambiguous::Earlier),
            ("later", Ambiguous::Later),
            ("reject", Ambiguous::Reject),
        ];
        Ok(Times { forms, zone, ambiguous: keys.word("ambiguous", &words)?.unwrap_or_default() })
    }

    /// A code that is constant, or read where it looks like an expression.
    fn given(&mut self, keys: &Keys<'_>, key: &str) -> Read<Given> {
        let place = keys.place(key);
        match keys.text(key)? {
            Some(text) if text.starts_with(['.', '$', '(']) => {
                Ok(Given::From(self.compiler.value(text).or_else(|what| wrong(&place, what))?))
            }
            Some(code) => match currency_code(code) {
                Ok(code) => Ok(Given::Fixed(code)),
                Err(_) => wrong(
                    &place,
                    "needs a currency code of three letters, or an expression such as `.currency`",
                ),
            },
            None => wrong(&keys.at, "`type: minor-units` needs `currency`"),
        }
    }
}

/// One form of times.
fn form(value: &Value<'_>, at: &str) -> Read<Form> {
    Ok(match value.as_str() {
        Some("iso") => Form::Iso,
        Some("s") => Form::Epoch(Unit::Seconds),
        Some("ms") => Form::Epoch(Unit::Milliseconds),
        Some("us") => Form::Epoch(Unit::Microseconds),
        Some("ns") => Form::Epoch(Unit::Nanoseconds),
        Some(pattern) => match date::check_format(pattern) {
            Ok(()) => Form::Pattern(pattern.to_owned()),
            Err(what) => return wrong(at, what),
        },
        None => {
            return wrong(at, format!("needs a text or a list of texts, but is {}", value.kind()));
        }
    })
}
