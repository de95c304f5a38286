//! A chain: the plugins of a pipeline in order, and the form in which they get records.

use std::fmt;
use std::sync::Arc;

use super::bindings;
use super::component::Component;
use super::limits::Limits;
use super::runner::Warm;
use crate::config::{self, Form, KeyForm, Tombstones};
use crate::fault::{Code, Fault, PluginRef};
use crate::record::{Event, Operation, PartitionId, Record};

/// A configured plugin.
pub struct Plugin {
    /// Its name in the configuration.
    pub name: String,
    /// Its loaded component.
    pub component: Arc<Component>,
    /// What one instance may use.
    pub limits: Limits,
    /// What `init` is told, as JSON text.
    pub configuration: String,
}

impl Plugin {
    /// How faults name it.
    pub fn reference(&self) -> PluginRef {
        PluginRef { name: self.name.clone(), digest: self.component.digest().to_owned() }
    }

    /// Whether the other one does the same.
    fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.component, &other.component)
            && self.name == other.name
            && self.limits == other.limits
            && self.configuration == other.configuration
    }
}

/// The form in which plugins get records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forms {
    /// Payloads.
    pub payload: Form,
    /// Keys.
    pub key: KeyForm,
    /// Whether headers are given.
    pub headers: bool,
    /// Records without a payload.
    pub tombstones: Tombstones,
}

impl From<&config::Pipeline> for Forms {
    fn from(pipeline: &config::Pipeline) -> Self {
        Self {
            payload: pipeline.payload,
            key: pipeline.key,
            headers: pipeline.headers,
            tombstones: pipeline.tombstones,
        }
    }
}

/// How much goes into one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallLimits {
    /// The most records.
    pub records: usize,
    /// The most bytes of payload, unless one record alone has more.
    pub bytes: usize,
}

impl From<&config::Limits> for CallLimits {
    fn from(limits: &config::Limits) -> Self {
        Self { records: limits.call_records, bytes: limits.call_bytes }
    }
}

impl Default for CallLimits {
    fn default() -> Self {
        Self::from(&config::Limits::default())
    }
}

/// The plugins of a pipeline, in order; immutable, shared by all workers of a generation.
pub struct Chain {
    /// The pipeline's name, which plugins are told.
    pub pipeline: String,
    /// The plugins.
    pub plugins: Vec<Plugin>,
    /// The form of records.
    pub forms: Forms,
    /// The size of calls.
    pub call: CallLimits,
    /// A function in place of the plugins, for the benchmark's ceiling.
    pub stand_in: Option<StandIn>,
    /// Instances that no worker has just now.
    pub warm: Warm,
}

impl Chain {
    /// Whether the other one does the same, so that its instances serve as well.
    pub fn is_same(&self, other: &Self) -> bool {
        self.pipeline == other.pipeline
            && self.forms == other.forms
            && self.call == other.call
            && self.plugins.len() == other.plugins.len()
            && self.plugins.iter().zip(&other.plugins).all(|(one, other)| one.is_same(other))
            && self.stand_in.is_none()
            && other.stand_in.is_none()
    }
}

/// What stands in for plugins: one outcome for each record of a partition, in order.
pub type StandIn = fn(&PartitionId, &[Record]) -> Vec<Outcome>;

/// What a chain made of one record.
#[derive(Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Events, at least one.
    Emit(Vec<Event>),
    /// Nothing to send, for this reason.
    Filter(String),
    /// It cannot be mapped.
    Reject(Box<Fault>),
}

/// Invariant 10: shows no contents.
impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Emit(events) => write!(f, "emit {}", events.len()),
            Self::Filter(_) => f.write_str("filter"),
            Self::Reject(fault) => write!(f, "reject {fault}"),
        }
    }
}

/// A record on its way through a chain: as it came, or an event of the plugin before.
pub(super) struct Item {
    /// The record's place in the batch.
    pub(super) record: usize,
    /// The event of the plugin before; none ahead of the first plugin.
    pub(super) event: Option<Event>,
}

/// Lends a record to a guest in the pipeline's form. `headers` holds the record's own, lent before.
pub(super) fn lend<'a>(
    forms: Forms,
    record: &'a Record,
    event: Option<&'a Event>,
    headers: &'a [bindings::Header<'a>],
) -> Result<bindings::Record<'a>, Box<Fault>> {
    let payload = match (event, &record.payload) {
        (Some(event), _) => Some(bindings::Payload::Text(&event.body)),
        (None, None) => None,
        (None, Some(bytes)) => Some(match forms.payload {
            Form::Bytes => bindings::Payload::Bytes(bytes),
            Form::Text => bindings::Payload::Text(text("payload", bytes)?),
        }),
    };
    let key = match (forms.key, &record.key) {
        (KeyForm::None, _) | (_, None) => None,
        (KeyForm::Bytes, Some(bytes)) => Some(bindings::Payload::Bytes(bytes)),
        (KeyForm::Text, Some(bytes)) => Some(bindings::Payload::Text(text("key", bytes)?)),
    };
    Ok(bindings::Record {
        offset: record.offset,
        timestamp_ms: record.timestamp_ms,
        key,
        payload,
        headers,
    })
}

/// Lends a record's headers, where the pipeline gives them.
pub(super) fn lend_headers(forms: Forms, record: &Record) -> Vec<bindings::Header<'_>> {
    if !forms.headers {
        return Vec::new();
    }
    let headers = record.headers.iter();
    headers
        .map(|header| bindings::Header { key: &header.key, value: header.value.as_deref() })
        .collect()
}

/// Bytes as text, or the record's fault.
fn text<'a>(what: &str, bytes: &'a [u8]) -> Result<&'a str, Box<Fault>> {
    std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        let text = format!("the {what} is not UTF-8 at byte {at} of {}", bytes.len());
        Box::new(Fault::new(Code::NotUtf8, text))
    })
}

/// The weight of a record in a call, in bytes.
pub(super) fn weight(record: &bindings::Record<'_>) -> usize {
    let of = |payload: &Option<bindings::Payload<'_>>| match payload {
        Some(bindings::Payload::Text(text)) => text.len(),
        Some(bindings::Payload::Bytes(bytes)) => bytes.len(),
        None => 0,
    };
    let headers = record.headers.iter();
    let headers: usize =
        headers.map(|header| header.key.len() + header.value.map_or(0, <[u8]>::len)).sum();
    of(&record.payload) + of(&record.key) + headers
}

/// An event as the host keeps it: what the plugin does not say stays as the one before said it.
pub(super) fn event(event: bindings::Event, before: Option<&Event>) -> Event {
    let operation = event.operation.map(|operation| match operation {
        bindings::Operation::Create => Operation::Create,
        bindings::Operation::Update => Operation::Update,
        bindings::Operation::Delete => Operation::Delete,
    });
    Event {
        body: event.body,
        route: event.route.or_else(|| before?.route.clone()),
        operation: operation.or(before.and_then(|before| before.operation)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forms(payload: Form, key: KeyForm) -> Forms {
        Forms { payload, key, ..Forms::default() }
    }

    fn record(payload: &'static [u8]) -> Record {
        Record {
            payload: Some(payload.into()),
            key: Some(b"k\xff"[..].into()),
            ..Record::default()
        }
    }

    #[test]
    fn text_pipelines_refuse_other_bytes() {
        let bad = record(b"ab\xff");
        let fault = lend(forms(Form::Text, KeyForm::None), &bad, None, &[]).err().unwrap();
        assert_eq!(fault.code, Code::NotUtf8);
        assert_eq!(fault.message, "the payload is not UTF-8 at byte 2 of 3");
        assert!(lend(forms(Form::Bytes, KeyForm::None), &bad, None, &[]).is_ok());

        let good = record(b"ab");
        assert!(lend(forms(Form::Text, KeyForm::None), &good, None, &[]).is_ok());
        assert!(lend(forms(Form::Text, KeyForm::Bytes), &good, None, &[]).is_ok());
        let of_key = lend(forms(Form::Text, KeyForm::Text), &good, None, &[]).err().unwrap();
        assert_eq!(of_key.message, "the key is not UTF-8 at byte 1 of 2");
    }

    #[test]
    fn events_of_the_plugin_before_are_text_even_for_bytes() {
        let before = Event { body: "{}".to_owned(), route: None, operation: None };
        let record = record(b"\xff");
        let lent = lend(forms(Form::Bytes, KeyForm::None), &record, Some(&before), &[]).unwrap();
        assert!(matches!(lent.payload, Some(bindings::Payload::Text("{}"))));
    }

    #[test]
    fn route_and_operation_stay_unless_given() {
        let before = Event {
            body: "{}".to_owned(),
            route: Some("a".to_owned()),
            operation: Some(Operation::Delete),
        };
        let plain = || bindings::Event { body: "[]".to_owned(), route: None, operation: None };
        let kept = event(plain(), Some(&before));
        assert_eq!((kept.body.as_str(), kept.route.as_deref()), ("[]", Some("a")));
        assert_eq!(kept.operation, Some(Operation::Delete));
        let given = bindings::Event {
            route: Some("b".to_owned()),
            operation: Some(bindings::Operation::Create),
            ..plain()
        };
        let given = event(given, Some(&before));
        assert_eq!(given.route.as_deref(), Some("b"));
        assert_eq!(given.operation, Some(Operation::Create));
    }

    #[test]
    fn headers_are_opt_in() {
        let mut record = record(b"");
        record.headers =
            vec![crate::record::Header { key: "a".to_owned(), value: Some(b"bc"[..].into()) }];
        assert!(lend_headers(Forms::default(), &record).is_empty());
        let forms = Forms { headers: true, ..Forms::default() };
        let headers = lend_headers(forms, &record);
        let lent = lend(forms, &record, None, &headers).unwrap();
        assert_eq!(weight(&lent), 3);
    }
}
