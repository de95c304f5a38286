//! The group and the cluster change while records flow.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use aep_emulator::{Fault, Kind, Style};
use xylem_bench_order::workload;
use xylem_tests::kafka::{self, Broker, Client, Message};
use xylem_tests::{Xylem, eventually, eventually_within, http, patience, within};

use crate::world::World;

const LIMIT: Duration = Duration::from_mins(3);

fn start(world: &World) -> Xylem {
    let mut xylem = world.orders().start();
    xylem.wait_ready();
    xylem
}

fn wait_for_partitions(xylem: &Xylem, wanted: usize) {
    eventually(|| match xylem.status()["partitions"].as_array().map(Vec::len) {
        Some(count) if count == wanted => Ok(()),
        count => Err(format!("{count:?} partitions")),
    });
}

/// Assignments and revocations that the process has seen.
fn rebalances(xylem: &Xylem) -> u64 {
    let metrics = xylem.metrics();
    let count = metrics.lines().find_map(|line| line.strip_prefix("xylem_rebalances_total "));
    count.unwrap().parse().unwrap()
}

/// Every record arrived once.
fn assert_once(world: &World, count: usize) {
    let arrivals = world.arrivals();
    assert_eq!(arrivals.len(), count);
    World::assert_in_order(&arrivals);
    world.assert_nothing_lost();
    world.assert_committed();
}

/// Also where the group starts at the newest record: what is new is not old.
#[test]
fn partitions_that_are_added_are_read_from_their_first_record() {
    within(LIMIT, || {
        let Some(kafka) = kafka::shared() else { return };
        let world = World { start: "latest", ..World::new(kafka, 1, Style::Production) };
        let xylem = start(&world);
        wait_for_partitions(&xylem, 1);
        world.produce(1, 50);
        world.wait_accepted(50);
        kafka.add_partitions(&world.topic, 3);
        world.produce(3, 50);
        eventually_within(Duration::from_mins(1), || match world.arrivals().len() {
            200 => Ok(()),
            count => Err(format!("{count} of 200 arrived")),
        });
        xylem.stop();
        assert_once(&world, 200);
    });
}

#[test]
fn a_static_member_that_starts_again_moves_no_partition() {
    within(LIMIT, || {
        let Some(kafka) = kafka::shared() else { return };
        let mut world = World::new(kafka, 4, Style::Production);
        world.start = "earliest\n  instance_id: first";
        let first = start(&world);
        world.start = "earliest\n  instance_id: second";
        let second = start(&world);
        wait_for_partitions(&first, 2);
        wait_for_partitions(&second, 2);
        world.produce(4, 100);
        world.wait_accepted(400);
        let before = rebalances(&second);
        let (status, setup) = first.stop();
        assert_eq!(status.code(), Some(0));
        let mut again = setup.start();
        again.wait_ready();
        wait_for_partitions(&again, 2);
        world.produce(4, 100);
        world.wait_accepted(800);
        assert_eq!(rebalances(&second), before);
        again.stop();
        second.stop();
        assert_once(&world, 800);
    });
}

#[test]
fn the_consumer_protocol_hands_partitions_over() {
    within(LIMIT, || {
        let Some(kafka) = kafka::shared() else { return };
        let start_and_protocol = "earliest\n  protocol: consumer";
        let world = World { start: start_and_protocol, ..World::new(kafka, 4, Style::Production) };
        let first = start(&world);
        wait_for_partitions(&first, 4);
        world.produce(4, 500);
        let second = start(&world);
        wait_for_partitions(&second, 2);
        wait_for_partitions(&first, 2);
        world.produce(4, 500);
        let (status, _) = first.stop();
        assert_eq!(status.code(), Some(0));
        wait_for_partitions(&second, 4);
        world.produce(4, 500);
        world.wait_accepted(6_000);
        let (status, _) = second.stop();
        assert_eq!(status.code(), Some(0));
        assert_once(&world, 6_000);
    });
}

#[test]
fn a_broker_that_is_away_at_the_start_and_later_is_waited_for() {
    within(LIMIT, || {
        let Some(mut broker) = Broker::start(&[]) else { return };
        let kafka: &'static Client = Box::leak(Box::new(broker.client().clone()));
        let world = World::new(kafka, 2, Style::Production);
        world.produce(2, 100);
        broker.stop();
        let mut xylem = world.orders().start();
        xylem.wait_for_stderr("no broker answers yet");
        let answered = |path: &str| http::get(xylem.admin_port(), path).unwrap().status;
        assert_eq!((answered("/livez"), answered("/readyz")), (200, 503));
        broker.restart();
        xylem.wait_ready();
        world.wait_accepted(200);
        broker.kill9();
        broker.restart();
        world.produce(2, 100);
        world.wait_accepted(400);
        let (status, _) = xylem.stop();
        assert_eq!(status.code(), Some(0));
        world.assert_nothing_lost();
        world.assert_committed();
    });
}

#[test]
fn a_member_stays_in_its_group_however_long_aep_is_away() {
    within(LIMIT, || {
        let Some(kafka) = kafka::shared() else { return };
        let impatient = "earliest\n  properties: {max.poll.interval.ms: '6000'}";
        let world = World { start: impatient, ..World::new(kafka, 2, Style::Production) };
        world.produce(2, 10_000);
        let away = world.emulator.control().fault(Fault::status(503));
        let small = "limits: {in_flight_bytes: 4194304}\n";
        let mut xylem = world.setup("order", "{plugin: order}", small).start();
        xylem.wait_ready();
        wait_for_partitions(&xylem, 2);
        let (since, before) = (Instant::now(), rebalances(&xylem));
        eventually(|| {
            assert_eq!(rebalances(&xylem), before, "{}", xylem.stderr());
            let left = patience(Duration::from_secs(14)).saturating_sub(since.elapsed());
            if left.is_zero() { Ok(()) } else { Err(format!("{left:?} of the outage are left")) }
        });
        world.emulator.control().clear(away);
        world.wait_accepted(20_000);
        assert_eq!(rebalances(&xylem), before);
        xylem.stop();
        assert_once(&world, 20_000);
    });
}

/// Offsets have gaps: the markers of transactions, and all that was aborted.
#[test]
fn invariant_1_transactions_leave_gaps_and_nothing_of_the_aborted() {
    within(LIMIT, || {
        let Some(kafka) = kafka::shared() else { return };
        let world = World::new(kafka, 1, Style::Production);
        let orders =
            |numbers: std::ops::Range<u64>| numbers.map(|n| Message::new(workload::order(n)));
        for (numbers, commit) in [(0..10, true), (10..20, false), (20..30, true), (30..40, false)] {
            kafka.produce_transaction(&world.topic, orders(numbers), commit);
        }
        kafka.produce(&world.topic, orders(40..50));
        let xylem = start(&world);
        world.wait_accepted(30);
        xylem.stop();
        let offsets: Vec<i64> = world.arrivals().into_iter().map(|(_, offset)| offset).collect();
        // A marker follows each transaction of ten.
        let expected: Vec<i64> = (0..10).chain(22..32).chain(44..54).collect();
        assert_eq!(offsets, expected);
        world.assert_committed();
    });
}

/// `order: none`: requests of one partition overtake each other, the commit does not.
#[test]
fn invariant_1_without_order_nothing_is_committed_past_an_open_request() {
    within(LIMIT, || {
        let Some(kafka) = kafka::shared() else { return };
        let batch = "{linger_ms: 5, max_messages: 20, max_in_flight: 8}\n    order: none";
        let world = World { batch, ..World::new(kafka, 1, Style::Production) };
        let control = world.emulator.control();
        // One request waits long at the inlet, while all others pass it.
        let slow = control.fault(Fault::new(Kind::Latency { ms: 25_000 }).times(1));
        world.produce(1, 3_000);
        let xylem = start(&world);
        world.wait_accepted(2_900);
        let committed =
            || kafka.committed(&world.group, &world.topic).get(&0).copied().unwrap_or(0);
        let (since, some) = (Instant::now(), patience(Duration::from_secs(3)));
        eventually(|| {
            let arrived: BTreeSet<i64> = world.arrivals().into_iter().map(|(_, at)| at).collect();
            let open = (0..3_000).find(|offset| !arrived.contains(offset)).unwrap();
            assert!(committed() <= open, "{} committed, {open} is open", committed());
            let over = since.elapsed() > some && committed() == open;
            if over { Ok(()) } else { Err(format!("{} of {open} committed", committed())) }
        });
        assert_eq!(control.took_effect(slow), 1);
        drop(xylem.kill9());
        let again = start(&world);
        eventually(|| match committed() {
            3_000 => Ok(()),
            other => Err(format!("{other} of 3,000 committed")),
        });
        let (status, _) = again.stop();
        assert_eq!(status.code(), Some(0));
        world.assert_nothing_lost();
    });
}
