//! The shape of a configuration: its tree held against the JSON Schema of the types, every
//! mistake at once, references resolved on the way.
//!
//! What comes out has the shape of the types whatever went in: where a value is wrong, a
//! placeholder stands and its path is *broken*, so that later checks go on and say nothing of it.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json};

use super::kind::{Kind, list};
use super::nearest::nearest;
use super::path::KeyPath;
use super::problem::{Draft, Problems};
use super::reference::{Resolver, looks_like_reference};
use super::yaml::{Entry, Node, Scalar, Span, Value};

/// What other programs call our keys.
const SYNONYMS: &[(&str, &str)] = &[
    ("bootstrap_servers", "brokers"),
    ("bootstrap.servers", "brokers"),
    ("group_id", "group"),
    ("group.id", "group"),
    ("auto_offset_reset", "start"),
    ("auto.offset.reset", "start"),
    ("dlq", "dead_letter"),
    ("ims_org", "organisation"),
    ("org", "organisation"),
    ("url", "inlet"),
    ("endpoint", "inlet"),
    ("dataset_id", "dataset"),
    ("flow_id", "flow"),
    ("transforms", "chain"),
    ("config", "settings"),
    ("user", "username"),
];

/// Holds a tree against a schema.
pub(super) struct Shape<'a, 'r> {
    /// The schema of the whole configuration.
    pub(super) schema: &'a Json,
    pub(super) problems: &'a mut Problems,
    pub(super) resolver: &'a Resolver<'r>,
}

impl Shape<'_, '_> {
    /// The whole configuration as JSON in the shape of the types.
    pub(super) fn check(&mut self, root: &Node) -> Json {
        self.value(self.schema, root, &KeyPath::root())
    }

    /// A value by its schema; a placeholder where it is wrong.
    fn value(&mut self, schema: &Json, node: &Node, path: &KeyPath) -> Json {
        let kind = Kind::of(self.schema, schema).not_null();
        let found = match (&kind, &node.value) {
            (Kind::Any, _) => Some(self.free(node, path)),
            (Kind::Struct { .. }, Value::Map(entries)) => {
                Some(self.object(&kind, node, entries, path))
            }
            (Kind::Map(values), Value::Map(entries)) => Some(self.map(values, entries, path)),
            (Kind::List(items), Value::List(nodes)) => {
                let each = nodes.iter().enumerate();
                Some(each.map(|(i, n)| self.value(items, n, &path.index(i))).collect())
            }
            (Kind::Text(references), Value::Scalar { .. }) => {
                self.text(references.as_deref(), node, path)
            }
            (Kind::Bool | Kind::Whole { .. } | Kind::Choice(_), Value::Scalar { .. }) => {
                kind.take(node)
            }
            _ => None,
        };
        found.unwrap_or_else(|| {
            if !self.problems.is_broken(path) {
                self.mismatch(&kind, node, path);
            }
            kind.placeholder(self.schema)
        })
    }

    /// Invariant 10: whatever stands where a mapping, a list or a secret should is drawn as `***`.
    fn mismatch(&mut self, kind: &Kind, node: &Node, path: &KeyPath) {
        let quote = kind.is_shown();
        if !quote {
            self.problems.source.mask(node.span.clone());
        }
        let place = if path.segments().is_empty() {
            "the configuration".to_owned()
        } else {
            format!("`{path}`")
        };
        let message = format!("{place} must be {}", kind.expected());
        let span = self.problems.source.locate(path);
        let mut draft = Draft::error(path, span, message).label(kind.found(node, quote));
        if let Some(hint) = kind.hint(node, path) {
            draft = draft.hint(hint);
        }
        self.problems.break_at(draft);
    }

    fn object(&mut self, kind: &Kind, node: &Node, entries: &[Entry], path: &KeyPath) -> Json {
        let Kind::Struct { properties, required } = kind else { return Json::Null };
        let mut object = Map::new();
        let mut excused = BTreeSet::new();
        for entry in entries {
            let at = path.key(&entry.key);
            match properties.get(&entry.key) {
                Some(schema) => {
                    let value = self.value(schema, &entry.value, &at);
                    let optional = !required.contains(&entry.key);
                    // A wrong value of an optional key counts as absent.
                    if !(optional && self.problems.is_broken(&at)) {
                        object.insert(entry.key.clone(), value);
                    }
                }
                None => excused.extend(self.unknown(properties, entries, entry, path)),
            }
        }
        for key in required {
            let Some(schema) = properties.get(key).filter(|_| !object.contains_key(key)) else {
                continue;
            };
            let at = path.key(key);
            if excused.contains(key) {
                self.problems.break_silently(at);
            } else {
                self.missing(key, schema, node, path);
            }
            let placeholder = Kind::of(self.schema, schema).placeholder(self.schema);
            object.insert(key.clone(), placeholder);
        }
        Json::Object(object)
    }

    fn missing(&mut self, key: &str, schema: &Json, node: &Node, path: &KeyPath) {
        let place = if path.segments().is_empty() {
            "the configuration".to_owned()
        } else {
            format!("`{path}`")
        };
        let start = node.span.start;
        let parent = self.problems.source.locate(path);
        let span: Span = if path.segments().is_empty() { start..start } else { parent };
        let mut draft = Draft::error(&path.key(key), span, format!("{place} lacks `{key}`"));
        if let Some(description) = schema.get("description").and_then(Json::as_str) {
            let kind = Kind::of(self.schema, schema);
            draft = draft.hint(format!("`{key}`: {} ({})", one_line(description), kind.expected()));
        }
        self.problems.break_at(draft);
    }

    /// Says that a key is unknown; gives back the key that was probably meant.
    fn unknown(
        &mut self,
        properties: &Map<String, Json>,
        entries: &[Entry],
        entry: &Entry,
        path: &KeyPath,
    ) -> Option<String> {
        // Invariant 10: an unknown key may be a misspelt `password`.
        self.problems.source.mask(entry.value.span.clone());
        let absent: Vec<&str> = properties
            .keys()
            .map(String::as_str)
            .filter(|key| !entries.iter().any(|given| given.key == *key))
            .collect();
        let synonym =
            SYNONYMS.iter().find(|(theirs, _)| *theirs == entry.key).map(|(_, ours)| *ours);
        let meant = synonym
            .filter(|ours| absent.contains(ours))
            .or_else(|| nearest(&entry.key, absent.iter().copied()));

        let place = if path.segments().is_empty() {
            "at the top of the configuration".to_owned()
        } else {
            format!("in `{path}`")
        };
        let message = format!("unknown key `{}` {place}", entry.key);
        let draft = Draft::error(&path.key(&entry.key), entry.key_span.clone(), message);
        let draft = match (meant, self.home_of(&entry.key)) {
            (Some(meant), _) => draft.label(format!("did you mean `{meant}`?")),
            (None, Some(home)) => draft.label(format!("this key belongs in {home}")),
            (None, None) => draft.hint(format!("known here: {}", list(properties.keys()))),
        };
        self.problems.break_at(draft);
        meant.map(str::to_owned)
    }

    /// Where in the configuration a key of that name is known, if in one place only.
    fn home_of(&self, key: &str) -> Option<String> {
        let mut homes = BTreeSet::new();
        homes_of(self.schema, self.schema, key, "", &mut homes);
        let home = homes.pop_first()?;
        homes.is_empty().then(|| {
            if home.is_empty() {
                "the top of the configuration".to_owned()
            } else {
                format!("`{home}`")
            }
        })
    }

    fn map(&mut self, values: &Json, entries: &[Entry], path: &KeyPath) -> Json {
        let each = entries.iter();
        let object = each.map(|entry| {
            let at = path.key(&entry.key);
            (entry.key.clone(), self.value(values, &entry.value, &at))
        });
        Json::Object(object.collect())
    }

    /// A text, its references resolved where they are read and refused where they are not.
    fn text(&mut self, references: Option<&str>, node: &Node, path: &KeyPath) -> Option<Json> {
        if references == Some("secret") {
            self.problems.source.mask(node.span.clone());
        }
        let Some(Scalar::Text(text)) = node.scalar() else { return None };
        if references.is_none() {
            self.refuse_reference(text, node, path);
            return Some(Json::from(text));
        }
        match self.resolver.resolve(text) {
            Ok(resolved) => Some(Json::from(resolved)),
            Err(error) => {
                let error = if references == Some("secret") { error.of_secret() } else { error };
                let message = format!("`{path}`: {error}");
                let mut draft = Draft::error(path, node.span.clone(), message);
                if let Some(hint) = error.hint() {
                    draft = draft.hint(hint);
                }
                self.problems.break_at(draft);
                None
            }
        }
    }

    /// Invariant 10: a reference is read in addresses and secrets only, so that none reaches a
    /// plugin; what looks like one elsewhere is a mistake.
    fn refuse_reference(&mut self, text: &str, node: &Node, path: &KeyPath) {
        let Some(reference) = looks_like_reference(text) else { return };
        let message = format!("`{reference}` is not read in `{path}`");
        let draft = Draft::error(path, node.span.clone(), message)
            .label("this is plain text")
            .hint(
                "references stand only in addresses and secrets; \
                 a plugin's settings and mapping can not hold one, so that no secret reaches a plugin",
            );
        self.problems.push(draft);
    }

    /// Whatever a plugin understands, as JSON.
    fn free(&mut self, node: &Node, path: &KeyPath) -> Json {
        match &node.value {
            Value::Map(entries) => self.map(&Json::Bool(true), entries, path),
            Value::List(nodes) => {
                let each = nodes.iter().enumerate();
                each.map(|(i, n)| self.value(&Json::Bool(true), n, &path.index(i))).collect()
            }
            Value::Scalar { .. } => match node.scalar() {
                None | Some(Scalar::Null) => Json::Null,
                Some(Scalar::Bool(value)) => Json::Bool(value),
                Some(Scalar::Number(number)) => {
                    // A number beyond every double is kept as its digits.
                    serde_json::from_str(&number).unwrap_or(Json::String(number))
                }
                Some(Scalar::Text(text)) => {
                    self.refuse_reference(text, node, path);
                    Json::from(text)
                }
                Some(Scalar::Unclear(why)) => {
                    let message = format!("`{path}` is unclear: {why}");
                    let draft = Draft::error(path, node.span.clone(), message);
                    self.problems.push(draft.hint("put it in quotes if it is a text"));
                    Json::Null
                }
            },
        }
    }
}

fn homes_of(root: &Json, schema: &Json, key: &str, path: &str, homes: &mut BTreeSet<String>) {
    match Kind::of(root, schema).not_null() {
        Kind::Struct { properties, .. } => {
            if properties.contains_key(key) {
                homes.insert(path.to_owned());
            }
            for (name, property) in &properties {
                let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                homes_of(root, property, key, &below, homes);
            }
        }
        Kind::Map(values) => homes_of(root, &values, key, &format!("{path}.NAME"), homes),
        Kind::List(items) => homes_of(root, &items, key, &format!("{path}[]"), homes),
        _ => {}
    }
}

/// The first sentence of a description, on one line.
fn one_line(description: &str) -> String {
    let text = description.split_whitespace().collect::<Vec<_>>().join(" ");
    let end = text.find(". ").unwrap_or(text.len());
    text.get(..end).unwrap_or(&text).trim_end_matches('.').to_owned()
}
