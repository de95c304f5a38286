//! The validator's texts and the validation service's codes.

use jsonschema::{ValidationError, error::ValidationErrorKind};
use serde_json::{Map, Value};

const DATE_TIME: &str = "[yyyy-MM-dd'T'HH:mm:ssZ, yyyy-MM-dd'T'HH:mm:ss.[0-9]{1,9}Z, \
    yyyy-MM-dd'T'HH:mm:ss[+-]HH:mm, yyyy-MM-dd'T'HH:mm:ss.[0-9]{1,9}[+-]HH:mm]";

/// The validator's words for a violation.
pub(super) fn text(kind: &ValidationErrorKind, error: &ValidationError<'_>) -> String {
    use ValidationErrorKind as Is;
    let value = plain(error.instance());
    let items = || error.instance().as_array().map_or(0, Vec::len);
    let length = || error.instance().as_str().map_or(0, |text| text.chars().count());
    let members = || error.instance().as_object().map_or(0, Map::len);
    match kind {
        Is::Custom { message, .. } => message.clone(),
        Is::Required { property } => format!("required key [{}] not found", plain(property)),
        Is::Enum { .. } => format!("{value} is not a valid enum value"),
        Is::Pattern { pattern } => format!("string [{value}] does not match pattern {pattern}"),
        Is::MinLength { limit } => format!("expected minLength: {limit}, actual: {}", length()),
        Is::MaxLength { limit } => format!("expected maxLength: {limit}, actual: {}", length()),
        Is::Minimum { limit } => format!("{value} is not greater or equal to {limit}"),
        Is::Maximum { limit } => format!("{value} is not less or equal to {limit}"),
        Is::ExclusiveMinimum { limit } => format!("{value} is not greater than {limit}"),
        Is::ExclusiveMaximum { limit } => format!("{value} is not less than {limit}"),
        Is::MultipleOf { multiple_of } => format!("{value} is not a multiple of {multiple_of}"),
        Is::MinItems { limit } => {
            format!("expected minimum item count: {limit}, found: {}", items())
        }
        Is::MaxItems { limit } => {
            format!("expected maximum item count: {limit}, found: {}", items())
        }
        Is::MinProperties { limit } => format!("minimum size: [{limit}], found: [{}]", members()),
        Is::MaxProperties { limit } => format!("maximum size: [{limit}], found: [{}]", members()),
        Is::UniqueItems => "array items are not unique".to_owned(),
        Is::Format { format } => format!("[{value}] is not a valid {}", format_words(format)),
        Is::AnyOf { context } => no_subschema(context.len()),
        Is::OneOfNotValid { .. } => "0 subschemas matched instead of one".to_owned(),
        Is::OneOfMultipleValid { context } => {
            let matched = context.iter().filter(|errors| errors.is_empty()).count();
            format!("{matched} subschemas matched instead of one")
        }
        _ => error.to_string(),
    }
}

/// The words for a value that fits none of several schemas.
pub(super) fn no_subschema(total: usize) -> String {
    format!("no subschema matched out of the total {total} subschemas")
}

fn format_words(format: &str) -> String {
    match format {
        "date-time" => format!("date-time. Expected {DATE_TIME}"),
        "date" => "date. Expected [yyyy-MM-dd]".to_owned(),
        "email" => "email address".to_owned(),
        "ipv4" | "ipv6" => format!("{format} address"),
        "uri" => "URI".to_owned(),
        "uri-reference" => "URI reference".to_owned(),
        "uri-template" => "URI template".to_owned(),
        "regex" => "regular expression".to_owned(),
        "json-pointer" => "JSON pointer".to_owned(),
        other => other.to_owned(),
    }
}

/// Codes seen in the wild; what has none is the general 1101.
pub(super) fn code(keyword: &str, message: &str) -> &'static str {
    match keyword {
        "type" if message.ends_with("found: Null") => "DCVS-1101-400",
        "type" => "DCVS-1104-400",
        "format" => "DCVS-1102-400",
        "pattern" => "DCVS-1103-400",
        "required" => "DCVS-1106-400",
        _ => "DCVS-1101-400",
    }
}

/// Text without quotes; anything else as JSON.
pub(super) fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The Java name of a schema's type.
pub(super) fn expected(name: &str) -> &str {
    match name {
        "string" => "String",
        "integer" => "Integer",
        "number" => "Number",
        "boolean" => "Boolean",
        "object" => "JSONObject",
        "array" => "JSONArray",
        "null" => "Null",
        other => other,
    }
}

/// The Java name of a value's class.
pub(super) fn found(value: &Value) -> &'static str {
    match value {
        Value::Null => "Null",
        Value::Bool(_) => "Boolean",
        Value::Number(number) => match number.as_i64() {
            Some(small) if i32::try_from(small).is_ok() => "Integer",
            Some(_) => "Long",
            None if number.is_u64() => "BigInteger",
            None => "Double",
        },
        Value::String(_) => "String",
        Value::Array(_) => "JSONArray",
        Value::Object(_) => "JSONObject",
    }
}
