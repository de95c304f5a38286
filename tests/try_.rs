//! `xylem try`, as its users and scripts call it.

use std::process::Output;
use std::time::Duration;

use serde_json::{Value, json};
use xylem_tests::{Setup, guests, run_to_end, run_unread, within};

/// A test that takes longer hangs; the binary may have to be built first.
const LIMIT: Duration = Duration::from_mins(15);

/// A folder with two pipelines: `echo`, whose plugin emits the record as it is (and filters, rejects or
/// traps where told), and `sign-ups`.
fn setup() -> Setup {
    let plugin = |name| guests::built(name).display().to_string();
    let echo = |name: &str, settings: Value| {
        format!(
            "  {name}:\n    topics: [{name}]\n    chain: [{{ plugin: hostile, settings: {settings} }}]\n    \
             destinations: [events, records]\n    dead_letter: {{ topic: dead }}\n"
        )
    };
    let destination = |name: &str| {
        format!(
            "  {name}:\n    inlet: http://127.0.0.1:9/collection/{name}\n    dataset: d\n    \
             schema: {{ id: \"https://ns.adobe.com/acme/schemas/{name}\", file: {name}.json }}\n"
        )
    };
    let configuration = format!(
        "kafka: {{ brokers: \"127.0.0.1:9\", group: g, start: earliest }}\n\
         aep: {{ organisation: \"0@AdobeOrg\" }}\n\
         plugins:\n  hostile: {{ component: \"{}\" }}\n  sign-up: {{ component: \"{}\" }}\n\
         destinations:\n{}{}\
         pipelines:\n{}{}\
         \x20 sign-ups:\n    topics: [sign-ups]\n    key: text\n    headers: true\n    split: file\n    \
         chain: [{{ plugin: sign-up }}]\n    destinations: [records]\n    dead_letter: {{ topic: dead }}\n",
        plugin("hostile"),
        plugin("example-rust"),
        destination("events"),
        destination("records"),
        echo("echo", json!({"on": "no such text"})),
        echo("trap", json!({"misbehave": "trap", "on": "poison"})),
    );
    let text = json!({"type": "string"});
    let events = json!({
        "type": "object", "required": ["_id", "timestamp"],
        "properties": {
            "_id": text, "timestamp": {"type": "string", "format": "date-time"}, "n": {"type": "integer"},
            "eventType": {"type": "string", "meta:enum": {"known": "Known"}},
        },
    });
    // No properties but a map: open.
    let records = json!({"type": "object", "properties": {}, "additionalProperties": true});
    Setup::new(&configuration)
        .file("events.json", events.to_string())
        .file("records.json", records.to_string())
}

fn xylem_try(setup: &Setup, arguments: &[&str]) -> Output {
    run_to_end(setup.folder(), &[&["try", "-c", "xylem.yaml"], arguments].concat())
}

/// The lines of `--json`, and the exit code.
fn lines(setup: &Setup, arguments: &[&str]) -> (Vec<Value>, i32) {
    let output = xylem_try(setup, &[&["--json"], arguments].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let code = output.status.code().unwrap();
    assert!(code < 2, "{}", String::from_utf8_lossy(&output.stderr));
    (lines, code)
}

/// `| head`: whoever reads the answer has seen enough of it.
#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    within(LIMIT, || {
        let good = "{\"timestamp\":\"2026-01-02T03:04:05Z\",\"n\":1}\n".repeat(500);
        let setup = setup().file("good.jsonl", good).file("bad.jsonl", "[]\n".repeat(500));
        for (arguments, code) in [
            (["-p", "echo", "good.jsonl"].as_slice(), 0),
            (&["-p", "echo", "--json", "good.jsonl"], 0),
            (&["-p", "echo", "bad.jsonl"], 1),
        ] {
            let arguments = [&["try", "-c", "xylem.yaml"], arguments].concat();
            let output = run_unread(setup.folder(), &arguments);
            let words = String::from_utf8(output.stderr).unwrap();
            assert!(!words.contains("pipe"), "{words}");
            assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        }
    });
}

#[test]
fn every_record_is_told_with_its_events_and_their_faults() {
    within(LIMIT, || {
        let setup = setup()
            .file("a.jsonl", "{\"timestamp\":\"2026-01-02T03:04:05Z\",\"n\":1}\n\n{\"n\":1.0,\"timestamp\":\"\",\"m\":0}\n")
            .file("b.jsonl", "{\"timestamp\":\"2026-01-02T03:04:05Z\",\"_id\":\"mine\"}\r\n[]\r\n");
        let (lines, code) = lines(&setup, &["-p", "echo", "a.jsonl", "b.jsonl"]);
        assert_eq!(code, 1);
        // Invariant 9: offsets go on over all inputs, the hash is that of cluster and topic `try`.
        let ids = xylem::id::Ids::new("try", "try", "", "echo");
        let place = xylem::id::Place { partition: 0, offset: 0, timestamp_ms: Some(0) };
        let expected = [
            json!({"input": "a.jsonl", "record": 0, "outcome": "emit", "events": [{
                "destination": "events", "valid": true, "faults": [],
                "event": {"_id": ids.id(place, 0), "timestamp": "2026-01-02T03:04:05Z", "n": 1},
            }]}),
            json!({"input": "a.jsonl", "record": 1, "outcome": "emit", "events": [{
                "destination": "events", "valid": false,
                "event": {"n": 1.0, "timestamp": "", "m": 0},
                "faults": [
                    {"code": "DCVS-1101-400", "pointer": "", "message": "extraneous key [m] is not permitted"},
                    {"code": "DCVS-1104-400", "pointer": "/n", "message": "expected type: Integer, found: Double"},
                    {"code": "DCVS-1102-400", "pointer": "/timestamp", "message": "[] is not a valid date-time. Expected \
                        [yyyy-MM-dd'T'HH:mm:ssZ, yyyy-MM-dd'T'HH:mm:ss.[0-9]{1,9}Z, yyyy-MM-dd'T'HH:mm:ss[+-]HH:mm, \
                        yyyy-MM-dd'T'HH:mm:ss.[0-9]{1,9}[+-]HH:mm]"},
                ],
            }]}),
            json!({"input": "b.jsonl", "record": 0, "outcome": "emit", "events": [{
                "destination": "events", "valid": true, "faults": [],
                "event": {"timestamp": "2026-01-02T03:04:05Z", "_id": "mine"},
            }]}),
            json!({"input": "b.jsonl", "record": 1, "outcome": "emit", "events": [{
                "destination": "events", "valid": false, "event": [],
                "faults": [{"code": "plugin.output", "pointer": "", "message": "the event is JSON, but not an object"}],
            }]}),
        ];
        assert_eq!(lines, expected);
    });
}

#[test]
fn the_exit_code_is_the_answer() {
    within(LIMIT, || {
        let good = "{\"timestamp\":\"2026-01-02T03:04:05Z\"}";
        let setup = setup().file("good", good).file("bad", "{}").file("poison", "poison");
        let code = |arguments: &[&str]| xylem_try(&setup, arguments).status.code().unwrap();
        assert_eq!(code(&["-p", "echo", "good"]), 0);
        assert_eq!(code(&["-p", "echo", "good", "bad"]), 1);
        assert_eq!(code(&["-p", "trap", "good"]), 0);
        assert_eq!(code(&["-p", "trap", "poison"]), 1);
        for usage in [
            &["-p", "other", "good"][..],
            &["-p", "echo"],
            &["-p", "echo", "absent"],
            &["-p", "echo", "--split", "word", "good"],
            &["-p", "echo", "--timestamp", "noon", "good"],
            &["-p", "echo", "--header", "novalue", "good"],
        ] {
            let output = xylem_try(&setup, usage);
            assert_eq!(output.status.code(), Some(2), "{usage:?}");
            assert!(!output.stderr.is_empty());
        }
        let names = String::from_utf8(xylem_try(&setup, &["-p", "other", "good"]).stderr).unwrap();
        assert!(names.contains("no pipeline `other`") && names.contains("sign-ups"), "{names}");
    });
}

#[test]
fn a_rejected_record_says_why_and_the_others_go_on() {
    within(LIMIT, || {
        let setup = setup()
            .file("in", "{\"timestamp\":\"2026-01-02T03:04:05Z\"}\npoison\n{\"timestamp\":\"2026-01-02T03:04:06Z\"}")
            .file("sign-up", "{\"email\":\n\"a@b.example\",\"country\":351}");
        let (said, code) = lines(&setup, &["-p", "trap", "in"]);
        assert_eq!(code, 1);
        let outcomes: Vec<&str> =
            said.iter().map(|line| line["outcome"].as_str().unwrap()).collect();
        assert_eq!(outcomes, ["emit", "reject", "emit"]);
        let fault = &said[1]["fault"];
        assert_eq!(
            (&fault["code"], &fault["domain"], &fault["plugin"]),
            (&json!("plugin.trap"), &json!("plugin"), &json!("hostile"))
        );
        let (said, _) = lines(&setup, &["-p", "sign-ups", "sign-up"]);
        let expected = json!({"input": "sign-up", "record": 0, "outcome": "reject", "fault": {
            "code": "record.rejected", "domain": "record", "message": "bad-field: `country` is not text",
            "path": "/country", "plugin": "sign-up",
        }});
        assert_eq!(said, [expected]);
    });
}

#[test]
fn key_header_time_and_split_are_the_records() {
    within(LIMIT, || {
        let setup = setup().file("in", "{\"email\":\"a@b.example\",\n\"newsletter\":false}");
        let key_and_header =
            ["-p", "sign-ups", "--key", "C-1", "--header", "campaign=spring=1", "in"];
        let (said, code) = lines(&setup, &key_and_header);
        assert_eq!((said.len(), code), (1, 0));
        let event = &said[0]["events"][0]["event"];
        assert_eq!(event["identityMap"]["CRMID"][0]["id"], "C-1");
        assert_eq!(event["consents"]["marketing"]["email"]["reason"], "spring=1");
        // The pipeline says `file`; cut into lines, neither half is JSON.
        let (said, code) = lines(&setup, &["-p", "sign-ups", "--split", "line", "in"]);
        assert_eq!((said.len(), code), (2, 1));
        let setup = setup.file("at", "{\"timestamp\":\"2026-01-02T03:04:05Z\"}");
        let (said, _) = lines(&setup, &["-p", "echo", "--timestamp", "2023-11-14T22:13:20Z", "at"]);
        let id = said[0]["events"][0]["event"]["_id"].as_str().unwrap();
        assert!(id.ends_with(".0.0.1700000000000.0"), "{id}");
    });
}

#[test]
fn people_get_pages_with_the_complaints_beneath() {
    within(LIMIT, || {
        let setup = setup().file("in", "{\"timestamp\":\"2026-01-02T03:04:05Z\",\"_id\":\"1\",\"eventType\":\"odd\"}\n{\"n\": \"1\"}");
        let output = xylem_try(&setup, &["-p", "echo", "in"]);
        let page = String::from_utf8(output.stdout).unwrap();
        let lines = [
            "in record 0: emit",
            "  for `events`, valid",
            "  {",
            "    \"timestamp\": \"2026-01-02T03:04:05Z\",",
            "    \"_id\": \"1\",",
            "    \"eventType\": \"odd\"",
            "  }",
            "  ! schema.soft-enum #/eventType: The value is not among the schema's suggestions.",
            "in record 1: emit",
            "  for `events`, NOT VALID",
            "  {",
            "    \"n\": \"1\"",
            "  }",
            "  ✗ DCVS-1106-400 #: required key [timestamp] not found",
            "  ✗ DCVS-1104-400 #/n: expected type: Integer, found: String",
            "records 2: emitted 2 (events 2, not valid 1), filtered 0, rejected 0",
        ];
        assert_eq!(page.lines().collect::<Vec<_>>(), lines);
    });
}
