//! A plugin that misbehaves costs its record, with a cause one can act on, and nothing else.

use std::time::Duration;

use aep_emulator::Style;
use xylem_bench_order::workload;
use xylem_tests::kafka::{self, Message};
use xylem_tests::within;

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
