//! What a mapping would lose: fields declared as left out, with reasons, and the report of the rest.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
};

use serde::Deserialize;

use crate::document::{Fate, Node};

/// How many distinct paths an instance remembers the verdict of. Beyond it they are looked up anew.
const MAX_REMEMBERED: usize = 10_000;

/// How many paths an instance reports before it says no more.
const MAX_REPORTED: usize = 200;

/// Source fields that a mapping leaves out, and why.
#[derive(Clone, Copy, Debug)]
pub struct LeftOut {
    /// A path as in [`Node::each_leaf`]; `*` stands for any characters of a name, `**` for any
    /// number of names.
    pub path: &'static str,
    /// Why the event does without it.
    pub reason: &'static str,
}

/// What to do about source fields that a mapping neither uses nor declares as left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unmapped {
    /// Nothing.
    Ignore,
    /// One line in the log for each path and instance.
    #[default]
    Warn,
    /// The record is rejected.
    Reject,
}

/// Looks after a document is mapped which leaves were lost, and remembers what was said.
#[derive(Debug)]
pub struct Conserve {
    /// What to do about unknown fields.
    policy: Unmapped,
    /// The declared ones.
    declared: &'static [LeftOut],
    /// The verdict by path: whether it is declared. For speed only.
    known: RefCell<HashMap<String, bool>>,
    /// Paths already reported by this instance.
    reported: RefCell<HashSet<String>>,
}

impl Conserve {
    /// Looks after documents with this table of declared fields.
    pub fn new(policy: Unmapped, declared: &'static [LeftOut]) -> Self {
        Self { policy, declared, known: RefCell::default(), reported: RefCell::default() }
    }

    /// The paths that this document would lose and that are to be said in the log: each is
    /// returned once in an instance's life.
    ///
    /// # Errors
    /// The paths, where the policy is to reject.
    pub fn settle(&self, document: &Node) -> Result<Vec<String>, Vec<String>> {
        match self.policy {
            Unmapped::Ignore => Ok(Vec::new()),
            Unmapped::Reject => {
                let lost = self.lost(document);
                if lost.is_empty() { Ok(lost) } else { Err(lost) }
            }
            Unmapped::Warn => {
                let mut lost = self.lost(document);
                let mut reported = self.reported.borrow_mut();
                lost.retain(|path| reported.len() < MAX_REPORTED && reported.insert(path.clone()));
                Ok(lost)
            }
        }
    }

    /// The paths of leaves that are neither used nor left out, each once, in document order.
    pub fn lost(&self, document: &Node) -> Vec<String> {
        let mut known = self.known.borrow_mut();
        let mut lost: Vec<String> = Vec::new();
        let mut seen = HashSet::new();
        document.each_leaf(&mut |path, leaf| {
            if leaf.fate() != Fate::Unseen {
                return;
            }
            let declared = known.get(path).copied().unwrap_or_else(|| {
                let declared = self.declared.iter().any(|entry| covers(entry.path, path));
                if known.len() < MAX_REMEMBERED {
                    known.insert(path.to_owned(), declared);
                }
                declared
            });
            if !declared && seen.insert(path.to_owned()) {
                lost.push(path.to_owned());
            }
        });
        lost
    }
}

/// Whether a pattern's name covers a name: the same, or with one `*` for any characters.
fn name_covers(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        Some((before, after)) => {
            name.len() >= before.len() + after.len()
                && name.starts_with(before)
                && name.ends_with(after)
        }
        None => pattern == name,
    }
}

/// Whether a pattern covers a path.
pub fn covers(pattern: &str, path: &str) -> bool {
    fn names(pattern: &[&str], path: &[&str]) -> bool {
        match (pattern.split_first(), path.split_first()) {
            (None, None) => true,
            (Some((&"**", rest)), _) => {
                names(rest, path)
                    || path.split_first().is_some_and(|(_, below)| names(pattern, below))
            }
            (Some((&head, rest)), Some((&name, below))) => {
                name_covers(head, name) && names(rest, below)
            }
            _ => false,
        }
    }
    let pattern: Vec<&str> = pattern.split('.').collect();
    let path: Vec<&str> = path.split('.').collect();
    names(&pattern, &path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_cover_names() {
        for (pattern, path, expected) in [
            ("a.b", "a.b", true),
            ("a.b", "a.b.c", false),
            ("a.*.c", "a.x.c", true),
            ("a.@*", "a.@b", true),
            ("a.@*", "a.b", false),
            ("*_set.x", "price_set.x", true),
            ("a.**", "a.b.c", true),
            ("**.c", "a.b.c", true),
            ("**.c", "c", true),
            ("**.x.**", "a.x.y.z", true),
            ("**.x.**", "a.y.z", false),
            ("lines[].sku", "lines[].sku", true),
        ] {
            assert_eq!(covers(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn a_lost_field_is_said_once() {
        const DECLARED: &[LeftOut] = &[LeftOut { path: "known", reason: "a test" }];
        let conserve = Conserve::new(Unmapped::Warn, DECLARED);
        let node =
            Node::from_json(r#"{"known": 1, "new": [{"x": 1}, {"x": 2}], "used": 1}"#).unwrap();
        node.text_at("used");
        assert_eq!(conserve.settle(&node), Ok(vec!["new[].x".to_owned()]));
        assert_eq!(conserve.settle(&node), Ok(Vec::new()));
        let strict = Conserve::new(Unmapped::Reject, DECLARED);
        assert_eq!(strict.settle(&node), Err(vec!["new[].x".to_owned()]));
    }
}
