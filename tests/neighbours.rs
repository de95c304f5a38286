//! One pipeline's trouble is not another's.

use std::time::Duration;

use aep_emulator::{Emulator, Fault, Kind, Style};
use serde_json::Value;
use xylem_bench_order::workload;
use xylem_tests::kafka::{self, Client, Message};
use xylem_tests::{Setup, Xylem, eventually, guests, repository, within};

use crate::world::{ORGANISATION, emulator};

const LIMIT: Duration = Duration::from_mins(3);

/// More partitions than the parts that the budget is cut into, so that the struck pipeline could
/// spend all of it.
const STRUCK_PARTITIONS: i32 = 12;
const PARTITIONS: i32 = 2;

/// What befalls the struck pipeline, whose topic holds far more than the budget.
enum Trouble {
    /// Its records are all rejected, and the dead-letter topic does not exist.
    NoDeadLetterTopic,
    /// Its inlet answers this.
    Status(u16),
    /// Its inlet takes everything, but this long for each request.
    Slow(Duration),
}

/// Promise 4 and part B, point 5: another pipeline's records all arrive while nothing moves in this
/// one.
#[test]
fn invariant_4_a_pipeline_that_stands_still_does_not_hold_another() {
    within(LIMIT, || {
        let Some(kafka) = kafka::shared() else { return };
        let slow = Trouble::Slow(Duration::from_millis(500));
        let stuck = [Trouble::Status(401), Trouble::Status(503)];
        for trouble in [Trouble::NoDeadLetterTopic, slow].into_iter().chain(stuck) {
            one(kafka, &trouble);
        }
    });
}

fn one(kafka: &Client, trouble: &Trouble) {
    let emulator = emulator(Style::Production);
    let (struck, other) =
        (kafka.topic("struck", STRUCK_PARTITIONS), kafka.topic("other", PARTITIONS));
    let dead = match trouble {
        Trouble::NoDeadLetterTopic => kafka.unique("nowhere"),
        _ => kafka.topic("dead", 1),
    };
    let fault = match trouble {
        Trouble::NoDeadLetterTopic => None,
        Trouble::Status(status) => Some(Fault::status(*status)),
        Trouble::Slow(time) => {
            let ms = u64::try_from(time.as_millis()).unwrap();
            Some(Fault::new(Kind::Latency { ms }))
        }
    };
    if let Some(fault) = fault {
        emulator.control().fault(fault.at("struck"));
    }
    kafka.produce_stamped(&struck, 0..STRUCK_PARTITIONS, 0..5_000, |_, number| match trouble {
        Trouble::NoDeadLetterTopic => format!("no order at all: {number:0300}").into_bytes(),
        _ => workload::order(number).into_bytes(),
    });
    let mut xylem = setup(kafka, &emulator, [&struck, &other, &dead]).start();
    xylem.wait_ready();
    wait_full(&xylem, &struck);
    kafka.produce(&other, (0..20_000).map(|number| Message::new(workload::order(number))));
    eventually(|| {
        let summary = emulator.control().summary();
        let accepted = summary.inlets.get("other").map_or(0, |inlet| inlet.accepted);
        let struck = summary.inlets.get("struck").map_or(0, |inlet| inlet.accepted);
        assert!(struck < 60_000, "it was to be slower than the other");
        if accepted == 20_000 { Ok(()) } else { Err(format!("{accepted} of 20000")) }
    });
    xylem.stop();
}

/// Waits until the struck pipeline holds all that it may: one of its partitions is paused.
fn wait_full(xylem: &Xylem, topic: &str) {
    eventually(|| {
        let partitions = xylem.status()["partitions"].clone();
        let full = |p: &Value| p["topic"] == topic && p["paused"] == true;
        let found = partitions.as_array().unwrap().iter().any(full);
        if found { Ok(()) } else { Err(partitions.to_string()) }
    });
}

fn setup(kafka: &Client, emulator: &Emulator, [struck, other, dead]: [&str; 3]) -> Setup {
    let pipeline = |name: &str, topic: &str| {
        format!(
            "  {name}:
    topics: [{topic}]
    chain: [{{plugin: order}}]
    destinations: [{name}]
    dead_letter: {{topic: {dead}}}
"
        )
    };
    let destination = |name: &str| {
        format!(
            "  {name}:
    inlet: {}
    dataset: {name}
    schema: {{id: 'https://ns.adobe.com/acme/schemas/order', file: {}}}
",
            emulator.inlet_url(name),
            repository().join("tests/bench/order/schema.json").display(),
        )
    };
    Setup::new(&format!(
        "kafka: {{brokers: '{brokers}', group: {group}, start: earliest, session_timeout_ms: 6000}}
aep:
  organisation: {ORGANISATION}
  auth: {{token_url: '{token}', client_id: a, client_secret: b, scopes: [openid]}}
limits: {{in_flight_bytes: 16777216}}
shutdown: {{grace_ms: 1000}}
plugins: {{order: {{component: {order}}}}}
destinations:
{}{}pipelines:
{}{}",
        destination("struck"),
        destination("other"),
        pipeline("struck", struck),
        pipeline("other", other),
        brokers = kafka.bootstrap(),
        group = kafka.unique("group"),
        token = emulator.token_url(),
        order = guests::built("order").display(),
    ))
}
