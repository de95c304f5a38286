//! AEP's validator: JSON Schema in closed form, with formats on, the rules in which AEP is stricter
//! than the standard, and AEP's words.
//!
//! AEP's validator behaves like the Java library everit (an inference from its texts); where it
//! differs from the `jsonschema` crate, `type` and `date-time` are replaced by checks of our own.

use jsonschema::{Draft, Keyword, ValidationError, error::ValidationErrorKind, paths::Location};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::close;

/// AEP stops after this many violations of a message.
pub const MOST_VIOLATIONS: usize = 5;

/// Violations that are collected before they are put in order.
const COLLECTED: usize = 1_000;

const DATE_TIME: &str = "[yyyy-MM-dd'T'HH:mm:ssZ, yyyy-MM-dd'T'HH:mm:ss.[0-9]{1,9}Z, \
    yyyy-MM-dd'T'HH:mm:ss[+-]HH:mm, yyyy-MM-dd'T'HH:mm:ss.[0-9]{1,9}[+-]HH:mm]";

/// A compiled schema.
#[derive(Debug)]
pub struct Schema {
    full: jsonschema::Validator,
    /// The same without `required`, for merges and deletes.
    partial: jsonschema::Validator,
}

/// One thing that is wrong with an entity.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Violation {
    /// The validation service's code, such as `DCVS-1104-400`.
    pub code: String,
    /// The schema's keyword.
    pub keyword: String,
    /// Where in the entity: `#/productListItems/0/quantity`.
    pub pointer_to_violation: String,
    /// Where in the schema, references followed: `#/properties/timestamp`.
    pub schema_location: String,
    /// The validator's own text, such as `expected type: Integer, found: Double`.
    pub message: String,
}

/// Why a schema cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot be compiled: {0}")]
pub struct SchemaError(String);

/// `type` as everit understands it: a number with a fraction is no integer, even `1.0`.
struct StrictType {
    expected: Vec<String>,
}

impl Schema {
    /// Compiles a schema, in its closed form: where it lists `properties` and says nothing about
    /// others, there are none.
    pub fn new(document: &Value) -> Result<Self, SchemaError> {
        let mut closed = resolved(document)?;
        close::close(&mut closed).map_err(SchemaError)?;
        let full = compile(&closed)?;
        close::without_required(&mut closed);
        Ok(Self { full, partial: compile(&closed)? })
    }

    /// What is wrong with an entity: nothing, or up to five violations, those of an object before
    /// those of its members, members in the order of their names.
    pub fn check(&self, entity: &Value) -> Vec<Violation> {
        violations(&self.full, entity)
    }

    /// The same for an entity that changes or deletes another: nothing is required.
    pub fn check_partial(&self, entity: &Value) -> Vec<Violation> {
        violations(&self.partial, entity)
    }
}

impl Violation {
    /// A violation of the message as a whole, without any schema.
    pub(crate) fn of_message(keyword: &str, message: &str) -> Self {
        Self::new(keyword, "#".to_owned(), "#".to_owned(), message.to_owned())
    }

    fn new(keyword: &str, pointer: String, schema_location: String, message: String) -> Self {
        Self {
            code: code(keyword, &message).to_owned(),
            keyword: keyword.to_owned(),
            pointer_to_violation: pointer,
            schema_location,
            message,
        }
    }

    /// The sentence of the validation service around the validator's text.
    pub fn sentence(&self) -> String {
        let what = format!("{}: {}", self.pointer_to_violation, self.message);
        match self.code.as_str() {
            "DCVS-1102-400" => what,
            "DCVS-1103-400" => {
                format!(
                    "The message cannot be validated due to the pattern mismatch error: {what}."
                )
            }
            "DCVS-1104-400" => {
                format!("The message cannot be validated due to the data type error: {what}.")
            }
            "DCVS-1106-400" => {
                format!(
                    "The message cannot be validated because a required property is missing: {what}."
                )
            }
            _ => format!("The message can't be validated: [{what}]"),
        }
    }

    /// The validator's own object.
    pub fn exception(&self) -> Value {
        json!({
            "schemaLocation": self.schema_location, "pointerToViolation": self.pointer_to_violation,
            "causingExceptions": [], "keyword": self.keyword, "message": self.message,
        })
    }
}

/// The validator's object for all violations: one alone is bare, several have a wrapper.
pub(crate) fn exception(violations: &[Violation]) -> Value {
    match violations {
        [one] => one.exception(),
        several => json!({
            "schemaLocation": "#", "pointerToViolation": "#",
            "causingExceptions": several.iter().map(Violation::exception).collect::<Vec<_>>(),
            "message": format!("{} schema violations found", several.len()),
        }),
    }
}

/// The schema with its references written out, as a registry's `xed-full` answer: so violations are
/// located as AEP locates them. References that go round in circles stay.
fn resolved(document: &Value) -> Result<Value, SchemaError> {
    let mut resolved = jsonschema::options()
        .with_draft(Draft::Draft202012)
        .dereference(document)
        .map_err(|error| SchemaError(error.to_string()))?;
    if !resolved.to_string().contains("\"$ref\"")
        && let Value::Object(fields) = &mut resolved
    {
        fields.remove("$defs");
        fields.remove("definitions");
    }
    Ok(resolved)
}

fn compile(document: &Value) -> Result<jsonschema::Validator, SchemaError> {
    jsonschema::options()
        // Registry answers say draft-06, in which what stands beside `$ref` would not count.
        .with_draft(Draft::Draft202012)
        .should_validate_formats(true)
        .with_format("date-time", is_date_time)
        .with_keyword("type", strict_type)
        .build(document)
        .map_err(|error| SchemaError(error.to_string()))
}

fn violations(validator: &jsonschema::Validator, entity: &Value) -> Vec<Violation> {
    if validator.is_valid(entity) {
        return Vec::new();
    }
    let mut found: Vec<Violation> = Vec::new();
    for error in validator.iter_errors(entity).take(COLLECTED) {
        add(&mut found, &error);
    }
    found.sort_by_cached_key(|violation| {
        let steps = violation.pointer_to_violation.split('/').map(step).collect::<Vec<_>>();
        (steps, rank(&violation.keyword))
    });
    found.truncate(MOST_VIOLATIONS);
    found
}

/// Array indexes in numeric order, before names.
fn step(text: &str) -> (u64, String) {
    match text.parse() {
        Ok(index) => (index, String::new()),
        Err(_) => (u64::MAX, text.to_owned()),
    }
}

fn rank(keyword: &str) -> u8 {
    match keyword {
        "required" => 0,
        "additionalProperties" => 1,
        _ => 2,
    }
}

fn add(found: &mut Vec<Violation>, error: &ValidationError<'_>) {
    let pointer = format!("#{}", error.instance_path().as_str());
    let schema = schema_location(error.evaluation_path().as_str());
    let mut push = |keyword: &str, message: String| {
        found.push(Violation::new(keyword, pointer.clone(), schema.clone(), message));
    };
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            for key in unexpected {
                push("additionalProperties", format!("extraneous key [{key}] is not permitted"));
            }
        }
        kind => push(kind.keyword(), text(kind, error)),
    }
}

/// The validator's words for a violation.
fn text(kind: &ValidationErrorKind, error: &ValidationError<'_>) -> String {
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

fn no_subschema(total: usize) -> String {
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
fn code(keyword: &str, message: &str) -> &'static str {
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
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The path through the schema as if references were written out, without the keyword.
fn schema_location(path: &str) -> String {
    let (parent, _) = path.rsplit_once('/').unwrap_or(("", path));
    let steps = parent.split('/').filter(|step| !step.is_empty() && *step != "$ref");
    steps.fold("#".to_owned(), |location, step| location + "/" + step)
}

fn strict_type<'a>(
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

/// The Java name of a schema's type.
fn expected(name: &str) -> &str {
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
fn found(value: &Value) -> &'static str {
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

/// One of AEP's four patterns, and a moment that exists.
fn is_date_time(text: &str) -> bool {
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
