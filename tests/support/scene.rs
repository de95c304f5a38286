//! One pipeline between a Kafka and an emulated AEP, with the real binary in the middle.

use std::collections::BTreeMap;
use std::time::Duration;

use aep_emulator::{Emulator, Inlet, Settings};
use serde_json::{Value, json};

use crate::eventually::{eventually, patience};
use crate::kafka::Client;
use crate::process::{Setup, Xylem};
use crate::{guests, repository};

/// The name of the inlet, of the destination and of the pipeline.
pub const EVENTS: &str = "events";

/// The organisation of the inlet.
const ORGANISATION: &str = "0123456789ABCDEF01234567@AdobeOrg";

/// What stands between the topic and the inlet.
pub struct Scene {
    kafka: Client,
    emulator: Emulator,
    topic: String,
    dead_letters: String,
    group: String,
    configuration: Value,
}

/// An accepted event, read from the emulator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// The record's partition, from the message id.
    pub partition: i32,
    /// The record's offset, from the message id.
    pub offset: i64,
    /// The message id.
    pub msg_id: String,
    /// The entity's `_id`.
    pub entity_id: String,
}

impl Scene {
    /// Orders of the benchmark through its typed plugin.
    pub fn orders(kafka: &Client, partitions: i32) -> Self {
        Self::new(kafka, partitions, "order", &json!({}))
    }

    /// Events of [`hostile_event`] through the hostile guest, which is told by `settings` what to
    /// do to which.
    pub fn hostile(kafka: &Client, partitions: i32, settings: &Value) -> Self {
        Self::new(kafka, partitions, "hostile", settings)
    }

    /// A built guest with its settings. Topics and group are new, the emulator is empty, checks
    /// events against the order schema, and asks for no token.
    pub fn new(kafka: &Client, partitions: i32, plugin: &str, settings: &Value) -> Self {
        let schema = order_schema();
        let schema_id = schema["$id"].as_str().unwrap().to_owned();
        let emulator = Settings::default()
            .with_inlet(Inlet::named(EVENTS).of(ORGANISATION))
            .with_dataset(EVENTS, &schema_id)
            .with_schema(&schema_id, schema);
        let emulator = Emulator::start(emulator).unwrap();
        let topic = kafka.topic("records", partitions);
        let dead_letters = kafka.topic("dead-letters", 1);
        let group = kafka.unique("group");
        let configuration = json!({
            "kafka": {
                "brokers": kafka.bootstrap(),
                "group": group,
                "start": "earliest",
                // A killed member is missed after the broker's six seconds, not after 45.
                "protocol": "consumer",
            },
            "aep": { "organisation": ORGANISATION },
            "plugins": { plugin: { "component": guests::built(plugin) } },
            "destinations": { EVENTS: {
                "inlet": emulator.inlet_url(EVENTS),
                "dataset": EVENTS,
                "schema": { "id": schema_id, "file": "schema.json" },
            } },
            "pipelines": { EVENTS: {
                "topics": [topic],
                "chain": [{ "plugin": plugin, "settings": settings }],
                "destinations": [EVENTS],
                "dead_letter": { "topic": dead_letters },
            } },
        });
        Self { kafka: kafka.clone(), emulator, topic, dead_letters, group, configuration }
    }

    /// Changes the configuration before the process is started with it.
    #[must_use]
    pub fn configured(mut self, change: impl FnOnce(&mut Value)) -> Self {
        change(&mut self.configuration);
        self
    }

    /// A folder with the configuration; the process is not started.
    pub fn setup(&self) -> Setup {
        Setup::new(&self.configuration).file("schema.json", order_schema().to_string())
    }

    /// Starts the process and waits until it is ready.
    pub fn start(&self) -> Xylem {
        let mut xylem = self.setup().start();
        xylem.wait_ready();
        xylem
    }

    /// The Kafka side.
    pub fn kafka(&self) -> &Client {
        &self.kafka
    }

    /// The AEP side.
    pub fn emulator(&self) -> &Emulator {
        &self.emulator
    }

    /// The topic that the pipeline reads.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The topic of the dead letters.
    pub fn dead_letters(&self) -> &str {
        &self.dead_letters
    }

    /// The consumer group.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// Waits until so many events were accepted, repeats included.
    pub fn wait_accepted(&self, count: u64) {
        let limit = patience(Duration::from_mins(2));
        let control = self.emulator.control();
        let there = control.wait_until(EVENTS, limit, |inlet| inlet.accepted >= count);
        let summary = control.summary();
        assert!(there, "not {count} accepted events within {limit:?}: {summary:?}");
    }

    /// Waits until the group has committed the end of every partition of the topic that holds
    /// records.
    pub fn wait_committed(&self) {
        let mut ends = self.kafka.ends(&self.topic);
        ends.retain(|_, end| *end > 0);
        eventually(|| {
            let committed = self.committed();
            let same = committed == ends;
            if same { Ok(()) } else { Err(format!("committed {committed:?}, ends {ends:?}")) }
        });
    }

    /// What the group has committed of the topic.
    pub fn committed(&self) -> BTreeMap<i32, i64> {
        self.kafka.committed(&self.group, &self.topic)
    }

    /// All accepted events in the order of arrival, repeats included.
    pub fn delivered(&self) -> Vec<Delivered> {
        let messages = self.emulator.control().messages(EVENTS);
        let delivered = messages.into_iter().map(|message| {
            let parts: Vec<_> = message.msg_id.split('.').collect();
            assert!(!message.invalid, "AEP would drop this event: {message:?}");
            Delivered {
                partition: parts[1].parse().unwrap(),
                offset: parts[2].parse().unwrap(),
                entity_id: message.entity_id.unwrap_or_default(),
                msg_id: message.msg_id,
            }
        });
        delivered.collect()
    }
}

/// What [`Scene::hostile`] echoes: an event that carries its stamp, and a word to strike on.
pub fn hostile_event(partition: i32, sequence: u64, word: &str) -> Vec<u8> {
    let event = json!({
        "_id": format!("{partition}/{sequence}"),
        "timestamp": "2026-03-01T00:00:00Z",
        "eventType": word,
    });
    event.to_string().into_bytes()
}

fn order_schema() -> Value {
    let file = repository().join("tests/bench/order/schema.json");
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}
