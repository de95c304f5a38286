//! What a plugin is told at `init`: the settings of a step with its mapping and look-ups.

use std::path::Path;

use serde_json::value::RawValue;
use serde_json::{Map, Value as Json};

use super::Step;
use super::inputs::Inputs;
use super::path::KeyPath;
use super::problem::{Draft, Problem, Problems};
use super::reference::looks_like_reference;
use super::source::Source;
use super::yaml::{self, Node, Scalar, Value};

/// The most bytes of a mapping file; a mapping of a thousand paths has a hundred kilobytes.
const MAX_MAPPING_BYTES: u64 = 1024 * 1024;

/// The most bytes of a look-up file.
pub(super) const MAX_LOOKUP_BYTES: u64 = 8 * 1024 * 1024;

/// The most bytes of a whole configuration of a plugin: a quarter of its default memory, since it
/// holds the text and what it makes of it.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// Why a step has no configuration; each problem names its file and, where there is one, its place.
#[derive(Debug, thiserror::Error)]
#[error("{}", .problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n\n"))]
pub struct StepError {
    /// Everything that is wrong.
    pub problems: Vec<Problem>,
}

impl Step {
    /// The JSON text for the plugin's `init`: the settings, and beside them `mapping` (the file's
    /// content, its order and its numbers kept), `lookups` (text by name) and `tenant`.
    pub fn configuration(
        &self,
        inputs: &Inputs,
        tenant: Option<&str>,
    ) -> Result<String, StepError> {
        let mut problems = Vec::new();
        let mut fields: Vec<(String, String)> =
            self.settings.iter().map(|(key, value)| (key.clone(), value.to_string())).collect();
        if let Some(path) = &self.mapping {
            match mapping(inputs, path) {
                Ok(json) => fields.push(("mapping".to_owned(), json)),
                Err(more) => problems.extend(more),
            }
        }
        if !self.lookups.is_empty() {
            let mut texts = Map::new();
            for (name, path) in &self.lookups {
                match inputs.read_text(path, MAX_LOOKUP_BYTES) {
                    Ok(text) => drop(texts.insert(name.clone(), Json::String(text))),
                    Err(error) => {
                        let message = format!("the look-up `{name}` cannot be read: {error}");
                        problems.push(Problem::in_file(inputs.resolve(path), message));
                    }
                }
            }
            fields.push(("lookups".to_owned(), Json::Object(texts).to_string()));
        }
        if let Some(tenant) = tenant {
            fields.push(("tenant".to_owned(), Json::from(tenant).to_string()));
        }
        for name in ["mapping", "lookups", "tenant"] {
            if fields.iter().filter(|(key, _)| key == name).count() > 1 {
                let message = format!(
                    "the settings of plugin `{}` hold `{name}`, which xylem gives it as well",
                    self.plugin
                );
                problems.push(
                    Problem::in_file("", message)
                        .hint(format!("remove `{name}` from the settings, or rename it")),
                );
            }
        }
        if !problems.is_empty() {
            return Err(StepError { problems });
        }
        let json = object(fields.iter().map(|(key, value)| (key.as_str(), value.as_str())));
        if json.len() > MAX_BYTES {
            let message = format!(
                "the configuration of plugin `{}` has {} bytes, the limit is {MAX_BYTES}",
                self.plugin,
                json.len()
            );
            return Err(StepError { problems: vec![Problem::in_file("", message)] });
        }
        Ok(json)
    }
}

/// The content of a mapping file as JSON text.
fn mapping(inputs: &Inputs, path: &Path) -> Result<String, Vec<Problem>> {
    let read = inputs.read_text(path, MAX_MAPPING_BYTES);
    let path = &inputs.resolve(path);
    let text = read.map_err(|error| {
        vec![Problem::in_file(path, format!("the mapping cannot be read: {error}"))]
    })?;
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json")) {
        return json_mapping(&text).map_err(|message| vec![Problem::in_file(path, message)]);
    }
    let (root, twice) = match yaml::parse(&text) {
        Ok(parsed) => parsed,
        Err(mistake) => {
            let source = Source::unreadable(path.to_owned(), text);
            return Err(vec![mistake.draft().draw(&source)]);
        }
    };
    let mut problems = Problems::new(Source::new(path.to_owned(), text, root.clone()));
    for mistake in twice {
        problems.twice(mistake);
    }
    let json = to_json(&root, &KeyPath::root(), &mut problems);
    match problems.finish().0 {
        problems if problems.is_empty() => Ok(json),
        problems => Err(problems),
    }
}

fn json_mapping(text: &str) -> Result<String, String> {
    let raw: Box<RawValue> =
        serde_json::from_str(text).map_err(|error| format!("the mapping is no JSON: {error}"))?;
    let value: Json =
        serde_json::from_str(text).map_err(|error| format!("the mapping is no JSON: {error}"))?;
    match reference_in(&value) {
        Some(reference) => Err(not_read(&reference)),
        None => Ok(raw.get().to_owned()),
    }
}

fn reference_in(value: &Json) -> Option<String> {
    match value {
        Json::String(text) => looks_like_reference(text).map(str::to_owned),
        Json::Array(items) => items.iter().find_map(reference_in),
        Json::Object(object) => object.values().find_map(reference_in),
        Json::Null | Json::Bool(_) | Json::Number(_) => None,
    }
}

/// Invariant 10: no reference is read in a mapping, so no secret reaches a plugin by it.
fn not_read(reference: &str) -> String {
    format!("`{reference}` is not read in a mapping: no secret reaches a plugin")
}

/// The node as JSON text, in the order and with the digits of the file.
fn to_json(node: &Node, path: &KeyPath, problems: &mut Problems) -> String {
    match &node.value {
        Value::List(items) => {
            let each = items.iter().enumerate();
            let texts: Vec<String> =
                each.map(|(i, item)| to_json(item, &path.index(i), problems)).collect();
            format!("[{}]", texts.join(","))
        }
        Value::Map(entries) => {
            let fields: Vec<(&str, String)> = entries
                .iter()
                .map(|e| (e.key.as_str(), to_json(&e.value, &path.key(&e.key), problems)))
                .collect();
            object(fields.iter().map(|(key, value)| (*key, value.as_str())))
        }
        Value::Scalar { .. } => match node.scalar() {
            None | Some(Scalar::Null) => "null".to_owned(),
            Some(Scalar::Bool(value)) => value.to_string(),
            Some(Scalar::Number(number)) => number,
            Some(Scalar::Text(text)) => {
                if let Some(reference) = looks_like_reference(text) {
                    problems.push(Draft::error(path, node.span.clone(), not_read(reference)));
                }
                Json::from(text).to_string()
            }
            Some(Scalar::Unclear(why)) => {
                let draft = Draft::error(path, node.span.clone(), format!("unclear: {why}"));
                problems.push(draft.hint("put it in quotes if it is a text"));
                "null".to_owned()
            }
        },
    }
}

fn object<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let fields: Vec<String> =
        fields.map(|(key, value)| format!("{}:{value}", Json::from(key))).collect();
    format!("{{{}}}", fields.join(","))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use super::*;

    fn step(settings: Json, mapping: Option<&str>) -> Step {
        let Json::Object(settings) = settings else { unreachable!() };
        Step {
            plugin: "json".to_owned(),
            settings,
            mapping: mapping.map(PathBuf::from),
            lookups: BTreeMap::new(),
        }
    }

    #[test]
    fn a_mapping_keeps_its_order_and_its_numbers() {
        let dir = tempfile::tempdir().unwrap();
        let yaml = "z: 1.10\na: 12345678901234567890123\n'true': \"\\ud7ff\"\nl: [~, no, +1]\n";
        std::fs::write(dir.path().join("m.yaml"), yaml).unwrap();
        std::fs::write(dir.path().join("m.json"), r#"{"z": 1.10, "a": "\ud83d\ude00"}"#).unwrap();

        let json = step(serde_json::json!({"s": 1}), Some("m.yaml"));
        assert_eq!(
            json.configuration(&Inputs::new(dir.path()), Some("_acme")).unwrap(),
            "{\"s\":1,\"mapping\":{\"z\":1.10,\"a\":12345678901234567890123,\
             \"true\":\"\u{d7ff}\",\"l\":[null,\"no\",1]},\"tenant\":\"_acme\"}"
        );
        let verbatim = step(serde_json::json!({}), Some("m.json"));
        assert_eq!(
            verbatim.configuration(&Inputs::new(dir.path()), None).unwrap(),
            r#"{"mapping":{"z": 1.10, "a": "\ud83d\ude00"}}"#
        );
    }

    #[test]
    fn names_that_clash_are_refused() {
        let step = step(serde_json::json!({"tenant": "_other"}), None);
        assert!(step.configuration(&Inputs::new("."), None).is_ok());
        let refused = step.configuration(&Inputs::new("."), Some("_acme")).unwrap_err();
        assert!(refused.to_string().contains("`tenant`"), "{refused}");
    }

    #[test]
    fn lookups_are_texts_by_name() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("s.csv"), "id,name\n1,\"A\"\n").unwrap();
        let mut step = step(serde_json::json!({}), None);
        step.lookups = BTreeMap::from([("stores".to_owned(), PathBuf::from("s.csv"))]);
        assert_eq!(
            step.configuration(&Inputs::new(dir.path()), None).unwrap(),
            r#"{"lookups":{"stores":"id,name\n1,\"A\"\n"}}"#
        );
    }

    #[test]
    fn invariant_10_no_reference_is_read_in_a_mapping() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [("m.yaml", "a: ${DB_PASSWORD}\n"), ("m.json", r#"["${file:pw}"]"#)] {
            std::fs::write(dir.path().join(name), text).unwrap();
            let step = step(serde_json::json!({}), Some(name));
            assert!(step.configuration(&Inputs::new(dir.path()), None).is_err(), "{name}");
        }
    }
}
