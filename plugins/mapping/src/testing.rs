//! What the tests of plugins share: schemas, the tenant's own fields, the documents of others.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

/// The documents and composed schemas of others, which are not part of this project: the folder
/// that `XYLEM_SAMPLES` names.
pub fn samples() -> Option<PathBuf> {
    std::env::var_os("XYLEM_SAMPLES").map(PathBuf::from)
}

/// A JSON document of a file.
pub fn read_json(path: &Path) -> Result<Value, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}

/// A schema that events are checked against, formats included.
pub struct Schema {
    /// The compiled schema.
    validator: jsonschema::Validator,
    /// The schema as it stands in its file.
    pub document: Value,
}

impl Schema {
    /// Reads and compiles a schema.
    pub fn read(path: &Path) -> Result<Self, String> {
        let document = read_json(path)?;
        let validator = jsonschema::options()
            .with_draft(jsonschema::Draft::Draft202012)
            .should_validate_formats(true)
            .build(&document)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self { validator, document })
    }

    /// What the schema has against an event.
    pub fn complaints(&self, event: &Value) -> Vec<String> {
        self.validator
            .iter_errors(event)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect()
    }
}

/// An event without the tenant's own fields, at any depth.
#[must_use]
pub fn without_tenant(event: &Value, tenant: &str) -> Value {
    match event {
        Value::Object(members) => {
            let others = members.iter().filter(|(key, _)| *key != tenant);
            others.map(|(key, member)| (key.clone(), without_tenant(member, tenant))).collect()
        }
        Value::Array(items) => items.iter().map(|item| without_tenant(item, tenant)).collect(),
        scalar => scalar.clone(),
    }
}

/// What a schema of ours says otherwise than a composed one, outside the tenant's own fields: a
/// path it does not have, or a type, format, pattern, enum or required field that differs. An enum
/// of ours may be smaller.
pub fn differences(ours: &Value, composed: &Value, tenant: &str) -> Vec<String> {
    let mut found = Vec::new();
    compare(ours, composed, "", &(composed, tenant), &mut found);
    found
}

/// [`differences`] below a path, within a composed document and aside from a tenant's fields.
fn compare(
    ours: &Value,
    theirs: &Value,
    path: &str,
    within: &(&Value, &str),
    found: &mut Vec<String>,
) {
    let (root, tenant) = *within;
    let theirs = resolved(theirs, root);
    for keyword in ["type", "format", "pattern"] {
        if ours.get(keyword) != theirs.get(keyword) {
            found.push(format!("{path}: `{keyword}` differs"));
        }
    }
    let list = |schema: &Value, keyword: &str| {
        schema.get(keyword).and_then(Value::as_array).cloned().unwrap_or_default()
    };
    let (own_enum, their_enum) = (list(ours, "enum"), list(theirs, "enum"));
    if own_enum.is_empty() != their_enum.is_empty()
        || own_enum.iter().any(|value| !their_enum.contains(value))
    {
        found.push(format!("{path}: `enum` differs"));
    }
    let own_required = list(ours, "required");
    for name in list(theirs, "required").iter().filter(|name| !own_required.contains(name)) {
        found.push(format!("{path}: {name} is not required"));
    }
    let empty = serde_json::Map::new();
    for (name, own) in ours.get("properties").and_then(Value::as_object).unwrap_or(&empty) {
        let below = format!("{path}.{name}");
        match theirs.get("properties").and_then(|properties| properties.get(name)) {
            _ if name == tenant => {}
            Some(their) => compare(own, their, &below, within, found),
            None => found.push(format!("{below}: no such path")),
        }
    }
    for keyword in ["items", "additionalProperties"] {
        let Some(own) = ours.get(keyword).filter(|own| own.is_object()) else { continue };
        match theirs.get(keyword) {
            Some(their) => compare(own, their, &format!("{path}[]"), within, found),
            None => found.push(format!("{path}: no `{keyword}`")),
        }
    }
}

/// A schema behind its references.
fn resolved<'s>(schema: &'s Value, root: &'s Value) -> &'s Value {
    let reference = schema.get("$ref").and_then(Value::as_str);
    let target = reference.and_then(|reference| root.pointer(reference.strip_prefix('#')?));
    target.map_or(schema, |target| resolved(target, root))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn differences_are_found() {
        let composed = json!({
            "properties": {"a": {"$ref": "#/$defs/a"}, "m": {"additionalProperties": {"type": "string"}}},
            "$defs": {"a": {"type": "object", "required": ["b"], "properties": {
                "b": {"type": "string", "enum": ["x", "y"]}, "c": {"type": "string", "format": "date"}}}}
        });
        let same = json!({
            "properties": {"a": {"type": "object", "required": ["b"], "additionalProperties": false,
                "properties": {"b": {"type": "string", "enum": ["x"]}, "c": {"type": "string", "format": "date"}}},
                "m": {"additionalProperties": {"type": "string"}}, "_acme": {"type": "object"}}
        });
        assert!(differences(&same, &composed, "_acme").is_empty());
        let other = json!({
            "properties": {"a": {"type": "object", "properties": {
                "b": {"type": "string", "enum": ["z"]}, "c": {"type": "string"}, "d": {"type": "string"}}}}
        });
        assert_eq!(differences(&other, &composed, "_acme").len(), 4);
    }

    #[test]
    fn the_tenant_goes_at_any_depth() {
        let event = json!({"a": 1, "_acme": {"x": 1}, "list": [{"b": 2, "_acme": {"y": 1}}]});
        assert_eq!(without_tenant(&event, "_acme"), json!({"a": 1, "list": [{"b": 2}]}));
    }
}
