//! The closed form of a schema: one tree without references in which every object that lists
//! `properties` refuses all others.
//!
//! AEP validates against what its registry calls `xed-full`: `$ref` and `allOf` resolved in place, so that
//! an object has one list of properties. Closing each branch of an `allOf` by itself would
//! refuse the properties of the other branches; hence first flatten, then close. Keywords
//! beside `$ref` count, as they do in XDM's repository and not in draft-06.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::SchemaError;

/// The deepest nesting of an event that a schema may describe; XDM's deepest known is 11.
pub(super) const MAX_DEPTH: usize = 64;
/// The most fields of a schema when its references are expanded; XDM's largest known has 1,300.
pub(super) const MAX_FIELDS: usize = 100_000;

/// Whether required keys stay required.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Required {
    /// As the schema says.
    Kept,
    /// Nothing is required.
    Dropped,
}

/// Keywords that are kept as they are. Where several schemas that apply to one place differ in one, each
/// of them holds.
const KEPT: [&str; 18] = [
    "type",
    "enum",
    "const",
    "pattern",
    "format",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minProperties",
    "maxProperties",
    "required",
];

/// Annotations that say something about values; where several schemas differ, the first is kept.
const ANNOTATIONS: [&str; 3] = ["meta:enum", "meta:status", "meta:xdmType"];

/// Keywords that constrain events and that XDM does not use. To ignore one would be to accept what the
/// schema refuses.
const REFUSED: [&str; 16] = [
    "$dynamicRef",
    "$recursiveRef",
    "additionalItems",
    "contains",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "else",
    "if",
    "not",
    "prefixItems",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
    "$anchor",
];

/// The closed form of a composed schema.
pub(super) fn close(source: &Value, required: Required) -> Result<Value, SchemaError> {
    let mut closer = Closer { source, required, fields: 0, open: Vec::new(), path: Vec::new() };
    let closed = closer.place(&[source], true)?;
    let is_object = match closed.get("type") {
        Some(name) => name == "object",
        None => closed.get("properties").is_some(),
    };
    if is_object { Ok(closed) } else { Err(SchemaError::NoObject) }
}

/// The walk over a schema.
struct Closer<'s> {
    source: &'s Value,
    required: Required,
    /// Fields met so far.
    fields: usize,
    /// References that the present place stands within.
    open: Vec<&'s str>,
    /// Keys of the event that lead to the present place; `*` for items and keys of a map.
    path: Vec<&'s str>,
}

/// All schemas that apply to one place of the event, sorted by what they say.
#[derive(Default)]
struct Parts<'s> {
    /// The references resolved here.
    references: Vec<&'s str>,
    refuses_all: bool,
    lists_properties: bool,
    properties: BTreeMap<&'s str, Vec<&'s Value>>,
    patterns: BTreeMap<&'s str, Vec<&'s Value>>,
    additional: Vec<&'s Value>,
    items: Vec<&'s Value>,
    /// Each `anyOf` or `oneOf`, with its branches.
    choices: Vec<(&'s str, &'s [Value])>,
    /// Kept keywords and annotations, the first of each name.
    kept: Map<String, Value>,
    /// Kept keywords that differ from the first of their name.
    also: Vec<Value>,
}

impl<'s> Closer<'s> {
    /// The closed form of what `schemas` together say of one place. Only where `closes` holds is the place
    /// itself closed; the places within it always are.
    fn place(&mut self, schemas: &[&'s Value], closes: bool) -> Result<Value, SchemaError> {
        self.fields += 1;
        if self.fields > MAX_FIELDS {
            return Err(SchemaError::TooManyFields);
        }
        if self.path.len() > MAX_DEPTH {
            return Err(SchemaError::TooDeep { at: self.at(), depth: self.path.len() });
        }
        let mut parts = Parts::default();
        for schema in schemas {
            self.gather(schema, &mut parts)?;
        }
        let outer = self.open.len();
        self.open.append(&mut parts.references);
        let closed = self.compose(parts, closes);
        self.open.truncate(outer);
        closed
    }

    /// Adds a schema and what it refers to.
    fn gather(&self, schema: &'s Value, parts: &mut Parts<'s>) -> Result<(), SchemaError> {
        let keywords = match schema {
            Value::Bool(true) => return Ok(()),
            Value::Bool(false) => {
                parts.refuses_all = true;
                return Ok(());
            }
            Value::Object(keywords) => keywords,
            _ => return Err(self.no_schema(schema)),
        };
        for (keyword, value) in keywords {
            match (keyword.as_str(), value) {
                ("$ref", Value::String(reference)) => self.follow(reference, parts)?,
                ("allOf", Value::Array(branches)) => {
                    for branch in branches {
                        self.gather(branch, parts)?;
                    }
                }
                ("anyOf" | "oneOf", Value::Array(branches)) => {
                    parts.choices.push((keyword, branches));
                }
                ("properties", Value::Object(properties)) => {
                    parts.lists_properties = true;
                    for (name, property) in properties {
                        parts.properties.entry(name).or_default().push(property);
                    }
                }
                ("patternProperties", Value::Object(patterns)) => {
                    for (pattern, property) in patterns {
                        parts.patterns.entry(pattern).or_default().push(property);
                    }
                }
                ("additionalProperties", _) => parts.additional.push(value),
                ("items", Value::Object(_) | Value::Bool(_)) => parts.items.push(value),
                (
                    "$ref" | "allOf" | "anyOf" | "oneOf" | "properties" | "patternProperties"
                    | "items",
                    _,
                ) => {
                    return Err(self.unsupported(&format!("{keyword}: {}", beginning(value))));
                }
                (name, _) if REFUSED.contains(&name) => return Err(self.unsupported(name)),
                (name, _) => self.keep(name, value, parts),
            }
        }
        Ok(())
    }

    /// Keeps a keyword that stands for itself; drops what is none.
    fn keep(&self, name: &str, value: &Value, parts: &mut Parts<'s>) {
        if name == "required" && self.required == Required::Dropped {
            return;
        }
        // Not a format of JSON Schema; XDM means a URI.
        let value = if name == "format" && value == "url" { json!("uri") } else { value.clone() };
        let is_kept = KEPT.contains(&name);
        match parts.kept.get_mut(name) {
            None if is_kept || ANNOTATIONS.contains(&name) => {
                parts.kept.insert(name.to_owned(), value);
            }
            Some(Value::Array(names)) if name == "required" => {
                let more = value.as_array().into_iter().flatten();
                let new: Vec<Value> = more.filter(|n| !names.contains(n)).cloned().collect();
                names.extend(new);
            }
            Some(first) if is_kept && *first != value => parts.also.push(json!({ name: value })),
            _ => {}
        }
    }

    /// Adds what a reference points at, once.
    fn follow(&self, reference: &'s str, parts: &mut Parts<'s>) -> Result<(), SchemaError> {
        if parts.references.contains(&reference) {
            return Ok(());
        }
        let (to, at) = (reference.to_owned(), self.at());
        let Some(pointer) = reference.strip_prefix('#') else {
            return Err(SchemaError::External { reference: to, at });
        };
        if self.open.contains(&reference) || pointer.is_empty() {
            return Err(SchemaError::Recursive { reference: to, at });
        }
        let Some(target) = self.source.pointer(pointer) else {
            return Err(SchemaError::Dangling { reference: to, at });
        };
        parts.references.push(reference);
        self.gather(target, parts)
    }

    /// One schema out of its parts.
    fn compose(&mut self, parts: Parts<'s>, closes: bool) -> Result<Value, SchemaError> {
        if parts.refuses_all {
            return Ok(Value::Bool(false));
        }
        let mut schema = parts.kept;
        let mut also = parts.also;
        bound_integer(&mut schema);
        let mut branches_list = false;
        for (keyword, branches) in parts.choices {
            let mut composed = Vec::with_capacity(branches.len());
            for branch in branches {
                composed.push(self.place(&[branch], false)?);
            }
            branches_list |= composed.iter().any(lists_properties);
            match schema.get(keyword) {
                None => _ = schema.insert(keyword.to_owned(), Value::Array(composed)),
                Some(_) => also.push(json!({ keyword: composed })),
            }
        }
        let gives_others = !parts.additional.is_empty() || !parts.patterns.is_empty();
        for (keyword, named) in
            [("properties", parts.properties), ("patternProperties", parts.patterns)]
        {
            let mut composed = Map::new();
            for (name, schemas) in named {
                let key = if keyword == "properties" { name } else { "*" };
                composed.insert(name.to_owned(), self.within(key, &schemas)?);
            }
            if !composed.is_empty() {
                schema.insert(keyword.to_owned(), Value::Object(composed));
            }
        }
        if !parts.items.is_empty() {
            schema.insert("items".to_owned(), self.within("*", &parts.items)?);
        }
        if closes && !gives_others && (parts.lists_properties || branches_list) {
            // Properties of a branch count as known, which only `unevaluatedProperties` can say.
            let keyword =
                if branches_list { "unevaluatedProperties" } else { "additionalProperties" };
            schema.insert(keyword.to_owned(), Value::Bool(false));
        } else if parts.additional.contains(&&Value::Bool(false)) {
            schema.insert("additionalProperties".to_owned(), Value::Bool(false));
        } else if !parts.additional.is_empty() {
            let others = self.within("*", &parts.additional)?;
            schema.insert("additionalProperties".to_owned(), others);
        }
        if !also.is_empty() {
            schema.insert("allOf".to_owned(), Value::Array(also));
        }
        Ok(Value::Object(schema))
    }

    /// The closed form of a place one key further in.
    fn within(&mut self, key: &'s str, schemas: &[&'s Value]) -> Result<Value, SchemaError> {
        self.path.push(key);
        let closed = self.place(schemas, true);
        self.path.pop();
        closed
    }

    fn at(&self) -> String {
        self.path.iter().fold(String::new(), |path, key| path + "/" + key)
    }

    fn unsupported(&self, keyword: &str) -> SchemaError {
        SchemaError::Unsupported { keyword: keyword.to_owned(), at: self.at() }
    }

    fn no_schema(&self, found: &Value) -> SchemaError {
        SchemaError::NoSchema { at: self.at(), found: beginning(found) }
    }
}

/// Whether a composed branch names properties of its own.
fn lists_properties(branch: &Value) -> bool {
    let inner = ["anyOf", "oneOf"].iter().filter_map(|name| branch.get(name)?.as_array());
    branch.get("properties").is_some() || inner.flatten().any(lists_properties)
}

/// AEP stores integers in columns of a width: what does not fit is refused.
fn bound_integer(schema: &mut Map<String, Value>) {
    let width = schema.get("meta:xdmType").and_then(Value::as_str);
    if schema.get("type").is_none_or(|t| t != "integer") {
        return;
    }
    let (low, high): (i64, i64) = match width {
        Some("byte") => (i8::MIN.into(), i8::MAX.into()),
        Some("short") => (i16::MIN.into(), i16::MAX.into()),
        Some("int") => (i32::MIN.into(), i32::MAX.into()),
        // Whole numbers up to 53 bits survive as a double.
        Some("long") => (-(1 << 53), 1 << 53),
        _ => return,
    };
    for (keyword, bound, beyond) in
        [("minimum", low, Ordering::Less), ("maximum", high, Ordering::Greater)]
    {
        if schema.get(keyword).is_none_or(|given| compare(given, bound) == Some(beyond)) {
            schema.insert(keyword.to_owned(), bound.into());
        }
    }
}

/// A number of a schema, which may be written as `100.0`, against a whole one.
fn compare(given: &Value, bound: i64) -> Option<Ordering> {
    match given.as_i64() {
        Some(given) => Some(given.cmp(&bound)),
        None => given.as_f64()?.partial_cmp(&Value::from(bound).as_f64()?),
    }
}

/// The first characters of a value as JSON.
fn beginning(value: &Value) -> String {
    value.to_string().chars().take(40).collect()
}
