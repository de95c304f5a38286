//! Every metric once: name, kind, unit, labels and help.
//!
//! Names begin with `xylem_` and end in their unit, counters in `_total`. What the data path counts
//! is pushed into [`Metrics`]; what it holds (partitions, destinations, the token) is read when
//! somebody scrapes.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::delivery::{Delivery, DestinationReading};
#[cfg(test)]
use super::labels::Named;
use super::labels::{
    DestinationCode, DestinationLabels, GenerationLabels, PartitionLabels, PipelineCode,
    PipelineDestination, PluginDigest, PluginLabels, PluginLevel, ReloadLabels, SettlementLabels,
    TopicLabels, VersionLabels,
};
use super::process::Process;
#[cfg(test)]
use super::scrape::Described;
use crate::settle::Settlement;

/// A counter of seconds.
type Seconds = Counter<f64, AtomicU64>;

/// A number with decimals that goes up and down.
type Fraction = Gauge<f64, AtomicU64>;

/// What the manual says of a type of metric.
#[cfg(test)]
trait Kind: prometheus_client::registry::Metric + Clone + Default {
    const KIND: &'static str;
    const LABELS: &'static [&'static str];
}

#[cfg(test)]
impl Kind for Counter {
    const KIND: &'static str = "counter";
    const LABELS: &'static [&'static str] = &[];
}

#[cfg(test)]
impl Kind for Seconds {
    const KIND: &'static str = "counter";
    const LABELS: &'static [&'static str] = &[];
}

#[cfg(test)]
impl Kind for Fraction {
    const KIND: &'static str = "gauge";
    const LABELS: &'static [&'static str] = &[];
}

#[cfg(test)]
impl Kind for Gauge {
    const KIND: &'static str = "gauge";
    const LABELS: &'static [&'static str] = &[];
}

#[cfg(test)]
impl<L, M> Kind for Family<L, M>
where
    L: Named
        + prometheus_client::encoding::EncodeLabelSet
        + Clone
        + Eq
        + std::hash::Hash
        + fmt::Debug
        + Send
        + Sync
        + 'static,
    M: Kind + prometheus_client::metrics::TypedMetric,
{
    const KIND: &'static str = M::KIND;
    const LABELS: &'static [&'static str] = L::NAMES;
}

/// Declares the fields of [`Metrics`] with their names, units and help in one place.
macro_rules! metrics {
    ($($field:ident: $type:ty, $name:literal $(in $unit:ident)?, $help:literal;)*) => {
        /// All metrics: cheap to clone, to be counted up from any thread.
        #[derive(Clone)]
        pub struct Metrics {
            $(#[doc = $help] pub $field: $type,)*
            delivery: Delivery,
            registry: Arc<Registry>,
        }

        /// The metrics in the order of the manual.
        #[cfg(test)]
        pub(super) const PUSHED: &[Described] = &[$(Described {
            name: $name,
            kind: <$type as Kind>::KIND,
            unit: metrics!(@unit $($unit)?),
            labels: <$type as Kind>::LABELS,
            help: $help,
        }),*];

        impl Metrics {
            /// Metrics that count from zero.
            pub fn new() -> Self {
                let mut registry = Registry::with_prefix("xylem");
                $(
                    let $field = <$type>::default();
                    metrics!(@register registry, $field, $name, $help $(, $unit)?);
                )*
                let delivery = Delivery::default();
                registry.register_collector(Box::new(delivery.clone()));
                registry.register_collector(Box::new(Process::new()));
                let metrics = Self { $($field,)* delivery, registry: Arc::new(registry) };
                let version = VersionLabels { version: env!("CARGO_PKG_VERSION") };
                metrics.build.get_or_create(&version).set(1);
                metrics
            }
        }
    };
    (@unit) => { None };
    (@unit Bytes) => { Some("bytes") };
    (@unit Seconds) => { Some("seconds") };
    // The registry puts a full stop behind the help, and the unit behind the name.
    (@register $registry:ident, $field:ident, $name:literal, $help:literal) => {
        $registry.register($name, $help.trim_end_matches('.'), $field.clone());
    };
    (@register $registry:ident, $field:ident, $name:literal, $help:literal, $unit:ident) => {
        let help = $help.trim_end_matches('.');
        $registry.register_with_unit($name, help, Unit::$unit, $field.clone());
    };
}

metrics! {
    build: Family<VersionLabels, Gauge>, "build",
        "The program's version; always 1.";
    generation: Family<GenerationLabels, Gauge>, "generation",
        "The live generation; 1 for it, absent for others.";
    plugin: Family<PluginDigest, Gauge>, "plugin",
        "The digest of each plugin's component in the live generation; always 1.";
    reloads: Family<ReloadLabels, Counter>, "reloads",
        "Reloads, rollbacks among them, by who wanted them and what came of them; `/status` says why.";
    files_not_running: Gauge, "files_not_running",
        "Whether the files hold something else than what runs, because it was refused, needs a restart, or was rolled back: 1 or 0.";
    ready: Gauge, "ready",
        "Whether the process is ready: 1 or 0.";

    records_consumed: Family<TopicLabels, Counter>, "records_consumed",
        "Records that Kafka handed to us.";
    consumed_bytes: Family<TopicLabels, Counter>, "consumed" in Bytes,
        "Keys, values and headers of the records that Kafka handed to us.";
    records_expired: Family<TopicLabels, Counter>, "records_expired",
        "Records that retention had taken away before we could read them; offsets that were never records count, too.";
    records_settled: Family<SettlementLabels, Counter>, "records_settled",
        "Records that are done with, by how.";
    faults: Family<PipelineCode, Counter>, "faults",
        "Faults of records, by code; each such record goes to the dead-letter topic.";
    dead_letters_waiting: Gauge, "dead_letters_waiting",
        "Records that the dead-letter topic has not taken yet.";

    plugin_calls: Family<PluginLabels, Counter>, "plugin_calls",
        "Calls of a plugin.";
    plugin_records: Family<PluginLabels, Counter>, "plugin_records",
        "Records given to a plugin, those of calls run again included.";
    plugin_cpu_seconds: Family<PluginLabels, Seconds>, "plugin_cpu" in Seconds,
        "CPU time that a plugin used.";
    plugin_failures: Family<PluginLabels, Counter>, "plugin_failures",
        "Calls of a plugin that ended in a trap, an overrun or a wrong answer; each costs an instance.";
    plugin_quarantined: Family<PluginLabels, Gauge>, "plugin_quarantined",
        "Whether a plugin failed on too many records (`quarantine`), so that its pipeline halted: 1, or absent.";
    plugin_instances: Family<PluginLabels, Counter>, "plugin_instances",
        "Instances of a plugin that were started: one per worker and per spare that had work, and one for each that was lost; see the failures.";

    plugin_lines: Family<PluginLevel, Counter>, "plugin_lines",
        "Lines that a plugin logged while it mapped records, a hundred in a call at most. Their text may \
         quote a record, so only `xylem try` shows it.";

    events_emitted: Family<PipelineDestination, Counter>, "events_emitted",
        "Events that a pipeline emitted, by destination.";
    schema_violations: Family<PipelineCode, Counter>, "schema_violations",
        "Violations of destinations' schemas, by AEP's code.";
    schema_warnings: Family<DestinationCode, Counter>, "schema_warnings",
        "What AEP would accept and then drop or ignore, by code.";
    events_queued: Family<DestinationLabels, Gauge>, "events_queued",
        "Events that wait to become a request.";

    in_flight_records: Gauge, "in_flight_records",
        "Records that are not settled.";
    in_flight_bytes: Gauge, "in_flight" in Bytes,
        "What the records that are not settled weigh.";
    in_flight_budget_bytes: Gauge, "in_flight_budget" in Bytes,
        "The budget of bytes in flight (`limits.in_flight_bytes`); when half of it is in use, fetching rests, or partitions are held to their shares of the other half.";
    quota_messages_per_second: Fraction, "quota_messages_per_second",
        "Messages that this process may send in a second: its share of the organisation's quota.";
    backlog_drain_seconds: Fraction, "backlog_drain" in Seconds,
        "How long the backlog takes to drain, counted from when AEP takes requests; infinite where as much comes in as goes out.";
    partitions_ready: Gauge, "partitions_ready",
        "Partitions with records that wait for a worker.";

    partition_lag_records: Family<PartitionLabels, Gauge>, "partition_lag_records",
        "Offsets from the settled prefix to the end of the log, asked for every two seconds, of paused partitions, too.";
    partition_position: Family<PartitionLabels, Gauge>, "partition_position",
        "The offset up to which everything is settled.";
    partition_in_flight_records: Family<PartitionLabels, Gauge>, "partition_in_flight_records",
        "Records of the partition that are not settled.";
    partition_paused: Family<PartitionLabels, Gauge>, "partition_paused",
        "Whether nothing is fetched from the partition at the moment: 1 or 0.";
    partition_expires_seconds: Family<PartitionLabels, Gauge>, "partition_expires" in Seconds,
        "How long the topic's retention still keeps the oldest record that is not settled; 0 once it may be gone. \
         Absent where nothing waits, records are kept for ever, or the topic's settings may not be read.";
    partition_halted: Family<PartitionLabels, Gauge>, "partition_halted",
        "Whether nothing more is taken from the partition until an operator acts: 1 or 0; `/status` says why.";
    rebalances: Counter, "rebalances",
        "Assignments and revocations of partitions.";
}

/// What is read of one assigned partition.
#[derive(Clone, Debug)]
pub struct PartitionReading {
    /// Which.
    pub labels: PartitionLabels,
    /// Offsets from the settled prefix to the end of the log, where both are known.
    pub lag: Option<i64>,
    /// The offset up to which everything is settled.
    pub position: Option<i64>,
    /// How long the oldest record that is not settled is still kept, in seconds.
    pub expires_seconds: Option<i64>,
    /// Records in flight.
    pub in_flight: usize,
    /// Whether nothing is fetched at the moment.
    pub paused: bool,
    /// Whether nothing more is taken until an operator acts.
    pub halted: bool,
}

impl Metrics {
    /// The text that a scrape gets.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut page = String::with_capacity(16 * 1024);
        text::encode(&mut page, &self.registry)?;
        Ok(page)
    }

    /// Replaces what is said of partitions; those that are no longer assigned disappear.
    pub fn set_partitions(&self, readings: &[PartitionReading]) {
        let families = [
            &self.partition_lag_records,
            &self.partition_position,
            &self.partition_expires_seconds,
            &self.partition_in_flight_records,
            &self.partition_paused,
            &self.partition_halted,
        ];
        for family in families {
            family.clear();
        }
        for reading in readings {
            let set = |family: &Family<PartitionLabels, Gauge>, value: Option<i64>| {
                if let Some(value) = value {
                    family.get_or_create(&reading.labels).set(value);
                }
            };
            set(&self.partition_lag_records, reading.lag);
            set(&self.partition_position, reading.position);
            set(&self.partition_expires_seconds, reading.expires_seconds);
            set(&self.partition_in_flight_records, i64::try_from(reading.in_flight).ok());
            set(&self.partition_paused, Some(i64::from(reading.paused)));
            set(&self.partition_halted, Some(i64::from(reading.halted)));
        }
    }

    /// Replaces what is said of destinations and the token.
    pub fn set_delivery(
        &self,
        destinations: Vec<DestinationReading>,
        token: Option<crate::http::TokenStatus>,
    ) {
        self.delivery.set(destinations, token);
    }

    /// How many records of a pipeline were settled in one way.
    pub fn settled_as(&self, pipeline: &Arc<str>, how: Settlement) -> u64 {
        let labels = SettlementLabels { pipeline: Arc::clone(pipeline), settlement: how.as_str() };
        self.records_settled.get_or_create(&labels).get()
    }

    /// How many records of a pipeline were settled.
    pub fn settled(&self, pipeline: &Arc<str>) -> u64 {
        let ways = [Settlement::Delivered, Settlement::Filtered, Settlement::DeadLettered];
        ways.map(|how| self.settled_as(pipeline, how)).iter().sum()
    }

    /// How many lines of a level a plugin has logged while it mapped records.
    pub fn lines(&self, plugin: &str, level: &'static str) -> u64 {
        self.plugin_lines.get_or_create(&PluginLevel { plugin: plugin.into(), level }).get()
    }

    /// Says which generation is live, and what its plugins are.
    pub fn set_generation(&self, name: &Arc<str>, plugins: impl IntoIterator<Item = PluginDigest>) {
        self.generation.clear();
        self.generation.get_or_create(&GenerationLabels { generation: Arc::clone(name) }).set(1);
        self.plugin.clear();
        for plugin in plugins {
            self.plugin.get_or_create(&plugin).set(1);
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fmt::Write;

    use super::super::{delivery, process};
    use super::*;
    use crate::manual::current;

    const HEAD: &str = "\
# The metrics

`GET /metrics` on the admin listener gives them in the OpenMetrics text format. Counters only grow
while the process lives. Labels are bounded by the configuration, the topics and xylem's own codes;
no key, offset or content of a record is ever a label.

This page is written from `host/src/telemetry` by a test.

| metric | kind | labels | meaning |
| --- | --- | --- | --- |
";

    /// The name that a scrape shows.
    fn full_name(metric: &Described) -> String {
        let unit = metric.unit.map(|unit| format!("_{unit}")).unwrap_or_default();
        let total = if metric.kind == "counter" { "_total" } else { "" };
        format!("{}{unit}{total}", metric.name)
    }

    fn all() -> Vec<(String, Described)> {
        let ours = PUSHED.iter().map(|m| (format!("xylem_{}", full_name(m)), *m));
        let scraped = delivery::SCRAPED.iter().chain(process::SCRAPED);
        ours.chain(scraped.map(|m| (format!("xylem_{}", full_name(m)), *m))).collect()
    }

    #[test]
    fn the_manual_is_current() {
        let mut page = HEAD.to_owned();
        for (name, metric) in all() {
            let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
            let (kind, help) = (metric.kind, metric.help);
            writeln!(page, "| `{name}` | {kind} | {} | {help} |", labels.join(", ")).unwrap();
        }
        current("metrics.md", &page);
    }

    #[test]
    fn every_metric_is_there_once() {
        let names: Vec<_> = all().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    }

    #[test]
    fn a_scrape_shows_what_was_counted() {
        let metrics = Metrics::default();
        let topic = TopicLabels { pipeline: "orders".into(), topic: "orders-eu".into() };
        metrics.records_consumed.get_or_create(&topic).inc_by(3);
        let plugin = PluginLabels { pipeline: "orders".into(), plugin: "js\"on".into() };
        metrics.plugin_cpu_seconds.get_or_create(&plugin).inc_by(0.5);
        metrics.in_flight_bytes.set(7);

        let page = metrics.encode().unwrap();
        for line in [
            "xylem_records_consumed_total{pipeline=\"orders\",topic=\"orders-eu\"} 3",
            "xylem_plugin_cpu_seconds_total{pipeline=\"orders\",plugin=\"js\\\"on\"} 0.5",
            "xylem_in_flight_bytes 7",
            "# HELP xylem_rebalances Assignments and revocations of partitions.",
            concat!("xylem_build{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
        ] {
            assert!(page.lines().any(|there| there == line), "{line}\n{page}");
        }
        assert!(page.ends_with("# EOF\n"));
    }

    #[test]
    fn a_partition_that_went_away_is_not_shown() {
        let metrics = Metrics::default();
        let reading = |partition| PartitionReading {
            labels: PartitionLabels { pipeline: "p".into(), topic: "t".into(), partition },
            lag: Some(5),
            position: Some(10),
            expires_seconds: None,
            in_flight: 0,
            paused: false,
            halted: false,
        };
        metrics.set_partitions(&[reading(0), reading(1)]);
        metrics.set_partitions(&[reading(1)]);
        let page = metrics.encode().unwrap();
        assert!(
            page.contains("partition_lag_records{pipeline=\"p\",topic=\"t\",partition=\"1\"} 5")
        );
        assert!(!page.contains("partition=\"0\""), "{page}");
    }
}
