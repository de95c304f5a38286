//! Kafka: the only user of rdkafka.
//!
//! [`Consumer`] is one `BaseConsumer`, polled by one thread; [`Producer`] writes dead letters;
//! [`MockCluster`] is librdkafka's in-process cluster for the demo and quick tests, [`Peer`] an
//! ordinary client for them.

mod begin;
mod consumer;
mod headers;
mod mock;
mod peer;
mod probe;
mod producer;
mod settings;

pub use begin::Beginning;
pub use consumer::{Assignments, Consumer, Fetched};
pub use mock::MockCluster;
pub use peer::Peer;
pub use probe::{Probe, ProbeError, probe};
pub use producer::{Letter, Producer};

/// A failure of the Kafka client.
#[derive(Debug, thiserror::Error)]
pub enum KafkaError {
    /// The client refuses its settings.
    #[error("cannot make a Kafka client: {0}")]
    Settings(#[source] rdkafka::error::KafkaError),
    /// A request failed.
    #[error("Kafka: {0}")]
    Request(#[source] rdkafka::error::KafkaError),
    /// The client cannot go on and must be made again.
    #[error("the Kafka client cannot go on: {0}")]
    Fatal(String),
}
