//! Dead letters that their topic does not take: nothing is lost, and an operator is told what to set.

use std::time::Duration;

use aep_emulator::Style;
use xylem_bench_order::workload;
use xylem_tests::kafka::{self, Client, Message};
use xylem_tests::{Xylem, eventually, within};

use crate::world::World;

const LIMIT: Duration = Duration::from_mins(3);

/// A valid event; the plugin of the test traps on the first one.
fn event(number: u64) -> Message {
    Message::new(xylem_bench_order::map(&workload::order(number)).unwrap().unwrap())
}

/// What a letter takes in its topic, but for what Kafka adds.
fn size(letter: &Message) -> usize {
    let headers =
        letter.headers.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len));
    letter.payload.as_ref().unwrap().len() + headers.sum::<usize>()
}

fn limit(kafka: &Client, topic: &str, bytes: usize) {
    kafka.set_topic(topic, "max.message.bytes", &bytes.to_string());
}

/// Another pipeline, that echoes.
fn further(other: &str, dead: &str) -> String {
    format!(
        "  others:
    topics: [{other}]
    chain: [{{plugin: hostile, settings: {{on: never}}}}]
    destinations: [orders]
    dead_letter: {{topic: {dead}}}
"
    )
}

fn start(world: &World, other: &str, dead: &str) -> Xylem {
    let chain = "{plugin: hostile, settings: {misbehave: trap, on: O-0000000000}}";
    let mut xylem = world.setup("hostile", chain, &further(other, dead)).start();
    xylem.wait_ready();
    xylem
}

/// Waits for a warning that says all of it.
fn wait_for_warning(xylem: &Xylem, words: &[&str]) {
    eventually(|| {
        let warnings = xylem.status()["warnings"].to_string();
        if words.iter().all(|word| warnings.contains(word)) { Ok(()) } else { Err(warnings) }
    });
}

#[test]
fn a_letter_that_is_too_large_is_cut_then_waits_for_its_topic() {
    within(LIMIT, || {
        let Some(kafka) = kafka::shared() else { return };
        let uncompressed = "earliest\n  properties: {compression.type: none}";
        let world = World { start: uncompressed, ..World::new(kafka, 1, Style::Production) };
        let (other, other_dead) = (kafka.topic("others", 1), kafka.topic("dead", 1));
        let xylem = start(&world, &other, &other_dead);
        kafka.produce(&world.topic, [event(0)]);
        let whole = world.wait_dead(1)[0].clone();

        // Together they are too large, one by one they are not.
        limit(kafka, &world.dead, size(&whole) + 300);
        kafka.produce(&world.topic, (0..5).map(|_| event(0)));
        let letters = world.wait_dead(6);
        assert!(letters.iter().all(|letter| letter.header("xylem.cut").is_none()));

        limit(kafka, &world.dead, size(&whole) - 100);
        kafka.produce(&world.topic, [event(0)]);
        let cut = world.wait_dead(7)[6].clone();
        assert_eq!(cut.header("xylem.cut").as_deref(), Some("size"));
        assert_eq!(cut.payload, whole.payload);
        for kept in ["__connect.errors.topic", "xylem.code", "xylem.plugin", "xylem.plugin.digest"]
        {
            assert!(cut.header(kept).is_some() && cut.header(kept) == whole.header(kept), "{kept}");
        }
        assert_eq!(cut.header("__connect.errors.offset").as_deref(), Some("6"));
        assert_eq!(cut.header("__connect.errors.exception.message"), None);

        // Too large in any form: the pipeline waits, another goes on.
        let large = format!("{{\"text\":\"{}\"}}", "large ".repeat(4_000));
        kafka.produce(&world.topic, [Message::new(large)]);
        wait_for_warning(&xylem, &["`orders` pauses", &world.dead, "raise `max.message.bytes`"]);
        xylem.wait_for_stderr("dead-letter.refused");
        eventually(|| {
            let partitions = xylem.status()["partitions"].clone();
            let paused = |topic: &str| {
                let found = partitions.as_array().unwrap().iter().find(|p| p["topic"] == topic);
                found.map(|partition| partition["paused"].as_bool())
            };
            let as_wanted =
                paused(&world.topic) == Some(Some(true)) && paused(&other) == Some(Some(false));
            if as_wanted { Ok(()) } else { Err(partitions.to_string()) }
        });
        kafka.produce(&other, (1..101).map(event));
        world.wait_accepted(100);
        kafka.produce(&world.topic, (101..201).map(event));
        assert_eq!(kafka.ends(&world.dead)[&0], 7);

        limit(kafka, &world.dead, 1_000_000);
        world.wait_accepted(200);
        assert_eq!(world.wait_dead(8).len(), 8);
        eventually(|| {
            let warnings = xylem.status()["warnings"].to_string();
            if warnings == "[]" { Ok(()) } else { Err(warnings) }
        });
        let (status, _) = xylem.stop();
        assert_eq!(status.code(), Some(0));
        assert!(kafka.read(&other_dead).is_empty());
        world.assert_nothing_lost();
        world.assert_committed();
    });
}

#[test]
fn a_topic_that_takes_no_record_without_a_key_is_told() {
    within(LIMIT, || {
        let Some(kafka) = kafka::shared() else { return };
        let world = World::new(kafka, 1, Style::Production);
        kafka.set_topic(&world.dead, "cleanup.policy", "compact");
        kafka.produce(&world.topic, [Message::new("no order")]);
        let mut xylem = world.orders().start();
        xylem.wait_ready();
        wait_for_warning(&xylem, &["`orders` pauses", &world.dead, "`cleanup.policy` to `delete`"]);
        kafka.set_topic(&world.dead, "cleanup.policy", "delete");
        world.wait_dead(1);
        xylem.stop();
        world.assert_nothing_lost();
        world.assert_committed();
    });
}
