//! From a real Kafka to the emulator: everything once, in order, and nothing refused unseen.

use std::time::Duration;

use aep_emulator::{Fault, Kind, Select, Style};
use xylem_bench_order::workload;
use xylem_tests::kafka::{self, Message};
use xylem_tests::{eventually, eventually_within, within};

use crate::world::{World, dead_place};

const LIMIT: Duration = Duration::from_mins(4);

/// Part A, point 2: 200,000 orders over 8 partitions, then SIGTERM.
#[test]
fn invariant_3_200_000_orders_arrive_once_each_and_in_order() {
    within(LIMIT, || {
        let Some(kafka) = kafka::shared() else { return };
        let world = World::new(kafka, 8, Style::Production);
        let mut xylem = world.orders().start();
        xylem.wait_ready();
        world.produce(8, 25_000);
        world.wait_accepted(200_000);
        let (status, _) = xylem.stop();
        assert_eq!(status.code(), Some(0));
        let arrivals = world.arrivals();
        assert_eq!(arrivals.len(), 200_000);
        World::assert_in_order(&arrivals);
        world.assert_nothing_lost();
        world.assert_committed();
    });
}

/// Part A, point 4: whatever the form of the answer, exactly the refused record is dead-lettered,
/// as it came, with AEP's words.
#[test]
fn one_refused_message_of_500_is_one_dead_letter() {
    within(LIMIT, || {
        let Some(kafka) = kafka::shared() else { return };
        for style in [Style::Documented, Style::Production, Style::NoXaction] {
            one_refused(&World::new(kafka, 1, style));
        }
    });
}

fn one_refused(world: &World) {
    const WORDS: &str = "Message has unknown xdm format";
    let messages = (0..500).map(|number| Message {
        key: Some(format!("key-{number}").into_bytes()),
        headers: vec![("trace".to_owned(), Some(b"\xff\x00".to_vec())), ("none".to_owned(), None)],
        ..Message::new(workload::order(number))
    });
    world.kafka.produce(&world.topic, messages);
    // The order's `_id` is its number: the 250th of the batch.
    let refused = Kind::Refuse {
        message: Select::EntityId("O-0000000250".to_owned()),
        status: 400,
        text: WORDS.to_owned(),
    };
    let fault = world.emulator.control().fault(Fault::new(refused));
    let mut xylem = world.orders().start();
    xylem.wait_ready();
    world.wait_accepted(499);
    let dead = world.wait_dead(1);
    let (status, _) = xylem.stop();
    assert_eq!(status.code(), Some(0));
    assert!(world.emulator.control().took_effect(fault) >= 1);
    assert_eq!(dead.len(), 1);
    let letter = &dead[0];
    assert_eq!(dead_place(letter), (0, 250));
    assert_eq!(letter.payload.as_deref(), Some(workload::order(250).as_bytes()));
    assert_eq!(letter.key.as_deref(), Some(&b"key-250"[..]));
    assert_eq!(letter.headers[0], ("trace".to_owned(), Some(b"\xff\x00".to_vec())));
    assert_eq!(letter.headers[1], ("none".to_owned(), None));
    assert_eq!(letter.header("xylem.code").as_deref(), Some("aep.refused"));
    let words = letter.header("__connect.errors.exception.message").unwrap();
    assert!(words.contains(WORDS), "{words}");
    world.assert_nothing_lost();
    world.assert_committed();
}

/// An outage is waited out: nothing is dead-lettered, nothing lost, and order holds.
#[test]
fn invariant_11_an_outage_is_never_a_dead_letter() {
    within(LIMIT, || {
        let Some(kafka) = kafka::shared() else { return };
        let world = World::new(kafka, 2, Style::Production);
        let control = world.emulator.control();
        let outage = control.fault(Fault::outage(1).times(5));
        let throttle = control.fault(Fault::status(429).after(2).times(3));
        let reset = control.fault(Fault::new(Kind::ResetAfter).after(6).times(2));
        let mut xylem = world.orders().start();
        xylem.wait_ready();
        world.produce(2, 2_000);
        world.wait_accepted(4_000);
        eventually(|| {
            let arrived: std::collections::BTreeSet<_> = world.arrivals().into_iter().collect();
            if arrived.len() == 4_000 { Ok(()) } else { Err(format!("{} arrived", arrived.len())) }
        });
        let (status, _) = xylem.stop();
        assert_eq!(status.code(), Some(0));
        for fault in [outage, throttle, reset] {
            assert!(control.took_effect(fault) > 0, "{fault:?} never took effect");
        }
        assert!(world.kafka.read(&world.dead).is_empty());
        world.assert_nothing_lost();
        world.assert_committed();
    });
}

/// AEP is away when the process is told to stop: it ends with 4 when its grace period does, and what it
/// had begun comes again.
#[test]
fn invariant_8_a_stop_during_an_outage_ends_with_its_grace_period() {
    within(LIMIT, || {
        let Some(kafka) = kafka::shared() else { return };
        let world = World::new(kafka, 2, Style::Production);
        let away = world.emulator.control().fault(Fault::status(503));
        world.produce(2, 1_000);
        let mut xylem =
            world.setup("order", "{plugin: order}", "shutdown: {grace_ms: 2000}\n").start();
        xylem.wait_ready();
        eventually(|| match world.emulator.control().took_effect(away) {
            0 => Err("no request yet".to_owned()),
            _ => Ok(()),
        });
        let (status, _) = xylem.stop();
        assert_eq!(status.code(), Some(4));
        world.emulator.control().clear(away);
        let mut again = world.orders().start();
        again.wait_ready();
        world.wait_accepted(2_000);
        again.stop();
        world.assert_nothing_lost();
        world.assert_committed();
    });
}

/// What is missing is said where an operator looks, and found when it is there.
#[test]
fn invariant_11_missing_topics_are_told_and_waited_for() {
    within(LIMIT, || {
        let Some(kafka) = kafka::shared() else { return };
        let world = World::new(kafka, 1, Style::Production);
        kafka.delete_topic(&world.dead);
        let other = kafka.unique("absent");
        let further = format!(
            "  others:
    topics: [{other}]
    chain: [{{plugin: order}}]
    destinations: [orders]
    dead_letter: {{topic: {dead}}}
",
            dead = world.dead,
        );
        world.kafka.produce(&world.topic, [Message::new("no order")]);
        let mut xylem = world.setup("order", "{plugin: order}", &further).start();
        xylem.wait_ready();
        eventually(|| {
            let status = xylem.status();
            let told = status["warnings"].to_string().contains(&other);
            let waiting = status["dead_letters"]["waiting"] == 1;
            if told && waiting { Ok(()) } else { Err(status.to_string()) }
        });
        kafka.create_topic(&other, 1, &[]);
        kafka.create_topic(&world.dead, 1, &[]);
        kafka.produce(&other, [Message::new(workload::order(7))]);
        world.wait_dead(1);
        eventually_within(Duration::from_mins(2), || match world.arrivals().len() {
            1 => Ok(()),
            count => Err(format!("{count} arrived: {}", xylem.status())),
        });
        eventually(|| {
            let status = xylem.status();
            let said = (&status["dead_letters"]["waiting"], &status["dead_letters"]["refusal"]);
            let nothing =
                said.0 == 0 && said.1.is_null() && status["warnings"] == serde_json::json!([]);
            if nothing { Ok(()) } else { Err(status.to_string()) }
        });
        xylem.stop();
    });
}

/// A slow AEP holds one request of each partition, not one of all.
#[test]
fn requests_of_several_partitions_are_on_their_way_at_once() {
    within(LIMIT, || {
        let Some(kafka) = kafka::shared() else { return };
        let world = World::new(kafka, 4, Style::Production);
        let slow = world.emulator.control().fault(Fault::new(Kind::Latency { ms: 2_000 }));
        world.produce(4, 2_000);
        let mut xylem = world.orders().start();
        xylem.wait_ready();
        eventually(|| match &xylem.status()["destinations"][0]["requests_in_flight"] {
            four if *four == 4 => Ok(()),
            other => Err(format!("{other} requests are on their way")),
        });
        world.emulator.control().clear(slow);
        world.wait_accepted(8_000);
        let (status, _) = xylem.stop();
        assert_eq!(status.code(), Some(0));
        World::assert_in_order(&world.arrivals());
        world.assert_committed();
    });
}
