//! `xylem check`, as its users and scripts call it.

use std::process::Output;
use std::time::Duration;

use serde_json::{Value, json};
use xylem_tests::{Setup, guests, run_to_end, within};

/// A test that takes longer hangs; the binary may have to be built first.
const LIMIT: Duration = Duration::from_mins(15);

/// A folder with one pipeline whose plugin emits records as they are; port 9 is nobody's.
fn setup() -> Setup {
    let plugin = guests::built("hostile").display().to_string();
    let configuration = format!(
        "kafka: {{ brokers: '127.0.0.1:9', group: g, start: earliest }}\n\
         aep: {{ organisation: '0@AdobeOrg', timeout_ms: 2000 }}\n\
         plugins:\n  hostile: {{ component: '{plugin}' }}\n\
         destinations:\n  events:\n    inlet: http://127.0.0.1:9/collection/x\n    dataset: d\n    \
         schema: {{ id: 'https://ns.adobe.com/acme/schemas/e', file: events.json }}\n\
         pipelines:\n  echo:\n    topics: [orders]\n    \
         chain: [{{ plugin: hostile, settings: {{ on: no such text }} }}]\n    \
         destinations: [events]\n    dead_letter: {{ topic: dead }}\n    samples: samples\n"
    );
    let text = json!({"type": "string"});
    let schema = json!({
        "type": "object", "required": ["n"],
        "properties": {"_id": text, "timestamp": text, "n": {"type": "integer"}},
    });
    Setup::new(&configuration)
        .file("events.json", schema.to_string())
        .file("samples/one.input.json", "{\"n\":1}\n")
}

fn check(setup: &Setup, arguments: &[&str]) -> Output {
    run_to_end(setup.folder(), &[&["check", "-c", "xylem.yaml"], arguments].concat())
}

/// The object of `--json`, and the exit code.
fn report(setup: &Setup, arguments: &[&str]) -> (Value, Option<i32>) {
    let output = check(setup, &[&["--json"], arguments].concat());
    (serde_json::from_slice(&output.stdout).unwrap(), output.status.code())
}

#[test]
fn what_is_good_is_said_to_be_good() {
    within(LIMIT, || {
        let setup = setup().file("samples/two.input.jsonl", "{\"n\":1}\n{\"n\":2}\n").file(
            "samples/two.expected.json",
            "[{\"events\":[{\"event\":{\"n\":1}}]},{\"outcome\":\"emit\"}]",
        );
        let (report, code) = report(&setup, &[]);
        assert_eq!(
            (&report["valid"], &report["samples"], code),
            (&json!(true), &json!(2), Some(0))
        );
        assert_eq!(report["pipelines"][0]["topics"], json!(["orders"]));
        assert_eq!(report["generation"].as_str().unwrap().len(), 12);

        let output = check(&setup, &[]);
        let page = String::from_utf8(output.stdout).unwrap();
        assert!(
            page.starts_with("echo: orders -> hostile -> events; rejected to dead\n"),
            "{page}"
        );
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    });
}

#[test]
fn all_that_is_wrong_with_samples_is_said_at_once() {
    within(LIMIT, || {
        let setup = setup()
            .file("samples/bad.input.json", "{\"n\":\"x\"}")
            .file("samples/other.input.json", "{\"n\":3}")
            .file("samples/other.expected.json", "{\"events\":[{\"event\":{\"n\":4}}]}")
            .file("samples/lost.expected.json", "{}");
        let (report, code) = report(&setup, &[]);
        assert_eq!(
            (&report["valid"], &report["samples"], code),
            (&json!(false), &json!(1), Some(1))
        );
        let messages: Vec<_> = report["problems"]
            .as_array()
            .unwrap()
            .iter()
            .map(|p| p["message"].as_str().unwrap())
            .collect();
        assert_eq!(messages.len(), 3, "{messages:?}");
        assert!(messages[0].contains("no `lost.input.EXT`"), "{messages:?}");
        assert!(messages[1].contains("/n expected type: Integer, found: String"), "{messages:?}");
        assert_eq!(messages[2], "record 0 has `/events/0/event/n` `3`, expected `4`");
        assert_eq!(report["problems"][2]["file"], "samples/other.input.json");
        assert_eq!(
            report["problems"][2]["hint"],
            "`xylem try -c xylem.yaml -p echo samples/other.input.json` shows the whole of it; where the change is meant, change the expectation"
        );
    });
}

#[test]
fn a_schema_and_a_plugin_that_are_wrong_are_told_at_their_place() {
    within(LIMIT, || {
        let setup = setup().file("events.json", "{\"type\":");
        let (report, code) = report(&setup, &[]);
        assert_eq!(code, Some(2), "{report}");
        assert_eq!(report["problems"][0]["path"], "destinations.events.schema.file");

        let refused = setup_with_settings("{ misbehave: no-such-way, on: x }");
        let (refusal, refused_code) = self::report(&refused, &[]);
        assert_eq!(refused_code, Some(2), "{refusal}");
        assert_eq!(refusal["problems"][0]["path"], "pipelines.echo.chain", "{refusal}");
    });
}

fn setup_with_settings(settings: &str) -> Setup {
    let setup = setup();
    let path = setup.folder().join("xylem.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("{ on: no such text }"));
    std::fs::write(&path, text.replace("{ on: no such text }", settings)).unwrap();
    setup
}

#[test]
fn what_cannot_be_reached_is_told_apart_from_what_is_wrong() {
    within(LIMIT, || {
        let (report, code) = report(&setup(), &["--connect"]);
        assert_eq!(code, Some(3), "{report}");
        let paths: Vec<_> =
            report["problems"].as_array().unwrap().iter().map(|p| &p["path"]).collect();
        assert_eq!(paths, ["kafka.brokers", "destinations.events.inlet"], "{report}");
        let message = report["problems"][0]["message"].as_str().unwrap();
        assert!(message.contains("no broker answers"), "{message}");
        assert!(message.contains("refused"), "{message}");
    });
}

#[test]
fn a_wrong_configuration_ends_run_with_2_before_it_begins() {
    within(LIMIT, || {
        let setup = setup();
        let path = setup.folder().join("xylem.yaml");
        let text = std::fs::read_to_string(&path).unwrap();
        let without_inlet = text.replace("    inlet: http://127.0.0.1:9/collection/x\n", "");
        assert_ne!(text, without_inlet);
        std::fs::write(&path, without_inlet).unwrap();
        let output = run_to_end(setup.folder(), &["run", "-c", "xylem.yaml"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("`inlet`"), "{said}");
    });
}
