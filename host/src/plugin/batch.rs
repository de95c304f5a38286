//! Records on their way through a chain, and what becomes of them.

use super::bindings;
use super::chain::{Item, Outcome};
use crate::config::Tombstones;
use crate::fault::{Code, Fault};
use crate::record::{Event, Record};

/// Once the decided records' outcomes are larger than this, in bytes, the rest of the batch waits:
/// a partition's share of the default budget.
const MAX_HELD_BYTES: usize = 8 * 1024 * 1024;

/// A batch of records of one partition.
pub(super) struct Batch<'a> {
    pub(super) records: &'a [Record],
    fates: Vec<Fate>,
    /// What the fates weigh, in bytes.
    held: usize,
}

/// What is known of one record.
#[derive(Default)]
struct Fate {
    /// A rejection stands, a filter gives way to events.
    decided: Option<Outcome>,
    /// The events of the last plugin.
    events: Vec<Event>,
}

impl<'a> Batch<'a> {
    /// A batch, and its records ahead of the first plugin, but tombstones that no plugin sees.
    pub(super) fn new(records: &'a [Record], tombstones: Tombstones) -> (Self, Vec<Item>) {
        let mut items = Vec::with_capacity(records.len());
        let fates = records.iter().enumerate().map(|(at, record)| {
            let decided = match tombstones {
                Tombstones::Filter if record.payload.is_none() => {
                    Some(Outcome::Filter("tombstone".to_owned()))
                }
                Tombstones::Reject if record.payload.is_none() => {
                    let fault = Fault::new(Code::Tombstone, "the record has no value");
                    Some(Outcome::Reject(Box::new(fault)))
                }
                _ => {
                    items.push(Item { record: at, event: None });
                    None
                }
            };
            Fate { decided, events: Vec::new() }
        });
        let fates = fates.collect();
        (Self { records, fates, held: 0 }, items)
    }

    /// Rejects a record as a whole; the first fault stands.
    pub(super) fn reject(&mut self, record: usize, fault: Box<Fault>) {
        if let Some(fate) = self.fates.get_mut(record)
            && !matches!(fate.decided, Some(Outcome::Reject(_)))
        {
            let words = [&fault.path, &fault.reason].into_iter().flatten().map(String::len);
            self.held += fault.message.len() + words.sum::<usize>();
            fate.decided = Some(Outcome::Reject(fault));
        }
    }

    /// Whether a record is rejected.
    pub(super) fn is_rejected(&self, record: usize) -> bool {
        self.fates.get(record).is_some_and(|fate| matches!(fate.decided, Some(Outcome::Reject(_))))
    }

    /// Notes that one event of a record is filtered; the first reason stands.
    pub(super) fn filter(&mut self, record: usize, reason: String) {
        if let Some(Fate { decided: decided @ None, .. }) = self.fates.get_mut(record) {
            self.held += reason.len();
            *decided = Some(Outcome::Filter(reason));
        }
    }

    /// Takes what has gone through the whole chain.
    pub(super) fn arrive(&mut self, items: Vec<Item>) {
        for item in items {
            if let (Some(fate), Some(event)) = (self.fates.get_mut(item.record), item.event) {
                self.held += event_weight(&event.body, event.route.as_deref());
                fate.events.push(event);
            }
        }
    }

    /// Whether what is decided should be handed on first (Invariant 4).
    pub(super) fn is_full(&self) -> bool {
        self.held > MAX_HELD_BYTES
    }

    /// One outcome for each record before `end`.
    pub(super) fn finish(self, end: usize) -> Vec<Outcome> {
        let fates = self.fates.into_iter().take(end);
        fates
            .map(|fate| match fate.decided {
                Some(Outcome::Reject(fault)) => Outcome::Reject(fault),
                Some(outcome) if fate.events.is_empty() => outcome,
                // Without a decision there are events: every item ends as one, a filter or a
                // rejection.
                _ => Outcome::Emit(fate.events),
            })
            .collect()
    }
}

/// What an event costs the host, in bytes.
fn event_weight(body: &str, route: Option<&str>) -> usize {
    size_of::<Event>() + body.len() + route.map_or(0, str::len)
}

/// What a guest's outcome costs the host, in bytes.
pub(super) fn outcome_weight(outcome: &bindings::Outcome) -> usize {
    match outcome {
        bindings::Outcome::Emit(events) => {
            events.iter().map(|event| event_weight(&event.body, event.route.as_deref())).sum()
        }
        bindings::Outcome::Filter(reason) => reason.len(),
        bindings::Outcome::Reject(rejection) => {
            let path = rejection.path.as_ref().map_or(0, String::len);
            rejection.code.len() + rejection.message.len() + path
        }
    }
}
