//! How long topics keep their records.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::KafkaResult;

use super::SettingsError;

/// Asks how long topics keep their records, with a client that lives for the question only: it is
/// asked every few minutes, and connections that idle meanwhile would cost memory.
pub struct Retentions {
    settings: ClientConfig,
    /// Topics of which it was told that nothing is known.
    told: BTreeSet<Arc<str>>,
}

impl Retentions {
    /// For the cluster of these settings.
    pub(super) fn new(settings: ClientConfig) -> Self {
        Self { settings, told: BTreeSet::new() }
    }

    /// How long each topic keeps its records; none means for ever. Topics that do not tell are absent.
    pub fn ask(
        &mut self,
        topics: &BTreeSet<Arc<str>>,
        patience: Duration,
    ) -> BTreeMap<Arc<str>, Option<Duration>> {
        let answers = match describe(&self.settings, topics, patience) {
            Ok(answers) => answers,
            Err(error) => {
                // Invariant 10: librdkafka's own words may hold a setting's value.
                let words = SettingsError::from(error).to_string();
                for topic in topics {
                    self.unknown(topic, &words);
                }
                return BTreeMap::new();
            }
        };
        let mut known = BTreeMap::new();
        // librdkafka gives the answers in the order of the question.
        for (topic, answer) in topics.iter().zip(answers) {
            match answer {
                Ok(settings) => known.extend([(Arc::clone(topic), retention(&settings))]),
                Err(words) => self.unknown(topic, &words),
            }
        }
        known
    }

    fn unknown(&mut self, topic: &Arc<str>, words: &str) {
        if self.told.insert(Arc::clone(topic)) {
            tracing::info!(%topic, reason = words,
                "how long the topic keeps its records is not told; no warning before they expire");
        }
    }
}

fn describe(
    settings: &ClientConfig,
    topics: &BTreeSet<Arc<str>>,
    patience: Duration,
) -> KafkaResult<Vec<Result<ConfigResource, String>>> {
    let admin: AdminClient<DefaultClientContext> = settings.create()?;
    let options = AdminOptions::new().request_timeout(Some(patience));
    let named: Vec<_> = topics.iter().map(|topic| ResourceSpecifier::Topic(topic)).collect();
    let asked = admin.describe_configs(&named, &options);
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.map_err(|_| rdkafka::error::KafkaError::Canceled)?;
    let answers = runtime.block_on(asked)?;
    Ok(answers.into_iter().map(|answer| answer.map_err(|code| code.to_string())).collect())
}

/// For how long records are kept; none means for ever.
fn retention(settings: &ConfigResource) -> Option<Duration> {
    let value = |name| settings.get(name).and_then(|entry| entry.value.as_deref());
    if !value("cleanup.policy")?.contains("delete") {
        return None;
    }
    // -1 is no number of milliseconds, and means for ever.
    value("retention.ms")?.parse().ok().map(Duration::from_millis)
}
