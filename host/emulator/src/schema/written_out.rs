//! A schema with its references written out, as a registry's `xed-full` answer.

use serde_json::{Map, Value};

use super::close::{COMBINERS, MAPS, SCHEMAS, each};

/// Where definitions are.
const DEFINITIONS: [&str; 2] = ["$defs", "definitions"];
/// What may be said differently beside a reference: it constrains nothing.
const ANNOTATIONS: [&str; 5] = ["title", "description", "default", "examples", "$comment"];

/// Writes out every `$ref` into the document itself, where it stands for a schema: XDM's sources
/// have some in places that mean nothing. References that go round in circles stay, and their
/// definitions with them. The error names what cannot be written out.
pub(super) fn written_out(document: &Value) -> Result<Value, String> {
    let mut writer = Writer { root: document, open: Vec::new(), left: false };
    let mut schema = document.clone();
    let definitions: Vec<(&str, Value)> = match &mut schema {
        Value::Object(fields) => {
            DEFINITIONS.iter().filter_map(|key| Some((*key, fields.remove(*key)?))).collect()
        }
        _ => Vec::new(),
    };
    writer.write(&mut schema)?;
    if let (true, Value::Object(fields)) = (writer.left, &mut schema) {
        fields.extend(definitions.into_iter().map(|(key, value)| (key.to_owned(), value)));
    }
    Ok(schema)
}

struct Writer<'a> {
    root: &'a Value,
    /// References that are being written out.
    open: Vec<String>,
    /// Whether a reference stayed.
    left: bool,
}

impl Writer<'_> {
    fn write(&mut self, schema: &mut Value) -> Result<(), String> {
        let reference = schema.get("$ref").and_then(Value::as_str).map(str::to_owned);
        let Some(reference) = reference else { return self.write_children(schema) };
        let pointer = reference.strip_prefix('#').filter(|_| !self.open.contains(&reference));
        let Some(pointer) = pointer else {
            self.left = true;
            return Ok(());
        };
        let target = self.root.pointer(pointer).and_then(Value::as_object);
        let target = target.ok_or_else(|| format!("`$ref` `{reference}` leads nowhere"))?.clone();
        if let Value::Object(fields) = schema {
            fields.remove("$ref");
            merge(fields, target, &reference)?;
        }
        self.open.push(reference);
        let result = self.write(schema);
        self.open.pop();
        result
    }

    fn write_children(&mut self, schema: &mut Value) -> Result<(), String> {
        each(
            schema,
            &MAPS,
            &[&SCHEMAS[..], &COMBINERS[..], &["not", "if"]].concat(),
            &mut |child| self.write(child),
        )
    }
}

/// Both hold, what stands beside the reference and what it refers to.
fn merge(
    beside: &mut Map<String, Value>,
    target: Map<String, Value>,
    reference: &str,
) -> Result<(), String> {
    for (key, value) in target {
        let annotates = key.starts_with("meta:") || ANNOTATIONS.contains(&key.as_str());
        match beside.get(&key) {
            Some(own) if *own != value && !annotates => {
                return Err(format!(
                    "`{key}` beside `$ref` `{reference}` differs from what is there"
                ));
            }
            Some(_) => {}
            None => {
                beside.insert(key, value);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn references_are_written_out_where_they_stand_for_schemas() {
        let document = json!({
            "properties": {"a": {"$ref": "#/$defs/x", "title": "A"}, "$ref": {"type": "string"}},
            "allOf": [{"$ref": "#/$defs/y"}], "xdm:stray": {"$ref": "#/nowhere"},
            "$defs": {"x": {"items": {"$ref": "#/$defs/y"}, "title": "X"}, "y": {"type": "string"}},
        });
        let expected = json!({
            "properties": {"a": {"items": {"type": "string"}, "title": "A"}, "$ref": {"type": "string"}},
            "allOf": [{"type": "string"}], "xdm:stray": {"$ref": "#/nowhere"},
        });
        assert_eq!(written_out(&document), Ok(expected));
    }

    #[test]
    fn circles_stay_and_contradictions_are_named() {
        let circle = json!({"properties": {"a": {"$ref": "#/$defs/x"}},
            "$defs": {"x": {"properties": {"next": {"$ref": "#/$defs/x"}}}}});
        let written = written_out(&circle).expect("can be written out");
        assert_eq!(written["properties"]["a"]["properties"]["next"], json!({"$ref": "#/$defs/x"}));
        assert_eq!(written["$defs"], circle["$defs"]);
        let contradiction = json!({"properties": {"a": {"$ref": "#/$defs/x", "maxLength": 1}},
            "$defs": {"x": {"maxLength": 2}}});
        assert!(written_out(&contradiction).is_err_and(|error| error.contains("maxLength")));
        let nowhere = json!({"properties": {"a": {"$ref": "#/$defs/x"}}});
        assert!(written_out(&nowhere).is_err_and(|error| error.contains("#/$defs/x")));
    }
}
