//! Which places of a document a mapping reads, worked out from its expressions without running
//! them ([`super::tracker`]). What it never reads is what it would lose.

use std::collections::BTreeMap;

use crate::value::Value;

/// The most lost leaves that are listed for one document.
const MAX_LOST: usize = 1000;

/// A place, or a family of places, in the document or in the item split from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Whether the path begins at the item rather than at the document.
    pub(crate) item: bool,
    /// The path.
    pub(crate) steps: Vec<PlaceStep>,
    /// How many lists the expression has put around it.
    pub(crate) wrapped: u8,
}

/// A step of a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PlaceStep {
    /// A member.
    Member(String),
    /// Any item of a list, or any member.
    Any,
}

impl Place {
    /// The document's root.
    pub(crate) fn document() -> Place {
        Place { item: false, steps: Vec::new(), wrapped: 0 }
    }

    /// The item's root.
    pub(crate) fn item() -> Place {
        Place { item: true, steps: Vec::new(), wrapped: 0 }
    }

    /// The place one step further.
    pub(super) fn then(mut self, step: PlaceStep) -> Place {
        match self.wrapped.checked_sub(1) {
            Some(less) => self.wrapped = less,
            None => self.steps.push(step),
        }
        self
    }

    /// The path as text.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        for step in &self.steps {
            match step {
                PlaceStep::Member(name) => push_member(&mut out, name),
                PlaceStep::Any => out.push_str("[]"),
            }
        }
        if out.is_empty() { ".".to_owned() } else { out }
    }
}

/// Appends `.name`, or `["name"]` with what is no plain name.
pub(crate) fn push_member(out: &mut String, name: &str) {
    let plain = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if plain {
        out.push('.');
        out.push_str(name);
    } else {
        if out.is_empty() {
            out.push('.');
        }
        out.push('[');
        crate::write::text(out, name);
        out.push(']');
    }
}

/// The places that are read, of the document and of the item.
#[derive(Default)]
pub(crate) struct Usage {
    /// From the document's root.
    document: Node,
    /// From the item's root; the same as the document where nothing is split.
    item: Node,
}

/// What is read at one place and below.
#[derive(Clone, Default)]
struct Node {
    /// The events that read everything here, a bit for each.
    all: u64,
    /// What is read of members by name.
    members: BTreeMap<String, Node>,
    /// What is read of every item or member.
    any: Option<Box<Node>>,
}

impl Usage {
    /// Notes that some events read places wholly.
    pub(crate) fn mark(&mut self, places: &[Place], events: u64) {
        for place in places {
            let mut node = if place.item { &mut self.item } else { &mut self.document };
            for step in &place.steps {
                node = match step {
                    PlaceStep::Member(name) => node.members.entry(name.clone()).or_default(),
                    PlaceStep::Any => node.any.get_or_insert_default(),
                };
            }
            node.all |= events;
        }
    }

    /// To be called once, when all places are marked: each document then walks a single way down.
    pub(crate) fn settle(&mut self) {
        self.document.settle();
        self.item.settle();
    }

    /// The paths of the document's leaves that none of `events` read, written with `[]` for items.
    /// Leaves without content (null, empty) are no loss.
    pub(crate) fn lost(
        &self,
        item: bool,
        value: &Value<'_>,
        events: u64,
        prefix: &str,
    ) -> Vec<String> {
        let node = if item { &self.item } else { &self.document };
        if is_read(Some(node), value, events) {
            return Vec::new();
        }
        let mut lost = Vec::new();
        let mut path = if prefix == "." { String::new() } else { prefix.to_owned() };
        walk(Some(node), value, events, &mut path, &mut lost);
        lost
    }
}

impl Node {
    /// What is read of the member `name`.
    fn below(&self, name: &str) -> Option<&Node> {
        self.members.get(name).or(self.any.as_deref())
    }

    /// Makes what holds for any member hold for each member named.
    fn settle(&mut self) {
        if let Some(any) = &self.any {
            for member in self.members.values_mut() {
                member.merge(any);
            }
        }
        self.members.values_mut().for_each(Node::settle);
        if let Some(any) = &mut self.any {
            any.settle();
        }
    }

    /// Adds what another node reads.
    fn merge(&mut self, other: &Node) {
        self.all |= other.all;
        for (name, member) in &other.members {
            self.members.entry(name.clone()).or_default().merge(member);
        }
        if let Some(any) = &other.any {
            self.any.get_or_insert_default().merge(any);
        }
    }
}

/// Whether all leaves of a value are read: nearly always, so that their paths are not spelled out.
fn is_read(node: Option<&Node>, value: &Value<'_>, events: u64) -> bool {
    if node.is_some_and(|node| node.all & events != 0) || value.is_empty() {
        return true;
    }
    match value {
        Value::Array(items) => {
            let below = node.and_then(|node| node.any.as_deref());
            items.iter().all(|item| is_read(below, item, events))
        }
        Value::Object(members) => members
            .iter()
            .all(|(name, member)| is_read(node.and_then(|node| node.below(name)), member, events)),
        _ => false,
    }
}

/// Adds the unread leaves of a value to `lost`.
fn walk(
    node: Option<&Node>,
    value: &Value<'_>,
    events: u64,
    path: &mut String,
    lost: &mut Vec<String>,
) {
    if node.is_some_and(|node| node.all & events != 0) || value.is_empty() || lost.len() >= MAX_LOST
    {
        return;
    }
    let length = path.len();
    match value {
        Value::Array(items) => {
            let below = node.and_then(|node| node.any.as_deref());
            if path.is_empty() {
                path.push('.');
            }
            path.push_str("[]");
            for item in items {
                walk(below, item, events, path, lost);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                let below = node.and_then(|node| node.below(name));
                push_member(path, name);
                walk(below, member, events, path, lost);
                path.truncate(length);
            }
        }
        _ if lost.last() == Some(path) => {}
        _ => lost.push(if path.is_empty() { ".".to_owned() } else { path.clone() }),
    }
    path.truncate(length);
}
