//! What is wrong with an event, in AEP's own codes and words.
//!
//! AEP's validator speaks like the Java library everit-org/json-schema, and gives each failure a code by
//! its keyword (`DCVS-1104-400` for a wrong type, and so on).

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use jsonschema::{JsonType, ValidationError};
use serde_json::Value;

/// One thing that is wrong with an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// AEP's code, such as `DCVS-1104-400`.
    pub code: &'static str,
    /// Where: a JSON pointer into the event, empty for its root.
    pub pointer: String,
    /// The keyword of the schema that is violated.
    pub keyword: &'static str,
    /// AEP's words, such as `expected type: Integer, found: Double`.
    pub message: String,
}

impl Violation {
    /// What the schema asks for, in words that hold nothing of the event (Invariant 10): a missing key or a
    /// wrong type whole, of all else the keyword.
    pub fn rule(&self) -> &str {
        match self.keyword {
            "required" | "type" => &self.message,
            keyword => keyword,
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} #{}: {}", self.code, self.pointer, self.message)
    }
}

/// What is wrong with one event; at least one thing.
///
/// Outer places stand before the places within them, keys in the order of their bytes, items by
/// number; at one place missing keys stand first, then extraneous keys, then wrong types, then the
/// rest. (AEP's own order is that of a Java hash map.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violations {
    /// The first of them.
    pub first: Vec<Violation>,
    /// How many there are.
    pub total: usize,
}

impl Violations {
    /// AEP stops after five failures of a message.
    pub const SHOWN: usize = 5;

    pub(super) fn of<'e>(errors: impl Iterator<Item = ValidationError<'e>>) -> Self {
        let mut all: Vec<Violation> = errors.flat_map(|error| violations(&error)).collect();
        all.sort_by(order);
        all.dedup();
        let total = all.len();
        all.truncate(Self::SHOWN);
        Self { first: all, total }
    }
}

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.total {
            1 => {}
            total if total > self.first.len() => {
                write!(f, "{total} schema violations found, the first {}: ", self.first.len())?;
            }
            total => write!(f, "{total} schema violations found: ")?,
        }
        for (n, violation) in self.first.iter().enumerate() {
            write!(f, "{}{violation}", if n == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

/// One error of the validator, as one violation or as one per extraneous key.
fn violations(error: &ValidationError<'_>) -> Vec<Violation> {
    let pointer = error.instance_path().as_str();
    let said = |keyword, message| Violation {
        code: code(keyword),
        pointer: pointer.to_owned(),
        keyword,
        message,
    };
    match error.kind() {
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            unexpected
                .iter()
                .map(|key| {
                    said(
                        "additionalProperties",
                        format!("extraneous key [{}] is not permitted", cut(key)),
                    )
                })
                .collect()
        }
        Kind::Type { kind: TypeKind::Single(expected) } => {
            let found = error.instance();
            let mut violation = said("type", wrong_type(*expected, found));
            if found.is_null() {
                violation.code = NULL;
            }
            vec![violation]
        }
        kind => {
            let (keyword, message) = words(kind, error.instance());
            vec![said(keyword, message)]
        }
    }
}

const NULL: &str = "DCVS-1101-400";

/// AEP's code for a keyword.
fn code(keyword: &str) -> &'static str {
    match keyword {
        "type" => "DCVS-1104-400",
        "required" => "DCVS-1106-400",
        "pattern" => "DCVS-1103-400",
        "format" => "DCVS-1102-400",
        _ => "DCVS-1101-400",
    }
}

/// `expected type: X, found: Y` with the names of Java's classes.
fn wrong_type(expected: JsonType, found: &Value) -> String {
    let expected = match expected {
        JsonType::Array => "JSONArray",
        JsonType::Boolean => "Boolean",
        JsonType::Integer => "Integer",
        JsonType::Null => return format!("expected: null, found: {}", java_type(found)),
        JsonType::Number => "Number",
        JsonType::Object => "JSONObject",
        JsonType::String => "String",
    };
    format!("expected type: {expected}, found: {}", java_type(found))
}

/// The class that Java's JSON parser makes of a value.
fn java_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "Null",
        Value::Bool(_) => "Boolean",
        Value::Number(number) => match number.as_i64() {
            Some(whole) if i32::try_from(whole).is_ok() => "Integer",
            Some(_) => "Long",
            None if number.is_u64() => "BigInteger",
            None => "Double",
        },
        Value::String(_) => "String",
        Value::Array(_) => "JSONArray",
        Value::Object(_) => "JSONObject",
    }
}

/// Keyword and words of every violation but those of `type` and extraneous keys.
fn words(kind: &Kind, found: &Value) -> (&'static str, String) {
    let value = plain(found);
    match kind {
        Kind::Required { property } => {
            ("required", format!("required key [{}] not found", plain(property)))
        }
        Kind::Enum { .. } => ("enum", format!("{value} is not a valid enum value")),
        Kind::Constant { expected_value } => {
            ("const", format!("{value} is not the value {}", plain(expected_value)))
        }
        Kind::Pattern { pattern } => {
            ("pattern", format!("string [{value}] does not match pattern {pattern}"))
        }
        Kind::Format { format } => {
            ("format", format!("[{value}] is not a valid {}", format_name(format)))
        }
        Kind::MinLength { limit } => {
            ("minLength", format!("expected minLength: {limit}, actual: {}", size(found)))
        }
        Kind::MaxLength { limit } => {
            ("maxLength", format!("expected maxLength: {limit}, actual: {}", size(found)))
        }
        Kind::Minimum { limit } => {
            ("minimum", format!("{value} is not greater or equal to {limit}"))
        }
        Kind::Maximum { limit } => ("maximum", format!("{value} is not less or equal to {limit}")),
        Kind::ExclusiveMinimum { limit } => {
            ("exclusiveMinimum", format!("{value} is not greater than {limit}"))
        }
        Kind::ExclusiveMaximum { limit } => {
            ("exclusiveMaximum", format!("{value} is not less than {limit}"))
        }
        Kind::MultipleOf { multiple_of } => {
            ("multipleOf", format!("{value} is not a multiple of {multiple_of}"))
        }
        Kind::MinItems { limit } => {
            ("minItems", format!("expected minimum item count: {limit}, found: {}", size(found)))
        }
        Kind::MaxItems { limit } => {
            ("maxItems", format!("expected maximum item count: {limit}, found: {}", size(found)))
        }
        Kind::UniqueItems => ("uniqueItems", "array items are not unique".to_owned()),
        Kind::MinProperties { limit } => {
            ("minProperties", format!("minimum size: [{limit}], found: [{}]", size(found)))
        }
        Kind::MaxProperties { limit } => {
            ("maxProperties", format!("maximum size: [{limit}], found: [{}]", size(found)))
        }
        Kind::AnyOf { context } => ("anyOf", none_of(context.len())),
        // Java's library reads a list of types as a choice of schemas.
        Kind::Type { kind: TypeKind::Multiple(types) } => ("anyOf", none_of(types.iter().count())),
        Kind::OneOfNotValid { .. } => ("oneOf", matched(0)),
        Kind::OneOfMultipleValid { context } => {
            ("oneOf", matched(context.iter().filter(|errors| errors.is_empty()).count()))
        }
        Kind::FalseSchema => ("false", "false schema always fails".to_owned()),
        other => ("pattern", format!("string [{value}] can not be checked: {}", other.keyword())),
    }
}

fn none_of(branches: usize) -> String {
    format!("no subschema matched out of the total {branches} subschemas")
}

fn matched(branches: usize) -> String {
    format!("{branches} subschemas matched instead of one")
}

/// What AEP calls a value of a format.
fn format_name(format: &str) -> &str {
    match format {
        "date-time" => {
            "date-time. Expected [yyyy-MM-dd'T'HH:mm:ssZ, yyyy-MM-dd'T'HH:mm:ss.[0-9]{1,9}Z, \
             yyyy-MM-dd'T'HH:mm:ss[+-]HH:mm, yyyy-MM-dd'T'HH:mm:ss.[0-9]{1,9}[+-]HH:mm]"
        }
        "date" => "date. Expected [yyyy-MM-dd]",
        "time" => {
            "time. Expected [HH:mm:ssZ, HH:mm:ss.[0-9]{1,9}Z, HH:mm:ss[+-]HH:mm, HH:mm:ss.[0-9]{1,9}[+-]HH:mm]"
        }
        "email" => "email address",
        "ipv4" => "ipv4 address",
        "ipv6" => "ipv6 address",
        "uri" => "URI",
        "uri-reference" => "URI reference",
        "uri-template" => "URI template",
        "regex" => "regular expression",
        "json-pointer" => "JSON pointer",
        other => other,
    }
}

/// Characters of a string, items of an array, keys of an object.
fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.chars().count(),
        Value::Array(items) => items.len(),
        Value::Object(members) => members.len(),
        _ => 0,
    }
}

/// A value as Java prints it: strings without quotes, the rest as JSON.
fn plain(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) => cut(text),
        other => Cow::Owned(cut(&other.to_string()).into_owned()),
    }
}

/// At most 200 characters of a text: a message goes into a header of a dead letter.
fn cut(text: &str) -> Cow<'_, str> {
    const LONGEST: usize = 200;
    match text.char_indices().nth(LONGEST) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(text.get(..end).unwrap_or_default().to_owned() + "…"),
    }
}

fn order(a: &Violation, b: &Violation) -> Ordering {
    let rank = |violation: &Violation| match violation.keyword {
        "required" => 0,
        "additionalProperties" => 1,
        "type" => 2,
        _ => 3,
    };
    let place = segments(&a.pointer).cmp(segments(&b.pointer));
    place.then(rank(a).cmp(&rank(b))).then_with(|| a.message.cmp(&b.message))
}

/// The steps of a pointer, so that item 10 comes after item 9.
fn segments(pointer: &str) -> impl Iterator<Item = (Option<usize>, &str)> {
    pointer.split('/').map(|segment| (segment.parse().ok(), segment))
}
