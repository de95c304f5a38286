//! A dead letter read back: the record as it was, at the place where it was.

use super::accepted::Accepted;
use crate::record::{Header, PartitionId, Record};

/// The first of our headers: what stands before it is the record's own.
pub(super) const FIRST: &str = "__connect.errors.topic";

/// A dead letter.
#[derive(Clone)]
pub struct Letter {
    /// The pipeline that wrote it.
    pub pipeline: String,
    /// The code of its fault.
    pub code: String,
    /// The events that AEP had taken by then.
    pub accepted: Accepted,
    /// The partition that the record came from.
    pub source: PartitionId,
    /// The record as it came: key, value and headers, its own offset and timestamp.
    pub record: Record,
}

/// Why a record of a dead-letter topic is no dead letter of ours. Invariant 10: names no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// A header is missing.
    #[error("it has no header `{0}`")]
    Missing(&'static str),
    /// A header holds something else.
    #[error("its header `{0}` is not {1}")]
    Value(&'static str, &'static str),
}

impl Letter {
    /// Reads what the dead-letter topic holds.
    pub fn read(mut letter: Record) -> Result<Self, Unreadable> {
        // The last: the record may have been a dead letter before, and been produced with all headers.
        let first = letter.headers.iter().rposition(|header| header.key == FIRST);
        let ours = letter.headers.split_off(first.ok_or(Unreadable::Missing(FIRST))?);
        let cause = Cause(&ours);
        let topic = cause.text(FIRST)?;
        let partition = cause.number("__connect.errors.partition")?;
        let offset = cause.number("__connect.errors.offset")?;
        let timestamp = match cause.find("xylem.timestamp") {
            Some(_) => Some(cause.number("xylem.timestamp")?),
            None => None,
        };
        let accepted = match cause.find("xylem.accepted") {
            Some(_) => Accepted::read(cause.text("xylem.accepted")?)
                .ok_or(Unreadable::Value("xylem.accepted", "a list of indexes"))?,
            None => Accepted::default(),
        };
        Ok(Self {
            pipeline: cause.text("__connect.errors.connector.name")?.to_owned(),
            code: cause.text("xylem.code")?.to_owned(),
            accepted,
            source: PartitionId { topic: topic.into(), partition },
            record: Record { offset, timestamp_ms: timestamp, ..letter },
        })
    }
}

/// Our headers.
struct Cause<'a>(&'a [Header]);

impl<'a> Cause<'a> {
    fn find(&self, key: &str) -> Option<&'a Header> {
        self.0.iter().find(|header| header.key == key)
    }

    fn text(&self, key: &'static str) -> Result<&'a str, Unreadable> {
        let header = self.find(key).ok_or(Unreadable::Missing(key))?;
        let value = header.value.as_deref().unwrap_or_default();
        std::str::from_utf8(value).map_err(|_| Unreadable::Value(key, "text"))
    }

    fn number<T: std::str::FromStr>(&self, key: &'static str) -> Result<T, Unreadable> {
        self.text(key)?.parse().map_err(|_| Unreadable::Value(key, "a number"))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::super::{Origin, headers};
    use super::*;
    use crate::fault::{Code, Fault};
    use crate::settle::{Budget, Debt, Partition};

    fn record() -> Record {
        let header = |key: &str, value| Header {
            key: key.to_owned(),
            value: Some(Bytes::from_static(value)),
        };
        Record {
            offset: 1042,
            timestamp_ms: Some(1_700_000_000_000),
            key: Some(Bytes::from_static(b"\xff")),
            payload: Some(Bytes::from_static(b"{}")),
            headers: vec![header("trace", b"1"), Header { key: "none".to_owned(), value: None }],
        }
    }

    /// What the dead-letter topic holds of a record, as the write path makes it.
    fn letter_of(record: &Record, accepted: &[usize]) -> Record {
        let id = PartitionId { topic: "orders".into(), partition: 3 };
        let partition = Partition::new(id, 1, Arc::new(Budget::new(1 << 20)), Arc::default());
        let debt = Debt::new(Arc::new(partition), record.clone());
        let origin = Origin {
            topic: "dead".into(),
            pipeline: "pos".into(),
            generation: "abc".into(),
            counts: None,
        };
        let mut fault = Fault::new(Code::Refused, "AEP answered 400: no");
        fault.trace = Some("somewhere".to_owned());
        let headers = headers(&debt, &fault, &origin, accepted);
        let (offset, timestamp_ms) = (7, Some(1_800_000_000_000));
        Record { offset, timestamp_ms, headers, ..record.clone() }
    }

    fn assert_same(read: &Record, before: &Record) {
        assert_eq!((read.offset, read.timestamp_ms), (before.offset, before.timestamp_ms));
        assert_eq!((&read.key, &read.payload), (&before.key, &before.payload));
        assert!(read.headers == before.headers);
    }

    #[test]
    fn invariant_9_a_letter_is_its_record_at_its_first_place() {
        let before = record();
        let letter = Letter::read(letter_of(&before, &[0, 1, 4])).ok().unwrap();
        assert_same(&letter.record, &before);
        assert_eq!(letter.source.to_string(), "orders-3");
        assert_eq!((&*letter.pipeline, &*letter.code), ("pos", "aep.refused"));
        let accepted: Vec<usize> =
            (0..6).filter(|index| letter.accepted.contains(*index)).collect();
        assert_eq!(accepted, [0, 1, 4]);
    }

    #[test]
    fn invariant_9_a_record_without_a_timestamp_has_none_again() {
        let before = Record { timestamp_ms: None, ..record() };
        let letter = Letter::read(letter_of(&before, &[])).ok().unwrap();
        assert_same(&letter.record, &before);
        assert!(!letter.accepted.contains(0));
    }

    #[test]
    fn the_letter_of_a_letter_is_read_to_the_last() {
        let before = letter_of(&record(), &[2]);
        let letter = Letter::read(letter_of(&before, &[])).ok().unwrap();
        assert_same(&letter.record, &before);
        assert!(!letter.accepted.contains(2), "those were of another record");
    }

    #[test]
    fn what_is_no_letter_says_why() {
        let without = |key: &str| {
            let mut letter = letter_of(&record(), &[1]);
            letter.headers.retain(|header| header.key != key);
            letter
        };
        let with = |key: &str, value: &'static [u8]| {
            let mut letter = letter_of(&record(), &[1]);
            for header in letter.headers.iter_mut().filter(|header| header.key == key) {
                header.value = Some(Bytes::from_static(value));
            }
            letter
        };
        for (letter, words) in [
            (record(), "it has no header `__connect.errors.topic`"),
            (without("xylem.code"), "it has no header `xylem.code`"),
            (without("__connect.errors.offset"), "it has no header `__connect.errors.offset`"),
            (
                with("__connect.errors.partition", b"secret"),
                "its header `__connect.errors.partition` is not a number",
            ),
            (with("xylem.timestamp", b""), "its header `xylem.timestamp` is not a number"),
            (
                with("xylem.accepted", b"1,x"),
                "its header `xylem.accepted` is not a list of indexes",
            ),
            (
                with("__connect.errors.topic", b"\xff"),
                "its header `__connect.errors.topic` is not text",
            ),
        ] {
            assert_eq!(Letter::read(letter).err().unwrap().to_string(), words);
        }
    }
}
