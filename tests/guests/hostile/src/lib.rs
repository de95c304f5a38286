//! A guest with every way to misbehave. Its settings choose one, and the records it strikes on:
//!
//! ```json
//! {"misbehave": "loop", "on": "poison", "amount": 1000}
//! ```
//!
//! `on` is a text that the payload of a struck record holds, or the offset of the one record;
//! absent, every record is struck. A record that is not struck is echoed: its payload becomes the
//! event's body as it is.

#[cfg(target_arch = "wasm32")]
mod component;

use serde::Deserialize;
use xylem_kit::{Outcome, Payload, Record, event, reject};

/// The settings, read strictly: a test that misspells its mischief must not pass.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// What to do to a struck record.
    #[serde(default)]
    pub misbehave: Mischief,
    /// Which records to strike.
    pub on: Option<On>,
    /// How much, where the mischief has a size.
    pub amount: Option<usize>,
}

/// Which records are struck.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum On {
    /// The one at this offset.
    Offset(i64),
    /// Those whose payload holds this text.
    Text(String),
}

/// The ways to misbehave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mischief {
    /// Not at all.
    #[default]
    None,
    /// Computes for ever.
    Loop,
    /// Computes for `amount` million steps, then echoes.
    Slow,
    /// Allocates until nothing is left.
    Memory,
    /// Keeps `amount` bytes of each struck record for ever, then echoes.
    Leak,
    /// Sleeps for an hour again and again.
    Sleep,
    /// Sleeps for an hour once, then echoes.
    Nap,
    /// Reads the clock until a second has gone by.
    Wait,
    /// Polls a timer for ever.
    Poll,
    /// Polls nothing at all, which never comes.
    PollNothing,
    /// Panics, with words.
    Trap,
    /// Executes `unreachable`, without words.
    Unreachable,
    /// Ends the process.
    Exit,
    /// Recurses until the stack is full.
    Deep,
    /// Answers with one outcome too few.
    Short,
    /// Answers with one outcome too many.
    Long,
    /// Answers with no outcome at all.
    EmptyList,
    /// Writes to standard error for ever.
    Flood,
    /// Writes `amount` bytes to standard error, then echoes.
    Chatter,
    /// Writes log lines for ever.
    FloodLog,
    /// Emits one event of `amount` bytes.
    Huge,
    /// Emits `amount` events.
    Many,
    /// Emits no event.
    EmptyEmit,
    /// Emits an event that is not JSON.
    NotJson,
    /// Emits an event that is JSON, but not an object.
    NotObject,
    /// Emits to a destination that no pipeline has.
    UnknownRoute,
    /// Emits what clocks and random numbers say: the same for every record, or it is no sandbox.
    Nondeterministic,
    /// Emits what it can see of its environment: nothing.
    Environment,
    /// Emits how many records it has seen: a plugin that keeps state between calls.
    Count,
    /// Refuses its configuration.
    InitError,
    /// Panics in `init`.
    InitTrap,
    /// Computes for ever in `init`.
    InitLoop,
    /// Allocates in `init` until nothing is left.
    InitMemory,
}

impl Settings {
    /// Whether a record is struck.
    pub fn strikes(&self, record: &Record) -> bool {
        match &self.on {
            None => true,
            Some(On::Offset(offset)) => record.offset == *offset,
            Some(On::Text(text)) => payload(record).is_some_and(|payload| {
                payload.windows(text.len().max(1)).any(|part| part == text.as_bytes())
            }),
        }
    }
}

/// The outcome of a record that is not struck.
pub fn echo(record: &Record) -> Outcome {
    let Some(payload) = payload(record) else {
        return Outcome::Filter("tombstone".to_owned());
    };
    match std::str::from_utf8(payload) {
        Ok(text) => Outcome::Emit(vec![event(text.to_owned())]),
        Err(_) => reject("not-utf8", "the payload is not UTF-8"),
    }
}

/// A record's payload as bytes, whatever its form.
fn payload(record: &Record) -> Option<&[u8]> {
    record.payload.as_ref().map(|payload| match payload {
        Payload::Text(text) => text.as_bytes(),
        Payload::Bytes(bytes) => bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(offset: i64, payload: Option<&str>) -> Record {
        let payload = payload.map(|text| Payload::Text(text.to_owned()));
        Record { offset, timestamp_ms: None, key: None, payload, headers: vec![] }
    }

    fn settings(json: &str) -> Settings {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn it_strikes_where_it_is_told_to() {
        let by_text = settings(r#"{"misbehave":"poll-nothing","on":"poison"}"#);
        assert_eq!(by_text.misbehave, Mischief::PollNothing);
        assert!(by_text.strikes(&record(0, Some("a poison pill"))));
        assert!(!by_text.strikes(&record(0, Some("a pill"))));
        assert!(!by_text.strikes(&record(0, None)));
        let by_offset = settings(r#"{"misbehave":"trap","on":2}"#);
        assert!(by_offset.strikes(&record(2, None)) && !by_offset.strikes(&record(3, None)));
        assert!(settings("{}").strikes(&record(0, None)));
    }

    #[test]
    fn a_misspelt_mischief_is_refused() {
        assert!(serde_json::from_str::<Settings>(r#"{"misbehave":"lop"}"#).is_err());
        assert!(serde_json::from_str::<Settings>(r#"{"misbehaves":"loop"}"#).is_err());
    }

    #[test]
    fn others_are_echoed() {
        let outcome = echo(&record(0, Some(r#"{"a":1}"#)));
        assert!(matches!(outcome, Outcome::Emit(events) if events[0].body == r#"{"a":1}"#));
        assert!(matches!(echo(&record(0, None)), Outcome::Filter(_)));
    }
}
