//! The json plugin from the outside, as the host calls it.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

use serde_json::json;
use xylem_kit::{Outcome, Payload, Plugin, Record, Source};
use xylem_plugin_json::Json;

fn plugin(configuration: &serde_json::Value) -> Json {
    Json::init(&configuration.to_string()).unwrap_or_else(|error| panic!("{error}"))
}

fn run(plugin: &Json, payload: Option<Payload>) -> Outcome {
    let source = Source { pipeline: "p".to_owned(), topic: "orders".to_owned(), partition: 3 };
    let record = Record {
        offset: 42,
        timestamp_ms: Some(0),
        key: Some(Payload::Text("k-1".to_owned())),
        payload,
        headers: Vec::new(),
    };
    plugin.transform(&source, &record)
}

fn text(plugin: &Json, payload: &str) -> Outcome {
    run(plugin, Some(Payload::Text(payload.to_owned())))
}

fn body(outcome: Outcome) -> serde_json::Value {
    match outcome {
        Outcome::Emit(events) => serde_json::from_str(&events[0].body).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_document_becomes_events() {
    let plugin = plugin(&json!({
        "tenant": "_acme",
        "lookups": {"stores": "store,zone\n7,Europe/Berlin\n"},
        "mapping": {"events": [{"fields": {
            "_id": ".id",
            "timestamp": {"from": ".at", "type": "date-time", "zone": "$lookups.stores[.store].zone"},
            "_tenant.place": "\"\\($record.topic)/\\($record.partition)/\\($record.offset)\"",
        }}]},
    }));
    let expected = json!({"_id": 1, "timestamp": "2026-01-02T03:04:05+01:00", "_acme": {"place": "orders/3/42"}});
    let document = r#"{"id": 1, "at": "2026-01-02T03:04:05", "store": "7"}"#;
    assert_eq!(body(text(&plugin, document)), expected);
    assert_eq!(body(run(&plugin, Some(Payload::Bytes(document.as_bytes().to_vec())))), expected);
    let marked = [b"\xef\xbb\xbf", document.as_bytes()].concat();
    assert_eq!(body(run(&plugin, Some(Payload::Bytes(marked)))), expected);
}

/// The fenced blocks of a language in this plugin's page.
fn blocks(language: &str) -> Vec<&'static str> {
    let fences = include_str!("../README.md").split("```").skip(1).step_by(2);
    fences.filter_map(|block| block.strip_prefix(language)).collect()
}

#[test]
fn the_page_says_what_is_true() {
    let (tables, documents) = (blocks("yaml\n"), blocks("json\n"));
    let table: serde_json::Value = serde_saphyr::from_str(tables[1]).unwrap();
    let event = body(text(&plugin(&json!({"mapping": table})), documents[0]));
    assert_eq!(event, serde_json::from_str::<serde_json::Value>(documents[1]).unwrap());
}

#[test]
fn what_is_no_document_is_rejected_with_its_place() {
    let plugin =
        plugin(&json!({"max_depth": 3, "mapping": {"events": [{"fields": {"_id": ".id"}}]}}));
    for (payload, place) in [
        ("{\"id\": 1,\n \"x\": 2,\n}", "line 3, column 1"),
        ("", "line 1, column 1"),
        ("{\"id\": [[[1]]]}", "line 1, column 10"),
        ("<xml/>", "line 1, column 1"),
    ] {
        let Outcome::Reject(rejection) = text(&plugin, payload) else { panic!("{payload}") };
        assert_eq!(
            (rejection.code.as_str(), rejection.path.as_deref()),
            ("malformed-json", Some(place)),
            "{payload}"
        );
    }
    let Outcome::Reject(rejection) = run(&plugin, Some(Payload::Bytes(vec![b'"', 0xf1, b'"'])))
    else {
        panic!()
    };
    assert_eq!(rejection.code, "not-utf8");
}

#[test]
fn a_tombstone_is_null() {
    let plugin = plugin(&json!({"mapping": {"events": [
        {"when": ". == null", "operation": "delete", "fields": {"personKey": "$record.key"}},
        {"when": ". != null", "fields": {"personKey": ".id"}},
    ]}}));
    assert_eq!(body(run(&plugin, None)), json!({"personKey": "k-1"}));
    assert_eq!(body(text(&plugin, r#"{"id": "x"}"#)), json!({"personKey": "x"}));
}

#[test]
fn settings_are_strict() {
    for (configuration, expected) in [
        (json!({}), "needs a mapping table"),
        (
            json!({"mapping": {"events": [{"fields": {"a": ".a"}}]}, "maxdepth": 1}),
            "unknown field `maxdepth`",
        ),
        (
            json!({"mapping": {"events": [{"fields": {"a": ".a"}}]}, "max_depth": 0}),
            "from 1 to 512",
        ),
        (
            json!({"mapping": {"events": [{"fields": {"a": {"form": ".a"}}}]}}),
            "did you mean `from`",
        ),
        (json!({"mapping": "a"}), "needs an object"),
    ] {
        let error = Json::init(&configuration.to_string()).err().unwrap();
        assert!(error.contains(expected), "{error}");
    }
}
