//! Adobe's composed schemas and its examples, where `XYLEM_SAMPLES` points at them.

use std::io::Write as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::super::close::{Required, close};
use super::super::*;
use super::{load, violations};

/// The folder of Adobe's bundles; where there is none, the test says that it skips (past libtest's
/// capture, where `cargo xtask test` counts it).
fn bundles() -> Option<PathBuf> {
    let samples = std::env::var_os("XYLEM_SAMPLES");
    if samples.is_none() {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or_default();
        let line = format!("skipped: {name}: `XYLEM_SAMPLES` is not set: no documents of others\n");
        std::io::stderr().lock().write_all(line.as_bytes()).unwrap();
    }
    samples.map(|folder| PathBuf::from(folder).join("xdm-bundles"))
}

struct Example {
    bundle: String,
    source: String,
    valid_closed: bool,
    doc: Value,
}

fn examples(folder: &std::path::Path) -> Vec<Example> {
    let text = std::fs::read_to_string(folder.join("examples.jsonl")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .map(|line: Value| Example {
            bundle: line["bundle"].as_str().unwrap().to_owned(),
            source: line["source"].as_str().unwrap().to_owned(),
            valid_closed: line["closed_without_required"].as_bool().unwrap(),
            doc: line["doc"].clone(),
        })
        .collect()
}

/// A bundle in one of its forms, without what its class requires.
fn bundle(folder: &std::path::Path, file: &str) -> Schema {
    let text = std::fs::read_to_string(folder.join(file)).unwrap();
    let mut root: Value = serde_json::from_str(&text).unwrap();
    root.as_object_mut().unwrap().remove("required");
    load(&root)
}

const FORMS: [&str; 3] = [".schema.json", ".xed-full.json", "-closed.schema.json"];

#[test]
fn adobes_examples_have_the_recorded_verdicts_in_every_form() {
    let Some(folder) = bundles() else { return };
    let examples = examples(&folder);
    assert_eq!(examples.len(), 62);
    for name in ["experienceevent", "profile"] {
        let schemas = FORMS.map(|form| bundle(&folder, &format!("{name}{form}")));
        for example in examples.iter().filter(|example| example.bundle == name) {
            let said = schemas.each_ref().map(|schema| violations(schema, &example.doc));
            assert_eq!(
                said[0].is_empty(),
                example.valid_closed,
                "{} {:?}",
                example.source,
                said[0]
            );
            assert_eq!(said[0], said[1], "{}", example.source);
            assert_eq!(said[0], said[2], "{}", example.source);
        }
    }
}

#[test]
fn a_leaf_of_another_type_is_noticed_in_every_example() {
    let Some(folder) = bundles() else { return };
    let mut leaves = 0;
    for name in ["experienceevent", "profile"] {
        let schema = bundle(&folder, &format!("{name}.xed-full.json"));
        for example in examples(&folder).iter().filter(|example| example.bundle == name) {
            let doc = without_extraneous_keys(&schema, example.doc.clone());
            if !violations(&schema, &doc).is_empty() {
                continue;
            }
            for pointer in leaves_of(&doc) {
                let mut mutant = doc.clone();
                let leaf = mutant.pointer_mut(&pointer).unwrap();
                *leaf = if leaf.is_string() { json!(12_345) } else { json!("text") };
                let said = violations(&schema, &mutant);
                assert!(!said.is_empty(), "{} {pointer}", example.source);
                assert!(said[0].contains(&format!("#{pointer}: expected type")), "{said:?}");
                leaves += 1;
            }
        }
    }
    // 366 on defined paths and 16 under map keys of the one, 233 of the other (measured apart from this
    // code, over the same examples).
    assert_eq!(leaves, 366 + 16 + 233);
}

/// The document without the keys that no schema names.
fn without_extraneous_keys(schema: &Schema, mut doc: Value) -> Value {
    loop {
        let text = doc.to_string();
        let Err(violations) = schema.check(&Entity::parse(&text).unwrap()) else { return doc };
        let extraneous = violations.first.iter().find_map(|violation| {
            let key = violation
                .message
                .strip_prefix("extraneous key [")?
                .strip_suffix("] is not permitted")?;
            Some((violation.pointer.clone(), key.to_owned()))
        });
        let Some((pointer, key)) = extraneous else { return doc };
        doc.pointer_mut(&pointer).unwrap().as_object_mut().unwrap().remove(&key).unwrap();
    }
}

fn leaves_of(value: &Value) -> Vec<String> {
    let under = |key: &str, inner: &Value| -> Vec<String> {
        let key = key.replace('~', "~0").replace('/', "~1");
        leaves_of(inner).into_iter().map(|rest| format!("/{key}{rest}")).collect()
    };
    match value {
        Value::Object(members) => {
            members.iter().flat_map(|(key, inner)| under(key, inner)).collect()
        }
        Value::Array(items) => {
            items.iter().enumerate().flat_map(|(n, item)| under(&n.to_string(), item)).collect()
        }
        _ => vec![String::new()],
    }
}

#[test]
fn closed_bundles_have_the_types_that_the_real_registry_answers() {
    let Some(folder) = bundles() else { return };
    let read = |name: &str| -> Value {
        serde_json::from_str(&std::fs::read_to_string(folder.join(name)).unwrap()).unwrap()
    };
    let reference = read("registry-reference-paths.json");
    for form in FORMS {
        let closed = close(&read(&format!("profile{form}")), Required::Kept).unwrap();
        let paths = reference["paths"].as_object().unwrap();
        assert_eq!(paths.len(), 202);
        for (path, expected) in paths {
            let mut place = &closed;
            for name in path.split('.') {
                let (name, is_list) =
                    name.strip_suffix("[]").map_or((name, false), |name| (name, true));
                place = &place["properties"][name];
                if is_list {
                    place = &place["items"];
                }
            }
            assert_eq!(place["meta:xdmType"], *expected, "{path} in {form}");
        }
    }
}
