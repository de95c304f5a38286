//! Checks in which AEP is stricter than the `jsonschema` crate: `type` and `date-time`.

use jsonschema::{Keyword, ValidationError, paths::Location};
use serde_json::{Map, Value};

use super::words::{expected, found, no_subschema, plain};

/// `type` as everit understands it: a number with a fraction is no integer, even `1.0`.
struct StrictType {
    expected: Vec<String>,
}
/// Makes the check of a `type` keyword.
pub(super) fn strict_type<'a>(
    _: &'a Map<String, Value>,
    value: &'a Value,
    _: Location,
) -> Result<Box<dyn for<'i> Keyword<'i>>, ValidationError<'a>> {
    let expected = match value {
        Value::String(name) => vec![name.clone()],
        Value::Array(names) => names.iter().map(plain).collect(),
        _ => return Err(ValidationError::custom("`type` is neither text nor a list")),
    };
    Ok(Box::new(StrictType { expected }))
}

impl<'i> Keyword<'i> for StrictType {
    fn validate(&self, instance: &'i Value) -> Result<(), ValidationError<'i>> {
        if self.is_valid(instance) {
            return Ok(());
        }
        Err(ValidationError::custom(match self.expected.as_slice() {
            [one] => format!("expected type: {}, found: {}", expected(one), found(instance)),
            several => no_subschema(several.len()),
        }))
    }

    fn is_valid(&self, instance: &'i Value) -> bool {
        self.expected.iter().any(|name| is_a(instance, name))
    }
}

fn is_a(value: &Value, name: &str) -> bool {
    match value {
        Value::Null => name == "null",
        Value::Bool(_) => name == "boolean",
        Value::Number(number) => name == "number" || (name == "integer" && !number.is_f64()),
        Value::String(_) => name == "string",
        Value::Array(_) => name == "array",
        Value::Object(_) => name == "object",
    }
}

/// One of AEP's four patterns, and a moment that exists.
pub(super) fn is_date_time(text: &str) -> bool {
    date_time(text).is_some()
}

fn date_time(text: &str) -> Option<()> {
    let (date, time) = text.split_once('T')?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let zone = time.find(['Z', '+', '-'])?;
    let (clock, zone) = time.split_at_checked(zone)?;
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
    let fraction_fits = (1..=9).contains(&fraction.len()) && is_digits(fraction);
    let offset = match zone.strip_prefix(['+', '-']) {
        Some(offset) => numbers(offset, ':', [2, 2])?,
        None if zone == "Z" => [0, 0],
        None => return None,
    };
    let days = match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    let exists = (1..=days).contains(&day) && hour < 24 && minute < 60 && second < 60;
    (exists && fraction_fits && offset[0] < 24 && offset[1] < 60).then_some(())
}

/// Numbers of these widths between separators, and nothing else.
fn numbers<const N: usize>(text: &str, separator: char, widths: [usize; N]) -> Option<[u32; N]> {
    let mut parts = text.split(separator);
    let mut numbers = [0; N];
    for (number, width) in numbers.iter_mut().zip(widths) {
        let part = parts.next().filter(|part| part.len() == width && is_digits(part))?;
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}
