//! Dead letters: a record that cannot be delivered, written as it came to a topic of its own.
//!
//! The letter carries the raw key, payload and headers, and the cause in headers of the form that
//! Kafka Connect uses (`__connect.errors.…`), with ours (`xylem.…`) beside them. It is written
//! again for as long as it takes: its record is settled when the topic has acknowledged it. One that is
//! too large for its topic is written without message and backtrace; while letters are not taken, their
//! pipeline pauses.

mod accepted;
pub mod letter;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

pub use self::accepted::Accepted;
use crate::fault::{Code, Domain, Fault};
use crate::kafka::{Letter, Producer, Refusal};
use crate::record::Header;
use crate::reload::counts::Counts;
use crate::settle::{Debt, Settlement};
use crate::stop;
use crate::telemetry::Faults;

/// The most bytes of a message or backtrace in a header.
const TEXT_LIMIT: usize = 16 * 1024;

/// Writes dead letters and keeps those that the topic did not take, to write them again.
pub struct DeadLetters {
    producer: Producer,
    faults: Faults,
    /// Those that are to be written again.
    again: Mutex<Vec<DeadLetter>>,
    /// Letters that no topic has acknowledged yet.
    waiting: AtomicUsize,
    refused: AtomicU64,
    /// Pipelines whose letters are not taken: they pause.
    blocked: Mutex<BTreeMap<Arc<str>, Blocked>>,
}

/// A pipeline with letters that are not taken.
struct Blocked {
    /// How many.
    letters: usize,
    /// Why not the last one.
    words: String,
}

/// Where a dead letter goes, and under which name and generation it failed.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The dead-letter topic.
    pub topic: Arc<str>,
    /// The pipeline.
    pub pipeline: Arc<str>,
    /// The generation.
    pub generation: Arc<str>,
    /// What becomes of its records, where somebody counts it.
    pub counts: Option<Arc<Counts>>,
}

impl DeadLetters {
    /// Writes with this producer, and counts what was at fault.
    pub fn new(producer: Producer, faults: Faults) -> Arc<Self> {
        Arc::new(Self {
            producer,
            faults,
            again: Mutex::default(),
            waiting: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
            blocked: Mutex::default(),
        })
    }

    /// Writes one record; it is settled when the topic has it. `accepted` are the indexes of its
    /// events that AEP has taken: a replay skips them.
    pub fn send(
        self: &Arc<Self>,
        mut debt: Debt,
        fault: &Fault,
        origin: &Origin,
        accepted: &[usize],
    ) {
        if debt.partition().is_over() {
            // Whoever has the partition now decides what becomes of the record (Invariant 2).
            return;
        }
        let (id, offset) = (&debt.partition().id, debt.record.offset);
        self.faults.count(&origin.pipeline, fault.code, id, offset);
        let mut is_canarys = false;
        if let Some(counts) = &origin.counts {
            counts.dead_lettered(fault.code, id, offset);
            is_canarys = counts.is_candidates();
        }
        if is_canarys {
            debt.excuse();
        }
        let headers = headers(&debt, fault, origin, accepted);
        // Invariant 4: a letter that waits is in flight with all that it carries.
        if fault.domain() == Domain::Plugin
            && let Some(plugin) = &fault.plugin
        {
            debt.blame(&plugin.name);
        }
        debt.charge(headers.iter().map(Header::weight).sum());
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.write(DeadLetter {
            debt,
            topic: Arc::clone(&origin.topic),
            pipeline: Arc::clone(&origin.pipeline),
            headers,
            form: Form::Whole,
            refused: false,
            owner: Arc::clone(self),
        });
    }

    /// Writes again what was not taken. Called every second.
    pub fn retry(&self) {
        self.producer.renew();
        let waiting =
            std::mem::take(&mut *self.again.lock().unwrap_or_else(PoisonError::into_inner));
        for letter in waiting {
            // Whoever has the partition now gets the record again, and writes its letter.
            if letter.debt.partition().is_over() {
                self.strike(&letter);
            } else {
                self.write(letter);
            }
        }
    }

    /// A letter waits no more: it is written, or no longer this process's to write.
    fn strike(&self, letter: &DeadLetter) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        if letter.refused {
            self.unblock(&letter.pipeline);
        }
    }

    /// How many letters no topic has acknowledged yet.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Why letters are not taken: the topic, Kafka's words and what to set. None once all were taken.
    pub fn refusal(&self) -> Option<String> {
        self.blocked().values().next().map(|blocked| blocked.words.clone())
    }

    /// Pipelines that pause until their letters are taken, and why.
    pub fn refusals_by_pipeline(&self) -> Vec<(Arc<str>, String)> {
        let blocked = self.blocked();
        blocked.iter().map(|(name, blocked)| (Arc::clone(name), blocked.words.clone())).collect()
    }

    /// Whether a pipeline pauses until its letters are taken.
    pub fn is_blocked(&self, pipeline: &str) -> bool {
        self.blocked().contains_key(pipeline)
    }

    fn blocked(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Blocked>> {
        self.blocked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn block(&self, letter: &mut DeadLetter, refusal: &Refusal) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        let words = letter.words(refusal);
        let mut pipelines = self.blocked();
        let blocked = pipelines.entry(Arc::clone(&letter.pipeline)).or_insert_with(|| {
            let (code, pipeline) = (refusal.code.as_str(), &letter.pipeline);
            tracing::error!(code, %pipeline, "a dead letter is not taken, the pipeline pauses: {words}");
            Blocked { letters: 0, words: String::new() }
        });
        blocked.words = words;
        blocked.letters += usize::from(!std::mem::replace(&mut letter.refused, true));
    }

    fn unblock(&self, pipeline: &Arc<str>) {
        let mut pipelines = self.blocked();
        let Some(blocked) = pipelines.get_mut(pipeline) else { return };
        blocked.letters -= 1;
        if blocked.letters == 0 {
            pipelines.remove(pipeline);
            tracing::info!(%pipeline, "dead letters are taken again, the pipeline goes on");
        }
    }

    /// How often the topic did not take a letter.
    pub fn refusals(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn write(&self, letter: DeadLetter) {
        self.producer.send(Box::new(letter));
    }
}

/// In which form a letter is written: the next one, where its topic refuses one for its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// With others in a batch.
    Whole,
    /// By itself: perhaps it was the batch that was too large.
    Alone,
    /// By itself, without what a replay does not need.
    Cut,
}

struct DeadLetter {
    debt: Debt,
    topic: Arc<str>,
    pipeline: Arc<str>,
    headers: Vec<Header>,
    form: Form,
    /// Counts among those that block its pipeline.
    refused: bool,
    owner: Arc<DeadLetters>,
}

impl DeadLetter {
    /// Takes the next form for a letter that is too large; false where there is none.
    fn shrink(&mut self) -> bool {
        match self.form {
            Form::Whole => self.form = Form::Alone,
            Form::Alone => {
                self.form = Form::Cut;
                cut(&mut self.headers, self.debt.record.headers.len());
            }
            Form::Cut => return false,
        }
        true
    }

    fn words(&self, refusal: &Refusal) -> String {
        let size = if refusal.too_large {
            let headers: usize = self.headers.iter().map(Header::bytes).sum();
            let record = &self.debt.record;
            let body = |part: &Option<Bytes>| part.as_ref().map_or(0, Bytes::len);
            format!(" ({} bytes)", body(&record.key) + body(&record.payload) + headers)
        } else {
            String::new()
        };
        let remedy = refusal.remedy.map(|remedy| format!("; {remedy}")).unwrap_or_default();
        format!("`{}`{size}: {}{remedy}", self.topic, refusal.reason)
    }
}

impl Letter for DeadLetter {
    fn topic(&self) -> &str {
        &self.topic
    }

    fn key(&self) -> Option<Bytes> {
        self.debt.record.key.clone()
    }

    fn payload(&self) -> Option<Bytes> {
        self.debt.record.payload.clone()
    }

    fn headers(&self) -> Vec<Header> {
        self.headers.clone()
    }

    fn alone(&self) -> bool {
        self.form != Form::Whole
    }

    fn written(self: Box<Self>) {
        stop::point("dead-lettered");
        self.owner.strike(&self);
        // Invariant 2: the topic has acknowledged it.
        self.debt.settle(Settlement::DeadLettered);
    }

    fn failed(mut self: Box<Self>, refusal: Refusal) {
        let owner = Arc::clone(&self.owner);
        if !(refusal.too_large && self.shrink()) {
            // Invariant 11: an unwritable topic is an outage; the record waits.
            owner.block(&mut self, &refusal);
        }
        owner.again.lock().unwrap_or_else(PoisonError::into_inner).push(*self);
    }
}

/// The record's own headers, then the cause.
fn headers(debt: &Debt, fault: &Fault, origin: &Origin, accepted: &[usize]) -> Vec<Header> {
    let id = &debt.partition().id;
    let record = &debt.record;
    let mut headers = record.headers.clone();
    let mut add = |key: &str, value: &str| {
        headers.push(Header {
            key: key.to_owned(),
            value: Some(Bytes::copy_from_slice(clip(value).as_bytes())),
        });
    };
    add(letter::FIRST, &id.topic);
    add("__connect.errors.partition", &id.partition.to_string());
    add("__connect.errors.offset", &record.offset.to_string());
    add("__connect.errors.connector.name", &origin.pipeline);
    add("__connect.errors.stage", stage(fault));
    add("__connect.errors.exception.class.name", fault.code.as_str());
    add("__connect.errors.exception.message", &fault.message);
    if let Some(trace) = &fault.trace {
        add("__connect.errors.exception.stacktrace", trace);
    }
    add("xylem.code", fault.code.as_str());
    add("xylem.domain", fault.domain().as_str());
    add("xylem.generation", &origin.generation);
    if let Some(timestamp) = record.timestamp_ms {
        add("xylem.timestamp", &timestamp.to_string());
    }
    if let Some(reason) = &fault.reason {
        add("xylem.reason", reason);
    }
    if let Some(path) = &fault.path {
        add("xylem.path", path);
    }
    if let Some(plugin) = &fault.plugin {
        add("xylem.plugin", &plugin.name);
        add("xylem.plugin.digest", &plugin.digest);
    }
    if !accepted.is_empty() {
        // Never clipped: a replay sends what it does not name.
        let value = Some(Bytes::from(accepted::write(accepted)));
        headers.push(Header { key: "xylem.accepted".to_owned(), value });
    }
    headers
}

/// What a letter that is cut keeps beside the record's own headers: where the record was, what became of
/// its events, and which code and plugin it failed at.
const KEPT: [&str; 9] = [
    "__connect.errors.topic",
    "__connect.errors.partition",
    "__connect.errors.offset",
    "__connect.errors.connector.name",
    "xylem.code",
    "xylem.timestamp",
    "xylem.plugin",
    "xylem.plugin.digest",
    "xylem.accepted",
];

/// Takes away what a replay does not need of the headers behind the first `own`, the record's.
fn cut(headers: &mut Vec<Header>, own: usize) {
    let ours = headers.split_off(own);
    headers.extend(ours.into_iter().filter(|header| KEPT.contains(&header.key.as_str())));
    headers.push(Header { key: "xylem.cut".to_owned(), value: Some(Bytes::from_static(b"size")) });
}

/// The step at which the record failed, in Connect's words as far as they fit.
fn stage(fault: &Fault) -> &'static str {
    match fault.code {
        Code::NotUtf8 | Code::Tombstone => "VALUE_CONVERTER",
        Code::SchemaInvalid | Code::Oversize | Code::TooLarge => "VALIDATION",
        Code::Refused => "TASK_PUT",
        _ => "TRANSFORMATION",
    }
}

fn clip(text: &str) -> &str {
    let mut end = text.len().min(TEXT_LIMIT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Record;
    use crate::rig::{self, Assignment};

    fn refused() -> Fault {
        Fault::new(Code::Refused, "AEP answered 400")
    }

    /// A letter as `send` makes it, before any broker has spoken.
    fn letter(
        assignment: &Assignment,
        owner: &Arc<DeadLetters>,
        record: Record,
    ) -> Box<DeadLetter> {
        let debt = assignment.debt(record);
        let headers = headers(&debt, &refused(), &rig::origin(), &[0, 2]);
        owner.waiting.fetch_add(1, Ordering::Relaxed);
        let Origin { topic, pipeline, .. } = (*rig::origin()).clone();
        let owner = Arc::clone(owner);
        let form = Form::Whole;
        Box::new(DeadLetter { debt, topic, pipeline, headers, form, refused: false, owner })
    }

    fn unwritable() -> Refusal {
        let (code, reason) = (Code::DeadLetterUnwritable, "no leader".to_owned());
        Refusal { code, reason, too_large: false, remedy: None }
    }

    #[test]
    fn invariant_2_a_letter_that_was_only_sent_settles_nothing() {
        let (assignment, owner) = (Assignment::new(), rig::dead_letters());
        owner.send(assignment.debt(rig::record(7)), &refused(), &rig::origin(), &[]);
        assert_eq!((assignment.settled(), owner.waiting()), (Vec::new(), 1));
    }

    #[test]
    fn invariant_2_a_letter_that_the_topic_has_settles_its_record() {
        let (assignment, owner) = (Assignment::new(), rig::dead_letters());
        letter(&assignment, &owner, rig::record(7)).written();
        assert_eq!(assignment.settled(), [(7, Settlement::DeadLettered)]);
        assert_eq!((owner.waiting(), assignment.budget.used()), (0, 0));
    }

    #[test]
    fn invariant_11_a_letter_that_the_topic_does_not_take_waits() {
        let (assignment, owner) = (Assignment::new(), rig::dead_letters());
        letter(&assignment, &owner, rig::record(7)).failed(unwritable());
        assert_eq!((assignment.settled(), owner.waiting()), (Vec::new(), 1));
        assert_eq!(owner.refusal().as_deref(), Some("`orders.dead`: no leader"));
        assert_eq!(owner.again.lock().unwrap().len(), 1);
    }

    #[test]
    fn invariant_2_a_record_of_a_partition_that_was_taken_away_gets_no_letter_from_here() {
        let (assignment, owner) = (Assignment::new(), rig::dead_letters());
        let debt = assignment.debt(rig::record(7));
        assignment.partition.end();
        owner.send(debt, &refused(), &rig::origin(), &[]);
        assert_eq!((assignment.settled(), owner.waiting()), (Vec::new(), 0));
    }

    #[test]
    fn a_letter_of_a_partition_that_was_taken_away_is_left_to_whoever_has_it() {
        let (assignment, owner) = (Assignment::new(), rig::dead_letters());
        letter(&assignment, &owner, rig::record(7)).failed(unwritable());
        assert!(owner.is_blocked("orders"));
        assignment.partition.end();
        owner.retry();
        assert!(!owner.is_blocked("orders"));
        assert_eq!((assignment.settled(), owner.waiting()), (Vec::new(), 0));
        assert_eq!(assignment.budget.used(), 0);
    }

    #[test]
    fn invariant_4_a_letter_that_waits_weighs_all_that_it_carries() {
        let (assignment, owner) = (Assignment::new(), rig::dead_letters());
        let record = rig::record(7);
        let weight = record.weight();
        owner.send(assignment.debt(record), &refused(), &rig::origin(), &[]);
        assert!(assignment.budget.used() > weight + 500, "{}", assignment.budget.used());
    }

    #[test]
    fn a_letter_is_the_record_as_it_came_with_its_cause() {
        let (assignment, owner) = (Assignment::new(), rig::dead_letters());
        let header = |key: &str, value| Header { key: key.to_owned(), value };
        let record = Record {
            key: Some(Bytes::from_static(b"\xff")),
            payload: Some(Bytes::from_static(b"{}")),
            headers: vec![header("trace", None)],
            ..rig::record(7)
        };
        let letter = letter(&assignment, &owner, record);
        assert_eq!(letter.key().as_deref(), Some(&b"\xff"[..]));
        assert_eq!(letter.payload().as_deref(), Some(&b"{}"[..]));
        assert!(letter.headers()[0] == header("trace", None), "its own headers come first");
        let text = |key: &str| {
            let found = letter.headers().into_iter().find(|found| found.key == key)?;
            found.value.map(|value| String::from_utf8(value.to_vec()).unwrap())
        };
        for (key, value) in [
            ("__connect.errors.topic", "orders"),
            ("__connect.errors.offset", "7"),
            ("__connect.errors.exception.message", "AEP answered 400"),
            ("xylem.code", refused().code.as_str()),
            ("xylem.timestamp", "1000"),
            ("xylem.accepted", "0,2"),
        ] {
            assert_eq!(text(key).as_deref(), Some(value), "{key}");
        }
    }
}
