//! The section `kafka`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::reference::{Address, Secret};

/// The Kafka cluster and the consumer group.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Kafka {
    /// Bootstrap brokers, `host:port`, several separated by commas.
    pub brokers: Address,
    /// The consumer group. Processes with one group share the partitions.
    pub group: String,
    /// Where a group without a committed offset starts. There is no default: `latest` skips what
    /// is in the topic, `earliest` sends it all.
    pub start: Start,
    /// What to do when the record that is next for the group is gone already, because retention
    /// passed it: `earliest` goes on with the oldest one left, with an error in the log and the loss
    /// counted in `xylem_records_expired_total`; `halt` stops the pipeline until an operator has
    /// reset the group's offsets.
    #[serde(default)]
    pub out_of_range: OutOfRange,
    /// The group protocol: `classic` (cooperative-sticky) or `consumer` (KIP-848, brokers from 4.0).
    #[serde(default)]
    pub protocol: GroupProtocol,
    /// A stable name of this process (`group.instance.id`), so that a restart within the session
    /// timeout moves no partition. Unique per process: a pod's name, never a shared value.
    #[serde(default)]
    pub instance_id: Option<Address>,
    /// How long a silent process keeps its partitions, in milliseconds (`session.timeout.ms`;
    /// classic protocol only, the broker decides for `consumer`).
    #[serde(default = "Kafka::default_session_timeout_ms")]
    #[schemars(range(min = 1_000, max = 3_600_000))]
    pub session_timeout_ms: u32,
    /// Goes into every id in place of the cluster's own id: set it when a cluster moves and ids
    /// must stay.
    #[serde(default)]
    pub cluster_id: Option<String>,
    /// TLS to the brokers; absent means plain text.
    #[serde(default)]
    pub tls: Option<Tls>,
    /// SASL authentication; absent means none.
    #[serde(default)]
    pub sasl: Option<Sasl>,
    /// Further librdkafka properties, as text. Those that decide delivery are xylem's own and
    /// refused here.
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
}

impl Kafka {
    /// librdkafka's own default: a killed process is missed after this time.
    fn default_session_timeout_ms() -> u32 {
        45_000
    }
}

/// Where a group without a committed offset starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// At the oldest record.
    Earliest,
    /// After the newest record.
    Latest,
}

/// What to do when the next record is gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OutOfRange {
    /// Goes on with the oldest record left: to wait would only lose more.
    #[default]
    Earliest,
    /// Stops the pipeline until an operator has acted.
    Halt,
}

/// The protocol of the consumer group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum GroupProtocol {
    /// The protocol of all brokers, with cooperative-sticky assignment.
    #[default]
    Classic,
    /// KIP-848: the broker assigns; needs Kafka 4.0.
    Consumer,
}

/// TLS to the brokers.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// A PEM file of trusted roots, relative to the configuration file; absent means the system's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// A PEM file with this client's certificate, relative to the configuration file.
    #[serde(default)]
    pub certificate_file: Option<PathBuf>,
    /// The client's private key in PEM.
    #[serde(default)]
    pub key: Option<Secret>,
}

/// SASL authentication to the brokers.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sasl {
    /// The mechanism.
    pub mechanism: SaslMechanism,
    /// The user's name.
    pub username: Address,
    /// The password.
    pub password: Secret,
}

/// A SASL mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum SaslMechanism {
    /// User and password as they are; use it with TLS only.
    #[serde(rename = "PLAIN")]
    Plain,
    /// Salted challenge with SHA-256.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// Salted challenge with SHA-512.
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}
