//! Applying a mapping: documents into items, items into events.

use std::borrow::Cow;

use xylem_kit::{Event, Outcome, Rejection};

use super::{EventRule, Mapping};
use crate::expression::{Answer, Expression};
use crate::json;
use crate::rule::{Problem, Writer, Wrote, answers};
use crate::scope::{Frame, Scope};
use crate::value::Value;
use crate::write;

/// What the items of one record became.
#[derive(Default)]
pub(super) struct Collected {
    /// The events so far.
    events: Vec<Event>,
    /// The first reason for filtering an item.
    filtered: Option<String>,
}

/// What one item became: whether it emitted, and on behalf of which events it was read.
pub(super) type Emitted = u64;

impl Mapping {
    /// Maps a document into events.
    pub(super) fn collect(
        &self,
        document: &Value<'_>,
        record: &Value<'_>,
        collected: &mut Collected,
    ) -> Result<(), Problem> {
        let frame = Frame::new(document);
        let record = Frame::new(record);
        let scope = Scope {
            this: &frame,
            item: &frame,
            document: &frame,
            record: &record,
            lookups: &self.lookups,
        };
        if self.split.is_none() {
            let read = self.collect_item(scope, collected)?;
            return self.report(read, || self.lost_of_item(document, read));
        }
        let items = self.split_items(scope)?;
        if items.is_empty() {
            collected.filter("`split` finds no item in the document");
        }
        let mut all = 0;
        for (index, item) in items.iter().enumerate() {
            let inner = Frame::new(item);
            let scope = Scope { this: &inner, item: &inner, ..scope };
            let placed = |problem: Problem| match &self.split {
                Some(split) => problem.inside(split, index),
                None => problem,
            };
            let read = self.collect_item(scope, collected).map_err(placed)?;
            self.report(read, || self.lost_of_item(item, read)).map_err(placed)?;
            all |= read;
        }
        self.report(all, || self.usage.lost(false, document, all, "."))
    }

    /// The items of a document.
    pub(super) fn split_items<'s>(&'s self, scope: Scope<'s>) -> Result<Vec<Answer<'s>>, Problem> {
        match &self.split {
            Some(split) => answers(split, scope),
            None => Ok(vec![Cow::Borrowed(scope.this.value)]),
        }
    }

    /// Maps one item; the events that were made of it.
    fn collect_item(
        &self,
        scope: Scope<'_>,
        collected: &mut Collected,
    ) -> Result<Emitted, Problem> {
        for (when, reason) in &self.filters {
            if truth(when, scope)? {
                collected.filter(reason);
                return Ok(0);
            }
        }
        let mut made = 0;
        for (index, event) in self.events.iter().enumerate() {
            if !event.when.as_ref().map_or(Ok(true), |when| truth(when, scope))? {
                continue;
            }
            collected.events.push(self.event(event, scope)?);
            made |= 1 << index;
        }
        if made == 0 {
            collected.filter("no event of the mapping is for this item");
        }
        Ok(made)
    }

    /// One event of an item.
    fn event(&self, event: &EventRule, scope: Scope<'_>) -> Result<Event, Problem> {
        let mut body = String::with_capacity(self.size.get());
        let mut writer = Writer { out: &mut body, notation: self.notation };
        let wrote = writer.group(&event.fields, scope)?;
        let sourced = match &event.copy {
            None => wrote == Wrote::Sourced || !event.has_source,
            Some(of) => copy(of, scope, &mut body)? || wrote == Wrote::Sourced,
        };
        if !sourced || body.is_empty() {
            return Err(Problem {
                code: "empty-event",
                message: "no field of the event has a value in the document".to_owned(),
                path: ".".to_owned(),
            });
        }
        // Bodies of one mapping are alike in size: the next one needs no growing.
        self.size.set(body.len() + body.len() / 8 + 64);
        Ok(Event { body, route: event.route.clone(), operation: event.operation })
    }
}

impl Collected {
    /// Notes that an item is filtered; the first reason stays.
    fn filter(&mut self, reason: &str) {
        self.filtered.get_or_insert_with(|| reason.to_owned());
    }

    /// What the record became.
    pub(super) fn outcome(self) -> Outcome {
        match (self.events, self.filtered) {
            (events, _) if !events.is_empty() => Outcome::Emit(events),
            (_, Some(reason)) => Outcome::Filter(reason),
            (_, None) => Outcome::Filter("the record holds no rows".to_owned()),
        }
    }
}

impl Problem {
    /// The rejection of a record whose document has a name (`row 3`) or none.
    pub(super) fn outcome(self, name: &str) -> Outcome {
        // A path of the report begins with `$`, so that it is not put inside an item.
        let path =
            self.path.strip_prefix("$.").map_or(self.path.clone(), |rest| format!(".{rest}"));
        let (message, path) = if name.is_empty() {
            (self.message, path)
        } else {
            (format!("{name}: {}", self.message), format!("{name}: {path}"))
        };
        Outcome::Reject(Rejection { code: self.code.to_owned(), message, path: Some(path) })
    }
}

/// Puts the fields of an event over a copy of an object; false where there is nothing to copy.
fn copy(of: &Expression, scope: Scope<'_>, body: &mut String) -> Result<bool, Problem> {
    let base = of.one(scope).map_err(|failure| Problem::failure(of, &failure))?;
    let base = match base {
        None => return Ok(false),
        Some(base) if matches!(*base, Value::Null) => return Ok(false),
        Some(base) if matches!(*base, Value::Object(_)) => base.into_owned(),
        Some(other) => {
            return Err(Problem {
                code: "mismatch",
                message: format!("`copy` needs an object, but `{}` is {}", of.text(), other.kind()),
                path: of.text().to_owned(),
            });
        }
    };
    let Some(mut base) = base.pruned() else { return Ok(false) };
    let fields = std::mem::take(body);
    if let Ok(fields) = json::parse(&fields, usize::MAX) {
        merge(&mut base, fields);
    }
    write::value(body, &base);
    Ok(true)
}

/// Whether a condition holds.
pub(super) fn truth(when: &Expression, scope: Scope<'_>) -> Result<bool, Problem> {
    when.truth(scope).map_err(|failure| Problem::failure(when, &failure))
}

/// Puts an object over another; members that are objects in both are merged.
fn merge<'v>(base: &mut Value<'v>, over: Value<'v>) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (name, value) in over {
                match base.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, known)) => merge(known, value),
                    None => base.push((name, value)),
                }
            }
        }
        (base, over) => *base = over,
    }
}
