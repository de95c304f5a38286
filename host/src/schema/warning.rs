//! What AEP accepts and then drops or ignores without a word: counted, not faults.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Entity;

/// One thing about an event that is worth knowing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The code, under which it is counted.
    pub code: WarningCode,
    /// Where: a JSON pointer into the event.
    pub pointer: String,
}

/// A stable code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WarningCode {
    /// A value outside the field's list of suggestions (`meta:enum`), which AEP does not enforce.
    SoftEnum,
    /// A field that the schema calls deprecated.
    Deprecated,
    /// More items than Profile keeps: 10 in an event, 500 in a record.
    LongArray,
    /// An event above Profile's size, at a destination with `oversize: warn`.
    Oversize,
    /// An identity such as `""`, `0` or `null`, which merges strangers into one profile.
    PlaceholderIdentity,
    /// Several primary identities in one `identityMap`.
    Primaries,
}

impl WarningCode {
    /// Every code.
    pub const ALL: [Self; 6] = [
        Self::SoftEnum,
        Self::Deprecated,
        Self::LongArray,
        Self::Oversize,
        Self::PlaceholderIdentity,
        Self::Primaries,
    ];

    /// The code's name in labels and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SoftEnum => "schema.soft-enum",
            Self::Deprecated => "schema.deprecated",
            Self::LongArray => "profile.long-array",
            Self::Oversize => "profile.oversize",
            Self::PlaceholderIdentity => "identity.placeholder",
            Self::Primaries => "identity.primaries",
        }
    }

    /// What the code means, as a sentence.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::SoftEnum => "The value is not among the schema's suggestions.",
            Self::Deprecated => "The field is deprecated.",
            Self::LongArray => "Profile keeps at most 10 items in an event and 500 in a record.",
            Self::Oversize => {
                "Profile drops an entity of this size: 10 KB for events, 100 KB for records."
            }
            Self::PlaceholderIdentity => {
                "The identity is a placeholder, which merges strangers into one profile."
            }
            Self::Primaries => "Exactly one identity of an `identityMap` may be primary.",
        }
    }
}

/// What a schema suggests of a place and the places within it; only places with something to say exist.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Soft {
    deprecated: bool,
    suggestions: Option<BTreeSet<String>>,
    members: BTreeMap<String, Soft>,
    /// Items of an array, other keys of an object.
    others: Option<Box<Soft>>,
}

impl Soft {
    /// Reads the suggestions of a closed schema.
    pub(super) fn of(closed: &Value) -> Option<Self> {
        let suggestions = closed.get("meta:enum").and_then(Value::as_object);
        let properties = closed.get("properties").and_then(Value::as_object);
        let others = closed.get("items").or_else(|| closed.get("additionalProperties"));
        let soft = Self {
            deprecated: closed.get("meta:status").is_some_and(|status| status == "deprecated"),
            suggestions: suggestions.map(|values| values.keys().cloned().collect()),
            members: properties
                .into_iter()
                .flatten()
                .filter_map(|(name, property)| Some((name.clone(), Self::of(property)?)))
                .collect(),
            others: others.and_then(Self::of).map(Box::new),
        };
        (soft != Self::default()).then_some(soft)
    }
}

/// The most warnings of one event.
const MOST: usize = 16;

/// Everything worth knowing about an event, up to [`MOST`] things.
pub(super) fn warnings(
    entity: &Entity<'_>,
    soft: Option<&Soft>,
    is_time_series: bool,
) -> Vec<Warning> {
    let mut walk = Walk { longest: if is_time_series { 10 } else { 500 }, found: Vec::new() };
    walk.visit(entity, soft, &Place::Root);
    if let Some(identities) = entity.get("identityMap") {
        walk.identities(identities);
    }
    walk.found
}

struct Walk {
    longest: usize,
    found: Vec<Warning>,
}

impl Walk {
    fn visit(&mut self, entity: &Entity<'_>, soft: Option<&Soft>, place: &Place<'_>) {
        if let Some(soft) = soft {
            if soft.deprecated {
                self.warn(WarningCode::Deprecated, place);
            }
            if let (Some(values), Some(text)) = (&soft.suggestions, entity.as_text())
                && !values.contains(text)
            {
                self.warn(WarningCode::SoftEnum, place);
            }
        }
        let others = soft.and_then(|soft| soft.others.as_deref());
        match entity {
            Entity::Array(items) => {
                if items.len() > self.longest {
                    self.warn(WarningCode::LongArray, place);
                }
                for (index, item) in items.iter().enumerate() {
                    self.visit(item, others, &Place::Item(place, index));
                }
            }
            Entity::Object(members) => {
                for (key, value) in members {
                    let inner = soft.and_then(|soft| soft.members.get(key.as_ref())).or(others);
                    self.visit(value, inner, &Place::Key(place, key));
                }
            }
            _ => {}
        }
    }

    fn identities(&mut self, map: &Entity<'_>) {
        let root = Place::Root;
        let place = Place::Key(&root, "identityMap");
        let Entity::Object(namespaces) = map else { return };
        let mut primaries = 0;
        for (namespace, identities) in namespaces {
            let place = Place::Key(&place, namespace);
            let Entity::Array(identities) = identities else { continue };
            for (index, identity) in identities.iter().enumerate() {
                if identity.get("id").and_then(Entity::as_text).is_some_and(is_placeholder) {
                    let place = Place::Item(&place, index);
                    self.warn(WarningCode::PlaceholderIdentity, &Place::Key(&place, "id"));
                }
                primaries += usize::from(identity.get("primary") == Some(&Entity::Bool(true)));
            }
        }
        if primaries > 1 {
            self.warn(WarningCode::Primaries, &place);
        }
    }

    fn warn(&mut self, code: WarningCode, place: &Place<'_>) {
        if self.found.len() < MOST {
            let mut pointer = String::new();
            place.write(&mut pointer);
            self.found.push(Warning { code, pointer });
        }
    }
}

/// Values that sources write where they know no one.
fn is_placeholder(id: &str) -> bool {
    let id = id.trim();
    ["null", "undefined", "none", "n/a"].iter().any(|word| id.eq_ignore_ascii_case(word))
        || id.bytes().all(|b| b == b'0' || b == b'-')
}

/// A place in an event, written down only when there is something to say.
enum Place<'p> {
    Root,
    Key(&'p Place<'p>, &'p str),
    Item(&'p Place<'p>, usize),
}

impl Place<'_> {
    /// Adds the place as a JSON pointer.
    fn write(&self, pointer: &mut String) {
        match self {
            Self::Root => {}
            Self::Key(outer, key) => {
                outer.write(pointer);
                pointer.push('/');
                pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
            }
            Self::Item(outer, index) => {
                outer.write(pointer);
                pointer.push('/');
                pointer.push_str(&index.to_string());
            }
        }
    }
}
