//! AEP's validator: JSON Schema in closed form, with formats on, the rules in which AEP is stricter
//! than the standard, and AEP's words.
//!
//! AEP's validator behaves like the Java library everit (an inference from its texts); where it
//! differs from the `jsonschema` crate, `type` and `date-time` are replaced by checks of our own.

mod close;
mod strict;
mod words;
mod written_out;

use jsonschema::{Draft, ValidationError, error::ValidationErrorKind};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use strict::{is_date_time, strict_type};
use words::{code, text};

/// AEP stops after this many violations of a message.
pub const MOST_VIOLATIONS: usize = 5;

/// Violations that are collected before they are put in order.
const COLLECTED: usize = 1_000;

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

impl Schema {
    /// Compiles a schema, in its closed form: where it lists `properties` and says nothing about
    /// others, there are none.
    pub fn new(document: &Value) -> Result<Self, SchemaError> {
        // Written out first, so that violations are located as AEP locates them.
        let mut closed = written_out::written_out(document).map_err(SchemaError)?;
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

/// The path through the schema as if references were written out, without the keyword.
fn schema_location(path: &str) -> String {
    let (parent, _) = path.rsplit_once('/').unwrap_or(("", path));
    let steps = parent.split('/').filter(|step| !step.is_empty() && *step != "$ref");
    steps.fold("#".to_owned(), |location, step| location + "/" + step)
}
