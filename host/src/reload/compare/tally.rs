//! Attempts of both sides, held against one another and counted.

use std::collections::{BTreeMap, BTreeSet};

use super::difference::{Difference, Kind, Walk, folded, is_hidden, text};
use super::report::{Comparison, Example, NewRefusal, PathChange};
use super::{Show, Side};
use crate::fault::{Code, Fault};
use crate::record::{PartitionId, Position};
use crate::schema::Entity;
use crate::trial::{Attempt, Attempted};
use crate::validate::Refusal;

/// Paths that are named; differences at others are counted. A mapping that changes more than this is another
/// mapping.
const MAX_PATHS: usize = 100;

/// Reasons of refusals that are named.
const MAX_REFUSALS: usize = 50;

/// The longest value or message that is shown, in bytes.
const MAX_SHOWN: usize = 200;

/// What was counted so far.
#[derive(Default)]
pub(super) struct Tally {
    counts: Comparison,
    paths: BTreeMap<String, PathChange>,
    refusals: BTreeMap<Reason, NewRefusal>,
}

/// Why a record is refused, without anything of the record.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Reason {
    code: Code,
    violation: Option<String>,
    path: Option<String>,
}

/// What becomes of a record.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Emitted,
    Filtered,
    Rejected,
    Invalid,
}

impl Class {
    fn of(attempt: &Attempt) -> Self {
        match attempt {
            Attempt::Filter(_) => Self::Filtered,
            Attempt::Reject(_) => Self::Rejected,
            Attempt::Emit(_) if attempt.is_good() => Self::Emitted,
            Attempt::Emit(_) => Self::Invalid,
        }
    }

    fn is_dead_letter(self) -> bool {
        matches!(self, Self::Rejected | Self::Invalid)
    }
}

/// A record that both sides have mapped.
pub(super) struct Pair<'a> {
    pub(super) partition: &'a PartitionId,
    pub(super) offset: i64,
    pub(super) before: &'a Attempt,
    pub(super) after: &'a Attempt,
}

impl Pair<'_> {
    fn position(&self) -> Position {
        Position::new(self.partition, self.offset)
    }
}

/// What of a comparison may be told: which keys are the schemas' own, and what was asked for.
pub(super) struct Telling<'a> {
    pub(super) sides: [&'a Side; 2],
    pub(super) show: &'a Show,
}

impl Telling<'_> {
    fn is_known(&self, destination: &str, key: &str) -> bool {
        let mut routes = self.sides.iter().flat_map(|side| side.pipeline.routes.iter());
        routes.any(|route| &*route.name == destination && route.schema.lists(key))
    }
}

impl Tally {
    /// What was counted, but for the costs.
    pub(super) fn comparison(&self) -> Comparison {
        let mut comparison = self.counts.clone();
        comparison.paths = self.paths.values().cloned().collect();
        comparison.paths.sort_by_key(|path| std::cmp::Reverse(path.records()));
        comparison.refusals = self.refusals.values().cloned().collect();
        comparison.refusals.sort_by_key(|refusal| std::cmp::Reverse(refusal.records));
        comparison
    }

    /// Counts one record.
    pub(super) fn add(&mut self, pair: &Pair<'_>, telling: &Telling<'_>) {
        let counts = &mut self.counts;
        counts.records += 1;
        match (Class::of(pair.before), Class::of(pair.after)) {
            (Class::Filtered, Class::Filtered) => counts.equal += 1,
            (Class::Emitted, Class::Emitted) => self.events(pair, telling),
            (before, after) if before.is_dead_letter() && after.is_dead_letter() => {
                counts.refused_by_both += 1;
            }
            (_, Class::Filtered) => counts.newly_filtered += 1,
            (Class::Filtered, Class::Emitted) => counts.newly_emitted += 1,
            (_, Class::Emitted) => counts.newly_accepted += 1,
            (_, Class::Rejected) => {
                counts.newly_rejected += 1;
                self.refusal(pair, telling);
            }
            (_, Class::Invalid) => {
                counts.newly_invalid += 1;
                self.refusal(pair, telling);
            }
        }
    }

    fn events(&mut self, pair: &Pair<'_>, telling: &Telling<'_>) {
        let (Attempt::Emit(before), Attempt::Emit(after)) = (pair.before, pair.after) else {
            return;
        };
        let mut changes = Changes { tally: self, pair, show: telling.show, seen: BTreeSet::new() };
        if before.len() == after.len() {
            for (ours, theirs) in before.iter().zip(after) {
                changes.event(ours, theirs, telling);
            }
        } else {
            changes.word("events", &before.len().to_string(), &after.len().to_string());
        }
        if changes.seen.is_empty() {
            self.counts.equal += 1;
        } else {
            self.counts.changed += 1;
        }
    }

    fn refusal(&mut self, pair: &Pair<'_>, telling: &Telling<'_>) {
        let (reason, message) = match pair.after {
            Attempt::Reject(fault) => {
                let reason = Reason { code: fault.code, violation: None, path: None };
                (reason, said(fault))
            }
            Attempt::Emit(events) => {
                let Some(refused) =
                    events.iter().find_map(|event| Some((event, event.verdict.as_ref().err()?)))
                else {
                    return;
                };
                refused_event(refused, telling)
            }
            Attempt::Filter(_) => return,
        };
        let room = self.refusals.len() < MAX_REFUSALS;
        if !room && !self.refusals.contains_key(&reason) {
            self.counts.further_refusals += 1;
            return;
        }
        let entry = self.refusals.entry(reason).or_insert_with_key(|reason| NewRefusal {
            code: reason.code.as_str().to_owned(),
            violation: reason.violation.clone(),
            path: reason.path.clone(),
            records: 0,
            first: pair.position(),
            messages: Vec::new(),
        });
        entry.records += 1;
        // What a plugin or AEP says may quote any part of the record.
        if entry.messages.len() < telling.show.examples && telling.show.redact.is_empty() {
            entry.messages.push(clip(message));
        }
    }
}

/// Why an event may not be sent, and in which words.
fn refused_event(
    (event, refusal): (&Attempted, &Refusal),
    telling: &Telling<'_>,
) -> (Reason, String) {
    match refusal {
        Refusal::Fault(fault) => {
            (Reason { code: fault.code, violation: None, path: None }, said(fault))
        }
        Refusal::Invalid(violations) => {
            let first = violations.first.first();
            let is_known = |key: &str| telling.is_known(&event.destination, key);
            let reason = Reason {
                code: Code::SchemaInvalid,
                violation: first.map(|first| format!("{} ({})", first.code, first.rule())),
                path: first.map(|violation| folded(&violation.pointer, &is_known)),
            };
            (reason, violations.to_string())
        }
    }
}

/// A fault in its own words.
fn said(fault: &Fault) -> String {
    let parts = [fault.reason.as_deref(), Some(fault.message.as_str()), fault.path.as_deref()];
    parts.into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ")
}

fn clip(mut text: String) -> String {
    if text.len() > MAX_SHOWN {
        text.truncate(text.floor_char_boundary(MAX_SHOWN));
        text.push('…');
    }
    text
}

/// The differences of one record.
struct Changes<'t, 'p> {
    tally: &'t mut Tally,
    pair: &'p Pair<'p>,
    show: &'p Show,
    /// A record counts once for each path and kind.
    seen: BTreeSet<(String, Kind)>,
}

impl Changes<'_, '_> {
    fn event(&mut self, before: &Attempted, after: &Attempted, telling: &Telling<'_>) {
        if before.destination != after.destination {
            self.word("destination", &before.destination, &after.destination);
        }
        if before.operation != after.operation {
            let word = |event: &Attempted| format!("{:?}", event.operation).to_lowercase();
            self.word("operation", &word(before), &word(after));
        }
        if before.body == after.body {
            return;
        }
        // They were valid a moment ago.
        let (Ok(old), Ok(new)) = (Entity::parse(&before.body), Entity::parse(&after.body)) else {
            return self.word("", "", "");
        };
        let is_known = |key: &str| telling.is_known(&after.destination, key);
        let mut found = |path: &str, difference: Difference<'_>| {
            let Difference { kind, .. } = difference;
            self.at(path, kind, || [difference.before.map(text), difference.after.map(text)]);
        };
        Walk { is_known: &is_known, found: &mut found, path: String::new() }.go(&old, &new);
    }

    /// What is no part of the event's body differs.
    fn word(&mut self, path: &str, before: &str, after: &str) {
        self.at(path, Kind::Changed, || [Some(before.to_owned()), Some(after.to_owned())]);
    }

    fn at(&mut self, path: &str, kind: Kind, values: impl FnOnce() -> [Option<String>; 2]) {
        if !self.seen.insert((path.to_owned(), kind)) {
            return;
        }
        let paths = &mut self.tally.paths;
        if paths.len() >= MAX_PATHS && !paths.contains_key(path) {
            self.tally.counts.further_paths += 1;
            return;
        }
        let entry = paths.entry(path.to_owned()).or_insert_with_key(|path| PathChange {
            path: path.clone(),
            changed: 0,
            added: 0,
            removed: 0,
            first: self.pair.position(),
            examples: Vec::new(),
        });
        match kind {
            Kind::Changed => entry.changed += 1,
            Kind::Added => entry.added += 1,
            Kind::Removed => entry.removed += 1,
        }
        // Invariant 10: values only where somebody asked for them, and none that is to be hidden.
        if entry.examples.len() < self.show.examples && !is_hidden(path, &self.show.redact) {
            let [before, after] = values().map(|value| value.map(clip));
            entry.examples.push(Example { position: self.pair.position(), before, after });
        }
    }
}
