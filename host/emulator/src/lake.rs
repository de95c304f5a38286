//! What was accepted, in the order of arrival, and the books: how many, where, how often twice.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use crate::{known::Gate, settings::Keep};

/// All messages accepted and the counts of all requests.
#[derive(Debug)]
pub(crate) struct Lake {
    keep: Keep,
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    rows: Vec<Row>,
    names: HashMap<String, Arc<str>>,
    books: BTreeMap<Arc<str>, Book>,
}

#[derive(Debug)]
struct Row {
    arrival: Arc<Arrival>,
    index: u32,
    dataset: Arc<str>,
    /// None where the message had none: then it is the transaction id.
    msg_id: Option<Arc<str>>,
    entity_id: Option<Box<str>>,
    header: Bytes,
    entity: Bytes,
    /// Milliseconds at which the validator was done; 0 is not yet, or never asked.
    processed_ms: u64,
    invalid: bool,
}

/// What the messages of one request have in common.
#[derive(Debug)]
pub(crate) struct Arrival {
    /// The inlet.
    pub(crate) gate: Arc<Gate>,
    /// The transaction id, or what all of them begin with.
    pub(crate) xaction: String,
    /// What stands between that and the index; none at the single endpoint.
    pub(crate) separator: Option<char>,
    /// Milliseconds since 1970.
    pub(crate) received_ms: u64,
    /// Whether a valid token came along.
    pub(crate) authenticated: bool,
    /// The value of `x-adobe-flow-id`.
    pub(crate) flow: Option<String>,
}

/// A message on its way into the lake.
#[derive(Debug)]
pub(crate) struct Arriving {
    /// Its place in the request.
    pub(crate) index: u32,
    /// Where it goes.
    pub(crate) dataset: String,
    /// `header.msgId`.
    pub(crate) msg_id: Option<String>,
    /// `_id` of the entity.
    pub(crate) entity_id: Option<String>,
    /// The header as it came; empty where there is none.
    pub(crate) header: Bytes,
    /// The entity as it came.
    pub(crate) entity: Bytes,
}

#[derive(Debug, Default)]
struct Book {
    summary: InletSummary,
    seen: HashMap<Arc<str>, HashSet<Arc<str>>>,
}

/// A message in the lake, as views show it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LakeEntry {
    /// Its place in the order of arrival over all inlets, from 1.
    pub seq: u64,
    /// The inlet's name.
    pub inlet: String,
    /// The dataset.
    pub dataset: String,
    /// `header.msgId`, or the transaction id where the message had none.
    pub msg_id: String,
    /// The transaction id of the answer.
    pub xaction_id: String,
    /// Milliseconds since 1970 at which the request was complete.
    pub received_at_ms: u64,
    /// `_id` of the entity.
    #[serde(rename = "_id", skip_serializing_if = "Option::is_none", default)]
    pub entity_id: Option<String>,
    /// The asynchronous validator refused it: AEP would have it in a failed batch, not in the lake.
    pub invalid: bool,
    /// The header with what AEP adds to it, where asked for and kept.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub header: Option<Value>,
    /// The entity as it came, where asked for and kept.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub entity: Option<Box<RawValue>>,
}

/// Which messages of the lake, and how much of each.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LakeQuery {
    /// Only of this inlet, by name or id.
    pub inlet: Option<String>,
    /// Only of this dataset.
    pub dataset: Option<String>,
    /// Only those with a greater `seq`.
    pub after: u64,
    /// At most so many.
    pub limit: usize,
    /// With the entity.
    pub entities: bool,
    /// With the header.
    pub headers: bool,
}

/// The counts of an inlet.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InletSummary {
    /// Requests, whatever the answer.
    pub requests: u64,
    /// Requests by HTTP status; those ended by a reset are under 0.
    pub statuses: BTreeMap<u16, u64>,
    /// Messages in requests that could be read.
    pub messages: u64,
    /// Messages accepted.
    pub accepted: u64,
    /// Messages refused, singly or with their request.
    pub refused: u64,
    /// Accepted messages that the asynchronous validator refused.
    pub invalid: u64,
    /// Accepted messages whose `msgId` the dataset had already.
    pub duplicates: u64,
    /// The same per dataset.
    pub datasets: BTreeMap<String, DatasetSummary>,
}

/// The counts of a dataset within an inlet.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DatasetSummary {
    /// Messages accepted.
    pub accepted: u64,
    /// Of those, refused by the asynchronous validator.
    pub invalid: u64,
    /// Of those, with a `msgId` that was there already.
    pub duplicates: u64,
}

/// What happened to one request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// Messages that could be read.
    pub(crate) messages: u64,
    /// Of those, accepted.
    pub(crate) accepted: u64,
}

impl Default for LakeQuery {
    fn default() -> Self {
        let (inlet, dataset) = (None, None);
        Self { inlet, dataset, after: 0, limit: 10_000, entities: false, headers: false }
    }
}

impl LakeEntry {
    /// The entity, parsed; null where it was not asked for or is not kept.
    pub fn value(&self) -> Value {
        let text = self.entity.as_deref().map_or("null", RawValue::get);
        serde_json::from_str(text).unwrap_or(Value::Null)
    }
}

impl Arrival {
    /// The transaction id of the message at this place.
    pub(crate) fn xaction(&self, index: u32) -> String {
        match self.separator {
            Some(separator) => format!("{}{separator}{index}", self.xaction),
            None => self.xaction.clone(),
        }
    }
}

impl Lake {
    /// An empty lake.
    pub(crate) fn new(keep: Keep) -> Self {
        Self { keep, inner: Mutex::default(), changed: Condvar::new() }
    }

    /// Takes the accepted messages of a request; the first gets the `seq` that is answered.
    pub(crate) fn append(&self, arrival: &Arc<Arrival>, messages: Vec<Arriving>) -> u64 {
        let mut guard = self.lock();
        let inner = &mut *guard;
        let first = inner.rows.len() as u64 + 1;
        let book = inner.books.entry(Arc::clone(&arrival.gate.name)).or_default();
        for message in messages {
            let dataset = intern(&mut inner.names, &message.dataset);
            let msg_id: Option<Arc<str>> = message.msg_id.map(Arc::from);
            book.accept(&dataset, msg_id.as_ref());
            let whole = self.keep == Keep::Messages;
            inner.rows.push(Row {
                arrival: Arc::clone(arrival),
                index: message.index,
                dataset,
                msg_id,
                entity_id: message.entity_id.map(String::into_boxed_str),
                header: if whole { message.header } else { Bytes::new() },
                entity: if whole { message.entity } else { Bytes::new() },
                processed_ms: 0,
                invalid: false,
            });
        }
        drop(guard);
        self.changed.notify_all();
        first
    }

    /// Counts a request.
    pub(crate) fn count(&self, inlet: &Arc<str>, status: u16, tally: Tally) {
        let mut inner = self.lock();
        let summary = &mut inner.books.entry(Arc::clone(inlet)).or_default().summary;
        summary.requests += 1;
        *summary.statuses.entry(status).or_default() += 1;
        summary.messages += tally.messages;
        summary.refused += tally.messages.saturating_sub(tally.accepted);
        drop(inner);
        self.changed.notify_all();
    }

    /// Notes the validator's verdict on a message.
    pub(crate) fn judge(&self, seq: u64, invalid: bool, now_ms: u64) {
        let mut guard = self.lock();
        let inner = &mut *guard;
        let place = usize::try_from(seq).ok().and_then(|seq| seq.checked_sub(1));
        let Some(row) = place.and_then(|place| inner.rows.get_mut(place)) else { return };
        row.processed_ms = now_ms;
        row.invalid = invalid;
        if invalid && let Some(book) = inner.books.get_mut(&row.arrival.gate.name) {
            book.summary.invalid += 1;
            if let Some(dataset) = book.summary.datasets.get_mut(&*row.dataset) {
                dataset.invalid += 1;
            }
        }
        drop(guard);
        self.changed.notify_all();
    }

    /// Messages in the order of arrival.
    pub(crate) fn entries(&self, query: &LakeQuery, sandbox: &str) -> Vec<LakeEntry> {
        let inner = self.lock();
        let after = usize::try_from(query.after).unwrap_or(usize::MAX);
        let rows = inner.rows.iter().enumerate().skip(after);
        let wanted = rows.filter(|(_, row)| query.wants(row)).take(query.limit);
        wanted.map(|(place, row)| row.entry(place, query, sandbox)).collect()
    }

    /// What the Profile store would hold: the first valid message of each `_id`.
    pub(crate) fn profile(&self, query: &LakeQuery, sandbox: &str) -> Vec<LakeEntry> {
        let inner = self.lock();
        let mut seen: HashSet<&str> = HashSet::new();
        let mut entries = Vec::new();
        for (place, row) in inner.rows.iter().enumerate() {
            let Some(id) = row.entity_id.as_deref().filter(|_| !row.invalid) else { continue };
            let first = seen.insert(id);
            if first
                && place as u64 >= query.after
                && query.wants(row)
                && entries.len() < query.limit
            {
                entries.push(row.entry(place, query, sandbox));
            }
        }
        entries
    }

    /// The counts per inlet.
    pub(crate) fn summary(&self) -> BTreeMap<String, InletSummary> {
        let inner = self.lock();
        let books = inner.books.iter();
        books.map(|(inlet, book)| (inlet.to_string(), book.summary.clone())).collect()
    }

    /// Waits until the counts of an inlet are as wished; false when the time ran out.
    pub(crate) fn wait(
        &self,
        inlet: &str,
        limit: Duration,
        mut wish: impl FnMut(&InletSummary) -> bool,
    ) -> bool {
        let none = InletSummary::default();
        let (_inner, waited) = self
            .changed
            .wait_timeout_while(self.lock(), limit, |inner| {
                !wish(inner.books.get(inlet).map_or(&none, |book| &book.summary))
            })
            .unwrap_or_else(PoisonError::into_inner);
        !waited.timed_out()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn accept(&mut self, dataset: &Arc<str>, msg_id: Option<&Arc<str>>) {
        self.summary.accepted += 1;
        if !self.summary.datasets.contains_key(&**dataset) {
            self.summary.datasets.insert(dataset.to_string(), DatasetSummary::default());
        }
        let seen = self.seen.entry(Arc::clone(dataset)).or_default();
        let twice = msg_id.is_some_and(|id| !seen.insert(Arc::clone(id)));
        self.summary.duplicates += u64::from(twice);
        if let Some(counts) = self.summary.datasets.get_mut(&**dataset) {
            counts.accepted += 1;
            counts.duplicates += u64::from(twice);
        }
    }
}

impl LakeQuery {
    fn wants(&self, row: &Row) -> bool {
        let gate = &row.arrival.gate;
        self.inlet.as_deref().is_none_or(|inlet| inlet == &*gate.name || inlet == gate.id)
            && self.dataset.as_deref().is_none_or(|dataset| dataset == &*row.dataset)
    }
}

impl Row {
    fn entry(&self, place: usize, query: &LakeQuery, sandbox: &str) -> LakeEntry {
        let xaction_id = self.arrival.xaction(self.index);
        LakeEntry {
            seq: place as u64 + 1,
            inlet: self.arrival.gate.name.to_string(),
            dataset: self.dataset.to_string(),
            msg_id: self.msg_id.as_deref().map_or_else(|| xaction_id.clone(), str::to_owned),
            received_at_ms: self.arrival.received_ms,
            entity_id: self.entity_id.as_deref().map(str::to_owned),
            invalid: self.invalid,
            header: query.headers.then(|| {
                crate::envelope::header(
                    &self.header,
                    &self.arrival,
                    self.index,
                    self.processed_ms,
                    sandbox,
                )
            }),
            entity: if query.entities { raw(&self.entity) } else { None },
            xaction_id,
        }
    }
}

fn raw(entity: &[u8]) -> Option<Box<RawValue>> {
    serde_json::from_slice(entity).ok()
}

fn intern(names: &mut HashMap<String, Arc<str>>, name: &str) -> Arc<str> {
    if let Some(known) = names.get(name) {
        return Arc::clone(known);
    }
    let known: Arc<str> = Arc::from(name);
    names.insert(name.to_owned(), Arc::clone(&known));
    known
}
