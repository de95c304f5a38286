//! Where partitions begin and go on: never skipped, never read under another topic's offsets.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aep_emulator::{Fault, FaultId, Style};
use rustix::process::Signal;
use serde_json::Value;
use xylem_bench_order::workload;
use xylem_tests::kafka::{self, Message};
use xylem_tests::{Xylem, eventually, within};

use crate::world::World;

const LIMIT: Duration = Duration::from_mins(3);

/// So little may be in flight that an outage soon pauses the partitions.
const SMALL: &str = "limits: {in_flight_bytes: 4194304}\n";

fn orders(count: u64) -> impl Iterator<Item = Message> {
    (0..count).map(|number| Message::new(workload::order(number)))
}

/// AEP is away until the fault is cleared.
fn outage(world: &World) -> FaultId {
    world.emulator.control().fault(Fault::status(503))
}

/// Waits for a partition of `/status` that is as wanted.
fn wait_for_partition(xylem: &Xylem, wanted: impl Fn(&Value) -> bool) -> Value {
    eventually(|| {
        let status = xylem.status();
        let found = status["partitions"].as_array().unwrap().iter().find(|p| wanted(p)).cloned();
        found.ok_or_else(|| status["partitions"].to_string())
    })
}

fn wait_halted(xylem: &Xylem) -> String {
    let halted = wait_for_partition(xylem, |partition| partition["halted"].is_string());
    halted["halted"].as_str().unwrap().to_owned()
}

fn wait_for_metric(xylem: &Xylem, line: &str) {
    eventually(|| {
        let metrics = xylem.metrics();
        if metrics.lines().any(|l| l == line) { Ok(()) } else { Err(format!("{line}:\n{metrics}")) }
    });
}

#[test]
fn invariant_8_a_group_that_starts_at_the_newest_record_loses_none_after_that() {
    within(LIMIT, || {
        let Some(kafka) = kafka::shared() else { return };
        let world = World { start: "latest", ..World::new(kafka, 2, Style::Production) };
        world.produce(2, 50);
        let away = outage(&world);
        let mut xylem = world.orders().start();
        xylem.wait_ready();
        wait_for_partition(&xylem, |partition| partition["partition"] == 1);
        let messages = orders(40).map(|message| Message { partition: Some(0), ..message });
        kafka.produce(&world.topic, messages);
        wait_for_partition(&xylem, |partition| partition["in_flight_records"] == 40);
        drop(xylem.kill9());
        // Of the other partition nothing was ever read.
        let messages = orders(30).map(|message| Message { partition: Some(1), ..message });
        kafka.produce(&world.topic, messages);
        world.emulator.control().clear(away);
        let mut again = world.orders().start();
        again.wait_ready();
        world.wait_accepted(70);
        let arrivals = world.arrivals();
        assert!(arrivals.iter().all(|(_, offset)| *offset >= 50), "{arrivals:?}");
        again.stop();
    });
}

#[test]
fn invariant_9_a_committed_offset_beyond_the_log_halts_the_pipeline() {
    within(LIMIT, || {
        let Some(kafka) = kafka::shared() else { return };
        let world = World::new(kafka, 2, Style::Production);
        world.produce(2, 10);
        kafka.commit(&world.group, &world.topic, 0, 1_000);
        let mut xylem = world.orders().start();
        xylem.wait_ready();
        let words = wait_halted(&xylem);
        assert!(words.contains("the next offset is 1000, but the log ends at 10"), "{words}");
        // The whole pipeline: its other partition is of the same topic.
        let other = wait_for_partition(&xylem, |p| p["partition"] == 1 && p["halted"].is_string());
        assert_eq!(other["halted"], words);
        xylem.stop();
        kafka.commit(&world.group, &world.topic, 0, 0);
        let mut again = world.orders().start();
        again.wait_ready();
        world.wait_accepted(20);
        again.stop();
        world.assert_nothing_lost();
    });
}

#[test]
fn records_that_retention_took_are_counted_or_halt_the_pipeline() {
    within(LIMIT, || {
        let Some(kafka) = kafka::shared() else { return };
        let world = World::new(kafka, 1, Style::Production);
        world.produce(1, 100);
        kafka.commit(&world.group, &world.topic, 0, 10);
        kafka.delete_before(&world.topic, 0, 60);
        let halting = World {
            start: "earliest\n  out_of_range: halt",
            ..World::new(kafka, 1, Style::Production)
        };
        let halting = World { topic: world.topic.clone(), ..halting };
        kafka.commit(&halting.group, &halting.topic, 0, 10);
        let mut halted = halting.orders().start();
        halted.wait_ready();
        let words = wait_halted(&halted);
        assert!(
            words.contains("the next offset is 10, but the oldest record left is 60"),
            "{words}"
        );
        halted.stop();
        let mut xylem = world.orders().start();
        xylem.wait_ready();
        world.wait_accepted(40);
        let labels = format!("pipeline=\"orders\",topic=\"{}\"", world.topic);
        wait_for_metric(&xylem, &format!("xylem_records_expired_total{{{labels}}} 50"));
        xylem.stop();
    });
}

#[test]
fn records_that_retention_takes_from_a_paused_partition_are_counted() {
    within(LIMIT, || {
        let Some(kafka) = kafka::shared() else { return };
        let world = World::new(kafka, 1, Style::Production);
        world.produce(1, 40_000);
        let away = outage(&world);
        let mut xylem = world.setup("order", "{plugin: order}", SMALL).start();
        xylem.wait_ready();
        wait_for_partition(&xylem, |partition| partition["paused"] == true);
        kafka.delete_before(&world.topic, 0, 39_990);
        world.emulator.control().clear(away);
        eventually(|| match world.arrivals().last() {
            Some((0, 39_999)) => Ok(()),
            last => Err(format!("{last:?}")),
        });
        World::assert_in_order(&world.arrivals());
        let accepted = u64::try_from(world.arrivals().len()).unwrap();
        let labels = format!("pipeline=\"orders\",topic=\"{}\"", world.topic);
        let expired = format!("xylem_records_expired_total{{{labels}}} {}", 40_000 - accepted);
        wait_for_metric(&xylem, &expired);
        let (status, _) = xylem.stop();
        assert_eq!(status.code(), Some(0));
    });
}

#[test]
fn the_backlog_of_a_paused_partition_is_known() {
    within(LIMIT, || {
        let Some(kafka) = kafka::shared() else { return };
        let world = World::new(kafka, 1, Style::Production);
        world.produce(1, 20_000);
        let away = outage(&world);
        let mut xylem = world.setup("order", "{plugin: order}", SMALL).start();
        xylem.wait_ready();
        wait_for_partition(&xylem, |p| p["paused"] == true && p["lag"] == 20_000);
        kafka.produce(&world.topic, orders(3_000));
        let partition = wait_for_partition(&xylem, |partition| partition["lag"] == 23_000);
        assert_eq!(partition["paused"], true);
        assert!(partition["arrival_per_second"].as_f64().unwrap() > 0.0, "{partition}");
        world.emulator.control().clear(away);
        wait_for_partition(&xylem, |partition| partition["lag"] == 0);
        xylem.stop();
        world.assert_committed();
    });
}

#[test]
fn records_that_expire_while_aep_is_away_are_warned_of() {
    within(LIMIT, || {
        let Some(kafka) = kafka::shared() else { return };
        let topic = kafka.unique("hour");
        kafka.create_topic(&topic, 1, &[("retention.ms", "3600000")]);
        let world = World { topic, ..World::new(kafka, 1, Style::Production) };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let before = i64::try_from(now.as_millis()).unwrap() - 50 * 60_000;
        kafka.produce(&world.topic, orders(10).map(|m| Message { timestamp: Some(before), ..m }));
        let away = outage(&world);
        let mut xylem = world.orders().start();
        xylem.wait_ready();
        let words = format!("`{}`: retention may take records", world.topic);
        eventually(|| {
            let warnings = xylem.status()["warnings"].to_string();
            if warnings.contains(&words) { Ok(()) } else { Err(warnings) }
        });
        let labels = format!("pipeline=\"orders\",topic=\"{}\",partition=\"0\"", world.topic);
        let metric = format!("xylem_partition_expires_seconds{{{labels}}} ");
        let metrics = xylem.metrics();
        let left = metrics.lines().find_map(|line| line.strip_prefix(&metric)).unwrap();
        let left: u64 = left.parse().unwrap();
        assert!((1..=600).contains(&left), "{left} s left");
        world.emulator.control().clear(away);
        eventually(|| {
            let (status, metrics) = (xylem.status(), xylem.metrics());
            let over = status["warnings"] == serde_json::json!([]) && !metrics.contains(&metric);
            if over { Ok(()) } else { Err(status.to_string()) }
        });
        xylem.stop();
    });
}

#[test]
fn invariant_9_a_topic_made_again_while_running_halts_the_pipeline() {
    within(LIMIT, || {
        let Some(kafka) = kafka::shared() else { return };
        let world = World::new(kafka, 1, Style::Production);
        world.produce(1, 100);
        let mut xylem = world.orders().start();
        xylem.wait_ready();
        world.wait_accepted(100);
        kafka.delete_topic(&world.topic);
        kafka.create_topic(&world.topic, 1, &[]);
        world.produce(1, 10);
        let words = wait_halted(&xylem);
        assert!(words.contains("made again"), "{words}");
        assert_eq!(world.arrivals().len(), 100);
        xylem.stop();
    });
}

#[test]
fn a_paused_partition_that_is_lost_and_comes_back_is_read_on() {
    within(LIMIT, || {
        let Some(kafka) = kafka::shared() else { return };
        let world = World::new(kafka, 1, Style::Production);
        world.produce(1, 20_000);
        let away = outage(&world);
        let start = || {
            let mut xylem = world.setup("order", "{plugin: order}", SMALL).start();
            xylem.wait_ready();
            xylem
        };
        let partitions = |xylem: &Xylem, wanted: usize| {
            eventually(|| match xylem.status()["partitions"].as_array().map(Vec::len) {
                Some(count) if count == wanted => Ok(()),
                count => Err(format!("{count:?} partitions")),
            });
        };
        let first = start();
        wait_for_partition(&first, |partition| partition["paused"] == true);
        // Silent for longer than the session: the group gives the partition to the other.
        first.signal(Signal::STOP);
        let second = start();
        partitions(&second, 1);
        first.signal(Signal::CONT);
        partitions(&first, 0);
        second.kill9();
        partitions(&first, 1);
        world.emulator.control().clear(away);
        world.wait_accepted(20_000);
        world.assert_nothing_lost();
        first.stop();
        world.assert_committed();
    });
}

#[test]
fn a_header_key_that_is_no_text_stops_nothing() {
    within(LIMIT, || {
        let Some(kafka) = kafka::shared() else { return };
        let world = World::new(kafka, 1, Style::Production);
        kafka.produce_with_header_key(&world.topic, b"no order", b"ke\xffy");
        world.produce(1, 10);
        let mut xylem = world.orders().start();
        xylem.wait_ready();
        world.wait_accepted(10);
        let letters = world.wait_dead(1);
        assert_eq!(letters[0].header("ke\u{fffd}y").as_deref(), Some("value"));
        xylem.stop();
    });
}
