//! A guest that says in every event which build of it made the event: what swaps are told by.
//!
//! The version is not a setting but [`VERSION`] in the component's own bytes; whoever needs another
//! build replaces those bytes by as many others. A record becomes [`EVENTS`] events, so that a record
//! that two versions had a hand in would show.

use std::hint::black_box;

use serde::Deserialize;
use xylem_kit::{Outcome, Payload, Plugin, Record, Source, event, reject};

/// Stands once in the component, and in the `eventType` of every event.
pub static VERSION: &str = "stamp.version.000000000000";

/// Events that a record becomes.
pub const EVENTS: u64 = 3;

/// The plugin; its settings may slow it down.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stamp {
    /// Steps of computation for each record, in thousands.
    #[serde(default)]
    kilosteps: u64,
}

/// What is read of an order.
#[derive(Deserialize)]
struct Order<'a> {
    #[serde(rename = "orderId")]
    /// Of the record.
    id: &'a str,
    #[serde(rename = "placedAt")]
    /// When it was made, as the record says.
    at: &'a str,
}

impl Plugin for Stamp {
    fn init(configuration: &str) -> Result<Self, String> {
        serde_json::from_str(configuration).map_err(|error| error.to_string())
    }

    fn transform(&self, _source: &Source, record: &Record) -> Outcome {
        let Some(Payload::Text(text)) = &record.payload else {
            return reject("not-text", "an order is text");
        };
        let order: Order<'_> = match serde_json::from_str(text) {
            Ok(order) => order,
            Err(error) => return reject("not-an-order", error.to_string()),
        };
        for step in 0..self.kilosteps * 1_000 {
            black_box(step);
        }
        let (Order { id, at }, version) = (order, black_box(VERSION));
        let stamped = |index: u64| {
            event(format!(
                "{{\"_id\":\"{id}-{index}\",\"timestamp\":\"{at}\",\"eventType\":\"{version}\"}}"
            ))
        };
        Outcome::Emit((0..EVENTS).map(stamped).collect())
    }
}

xylem_kit::export!(Stamp);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_says_who_made_it() {
        let stamp = Stamp::init("{}").unwrap();
        let source = Source { pipeline: String::new(), topic: String::new(), partition: 0 };
        let payload = r#"{"orderId":"O-1","placedAt":"2026-03-01T00:00:00Z","rest":1}"#;
        let payload = Some(Payload::Text(payload.to_owned()));
        let record =
            Record { offset: 0, timestamp_ms: None, key: None, payload, headers: Vec::new() };
        let Outcome::Emit(events) = stamp.transform(&source, &record) else { unreachable!() };
        let bodies: Vec<_> = events.iter().map(|event| event.body.as_str()).collect();
        assert_eq!(bodies.len() as u64, EVENTS);
        assert_eq!(
            bodies[1],
            format!(
                r#"{{"_id":"O-1-1","timestamp":"2026-03-01T00:00:00Z","eventType":"{VERSION}"}}"#
            )
        );
    }
}
