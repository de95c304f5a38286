//! The Kafka record as a mapping sees it.

use xylem_kit::{Payload, Record, Source};

use crate::date::Moment;
use crate::value::Value;

/// What `$record` stands for: `topic`, `partition`, `offset`, `timestamp` (as AEP's date-time),
/// `key` (a text, where the pipeline gives it) and `headers` (an object of texts; of repeated
/// headers the last).
pub fn record_value<'r>(source: &'r Source, record: &'r Record) -> Value<'r> {
    let text = |bytes: &'r [u8]| std::str::from_utf8(bytes).ok().map(Value::from);
    let key = record.key.as_ref().and_then(|key| match key {
        Payload::Text(key) => Some(Value::from(key.as_str())),
        Payload::Bytes(key) => text(key),
    });
    let headers = record.headers.iter();
    let headers = headers
        .filter_map(|header| Some((header.key.as_str().into(), text(header.value.as_deref()?)?)));
    let timestamp = record.timestamp_ms.and_then(|ms| Moment::from_milliseconds(ms).ok());
    Value::Object(vec![
        ("topic".into(), Value::from(source.topic.as_str())),
        ("partition".into(), Value::from(i64::from(source.partition))),
        ("offset".into(), Value::from(record.offset)),
        ("timestamp".into(), Value::from(timestamp.map(|moment| moment.to_string()))),
        ("key".into(), Value::from(key)),
        ("headers".into(), Value::Object(headers.collect())),
    ])
}
