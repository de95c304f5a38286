//! The conservation test of a mapping, for the tests of plugins that know their format.
//!
//! It needs no expected values: it changes one leaf of a document at a time and looks at what
//! changes in the events. Every leaf must be used, left out or declared as left out; a used leaf
//! must change something; every leaf of the events must have changed at least once, or be a
//! declared constant. What it can not see is a wrong value that depends on the right leaf; golden
//! pairs are for that.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::{
    conserve::{Conserve, LeftOut, Unmapped, covers},
    document::{Fate, Node},
};

/// What a mapping makes of a document: events, or the words of a filter or a rejection.
pub type Mapped = Result<Vec<Value>, String>;

/// Changes every leaf of a document in turn and returns what breaks the rules, as sentences. A
/// document without events has nothing to lose.
///
/// `constants` are patterns of paths in the events (`commerce.purchases.value`,
/// `productListItems[].quantity`) whose values no leaf decides.
pub fn violations(
    document: &Node,
    map: &dyn Fn(&Node) -> Mapped,
    declared: &'static [LeftOut],
    constants: &[&str],
) -> Vec<String> {
    let document = document.clone();
    let base = map(&document);
    let Ok(events) = &base else { return Vec::new() };
    let mut broken: Vec<String> = Conserve::new(Unmapped::Reject, declared)
        .lost(&document)
        .into_iter()
        .map(|path| format!("`{path}` is neither used nor left out"))
        .collect();
    let base_leaves = leaves(events);
    let mut changed: BTreeSet<String> = BTreeSet::new();
    for (index, (path, text, fate)) in list(&document).into_iter().enumerate() {
        if fate != Fate::Used {
            continue;
        }
        let mut copy = document.clone();
        copy.replace_leaf(index, &other(&text));
        let outcome = map(&copy);
        if outcome == base {
            broken.push(format!("`{path}` is used but changes nothing"));
        }
        if let Ok(after) = outcome {
            let new = leaves(&after);
            let keys: BTreeSet<&String> = base_leaves.keys().chain(new.keys()).collect();
            let differ = keys.into_iter().filter(|key| base_leaves.get(*key) != new.get(*key));
            changed.extend(differ.cloned());
        }
    }
    for place in base_leaves.keys().filter(|place| !changed.contains(*place)) {
        let path = without_indexes(place);
        if !constants.iter().any(|constant| covers(constant, &path)) {
            broken.push(format!("`{path}` of the event has no source and is no declared constant"));
        }
    }
    let mut said = BTreeSet::new();
    broken.retain(|sentence| said.insert(sentence.clone()));
    broken
}

/// The leaves of a document with what became of them.
fn list(document: &Node) -> Vec<(String, String, Fate)> {
    let mut list = Vec::new();
    document.each_leaf(&mut |path, leaf| {
        list.push((path.to_owned(), leaf.peek().unwrap_or_default().to_owned(), leaf.fate()));
    });
    list
}

/// A text of the same kind with another meaning: another number, another year, the other truth
/// value, another last letter.
fn other(text: &str) -> String {
    match text {
        "true" => return "false".to_owned(),
        "false" => return "true".to_owned(),
        _ => {}
    }
    let mut characters: Vec<char> = text.chars().collect();
    let is_date = characters.get(4) == Some(&'-')
        && characters.iter().take(4).all(char::is_ascii_digit)
        && characters.get(7) == Some(&'-');
    let place = if is_date {
        3
    } else {
        // The first letter of an address, so that it stays one; else the last letter or digit.
        let from = if text.contains('@') { 1 } else { characters.len() };
        let found = characters.iter().take(from).rposition(char::is_ascii_alphanumeric);
        found.unwrap_or_default()
    };
    if let Some(character) = characters.get_mut(place) {
        *character = match *character {
            '9' => '8',
            'z' => 'y',
            'Z' => 'Y',
            c if c.is_ascii_alphanumeric() => char::from_u32(u32::from(c) + 1).unwrap_or(c),
            _ => 'x',
        };
    }
    characters.into_iter().collect()
}

/// Every scalar of the events by its place: `0.productListItems[2].SKU`.
fn leaves(events: &[Value]) -> BTreeMap<String, String> {
    fn walk(value: &Value, place: &str, out: &mut BTreeMap<String, String>) {
        match value {
            Value::Object(members) => {
                for (key, member) in members {
                    walk(member, &format!("{place}.{key}"), out);
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    walk(item, &format!("{place}[{index}]"), out);
                }
            }
            scalar => {
                out.insert(place.to_owned(), scalar.to_string());
            }
        }
    }
    let mut out = BTreeMap::new();
    for (index, event) in events.iter().enumerate() {
        walk(event, &index.to_string(), &mut out);
    }
    out
}

/// A place in the events without the event's number and the indexes of lists.
fn without_indexes(place: &str) -> String {
    let path = place.split_once('.').map_or(place, |(_, path)| path);
    let mut out = String::with_capacity(path.len());
    let mut inside = false;
    for character in path.chars() {
        match character {
            '[' => {
                inside = true;
                out.push_str("[]");
            }
            ']' => inside = false,
            _ if inside => {}
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A mapping with one flaw of each kind.
    #[expect(clippy::unnecessary_wraps, reason = "the type of a mapping")]
    fn flawed(node: &Node) -> Mapped {
        let _ignored = node.text_at("idle");
        Ok(vec![json!({"a": node.text_at("a"), "list": [{"made": "up"}], "fixed": 1})])
    }

    #[test]
    fn each_kind_of_loss_is_found() {
        const DECLARED: &[LeftOut] = &[LeftOut { path: "out", reason: "a test" }];
        let node = Node::from_json(r#"{"a": "x", "idle": 1, "lost": 2, "out": 3}"#).unwrap();
        let found = violations(&node, &flawed, DECLARED, &["fixed"]);
        assert_eq!(
            found,
            [
                "`lost` is neither used nor left out",
                "`idle` is used but changes nothing",
                "`list[].made` of the event has no source and is no declared constant",
            ]
        );
    }

    #[test]
    fn another_value_is_of_the_same_kind() {
        for (text, expected) in [
            ("true", "false"),
            ("19.99", "19.98"),
            ("2026-01-31T00:00:00Z", "2027-01-31T00:00:00Z"),
            ("USD", "USE"),
            ("ann@example.com", "bnn@example.com"),
            ("…", "x"),
        ] {
            assert_eq!(other(text), expected);
        }
    }
}
