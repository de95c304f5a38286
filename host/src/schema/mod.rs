//! XDM schemas: a destination's schema in closed form, and what it says of an event.
//!
//! The one place that knows `jsonschema`. AEP refuses a key that its schema does not name, so a schema
//! is closed when it is loaded ([`close`]); formats are checked, and what AEP does beyond
//! JSON Schema is added: `1.0` is no integer, integers have ranges, timestamps have four forms.

use std::collections::BTreeSet;
use std::fmt;

use jsonschema::{Draft, Validator};
use serde_json::Value;

use crate::config::Mode;

mod close;
mod entity;
mod format;
mod violation;
mod warning;

pub use entity::{Entity, EntityJson, Member};
pub use violation::{Violation, Violations};
pub use warning::{Warning, WarningCode};

/// A destination's schema, ready to check events.
pub struct Schema {
    whole: Validator<EntityJson>,
    /// The same without `required`, for updates and deletions.
    partial: Option<Validator<EntityJson>>,
    soft: Option<warning::Soft>,
    /// All keys that it lists anywhere, sorted.
    names: Box<[Box<str>]>,
    has_id: bool,
    is_time_series: bool,
}

impl Schema {
    /// The longest schema text that is read, in bytes; the largest composed schemas known have half
    /// a megabyte.
    pub const MAX_BYTES: usize = 16 * 1024 * 1024;

    /// Reads a composed JSON Schema: with `$ref` and `allOf`, or expanded in place as a registry
    /// answers to `application/vnd.adobe.xed-full+json`; closed or open.
    ///
    /// In [`Mode::Raw`] updates and deletions can be checked as well.
    pub fn load(text: &str, mode: Mode) -> Result<Self, SchemaError> {
        if text.len() > Self::MAX_BYTES {
            return Err(SchemaError::TooLarge { bytes: text.len() });
        }
        let source: Value = serde_json::from_str(text)?;
        let closed = close::close(&source, close::Required::Kept)?;
        let partial = match mode {
            Mode::Xdm => None,
            Mode::Raw => Some(compile(&close::close(&source, close::Required::Dropped)?)?),
        };
        let has = |name| closed.pointer("/properties").is_some_and(|all| all.get(name).is_some());
        let required = closed.get("required").and_then(Value::as_array);
        let requires_time = required.is_some_and(|all| all.iter().any(|name| name == "timestamp"));
        Ok(Self {
            whole: compile(&closed)?,
            partial,
            soft: warning::Soft::of(&closed),
            names: names(&closed),
            has_id: has("_id"),
            is_time_series: requires_time || (has("_id") && has("timestamp")),
        })
    }

    /// Whether a key is one that the schema lists somewhere. Any other key of a valid event is a map's, and
    /// may be a part of the record.
    pub fn lists(&self, key: &str) -> bool {
        self.names.binary_search_by(|name| (**name).cmp(key)).is_ok()
    }

    /// Whether the class has `_id` at its root.
    pub fn has_id(&self) -> bool {
        self.has_id
    }

    /// Whether the class is a time series (`ExperienceEvent`), not a record (Profile).
    pub fn is_time_series(&self) -> bool {
        self.is_time_series
    }

    /// Checks a whole entity: a time series event, a record, or what is created in `raw` mode.
    pub fn check(&self, entity: &Entity<'_>) -> Result<(), Violations> {
        check(&self.whole, entity)
    }

    /// Checks an update or a deletion: what is there must fit, nothing must be there.
    pub fn check_partial(&self, entity: &Entity<'_>) -> Result<(), Violations> {
        check(self.partial.as_ref().unwrap_or(&self.whole), entity)
    }

    /// What AEP takes and then drops or ignores without a word.
    pub fn warnings(&self, entity: &Entity<'_>) -> Vec<Warning> {
        warning::warnings(entity, self.soft.as_ref(), self.is_time_series)
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schema")
            .field("has_id", &self.has_id)
            .field("is_time_series", &self.is_time_series)
            .finish_non_exhaustive()
    }
}

/// The keys under all `properties` of a closed schema.
fn names(closed: &Value) -> Box<[Box<str>]> {
    fn gather<'v>(value: &'v Value, names: &mut BTreeSet<&'v str>) {
        match value {
            Value::Object(members) => {
                if let Some(Value::Object(properties)) = members.get("properties") {
                    names.extend(properties.keys().map(String::as_str));
                }
                members.values().for_each(|member| gather(member, names));
            }
            Value::Array(items) => items.iter().for_each(|item| gather(item, names)),
            _ => {}
        }
    }
    let mut names = BTreeSet::new();
    gather(closed, &mut names);
    names.into_iter().map(Box::from).collect()
}

fn compile(closed: &Value) -> Result<Validator<EntityJson>, SchemaError> {
    jsonschema::options_for::<EntityJson>()
        .with_draft(Draft::Draft202012)
        .should_validate_formats(true)
        .with_format("date-time", format::is_date_time)
        .with_format("date", format::is_date)
        .with_format("time", format::is_time)
        .build(closed)
        .map_err(|error| SchemaError::Invalid {
            at: error.instance_path().to_string(),
            cause: error.to_string(),
        })
}

fn check(validator: &Validator<EntityJson>, entity: &Entity<'_>) -> Result<(), Violations> {
    if validator.is_valid(entity) {
        return Ok(());
    }
    Err(Violations::of(validator.iter_errors(entity)))
}

/// Why a schema cannot be used. Paths are those of the event that the schema describes.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// The text is too long.
    #[error(
        "the schema has {bytes} bytes, the limit is {limit}; leave out descriptions and unused field groups",
        limit = Schema::MAX_BYTES
    )]
    TooLarge {
        /// The text's length.
        bytes: usize,
    },
    /// The text is no JSON.
    #[error("the schema is not JSON: {0}")]
    NotJson(#[from] serde_json::Error),
    /// The root does not describe an object.
    #[error("the schema describes no object: its root needs `\"type\": \"object\"`")]
    NoObject,
    /// Something stands where a schema must.
    #[error("at `{at}` of the event: expected a schema (an object or a boolean), found `{found}`")]
    NoSchema {
        /// Where.
        at: String,
        /// The beginning of what stands there.
        found: String,
    },
    /// A reference leads out of the document.
    #[error(
        "`$ref` to `{reference}` at `{at}` of the event leads out of the document; give the schema in one \
         piece, such as the registry's answer to `application/vnd.adobe.xed-full+json; version=1`"
    )]
    External {
        /// The reference.
        reference: String,
        /// Where.
        at: String,
    },
    /// A reference leads nowhere.
    #[error("`$ref` to `{reference}` at `{at}` of the event points at nothing in the document")]
    Dangling {
        /// The reference.
        reference: String,
        /// Where.
        at: String,
    },
    /// A definition contains itself, which no XDM schema does.
    #[error(
        "`$ref` to `{reference}` at `{at}` of the event contains itself; XDM schemas are finite"
    )]
    Recursive {
        /// The reference.
        reference: String,
        /// Where.
        at: String,
    },
    /// A keyword that XDM does not use.
    #[error("`{keyword}` at `{at}` of the event is not a keyword of XDM schemas and not supported")]
    Unsupported {
        /// The keyword.
        keyword: String,
        /// Where.
        at: String,
    },
    /// Objects in objects without end.
    #[error("at `{at}` of the event the schema is {depth} levels deep, the limit is {limit}", limit = close::MAX_DEPTH)]
    TooDeep {
        /// Where.
        at: String,
        /// How deep.
        depth: usize,
    },
    /// More fields than any XDM schema has.
    #[error(
        "the schema has more than {limit} fields when its references are expanded",
        limit = close::MAX_FIELDS
    )]
    TooManyFields,
    /// A keyword has a value that it must not have.
    #[error("the schema is not valid at `{at}` of its closed form: {cause}")]
    Invalid {
        /// A pointer into the closed form of the schema.
        at: String,
        /// Why.
        cause: String,
    },
}

#[cfg(test)]
mod tests;
