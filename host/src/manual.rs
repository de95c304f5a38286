//! Pages of the manual that are written from types, for the tests that hold them current.

use std::fmt::Write;
use std::path::Path;

use serde_json::Value as Json;

use crate::config::{REFERENCES, choices};

/// A page with a table for each mapping of a schema: with what must be given and what is assumed
/// where it `is_input`, in the order of the letters otherwise.
pub(crate) fn tables(head: &str, schema: &Json, is_input: bool) -> String {
    let mut page = head.to_owned();
    section(&Tables { root: schema, is_input }, schema, "", &mut page);
    page
}

/// Holds a generated page against the file, or rewrites the file.
pub(crate) fn current(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name);
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(there == text, "`host/docs/{name}` is stale: UPDATE_EXPECT=1 cargo test rewrites it");
}

struct Tables<'a> {
    root: &'a Json,
    is_input: bool,
}

/// Writes the section of one mapping, then those of the mappings in it.
fn section(tables: &Tables<'_>, schema: &Json, path: &str, page: &mut String) {
    let root = tables.root;
    let schema = target(root, schema);
    let properties = schema["properties"].as_object().unwrap();
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
    let title = if path.is_empty() { "The top".to_owned() } else { format!("`{path}`") };
    write!(page, "\n## {title}\n\n{}\n\n", words(schema)).unwrap();
    page.push_str(if tables.is_input {
        "| key | value | default | meaning |\n| --- | --- | --- | --- |\n"
    } else {
        "| key | value | meaning |\n| --- | --- | --- |\n"
    });
    let mut below = Vec::new();
    // What must be given comes first.
    let (first, then): (Vec<_>, Vec<_>) =
        properties.iter().partition(|(key, _)| required.contains(&key.as_str()));
    for (key, property) in first.into_iter().chain(then) {
        let at = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let kind = target(root, property);
        let value = match (inner(root, kind), choices(kind)) {
            (Some((suffix, inner)), _) => {
                let name = format!("{at}{suffix}");
                let link = format!("[`{name}`](#{})", anchor(&name));
                below.push((name, inner));
                link
            }
            (None, Some(choices)) => {
                choices.iter().map(|c| format!("`{c}`")).collect::<Vec<_>>().join(", ")
            }
            (None, None) => simple(kind),
        };
        let default = match &property["default"] {
            _ if required.contains(&key.as_str()) => "**required**".to_owned(),
            Json::Null => String::new(),
            Json::Object(map) if map.is_empty() => String::new(),
            Json::String(text) if text.is_empty() => String::new(),
            default => format!("`{default}`").replace('"', ""),
        };
        let default = if tables.is_input { format!(" {default} |") } else { String::new() };
        writeln!(page, "| `{key}` | {value} |{default} {} |", meaning(property, kind)).unwrap();
    }
    for (name, inner) in below {
        section(tables, inner, &name, page);
    }
}

/// The mapping with fixed keys inside a property, and how it is reached.
fn inner<'a>(root: &'a Json, kind: &'a Json) -> Option<(&'static str, &'a Json)> {
    if kind.get("properties").is_some() {
        return Some(("", kind));
    }
    for (key, suffix) in [("additionalProperties", ".NAME"), ("items", "[]")] {
        let of = kind.get(key).map(|of| target(root, of));
        if let Some(of) = of.filter(|of| of.get("properties").is_some()) {
            return Some((suffix, of));
        }
    }
    None
}

fn simple(kind: &Json) -> String {
    let name = match &kind["type"] {
        Json::Array(names) => names[0].as_str().unwrap(),
        name => name.as_str().unwrap_or("anything"),
    };
    let references = kind.get(REFERENCES).and_then(Json::as_str);
    match (name, references) {
        ("string", Some("secret")) => "text, *secret*".to_owned(),
        ("string", Some(_)) => "text, *reference*".to_owned(),
        ("string", None) => "text".to_owned(),
        ("boolean", _) => "`true`, `false`".to_owned(),
        ("integer", _) if kind.get("maximum").is_some() => {
            format!("{} to {}", kind["minimum"], kind["maximum"])
        }
        ("integer", _) => "whole number".to_owned(),
        ("array", _) => "list of texts".to_owned(),
        ("object", _) if kind["additionalProperties"] == true => "mapping of anything".to_owned(),
        ("object", _) => "mapping of texts".to_owned(),
        (other, _) => other.to_owned(),
    }
}

fn meaning(property: &Json, kind: &Json) -> String {
    let own = words(property);
    let mut text = if own.is_empty() { words(kind) } else { own };
    for choice in kind["oneOf"].as_array().into_iter().flatten() {
        if let (Some(value), Some(_)) = (choice["const"].as_str(), choice["description"].as_str()) {
            write!(text, "<br>`{value}`: {}", words(choice)).unwrap();
        }
    }
    text.replace('|', "\\|")
}

fn words(schema: &Json) -> String {
    let text = schema["description"].as_str().unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What a schema refers to, an absent value set aside.
fn target<'a>(root: &'a Json, schema: &'a Json) -> &'a Json {
    if let Some(branches) = schema.get("anyOf").and_then(Json::as_array) {
        return target(root, branches.iter().find(|b| b["type"] != "null").unwrap());
    }
    match schema.get("$ref").and_then(Json::as_str) {
        Some(name) => target(root, root.pointer(name.trim_start_matches('#')).unwrap()),
        None => schema,
    }
}

/// The anchor that Markdown renderers give a title.
fn anchor(title: &str) -> String {
    let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, '_' | '-'));
    kept.flat_map(char::to_lowercase).collect()
}
