//! What tests of several modules are made with: partitions, dead letters and destinations that talk
//! to nobody.

use std::sync::Arc;
use std::time::Duration;

use crate::config;
use crate::dead_letter::{DeadLetters, Origin};
use crate::deliver::{Access, Destination, Quota};
use crate::generation::{Pipeline, Route};
use crate::http::Client;
use crate::kafka::Producer;
use crate::plugin::{CallLimits, Chain, Forms, StandIn, Warm};
use crate::record::{PartitionId, Record};
use crate::schema::Schema;
use crate::settle::{Budget, Debt, Partition, Settlement, Settlements};
use crate::telemetry::{Faults, Metrics};

/// Port 1 on loopback: nobody listens.
const NOBODY: &str = "127.0.0.1:1";

/// One assigned partition with room for a megabyte.
pub(crate) struct Assignment {
    pub(crate) partition: Arc<Partition>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) settlements: Arc<Settlements>,
}

impl Assignment {
    pub(crate) fn new() -> Self {
        Self::of_term(1)
    }

    pub(crate) fn of_term(term: u64) -> Self {
        let (budget, settlements) = (Arc::new(Budget::new(1 << 20)), Arc::<Settlements>::default());
        let partition =
            Partition::new(partition_id(), term, Arc::clone(&budget), Arc::clone(&settlements));
        Self { partition: Arc::new(partition), budget, settlements }
    }

    /// A record that was fetched and begun.
    pub(crate) fn debt(&self, record: Record) -> Debt {
        self.partition.charge(record.weight());
        Debt::new(Arc::clone(&self.partition), record)
    }

    /// What was settled since this was last asked.
    pub(crate) fn settled(&self) -> Vec<(i64, Settlement)> {
        let mut settled = Vec::new();
        self.settlements.take(&mut settled, Duration::ZERO);
        settled.iter().map(|settled| (settled.offset, settled.how)).collect()
    }
}

pub(crate) fn partition_id() -> PartitionId {
    PartitionId { topic: "orders".into(), partition: 0 }
}

/// A record without contents.
pub(crate) fn record(offset: i64) -> Record {
    Record { offset, timestamp_ms: Some(1_000), ..Record::default() }
}

/// Dead letters that no broker acknowledges.
pub(crate) fn dead_letters() -> Arc<DeadLetters> {
    let kafka = serde_saphyr::from_str::<config::Kafka>(&format!(
        "{{brokers: '{NOBODY}', group: g, start: earliest}}"
    ));
    let producer = Producer::new(&kafka.unwrap()).unwrap();
    DeadLetters::new(producer, Faults::new(Metrics::new()))
}

pub(crate) fn origin() -> Arc<Origin> {
    let (topic, pipeline) = ("orders.dead".into(), "orders".into());
    Arc::new(Origin { topic, pipeline, generation: "g1".into(), counts: None })
}

/// The settings of a destination at an inlet.
pub(crate) fn destination_settings(inlet: &str) -> config::Destination {
    serde_saphyr::from_str(&format!(
        "{{inlet: '{inlet}', schema: {{id: 'https://ns.adobe.com/acme/schemas/1', file: s.json}}, dataset: d1}}"
    ))
    .unwrap()
}

/// The settings of a destination where nobody answers.
pub(crate) fn nowhere() -> config::Destination {
    destination_settings(&format!("http://{NOBODY}/collection/i1"))
}

/// A destination.
pub(crate) fn destination(settings: &config::Destination) -> Destination {
    let aep: config::Aep = serde_saphyr::from_str("organisation: ORG@AdobeOrg").unwrap();
    let client = Client::new(&aep, None, 4).unwrap();
    let quota = Arc::new(Quota::new(&config::Quota::default()));
    let access = Access { client, token: None, quota };
    Destination::new("profiles", settings, &aep, access).unwrap()
}

/// A pipeline `orders` whose plugins are a function, with one destination, `profiles`.
pub(crate) fn pipeline(
    generation: &str,
    schema: &serde_json::Value,
    stand_in: StandIn,
) -> Pipeline {
    let settings = Arc::new(nowhere());
    let schema = Arc::new(Schema::load(&schema.to_string(), settings.mode).unwrap());
    let chain = Chain {
        pipeline: "orders".to_owned(),
        plugins: Vec::new(),
        forms: Forms::default(),
        call: CallLimits::default(),
        stand_in: Some(stand_in),
        warm: Warm::default(),
    };
    let origin = Origin { generation: generation.into(), ..(*origin()).clone() };
    Pipeline {
        name: "orders".into(),
        topics: vec!["orders".to_owned()],
        id_epoch: String::new(),
        chain: Arc::new(chain),
        routes: vec![Route {
            name: "profiles".into(),
            schema,
            schema_hash: blake3::hash(b""),
            stamp: None,
            settings,
        }],
        origin: Arc::new(origin),
        quarantine: config::Quarantine::default(),
        storm: config::Storm::default(),
    }
}
