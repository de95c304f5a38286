//! For tests of mappings: nothing of a document is lost unseen, nothing in an event comes from
//! nowhere, and what counts as read matters.

use std::collections::BTreeMap;

use xylem_kit::Outcome;

use super::Mapping;
use crate::json;
use crate::value::Value;

/// What is wrong with a mapping, seen from one document. All empty is what a test wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Leaves of the document that are neither read nor declared as dropped.
    pub lost: Vec<String>,
    /// Leaves that count as read although the outcome stays the same when they change. Leaves
    /// that are declared as dropped belong here too: a test compares with what it expects.
    pub inert: Vec<String>,
    /// Leaves of events that no leaf of the document changes and that are no constants.
    pub unsourced: Vec<String>,
}

impl Mapping {
    /// Checks the mapping against a document, changing each of the document's leaves once.
    pub fn check_conservation(&self, document: &Value<'_>) -> Report {
        let lost = self.unmapped(document);
        let plain = self.apply(document, &Value::Null);
        let mut unsourced = leaves_of(&plain);
        unsourced.retain(|path, _| {
            let path = general(path.split_once('#').map_or(path, |(_, path)| path));
            !self.constants.iter().any(|known| covers(known, &path))
        });
        let mut inert = Vec::new();
        let mut paths = Vec::new();
        leaves(document, &mut Vec::new(), &mut paths);
        for path in paths {
            let mut changed = document.clone();
            change(&mut changed, &path);
            let outcome = self.apply(&changed, &Value::Null);
            let name = path_text(&path);
            if same(&outcome, &plain) {
                if !lost.contains(&general(&name)) {
                    inert.push(name);
                }
                continue;
            }
            let after = leaves_of(&outcome);
            unsourced.retain(|place, value| after.get(place) == Some(value));
        }
        Report { lost, inert, unsourced: unsourced.into_keys().collect() }
    }
}

/// A step to a leaf.
#[derive(Clone)]
enum Step {
    /// Into the member at this place of the object.
    Member(usize, String),
    /// Into the item at this place of the list.
    Item(usize),
}

/// The paths of all leaves that hold something.
fn leaves(value: &Value<'_>, at: &mut Vec<Step>, out: &mut Vec<Vec<Step>>) {
    match value {
        empty if empty.is_empty() => {}
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                at.push(Step::Item(index));
                leaves(item, at, out);
                at.pop();
            }
        }
        Value::Object(members) => {
            for (index, (name, member)) in members.iter().enumerate() {
                at.push(Step::Member(index, name.clone().into_owned()));
                leaves(member, at, out);
                at.pop();
            }
        }
        _ => out.push(at.clone()),
    }
}

/// Changes the leaf at a path into another of its kind.
fn change(value: &mut Value<'_>, path: &[Step]) {
    let Some((step, rest)) = path.split_first() else {
        *value = match &*value {
            Value::Bool(value) => Value::Bool(!value),
            // The last digit changes; the length and the place of the point stay.
            Value::Number(text) => {
                let mut text = text.clone().into_owned();
                match text.pop() {
                    Some('9') => text.push('8'),
                    Some(digit @ '0'..='8') => text.push(char::from(digit as u8 + 1)),
                    other => text.extend(other),
                }
                Value::Number(text.into())
            }
            Value::Text(text) => Value::Text(other_text(text).into()),
            other => other.clone().into_owned(),
        };
        return;
    };
    match (step, value) {
        (Step::Member(index, _), Value::Object(members)) => {
            if let Some((_, member)) = members.get_mut(*index) {
                change(member, rest);
            }
        }
        (Step::Item(index), Value::Array(items)) => {
            if let Some(item) = items.get_mut(*index) {
                change(item, rest);
            }
        }
        _ => {}
    }
}

/// A text like another: the first digit or letter is another digit or letter.
fn other_text(text: &str) -> String {
    let mut done = false;
    let changed: String = text
        .chars()
        .map(|c| {
            let other = match c {
                '9' | 'z' | 'Z' => char::from(c as u8 - 1),
                '0'..='8' | 'a'..='y' | 'A'..='Y' => char::from(c as u8 + 1),
                _ => c,
            };
            if done || other == c {
                c
            } else {
                done = true;
                other
            }
        })
        .collect();
    if done { changed } else { format!("{changed}x") }
}

/// A path with its indexes.
fn path_text(path: &[Step]) -> String {
    let mut out = String::new();
    for step in path {
        match step {
            Step::Member(_, name) => crate::expression::usage::push_member(&mut out, name),
            Step::Item(index) => {
                if out.is_empty() {
                    out.push('.');
                }
                out.push('[');
                out.push_str(&index.to_string());
                out.push(']');
            }
        }
    }
    out
}

/// A path without its indexes.
fn general(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut inside = false;
    let mut characters = path.chars().peekable();
    while let Some(c) = characters.next() {
        if inside && c.is_ascii_digit() {
            continue;
        }
        inside = c == '[' && characters.peek().is_some_and(char::is_ascii_digit);
        out.push(c);
    }
    out
}

/// Whether a constant's path is that of a leaf or leads to it.
fn covers(constant: &str, leaf: &str) -> bool {
    let leaf = leaf.strip_prefix('.').unwrap_or(leaf);
    leaf.strip_prefix(constant).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// The leaves of all events by path.
fn leaves_of(outcome: &Outcome) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    let Outcome::Emit(events) = outcome else { return out };
    for (index, event) in events.iter().enumerate() {
        let Ok(value) = json::parse(&event.body, usize::MAX) else { continue };
        let mut paths = Vec::new();
        leaves(&value, &mut Vec::new(), &mut paths);
        for path in paths {
            let text = leaf(&value, &path).map(Value::to_json).unwrap_or_default();
            let key = if events.len() == 1 {
                path_text(&path)
            } else {
                format!("{index}#{}", path_text(&path))
            };
            out.insert(key, text);
        }
    }
    out
}

/// The value at a path.
fn leaf<'v>(value: &'v Value<'v>, path: &[Step]) -> Option<&'v Value<'v>> {
    path.iter().try_fold(value, |value, step| match (step, value) {
        (Step::Member(index, _), Value::Object(members)) => {
            members.get(*index).map(|(_, member)| member)
        }
        (Step::Item(index), Value::Array(items)) => items.get(*index),
        _ => None,
    })
}

/// Whether two outcomes are the same.
fn same(a: &Outcome, b: &Outcome) -> bool {
    match (a, b) {
        (Outcome::Emit(a), Outcome::Emit(b)) => {
            a.len() == b.len()
                && a.iter().zip(b).all(|(a, b)| {
                    a.body == b.body && a.route == b.route && a.operation == b.operation
                })
        }
        (Outcome::Filter(a), Outcome::Filter(b)) => a == b,
        (Outcome::Reject(a), Outcome::Reject(b)) => {
            a.code == b.code && a.message == b.message && a.path == b.path
        }
        _ => false,
    }
}
