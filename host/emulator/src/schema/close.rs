//! The closed form of a schema. AEP refuses keys that a schema does not list, though the schema
//! itself does not say so.

use serde_json::{Map, Value};

/// Keywords whose value is a map from name to schema.
pub(super) const MAPS: [&str; 5] =
    ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas"];
/// Keywords whose value is a schema, or a list of them.
pub(super) const SCHEMAS: [&str; 7] =
    ["items", "prefixItems", "additionalItems", "additionalProperties", "contains", "then", "else"];
/// Keywords that combine schemas for the same value.
pub(super) const COMBINERS: [&str; 3] = ["allOf", "anyOf", "oneOf"];

/// Closes every schema that lists properties and is silent on others. The error says what cannot
/// be closed.
pub(super) fn close(schema: &mut Value) -> Result<(), String> {
    walk(schema, false)
}

/// Takes `required` out of every schema.
pub(super) fn without_required(schema: &mut Value) {
    each_child(schema, &mut |child| {
        without_required(child);
        Ok(())
    })
    .unwrap_or_default();
    if let Value::Object(fields) = schema {
        fields.remove("required");
        for branches in COMBINERS {
            for branch in
                fields.get_mut(branches).and_then(Value::as_array_mut).into_iter().flatten()
            {
                without_required(branch);
            }
        }
    }
}

/// `within` says that this schema is one of several for the same value: then closing it alone would
/// refuse what the others list.
fn walk(schema: &mut Value, within: bool) -> Result<(), String> {
    each_child(schema, &mut |child| walk(child, false))?;
    let Value::Object(fields) = schema else { return Ok(()) };
    if within && fields.contains_key("$ref") {
        return Err("has a `$ref` to itself within `allOf`, `anyOf` or `oneOf`, \
                    which cannot be closed"
            .to_owned());
    }
    let mut combined = false;
    for combiner in COMBINERS {
        for branch in fields.get_mut(combiner).and_then(Value::as_array_mut).into_iter().flatten() {
            combined |= lists_properties(branch);
            walk(branch, true)?;
        }
    }
    // Where patterns name the other keys, the schema is not silent on them.
    let says_others = ["additionalProperties", "patternProperties"];
    if within || says_others.iter().any(|keyword| fields.contains_key(*keyword)) {
        return Ok(());
    }
    if combined {
        fields.entry("unevaluatedProperties").or_insert(Value::Bool(false));
    } else if fields.contains_key("properties") {
        fields.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
    Ok(())
}

fn lists_properties(schema: &Value) -> bool {
    let branches =
        COMBINERS.iter().filter_map(|combiner| schema.get(combiner)?.as_array()).flatten();
    schema.get("properties").is_some() || branches.into_iter().any(lists_properties)
}

/// Calls for every schema that is directly within this one, but for those of combiners.
fn each_child(
    schema: &mut Value,
    call: &mut impl FnMut(&mut Value) -> Result<(), String>,
) -> Result<(), String> {
    each(schema, &MAPS, &SCHEMAS, call)
}

/// Calls for every schema under these keywords: maps of schemas; schemas, or lists of them.
pub(super) fn each(
    schema: &mut Value,
    maps: &[&str],
    schemas: &[&str],
    call: &mut impl FnMut(&mut Value) -> Result<(), String>,
) -> Result<(), String> {
    let Value::Object(fields) = schema else { return Ok(()) };
    for map in maps {
        let children = fields.get_mut(*map).and_then(Value::as_object_mut);
        for child in children.into_iter().flat_map(Map::values_mut) {
            call(child)?;
        }
    }
    for keyword in schemas {
        match fields.get_mut(*keyword) {
            Some(Value::Array(children)) => children.iter_mut().try_for_each(&mut *call)?,
            Some(child) => call(child)?,
            None => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn closed(mut schema: Value) -> Value {
        close(&mut schema).expect("can be closed");
        schema
    }

    #[test]
    fn objects_that_list_properties_are_closed() {
        let open = json!({"properties": {"a": {"items": {"properties": {"properties": {"type": "string"}}}},
            "map": {"additionalProperties": {"properties": {"x": {}}}}, "free": {"type": "object"}, "named": {"properties": {"x": {}}, "patternProperties": {"^y": {}}}}});
        let expected = json!({"additionalProperties": false, "properties": {
            "a": {"items": {"additionalProperties": false, "properties": {"properties": {"type": "string"}}}},
            "map": {"additionalProperties": {"additionalProperties": false, "properties": {"x": {}}}},
            "free": {"type": "object"}, "named": {"properties": {"x": {}}, "patternProperties": {"^y": {}}}}});
        assert_eq!(closed(open), expected);
        assert_eq!(closed(expected.clone()), expected, "closed already");
    }

    #[test]
    fn combined_schemas_are_closed_together() {
        let open = json!({"properties": {"a": {}}, "allOf": [{"properties": {"b": {"properties": {"c": {}}}}}]});
        let closed = closed(open);
        assert_eq!(closed["unevaluatedProperties"], false);
        assert!(closed["allOf"][0].get("additionalProperties").is_none());
        assert_eq!(closed["allOf"][0]["properties"]["b"]["additionalProperties"], false);
        let referring = close(&mut json!({"allOf": [{"$ref": "#/$defs/a"}]}));
        assert!(referring.is_err_and(|text| text.contains("to itself")));
    }

    #[test]
    fn required_goes_everywhere() {
        let mut schema = json!({"required": ["a"], "properties": {"required": {"required": ["b"], "type": "object"}},
            "allOf": [{"required": ["c"]}]});
        without_required(&mut schema);
        assert_eq!(schema, json!({"properties": {"required": {"type": "object"}}, "allOf": [{}]}));
    }
}
