//! `xylem replay`: dead letters once more, against a real Kafka and the emulator.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Output;
use std::time::Duration;

use aep_emulator::{Fault, Kind, LakeQuery, Select, Style};
use serde_json::{Value, json};
use xylem_tests::kafka::{self, Message};
use xylem_tests::{Setup, Xylem, eventually, repository, run_to_end, within};

use crate::world::{World, emulator};

const LIMIT: Duration = Duration::from_mins(6);

/// Takes documents that have their time in `at` and a text as `kind`.
const MAPPING: &str = "
events:
  - fields:
      timestamp: {from: .at, type: date-time, required: true}
      eventType: {from: .kind}
unmapped: ignore
";

/// Takes the time from `when`, too, and knows that a number is no event.
const REPAIRED: &str = "
filter:
  - {when: '.kind == 5', reason: a number is no event}
events:
  - fields:
      timestamp: {from: '.at // .when', type: date-time, required: true}
      eventType: {from: .kind}
unmapped: ignore
";

/// Three events of each document.
const THREE: &str = "
events:
  - fields:
      _id: {from: '.id + \"-a\"', type: string}
      timestamp: {from: .at, type: date-time, required: true}
  - fields:
      _id: {from: '.id + \"-b\"', type: string}
      timestamp: {from: .at, type: date-time, required: true}
  - fields:
      _id: {from: '.id + \"-c\"', type: string}
      timestamp: {from: .at, type: date-time, required: true}
unmapped: ignore
";

const AT: &str = "2026-01-02T03:04:05Z";

/// A folder with a pipeline of documents, `xylem.yaml`, and a candidate, `candidate.yaml`.
fn documents(world: &World, mapping: &str) -> Setup {
    let setup = world.setup("json", "{plugin: json, mapping: mapping.yaml}", "");
    let text = std::fs::read_to_string(setup.folder().join("xylem.yaml")).unwrap();
    let candidate = text.replace("mapping: mapping.yaml", "mapping: repaired.yaml");
    setup
        .file("mapping.yaml", mapping)
        .file("repaired.yaml", REPAIRED)
        .file("candidate.yaml", candidate)
}

/// Runs the pipeline until everything is settled.
fn run_all(world: &World, setup: Setup) -> Setup {
    let ends = world.kafka.ends(&world.topic);
    assert!(ends.values().any(|end| *end > 0), "{ends:?}");
    let mut xylem = setup.start();
    xylem.wait_ready();
    eventually(|| {
        let committed = world.kafka.committed(&world.group, &world.topic);
        if committed == ends { Ok(()) } else { Err(format!("{committed:?} of {ends:?}")) }
    });
    let stderr = xylem.stderr();
    let (status, setup) = xylem.stop();
    assert_eq!(status.code(), Some(0), "{stderr}");
    setup
}

fn arguments<'a>(file: &'a str, further: &[&'a str]) -> Vec<&'a str> {
    [&["--log", "warn", "replay", "-c", file, "-p", "orders", "--json"], further].concat()
}

fn replay(setup: &Setup, file: &str, further: &[&str]) -> (Option<i32>, Value) {
    let cache = repository().join("target/tmp/native").display().to_string();
    let mut all = arguments(file, further);
    all.extend(["--cache", &cache]);
    let output: Output = run_to_end(setup.folder(), &all);
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.stdout.is_empty(), "{words}");
    let report = serde_json::from_slice(&output.stdout).unwrap();
    (output.status.code(), report)
}

fn replay_in_parts(setup: Setup, further: &[&str]) -> Xylem {
    setup.start_with(&arguments("candidate.yaml", further))
}

/// How often each message id arrived, and the `_id` it had.
fn lake(emulator: &aep_emulator::Emulator) -> BTreeMap<String, (String, usize)> {
    let query = LakeQuery { limit: usize::MAX, ..LakeQuery::default() };
    let mut arrived = BTreeMap::new();
    for entry in emulator.control().lake(&query) {
        let id = entry.entity_id.unwrap_or_default();
        let (first, times) = arrived.entry(entry.msg_id).or_insert_with(|| (id.clone(), 0));
        assert_eq!(*first, id);
        *times += 1;
    }
    arrived
}

fn ids(world: &World) -> BTreeSet<(String, String)> {
    lake(&world.emulator).into_iter().map(|(msg_id, (id, _))| (msg_id, id)).collect()
}

fn group(world: &World) -> String {
    format!("{}-replay-orders", world.group)
}

/// Writes `count` documents, of every ten one without `at`, one with a number as its kind.
fn produce(world: &World, count: u64) {
    let document = |number: u64| match number % 10 {
        3 => json!({"id": number.to_string(), "when": AT, "kind": "late"}),
        7 => json!({"id": number.to_string(), "at": AT, "kind": 5}),
        _ => json!({"id": number.to_string(), "at": AT, "kind": "order"}),
    };
    // Their time is that of writing: the broker's retention takes older ones while the test runs.
    let message = |number: u64| Message {
        partition: Some(i32::try_from(number % 2).unwrap()),
        key: Some(format!("key-{number}").into_bytes()),
        headers: vec![("trace".to_owned(), Some(b"t".to_vec()))],
        ..Message::new(document(number).to_string())
    };
    world.kafka.produce(&world.topic, (0..count).map(message));
}

/// Counts before and after, a delivery under the ids of a first one, and nothing again.
#[test]
fn invariant_9_what_is_repaired_is_delivered_once_under_its_first_ids() {
    within(LIMIT, || {
        let Some(kafka) = kafka::shared() else { return };
        let world = World::new(kafka, 2, Style::Production);
        produce(&world, 200);
        kafka.produce(&world.topic, [Message { partition: Some(0), ..Message::new("{torn") }]);
        let setup = run_all(&world, documents(&world, MAPPING));
        let letters = world.wait_dead(41);
        assert_eq!(letters.len(), 41);
        let before = ids(&world);
        assert_eq!(before.len(), 160);
        // What else lies there: a letter again, another pipeline's, and no letter at all.
        let rename = |(key, value): (String, Option<Vec<u8>>)| {
            let other = key == "__connect.errors.connector.name";
            (key, if other { Some(b"other".to_vec()) } else { value })
        };
        let other = letters[0].clone();
        let headers = other.headers.into_iter().map(rename).collect();
        let other = Message { headers, ..letters[0].clone() };
        kafka.produce(&world.dead, [letters[0].clone(), other, Message::new("no letter")]);

        let (code, same) = replay(&setup, "xylem.yaml", &[]);
        assert_eq!(code, Some(1));
        let still = |before: &str, letters: u64| json!({"before": before, "after": before, "letters": letters});
        assert_eq!(
            same["counts"],
            json!([still("record.rejected", 21), still("schema.invalid", 20)])
        );

        let (code, dry) = replay(&setup, "candidate.yaml", &[]);
        assert_eq!(code, Some(1), "{dry}");
        let counts = |valid: &str| {
            json!([
                {"before": "record.rejected", "after": valid, "letters": 20},
                {"before": "record.rejected", "after": "record.rejected", "letters": 1},
                {"before": "schema.invalid", "after": "filtered", "letters": 20},
            ])
        };
        assert_eq!(dry["counts"], counts("valid"), "{dry}");
        let passed = |report: &Value| {
            ["other_pipelines", "repeated", "unreadable"].map(|name| report[name].as_u64().unwrap())
        };
        assert_eq!(passed(&dry), [1, 1, 1], "{dry}");
        assert_eq!(dry["named"][0]["reason"], "it has no header `__connect.errors.topic`");
        assert_eq!(kafka.committed(&group(&world), &world.dead), BTreeMap::new());
        assert_eq!(ids(&world), before);

        let (code, delivered) = replay(&setup, "candidate.yaml", &["--deliver"]);
        assert_eq!(code, Some(1), "{delivered}");
        assert_eq!(delivered["counts"], counts("delivered"), "{delivered}");
        assert_eq!(kafka.committed(&group(&world), &world.dead), kafka.ends(&world.dead));
        assert_eq!(kafka.ends(&world.dead)[&0], 44, "no second letter is written");

        let (code, again) = replay(&setup, "candidate.yaml", &["--deliver"]);
        assert_eq!(
            (code, &again["letters"], &again["resumed"]),
            (Some(0), &json!(0), &json!(true))
        );
        let after = lake(&world.emulator);
        assert!(after.values().all(|(_, times)| *times == 1), "{after:?}");
        assert_eq!(ids(&world), first_ids(&world));
    });
}

/// The ids that the repaired mapping gives when all records go through it at once.
fn first_ids(world: &World) -> BTreeSet<(String, String)> {
    let other = World {
        kafka: world.kafka,
        topic: world.topic.clone(),
        dead: world.kafka.topic("dead", 1),
        group: world.kafka.unique("group"),
        emulator: emulator(Style::Production),
        start: "earliest",
        batch: world.batch,
    };
    run_all(&other, documents(&other, REPAIRED));
    let ids = ids(&other);
    assert!(!ids.is_empty(), "{:?}", other.kafka.read(&other.dead).first());
    ids
}

/// AEP took some of a record's events: only the others are sent.
#[test]
fn invariant_2_what_aep_has_is_not_sent_again() {
    within(LIMIT, || {
        let Some(kafka) = kafka::shared() else { return };
        let world = World::new(kafka, 1, Style::Production);
        let document = |number: u64| json!({"id": number.to_string(), "at": AT}).to_string();
        kafka.produce(&world.topic, (0..20).map(|number| Message::new(document(number))));
        let refuse = |id: &str| {
            let message = Select::EntityId(id.to_owned());
            let text = "Message has unknown xdm format".to_owned();
            world.emulator.control().fault(Fault::new(Kind::Refuse { message, status: 400, text }))
        };
        let (mended, lasting) = (refuse("7-b"), refuse("9-a"));
        let setup = run_all(&world, documents(&world, THREE));
        let letters = world.wait_dead(2);
        let accepted = |letter: &Message| letter.header("xylem.accepted");
        let all: Vec<_> = letters.iter().filter_map(accepted).collect();
        assert_eq!(all, ["0,2", "1-2"]);
        let before = lake(&world.emulator);
        assert_eq!(before.len(), 58);

        world.emulator.control().clear(mended);
        let (code, report) = replay(&setup, "xylem.yaml", &["--deliver", "--rate", "100/s"]);
        assert_eq!(code, Some(1), "{report}");
        assert_eq!(
            report["counts"],
            json!([
                {"before": "aep.refused", "after": "delivered", "letters": 1},
                {"before": "aep.refused", "after": "aep.refused", "letters": 1},
            ])
        );
        assert!(world.emulator.control().took_effect(lasting) >= 2);
        let after = lake(&world.emulator);
        let new: Vec<_> =
            after.iter().filter(|(msg_id, _)| !before.contains_key(*msg_id)).collect();
        assert_eq!(new.len(), 1, "{new:?}");
        assert_eq!(new[0].1, &("7-b".to_owned(), 1));
        assert!(new[0].0.ends_with(".1"), "the index among all its events: {}", new[0].0);
        assert!(after.values().all(|(_, times)| *times == 1), "{after:?}");
        assert_eq!(kafka.ends(&world.dead)[&0], 2, "no second letter is written");
    });
}

/// Sixty letters that the candidate repairs.
fn sixty_letters(world: &World) -> Setup {
    let document = json!({"when": AT, "kind": "late"}).to_string();
    world.kafka.produce(&world.topic, (0..60).map(|_| Message::new(document.clone())));
    let setup = run_all(world, documents(world, MAPPING));
    assert_eq!(world.wait_dead(60).len(), 60);
    setup
}

/// Killed between a verdict and its commit: some come again, under their ids.
#[test]
fn invariant_8_9_a_killed_replay_repeats_under_the_same_ids_only() {
    within(LIMIT, || {
        let Some(kafka) = kafka::shared() else { return };
        let world = World::new(kafka, 1, Style::Production);
        let setup = sixty_letters(&world).environment("XYLEM_STOP_AT", "after-request:3");
        let xylem = replay_in_parts(setup, &["--deliver", "--rate", "10/s"]);
        xylem.wait_stopped();
        let arrived = lake(&world.emulator);
        let committed = kafka.committed(&group(&world), &world.dead)[&0];
        assert_eq!(arrived.len(), 30);
        assert!(committed <= 20, "the third request is not settled: {committed}");
        let setup = xylem.kill9();
        let (code, report) = replay(&setup, "candidate.yaml", &["--deliver"]);
        assert_eq!(code, Some(0), "{report}");
        assert_eq!(report["events"], 60 - committed);
        let after = lake(&world.emulator);
        assert_eq!(after.len(), 60);
        let repeats: i64 =
            after.values().map(|(_, times)| i64::try_from(*times).unwrap() - 1).sum();
        assert_eq!(repeats, 30 - committed);
        assert_eq!(ids(&world), first_ids(&world));
    });
}

/// Told to stop, also while AEP is away: what was delivered is committed, and the rest comes with the next run.
#[test]
fn invariant_11_an_outage_is_waited_out_until_it_is_told_to_stop() {
    within(LIMIT, || {
        let Some(kafka) = kafka::shared() else { return };
        let world = World::new(kafka, 1, Style::Production);
        let setup = sixty_letters(&world);
        let away = world.emulator.control().fault(Fault::status(503).after(2));
        let xylem = replay_in_parts(setup, &["--deliver", "--rate", "20/s"]);
        eventually(|| match world.emulator.control().took_effect(away) {
            0 => Err(format!("no outage yet:\n{}", xylem.stderr())),
            _ => Ok(()),
        });
        let (status, setup) = xylem.stop();
        assert_eq!(status.code(), Some(4));
        assert_eq!(kafka.committed(&group(&world), &world.dead)[&0], 40);
        world.emulator.control().clear(away);
        let (code, report) = replay(&setup, "candidate.yaml", &["--deliver"]);
        assert_eq!((code, &report["events"]), (Some(0), &json!(20)), "{report}");
        let after = lake(&world.emulator);
        assert_eq!(after.len(), 60);
        assert!(after.values().all(|(_, times)| *times == 1), "{after:?}");
    });
}

/// What cannot be read says why, with the code that scripts know.
#[test]
fn what_cannot_be_replayed_says_why() {
    within(LIMIT, || {
        let Some(kafka) = kafka::shared() else { return };
        let world = World::new(kafka, 1, Style::Production);
        let setup = documents(&world, MAPPING);
        let ended = |further: &[&str]| {
            let base = ["--log", "error", "replay", "-c", "xylem.yaml", "-p", "orders"];
            let output = run_to_end(setup.folder(), &[&base, further].concat());
            (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
        };
        // Nothing there is good.
        assert_eq!(ended(&[]).0, Some(0));
        // A rate without a delivery, and one that is none.
        assert_eq!(ended(&["--rate", "5/s"]).0, Some(2));
        assert_eq!(ended(&["--deliver", "--rate", "0"]).0, Some(2));
        // The topic was made again: the group stands beyond its end.
        kafka.commit(&group(&world), &world.dead, 0, 7);
        let (code, words) = ended(&["--deliver"]);
        assert_eq!(code, Some(2));
        assert!(words.contains("--from-beginning"), "{words}");
        assert_eq!(ended(&["--deliver", "--from-beginning"]).0, Some(0));
        assert_eq!(kafka.committed(&group(&world), &world.dead)[&0], 0);
        kafka.delete_topic(&world.dead);
        eventually(|| match ended(&[]) {
            (Some(2), words) if words.contains("it does not exist") => Ok(()),
            other => Err(format!("{other:?}")),
        });
    });
}
