//! A plugin that misbehaves costs its record, with a cause one can act on, and nothing else.

use std::time::Duration;

use aep_emulator::Style;
use xylem_bench_order::workload;
use xylem_tests::kafka::{self, Message};
use xylem_tests::{eventually, within};

use crate::world::World;

const LIMIT: Duration = Duration::from_mins(3);

/// Part A, point 5: each way to misbehave, and the code that its dead letter carries.
const CASES: [(&str, &str); 9] = [
    ("loop", "plugin.deadline"),
    ("memory", "plugin.memory"),
    ("sleep", "plugin.deadline"),
    ("poll", "plugin.deadline"),
    ("poll-nothing", "plugin.blocked"),
    ("trap", "plugin.trap"),
    ("short", "plugin.count"),
    ("flood", "plugin.deadline"),
    ("deep", "plugin.trap"),
];

#[test]
fn invariant_7_a_hostile_guest_costs_its_record_alone() {
    within(LIMIT, || {
        let Some(kafka) = kafka::shared() else { return };
        for (misbehaviour, code) in CASES {
            one_case(&World::new(kafka, 1, Style::Production), misbehaviour, code);
        }
    });
}

/// Each record becomes 2 MB of events that are not valid: a batch is decided in parts, and every one of
/// its records dead-lettered once.
#[test]
fn invariant_4_what_fans_out_is_taken_in_parts() {
    within(LIMIT, || {
        let Some(kafka) = kafka::shared() else { return };
        let world = World::new(kafka, 1, Style::Production);
        let event =
            |number: u64| xylem_bench_order::map(&workload::order(number)).unwrap().unwrap();
        world.kafka.produce(&world.topic, (0..60).map(|number| Message::new(event(number))));
        let chain = "{plugin: hostile, settings: {misbehave: many, amount: 30000}}";
        let mut xylem = world.setup("hostile", chain, "").start();
        xylem.wait_ready();
        let dead = world.wait_dead(60);
        let (status, _) = xylem.stop();
        assert_eq!((status.code(), dead.len()), (Some(0), 60));
        world.assert_committed();
    });
}

fn one_case(world: &World, misbehaviour: &str, code: &str) {
    // An echo of valid events, but for the one that the guest is told to misbehave on.
    let event = |number: u64| xylem_bench_order::map(&workload::order(number)).unwrap().unwrap();
    world.kafka.produce(&world.topic, (0..300).map(|number| Message::new(event(number))));
    let chain =
        format!("{{plugin: hostile, settings: {{misbehave: {misbehaviour}, on: O-0000000123}}}}");
    let mut xylem = world.setup("hostile", &chain, "").start();
    xylem.wait_ready();
    let dead = world.wait_dead(1);
    world.wait_accepted(299);
    let (status, _) = xylem.stop();
    assert_eq!(status.code(), Some(0), "{misbehaviour}");
    assert_eq!(dead.len(), 1, "{misbehaviour}");
    assert_eq!(dead[0].header("xylem.code").as_deref(), Some(code), "{misbehaviour}: {dead:?}");
    assert!(!dead[0].header("__connect.errors.exception.message").unwrap().is_empty());
    world.assert_nothing_lost();
    world.assert_committed();
}

/// A plugin that fails is taken out long before it makes a storm, and its pipeline alone waits.
#[test]
fn a_plugin_that_fails_too_much_is_quarantined_with_its_pipeline() {
    within(LIMIT, || {
        let Some(kafka) = kafka::shared() else { return };
        let world = World::new(kafka, 1, Style::Production);
        let other = kafka.topic("others", 1);
        let further = format!(
            "    quarantine: {{percent: 10, records: 200}}
  others:
    topics: [{other}]
    chain: [{{plugin: hostile, settings: {{on: never}}}}]
    destinations: [orders]
    dead_letter: {{topic: {dead}}}
",
            dead = world.dead,
        );
        let event =
            |number: u64| xylem_bench_order::map(&workload::order(number)).unwrap().unwrap();
        world.kafka.produce(&world.topic, (0..3_000).map(|number| Message::new(event(number))));
        let mut xylem = world
            .setup("hostile", "{plugin: hostile, settings: {misbehave: trap}}", &further)
            .start();
        xylem.wait_ready();
        let halted = eventually(|| {
            let partitions = xylem.status()["partitions"].clone();
            let halted = partitions.as_array().unwrap().iter().find_map(|p| p["halted"].as_str());
            halted.map(str::to_owned).ok_or_else(|| partitions.to_string())
        });
        let words = "the plugin `hostile` is quarantined: it failed on 21 of the last 21 records";
        assert!(halted.contains(words), "{halted}");
        let metric = "xylem_plugin_quarantined{pipeline=\"orders\",plugin=\"hostile\"} 1";
        assert!(xylem.metrics().contains(metric));
        world.kafka.produce(&other, (0..300).map(|number| Message::new(event(number))));
        world.wait_accepted(300);
        xylem.stop();
        // A batch that was begun ends, and no more.
        let letters = u64::try_from(world.kafka.read(&world.dead).len()).unwrap();
        assert!((21..1_500).contains(&letters), "{letters} dead letters");
        let echo = "{plugin: hostile, settings: {on: never}}";
        let mut mended = world.setup("hostile", echo, &further).start();
        mended.wait_ready();
        world.wait_accepted(300 + 3_000 - letters);
        mended.stop();
        world.assert_committed();
    });
}

/// A mapping that suits no record must not drain its topic into the dead-letter topic.
#[test]
fn a_storm_of_dead_letters_halts_its_pipeline_and_no_other() {
    const ECHO: &str = "{plugin: hostile, settings: {on: never}}";
    const RECORDS: u64 = 20_000;
    within(LIMIT, || {
        let Some(kafka) = kafka::shared() else { return };
        let world = World::new(kafka, 2, Style::Production);
        // Echoed, orders are no XDM, so each is rejected; those of the other pipeline are mapped already.
        let other = kafka.topic("others", 1);
        let further = |chain: &str| {
            format!(
                "  others:
    topics: [{other}]
    chain: [{chain}]
    destinations: [orders]
    dead_letter: {{topic: {dead}}}
",
                dead = world.dead,
            )
        };
        let orders = (0..RECORDS).map(|number| Message::new(workload::order(number)));
        world.kafka.produce(&world.topic, orders);
        let mut xylem = world.setup("hostile", ECHO, &further(ECHO)).start();
        xylem.wait_ready();
        let halted = eventually(|| {
            let partitions = xylem.status()["partitions"].clone();
            let halted = partitions.as_array().unwrap().iter().find_map(|p| p["halted"].as_str());
            halted.map(str::to_owned).ok_or_else(|| partitions.to_string())
        });
        assert!(halted.contains("501 of the last 501 records were dead-lettered"), "{halted}");
        let event = |number| xylem_bench_order::map(&workload::order(number)).unwrap().unwrap();
        world.kafka.produce(&other, (0..300).map(|number| Message::new(event(number))));
        world.wait_accepted(300);
        let (status, _) = xylem.stop();
        assert_eq!(status.code(), Some(0));
        let letters = world.kafka.read(&world.dead).len();
        assert!((501..10_000).contains(&letters), "{letters} dead letters");
        // With a plugin that suits them the rest arrives; nothing was skipped.
        let mut mended =
            world.setup("order", "{plugin: order}", &further("{plugin: order}")).start();
        mended.wait_ready();
        world.wait_accepted(300 + RECORDS - u64::try_from(letters).unwrap());
        mended.stop();
        world.assert_committed();
    });
}
