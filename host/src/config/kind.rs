//! What the JSON Schema of the types asks for at one place, and how to say so.

use serde_json::{Map, Value as Json};

use super::nearest::nearest;
use super::path::KeyPath;
use super::reference::REFERENCES;
use super::yaml::{Node, Scalar, Value};

/// What a schema asks for.
pub(super) enum Kind {
    Any,
    Struct { properties: Map<String, Json>, required: Vec<String> },
    Map(Json),
    List(Json),
    Text(Option<String>),
    Bool,
    Whole { min: u64, max: u64 },
    Choice(Vec<String>),
    Nullable(Box<Kind>),
}

impl Kind {
    pub(super) fn of(root: &Json, schema: &Json) -> Self {
        if let Some(name) = schema.get("$ref").and_then(Json::as_str) {
            let target = name.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
            return target.map_or(Self::Any, |target| Self::of(root, target));
        }
        if let Some(branches) = schema.get("anyOf").and_then(Json::as_array) {
            let inner = branches.iter().find(|b| b.get("type") != Some(&Json::from("null")));
            return Self::Nullable(Box::new(inner.map_or(Self::Any, |b| Self::of(root, b))));
        }
        if let Some(choices) = choices(schema) {
            return Self::Choice(choices);
        }
        let kind = match type_of(schema) {
            Some("object") => Self::object(schema),
            Some("array") => Self::List(schema.get("items").cloned().unwrap_or(Json::Bool(true))),
            Some("string") => {
                Self::Text(schema.get(REFERENCES).and_then(Json::as_str).map(str::to_owned))
            }
            Some("boolean") => Self::Bool,
            Some("integer") => {
                let bound = |key| schema.get(key).and_then(Json::as_u64);
                let min = bound("minimum").unwrap_or(0);
                Self::Whole { min, max: bound("maximum").unwrap_or(u64::MAX) }
            }
            _ => Self::Any,
        };
        match schema.get("type") {
            Some(Json::Array(_)) => Self::Nullable(Box::new(kind)),
            _ => kind,
        }
    }

    pub(super) fn object(schema: &Json) -> Self {
        match (schema.get("properties"), schema.get("additionalProperties")) {
            (Some(Json::Object(properties)), _) => {
                let required = schema.get("required").and_then(Json::as_array);
                let required = required.into_iter().flatten().filter_map(Json::as_str);
                let required = required.map(str::to_owned).collect();
                Self::Struct { properties: properties.clone(), required }
            }
            (_, Some(values)) => Self::Map(values.clone()),
            _ => Self::Map(Json::Bool(true)),
        }
    }

    pub(super) fn not_null(self) -> Self {
        match self {
            Self::Nullable(kind) => kind.not_null(),
            kind => kind,
        }
    }

    /// The scalar in a node, if it is what this kind asks for.
    pub(super) fn take(&self, node: &Node) -> Option<Json> {
        match (self, node.scalar()?) {
            (Self::Bool, Scalar::Bool(value)) => Some(Json::Bool(value)),
            (Self::Whole { min, max }, Scalar::Number(number)) => {
                let value: u64 = number.parse().ok()?;
                (*min..=*max).contains(&value).then(|| Json::from(value))
            }
            (Self::Choice(choices), Scalar::Text(text)) => {
                choices.iter().any(|choice| choice == text).then(|| Json::from(text))
            }
            _ => None,
        }
    }

    /// Whether a wrong value may be quoted: not where a secret or a whole section belongs.
    pub(super) fn is_shown(&self) -> bool {
        match self {
            Self::Text(references) => references.as_deref() != Some("secret"),
            Self::Bool | Self::Whole { .. } | Self::Choice(_) => true,
            Self::List(items) => type_of(items) == Some("string"),
            _ => false,
        }
    }

    pub(super) fn expected(&self) -> String {
        match self {
            Self::Any => "anything".to_owned(),
            Self::Struct { required, .. } if !required.is_empty() => {
                format!("a mapping with {}", list(required.iter()))
            }
            Self::Struct { .. } | Self::Map(_) => "a mapping (`key: value` lines)".to_owned(),
            Self::List(_) => "a list (`[a, b]`)".to_owned(),
            Self::Text(_) => "a text".to_owned(),
            Self::Bool => "`true` or `false`".to_owned(),
            Self::Whole { min, max: u64::MAX } => format!("a whole number from {min}"),
            Self::Whole { min, max } => format!("a whole number from {min} to {max}"),
            Self::Choice(choices) => {
                choices.iter().map(|choice| format!("`{choice}`")).collect::<Vec<_>>().join(" or ")
            }
            Self::Nullable(kind) => kind.expected(),
        }
    }

    pub(super) fn found(&self, node: &Node, quote: bool) -> String {
        let noun = match (&node.value, node.scalar()) {
            (Value::Map(_), _) => "this is a mapping",
            (Value::List(_), _) => "this is a list",
            (_, Some(Scalar::Null)) => return "there is nothing here".to_owned(),
            (_, Some(Scalar::Bool(_))) => "this is `true` or `false`",
            (_, Some(Scalar::Number(number))) if matches!(self, Self::Whole { .. }) => {
                self.size(&number)
            }
            (_, Some(Scalar::Number(_))) => "this is a number",
            (_, Some(Scalar::Unclear(why))) => why,
            (_, Some(Scalar::Text(_)) | None) => "this is a text",
        };
        match (self, &node.value) {
            (Self::Choice(choices), Value::Scalar { text, .. }) if quote => {
                match nearest(text, choices.iter().map(String::as_str)) {
                    Some(choice) => format!("did you mean `{choice}`?"),
                    None => "this is none of them".to_owned(),
                }
            }
            _ => noun.to_owned(),
        }
    }

    /// What is wrong with a number.
    pub(super) fn size(&self, number: &str) -> &'static str {
        let Self::Whole { min, max } = self else { return "this is a number" };
        match number.parse::<i128>() {
            Ok(value) if value < i128::from(*min) => "this is too small",
            Ok(value) if value > i128::from(*max) => "this is too large",
            _ => "this is not a whole number",
        }
    }

    /// What to write instead, where that can be told.
    pub(super) fn hint(&self, node: &Node, path: &KeyPath) -> Option<String> {
        let Value::Scalar { text, .. } = &node.value else { return None };
        match (self, node.scalar()?) {
            (Self::Text(references), Scalar::Number(_) | Scalar::Bool(_) | Scalar::Unclear(_)) => {
                Some(match references.as_deref() {
                    Some("secret") => "put it in quotes".to_owned(),
                    _ => format!("put it in quotes: `\"{text}\"`"),
                })
            }
            (Self::Bool, Scalar::Text(_)) => {
                let yes = matches!(text.to_lowercase().as_str(), "yes" | "on" | "y");
                let no = matches!(text.to_lowercase().as_str(), "no" | "off" | "n");
                (yes || no).then(|| format!("write `{yes}`"))
            }
            (Self::Whole { .. }, Scalar::Text(_)) => {
                let key = path.to_string();
                if key.ends_with("_ms") {
                    Some(in_units(text, "milliseconds", MILLISECONDS))
                } else if key.ends_with("_bytes") {
                    Some(in_units(text, "bytes", BYTES))
                } else {
                    None
                }
            }
            (Self::List(_), Scalar::Text(_)) if self.is_shown() => {
                Some(format!("put it in brackets: `[{text}]`"))
            }
            (Self::Struct { required, .. }, Scalar::Null) if required.is_empty() => {
                Some("write `{}` for the defaults, or remove the key".to_owned())
            }
            (Self::Struct { .. } | Self::Map(_), Scalar::Null) => None,
            (_, Scalar::Null) => Some("write a value, or remove the key".to_owned()),
            _ => None,
        }
    }

    /// Something of the right shape.
    pub(super) fn placeholder(&self, root: &Json) -> Json {
        match self {
            Self::Any | Self::Nullable(_) => Json::Null,
            Self::Struct { properties, required } => required
                .iter()
                .filter_map(|key| properties.get(key).map(|schema| (key, schema)))
                .map(|(key, schema)| (key.clone(), Self::of(root, schema).placeholder(root)))
                .collect(),
            Self::Map(_) => Json::Object(Map::new()),
            Self::List(_) => Json::Array(Vec::new()),
            Self::Text(_) => Json::from(""),
            Self::Bool => Json::Bool(false),
            Self::Whole { min, .. } => Json::from(*min),
            Self::Choice(choices) => choices.first().map_or(Json::Null, |c| Json::from(c.as_str())),
        }
    }
}

const MILLISECONDS: &[(&str, u64)] =
    &[("ms", 1), ("sec", 1_000), ("s", 1_000), ("min", 60_000), ("m", 60_000), ("h", 3_600_000)];

const BYTES: &[(&str, u64)] = &[
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("k", 1 << 10),
    ("m", 1 << 20),
    ("g", 1 << 30),
    ("b", 1),
];

/// `45s` is 45000 milliseconds.
fn in_units(text: &str, unit: &str, units: &[(&str, u64)]) -> String {
    let text = text.trim().to_lowercase();
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, suffix) = text.split_at(split);
    let factor = units.iter().find(|(name, _)| *name == suffix.trim()).map(|(_, factor)| *factor);
    match digits.parse::<u64>().ok().zip(factor).and_then(|(n, factor)| n.checked_mul(factor)) {
        Some(value) => format!("in {unit}: `{value}`"),
        None => format!("a bare number of {unit}"),
    }
}

fn type_of(schema: &Json) -> Option<&str> {
    match schema.get("type")? {
        Json::String(name) => Some(name),
        Json::Array(names) => names.iter().filter_map(Json::as_str).find(|name| *name != "null"),
        _ => None,
    }
}

/// The texts that an enum takes.
pub(crate) fn choices(schema: &Json) -> Option<Vec<String>> {
    if let Some(values) = schema.get("enum").and_then(Json::as_array) {
        return Some(values.iter().filter_map(Json::as_str).map(str::to_owned).collect());
    }
    let branches = schema.get("oneOf")?.as_array()?;
    let texts = branches.iter().filter_map(|b| b.get("const")?.as_str());
    Some(texts.map(str::to_owned).collect())
}

/// Names in backticks.
pub(super) fn list<'a>(keys: impl Iterator<Item = &'a String>) -> String {
    keys.map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
}
