//! Golden pairs of a plugin: `NAME.input.EXT` and `NAME.expected.json` in one folder.
//!
//! An expectation has the words of `xylem try --json`: `outcome`, then `events` (each an `event` and,
//! unless it goes to the first destination, a `destination`), `reason` or `fault`. Of a fault, what
//! is given is compared.

use std::{fs, path::Path};

use serde_json::{Value, json};
use xylem_kit::{Outcome, Payload, Plugin, Record, Source};

use crate::testing::read_json;

/// What a plugin makes of a payload, in the words of `xylem try --json`.
pub fn outcome<P: Plugin>(plugin: &P, payload: Vec<u8>) -> Result<Value, String> {
    let source = Source { pipeline: "test".to_owned(), topic: "test".to_owned(), partition: 0 };
    let payload = Some(Payload::Bytes(payload));
    let record = Record { offset: 0, timestamp_ms: None, key: None, payload, headers: Vec::new() };
    Ok(match plugin.transform(&source, &record) {
        Outcome::Emit(events) => {
            let mut list = Vec::new();
            for event in events {
                let body: Value =
                    serde_json::from_str(&event.body).map_err(|error| error.to_string())?;
                list.push(match event.route {
                    Some(route) => json!({"destination": route, "event": body}),
                    None => json!({"event": body}),
                });
            }
            json!({"outcome": "emit", "events": list})
        }
        Outcome::Filter(reason) => json!({"outcome": "filter", "reason": reason}),
        Outcome::Reject(rejection) => json!({
            "outcome": "reject",
            "fault": {"code": rejection.code, "message": rejection.message, "path": rejection.path},
        }),
    })
}

/// Runs every pair of a folder through a plugin and returns the names of the pairs. An error lists
/// the pairs that differ, each with what came out.
pub fn check<P: Plugin>(plugin: &P, folder: &Path) -> Result<Vec<String>, String> {
    let mut names = Vec::new();
    let mut wrong = Vec::new();
    let entries = fs::read_dir(folder).map_err(|error| error.to_string())?;
    for entry in entries {
        let path = entry.map_err(|error| error.to_string())?.path();
        let file = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some((name, _)) = file.split_once(".input.") else { continue };
        let expected = read_json(&folder.join(format!("{name}.expected.json")))?;
        let input = fs::read(&path).map_err(|error| error.to_string())?;
        let actual = outcome(plugin, input)?;
        if !agrees(&expected, &actual) {
            let actual = serde_json::to_string_pretty(&actual).unwrap_or_default();
            wrong.push(format!("{name} gives\n{actual}"));
        }
        names.push(name.to_owned());
    }
    names.sort();
    if wrong.is_empty() { Ok(names) } else { Err(wrong.join("\n\n")) }
}

/// Whether an outcome is the expected one.
fn agrees(expected: &Value, actual: &Value) -> bool {
    let fault = expected.get("fault").and_then(Value::as_object);
    let told =
        |(key, value): (&String, &Value)| actual.pointer(&format!("/fault/{key}")) == Some(value);
    match fault {
        Some(fault) => expected.get("outcome") == actual.get("outcome") && fault.iter().all(told),
        None => expected == actual,
    }
}
