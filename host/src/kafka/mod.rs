//! Kafka: the only user of rdkafka.
//!
//! [`Consumer`] is one `BaseConsumer`, polled by one thread; [`Producer`] writes dead letters;
//! [`Window`] reads a topic once and joins no group; [`MockCluster`] is librdkafka's in-process cluster for the demo and quick tests, [`Peer`] an
//! ordinary client for them.

mod begin;
mod consumer;
mod ends;
pub(crate) mod fault;
mod headers;
mod mock;
mod peer;
mod probe;
mod producer;
mod retention;
mod settings;
mod window;

pub use begin::Beginning;
pub use consumer::{Assignments, Consumer, Fetched};
pub use ends::LogEnds;
pub use fault::Refusal;
pub use mock::MockCluster;
pub use peer::Peer;
pub use probe::{Probe, ProbeError, probe};
pub use producer::{Letter, Producer};
pub use retention::Retentions;
pub use window::{Next, Open, OpenError, Window};

/// What the client refuses of its settings. Invariant 10: librdkafka's own words hold the value, which
/// may be a password, and so does the error that it gives.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SettingsError(String);

impl From<rdkafka::error::KafkaError> for SettingsError {
    fn from(error: rdkafka::error::KafkaError) -> Self {
        use rdkafka::error::KafkaError as Error;
        use rdkafka::types::RDKafkaConfRes as Answer;
        Self(match error {
            Error::ClientConfig(Answer::RD_KAFKA_CONF_UNKNOWN, _, key, _) => {
                format!("librdkafka has no property `{key}`")
            }
            Error::ClientConfig(_, _, key, _) => {
                format!("the property `{key}` cannot have its value, which is not shown")
            }
            other => other.to_string(),
        })
    }
}

/// A failure of the Kafka client.
#[derive(Debug, thiserror::Error)]
pub enum KafkaError {
    /// The client refuses its settings.
    #[error("cannot make a Kafka client: {0}")]
    Settings(SettingsError),
    /// A request failed.
    #[error("Kafka: {0}")]
    Request(#[source] rdkafka::error::KafkaError),
    /// The client cannot go on and must be made again.
    #[error("the Kafka client cannot go on: {0}")]
    Fatal(String),
}

impl KafkaError {
    /// The client refuses its settings.
    fn settings(error: rdkafka::error::KafkaError) -> Self {
        Self::Settings(error.into())
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::ClientConfig;
    use rdkafka::consumer::BaseConsumer;

    use super::KafkaError;

    #[test]
    fn invariant_10_a_refused_value_is_not_shown() {
        for (key, value, words) in [
            ("compression.codec", "hunter2", "`compression.codec` cannot have its value"),
            ("queued.min.messages", "-4711", "`queued.min.messages` cannot have its value"),
            ("sals.password", "hunter2", "no property `sals.password`"),
        ] {
            let made = ClientConfig::new().set(key, value).create::<BaseConsumer>();
            let error = anyhow::Error::from(KafkaError::settings(made.err().unwrap()));
            for text in [format!("{error:#}"), format!("{error:?}")] {
                assert!(text.contains(words) && !text.contains(value), "{text}");
            }
        }
    }
}
