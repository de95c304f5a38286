//! Killed at any instant: nothing is lost, some records may repeat under their ids (promise 8).

use std::collections::BTreeMap;
use std::time::Duration;

use aep_emulator::{LakeQuery, Style};
use xylem_tests::kafka::{self, Message};
use xylem_tests::within;

use crate::world::World;

const LIMIT: Duration = Duration::from_mins(5);

/// The places where a crash is most likely to lose or double something.
const STOP_POINTS: [&str; 7] = [
    "fetched:40",
    "transformed:2",
    "before-request:2",
    "after-request:1",
    "store:1",
    "dead-lettered:1",
    "drained:1",
];

/// Killed with SIGKILL where it stands, started again: every record has a fate, every repeat its
/// first id, and what was committed was settled.
#[test]
fn invariant_8_a_kill_at_each_stop_point_loses_nothing() {
    within(LIMIT, || {
        let Some(kafka) = kafka::shared() else { return };
        std::thread::scope(|scope| {
            for point in STOP_POINTS {
                scope.spawn(move || killed_at(&World::new(kafka, 2, Style::Production), point));
            }
        });
    });
}

fn killed_at(world: &World, point: &str) {
    world.produce(2, 1_500);
    world.kafka.produce(&world.topic, [Message::new("no order")]);
    let setup = world.orders().environment("XYLEM_STOP_AT", point);
    let mut xylem = setup.start();
    if point.starts_with("drained") {
        xylem.wait_ready();
        world.wait_accepted(100);
        xylem.sigterm();
    }
    xylem.wait_stopped();
    let committed_before = world.kafka.committed(&world.group, &world.topic);
    let arrived = world.arrivals();
    let dead = world.kafka.read(&world.dead);
    for (partition, position) in committed_before {
        // Invariant 1: all below the committed position have their fate already.
        let settled = arrived.iter().filter(|(p, o)| *p == partition && *o < position).count()
            + dead
                .iter()
                .filter(|letter| {
                    let (p, o) = crate::world::dead_place(letter);
                    p == partition && o < position
                })
                .count();
        assert!(
            i64::try_from(settled).unwrap() >= position,
            "{point}: committed {position}, settled {settled}"
        );
    }
    drop(xylem.kill9());
    let mut again = world.orders().start();
    again.wait_ready();
    world.wait_accepted(3_000);
    xylem_tests::eventually(|| {
        let ends = world.kafka.ends(&world.topic);
        let committed = world.kafka.committed(&world.group, &world.topic);
        if committed == ends {
            Ok(())
        } else {
            Err(format!("{point}: committed {committed:?} of {ends:?}"))
        }
    });
    let (status, _) = again.stop();
    assert_eq!(status.code(), Some(0), "{point}");
    world.assert_nothing_lost();
    assert_repeats_have_their_first_ids(world);
}

/// Invariant 9: one record, one id, however often it is sent.
fn assert_repeats_have_their_first_ids(world: &World) {
    let query = LakeQuery { limit: usize::MAX, ..LakeQuery::default() };
    let mut ids: BTreeMap<String, String> = BTreeMap::new();
    for entry in world.emulator.control().lake(&query) {
        let entity = entry.entity_id.clone().unwrap_or_default();
        let first = ids.entry(entity).or_insert_with(|| entry.msg_id.clone());
        assert_eq!(*first, entry.msg_id);
    }
}
