//! What the end-to-end tests share: a pipeline of orders from a real Kafka to the emulator.

use std::collections::{BTreeMap, BTreeSet};

use aep_emulator::{Emulator, Keep, LakeQuery, Settings, Style};
use xylem_bench_order::workload;
use xylem_tests::kafka::{Client, Message};
use xylem_tests::{Setup, eventually, guests, repository};

/// The organisation of all tests.
pub(crate) const ORGANISATION: &str = "ABCD1234@AdobeOrg";

/// An emulator that keeps ids and times only, in a style.
pub(crate) fn emulator(style: Style) -> Emulator {
    let settings = Settings {
        org: Some(ORGANISATION.to_owned()),
        style,
        keep: Keep::Ids,
        validate: false,
        ..Settings::default()
    };
    Emulator::start(settings).unwrap()
}

/// Topics, a group and an inlet that no other test uses.
pub(crate) struct World {
    /// The cluster.
    pub(crate) kafka: &'static Client,
    /// The topic of orders.
    pub(crate) topic: String,
    /// The dead-letter topic.
    pub(crate) dead: String,
    /// The group.
    pub(crate) group: String,
    /// AEP.
    pub(crate) emulator: Emulator,
    /// Where the group starts, and what else stands in the section `kafka`.
    pub(crate) start: &'static str,
    /// How events become requests, and what else stands in the destination.
    pub(crate) batch: &'static str,
}

impl World {
    /// A world with so many partitions; none, and the test skips, without Kafka.
    pub(crate) fn new(kafka: &'static Client, partitions: i32, style: Style) -> Self {
        Self {
            kafka,
            topic: kafka.topic("orders", partitions),
            dead: kafka.topic("dead", 1),
            group: kafka.unique("group"),
            emulator: emulator(style),
            start: "earliest",
            batch: "{linger_ms: 100, max_messages: 500}",
        }
    }

    /// A folder with a configuration of one pipeline: orders through one plugin into one inlet.
    pub(crate) fn setup(&self, plugin: &str, chain: &str, further: &str) -> Setup {
        let schema = repository().join("tests/bench/order/schema.json");
        let text = format!(
            "kafka:
  brokers: {brokers}
  group: {group}
  start: {start}
  session_timeout_ms: 6000
aep:
  organisation: {ORGANISATION}
quota: {{messages_per_second: 1000000, requests_per_second: 1000000}}
plugins:
  {plugin}:
    component: {component}
    max_cpu_ms: 200
    max_memory_bytes: 33554432
destinations:
  orders:
    inlet: {inlet}
    dataset: orders
    schema: {{id: 'https://ns.adobe.com/acme/schemas/order', file: {schema}}}
    batch: {batch}
pipelines:
  orders:
    topics: [{topic}]
    headers: true
    chain: [{chain}]
    destinations: [orders]
    dead_letter: {{topic: {dead}}}
{further}",
            brokers = self.kafka.bootstrap(),
            group = self.group,
            start = self.start,
            batch = self.batch,
            component = guests::built(plugin).display(),
            inlet = self.emulator.inlet_url("orders"),
            schema = schema.display(),
            topic = self.topic,
            dead = self.dead,
        );
        Setup::new(&text)
    }

    /// The pipeline of typed orders.
    pub(crate) fn orders(&self) -> Setup {
        self.setup("order", "{plugin: order}", "")
    }

    /// Writes `count` orders to each partition.
    pub(crate) fn produce(&self, partitions: i32, count: u64) {
        self.kafka.produce_stamped(&self.topic, 0..partitions, 0..count, |partition, sequence| {
            let number = u64::try_from(partition).unwrap() * 1_000_000 + sequence;
            workload::order(number).into_bytes()
        });
    }

    /// Waits until the inlet has accepted so many messages.
    pub(crate) fn wait_accepted(&self, count: u64) {
        eventually(|| {
            let accepted =
                self.emulator.control().summary().inlets.get("orders").map_or(0, |i| i.accepted);
            if accepted >= count { Ok(()) } else { Err(format!("{accepted} of {count} accepted")) }
        });
    }

    /// Waits until the dead-letter topic has so many records, and gives them.
    pub(crate) fn wait_dead(&self, count: usize) -> Vec<Message> {
        eventually(|| {
            let there: i64 = self.kafka.ends(&self.dead).values().sum();
            let there = usize::try_from(there).unwrap();
            if there >= count { Ok(()) } else { Err(format!("{there} of {count} dead letters")) }
        });
        self.kafka.read(&self.dead)
    }

    /// Partition and offset of every accepted message, in the order of arrival.
    pub(crate) fn arrivals(&self) -> Vec<(i32, i64)> {
        let query = LakeQuery { limit: usize::MAX, ..LakeQuery::default() };
        let lake = self.emulator.control().lake(&query);
        lake.iter().map(|entry| place(&entry.msg_id)).collect()
    }

    /// Fails unless arrivals of each partition stand in offset order (promise 3).
    pub(crate) fn assert_in_order(arrivals: &[(i32, i64)]) {
        let mut last: BTreeMap<i32, i64> = BTreeMap::new();
        for (partition, offset) in arrivals {
            let before = last.insert(*partition, *offset);
            assert!(before < Some(*offset), "{partition}: {offset} after {before:?}");
        }
    }

    /// Fails unless the group has committed everything.
    pub(crate) fn assert_committed(&self) {
        let ends = self.kafka.ends(&self.topic);
        assert_eq!(self.kafka.committed(&self.group, &self.topic), ends);
    }

    /// Fails unless every record has a fate: accepted or in the dead-letter topic.
    pub(crate) fn assert_nothing_lost(&self) {
        let mut fates: BTreeSet<(i32, i64)> = self.arrivals().into_iter().collect();
        fates.extend(self.kafka.read(&self.dead).iter().map(dead_place));
        for (partition, end) in self.kafka.ends(&self.topic) {
            let missing: Vec<i64> =
                (0..end).filter(|offset| !fates.contains(&(partition, *offset))).collect();
            assert!(missing.is_empty(), "partition {partition}: no fate for {missing:?}");
        }
    }
}

/// Partition and offset in a message id.
fn place(msg_id: &str) -> (i32, i64) {
    let parts: Vec<&str> = msg_id.split('.').collect();
    (parts[1].parse().unwrap(), parts[2].parse().unwrap())
}

/// Partition and offset in a dead letter's headers.
pub(crate) fn dead_place(letter: &Message) -> (i32, i64) {
    let number = |name: &str| letter.header(name).unwrap();
    (
        number("__connect.errors.partition").parse().unwrap(),
        number("__connect.errors.offset").parse().unwrap(),
    )
}
