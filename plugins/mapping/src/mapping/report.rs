//! What a mapping would lose of a document, and telling it.

use std::collections::BTreeSet;

use super::Mapping;
use super::apply::{Emitted, truth};
use crate::conserve::Unmapped;
use crate::rule::Problem;
use crate::scope::{Frame, Scope};
use crate::value::Value;

/// The most paths that one instance warns about.
const MAX_WARNINGS: usize = 100;

impl Mapping {
    /// The paths of the document's leaves that the mapping would lose: neither read by the events
    /// that the document becomes nor declared as dropped. Filtered items lose nothing unseen.
    pub fn unmapped(&self, document: &Value<'_>) -> Vec<String> {
        let frame = Frame::new(document);
        let record = Frame::new(&Value::Null);
        let scope = Scope {
            this: &frame,
            item: &frame,
            document: &frame,
            record: &record,
            lookups: &self.lookups,
        };
        let Ok(items) = self.split_items(scope) else { return Vec::new() };
        let mut events = 0;
        let mut lost = BTreeSet::new();
        for item in &items {
            let inner = Frame::new(item);
            let scope = Scope { this: &inner, item: &inner, ..scope };
            let Ok(read) = self.applicable(scope) else { continue };
            events |= read;
            lost.extend(self.lost_of_item(item, read));
        }
        if self.split.is_some() && events != 0 {
            lost.extend(self.usage.lost(false, document, events, "."));
        }
        lost.into_iter().collect()
    }

    /// The paths to warn about that no earlier call gave. Names that might be content are hidden.
    pub fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut self.warnings.borrow_mut().1)
    }

    /// The events that an item would become.
    fn applicable(&self, scope: Scope<'_>) -> Result<Emitted, Problem> {
        for (when, _) in &self.filters {
            if truth(when, scope)? {
                return Ok(0);
            }
        }
        let mut made = 0;
        for (index, event) in self.events.iter().enumerate() {
            if event.when.as_ref().map_or(Ok(true), |when| truth(when, scope))? {
                made |= 1 << index;
            }
        }
        Ok(made)
    }

    /// The leaves of an item that its events do not read.
    pub(super) fn lost_of_item(&self, item: &Value<'_>, events: Emitted) -> Vec<String> {
        if events == 0 {
            return Vec::new();
        }
        match (&self.split, &self.items) {
            (None, _) => self.usage.lost(false, item, events, "."),
            (Some(_), Some(place)) => self.usage.lost(true, item, events, &place.text()),
            (Some(_), None) => Vec::new(),
        }
    }

    /// Does with lost leaves what the mapping says.
    pub(super) fn report(
        &self,
        events: Emitted,
        lost: impl FnOnce() -> Vec<String>,
    ) -> Result<(), Problem> {
        if self.unmapped == Unmapped::Ignore || events == 0 {
            return Ok(());
        }
        let lost = lost();
        if self.unmapped == Unmapped::Warn {
            self.warn(lost);
            return Ok(());
        }
        let Some(first) = lost.first() else { return Ok(()) };
        let names: Vec<String> =
            lost.iter().take(5).map(|path| format!("`{}`", shown(path))).collect();
        Err(Problem {
            code: "unmapped",
            message: format!(
                "the mapping neither reads nor drops {}{}; add them to `fields` or, with a reason, to `drop`",
                names.join(", "),
                if lost.len() > names.len() { " and more" } else { "" }
            ),
            path: format!("${}", shown(first)),
        })
    }

    /// Keeps paths for a warning, each once.
    fn warn(&self, lost: Vec<String>) {
        let (told, waiting) = &mut *self.warnings.borrow_mut();
        for path in lost {
            if told.len() >= MAX_WARNINGS {
                return;
            }
            let path = shown(&path);
            if told.insert(path.clone()) {
                waiting.push(path);
            }
        }
    }
}

/// A path for logs and errors: names that do not look like names may be content, and are hidden.
fn shown(path: &str) -> String {
    // Invariant 10: a member's name is the document's. One that is no plain word stays out.
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, after)) = rest.split_once("[\"") {
        out.push_str(before);
        out.push_str("[…]");
        rest = after.split_once("\"]").map_or("", |(_, behind)| behind);
    }
    out.push_str(rest);
    out
}
