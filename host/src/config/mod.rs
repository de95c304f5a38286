//! The configuration: one YAML file, strict, as types. Their doc comments are the manual:
//! `host/docs/config.md` and the JSON Schema for editors are written from them by a test.
//!
//! References `${NAME}` (environment) and `${file:PATH}` (a file's text) stand only in fields of
//! type [`Address`] and [`Secret`], so that no plugin and no mapping can be handed a secret.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod component;
mod files;
mod kind;
mod load;
#[cfg(test)]
mod manual;

#[cfg(test)]
pub(crate) use kind::choices;
#[cfg(test)]
pub(crate) use reference::REFERENCES;
#[cfg(test)]
mod mistakes;
mod nearest;
mod path;
mod problem;
mod reference;
mod rules;
mod shape;
mod source;
mod step;
mod yaml;

pub use component::{ComponentError, SHIPPED};
pub use load::{Environment, Loaded, load, load_text, load_with};
pub use path::KeyPath;
pub use problem::{ConfigErrors, Problem, Severity};
pub use reference::{Address, Secret};
pub use step::StepError;

/// The whole configuration of a process.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The Kafka cluster and the consumer group.
    pub kafka: Kafka,
    /// The organisation in Adobe Experience Platform and how to authenticate.
    pub aep: Aep,
    /// Components by name. The shipped plugins `csv`, `json`, `pos` and `crm` need no entry.
    #[serde(default)]
    pub plugins: BTreeMap<String, Plugin>,
    /// Where events go: a schema, dataset, flow and inlet in AEP under one name.
    pub destinations: BTreeMap<String, Destination>,
    /// Topics -> chain -> validation -> destinations, under one name.
    pub pipelines: BTreeMap<String, Pipeline>,
    /// What the process may use of the machine.
    #[serde(default)]
    pub limits: Limits,
    /// The listener for probes, metrics and status.
    #[serde(default)]
    pub admin: Admin,
    /// How the process stops.
    #[serde(default)]
    pub shutdown: Shutdown,
}

/// The Kafka cluster and the consumer group.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Kafka {
    /// Bootstrap brokers, `host:port`, several separated by commas.
    pub brokers: Address,
    /// The consumer group. Processes with one group share the partitions.
    pub group: String,
    /// Where a group without a committed offset starts. There is no default: `latest` skips what
    /// is in the topic, `earliest` sends it all.
    pub start: Start,
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
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// A PEM file of trusted roots; absent means the system's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// A PEM file with this client's certificate.
    #[serde(default)]
    pub certificate_file: Option<PathBuf>,
    /// The client's private key in PEM.
    #[serde(default)]
    pub key: Option<Secret>,
}

/// SASL authentication to the brokers.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
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

/// The organisation in Adobe Experience Platform.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Aep {
    /// The organisation id, `…@AdobeOrg`.
    pub organisation: Address,
    /// The sandbox, sent as `x-sandbox-name`; an inlet belongs to one in any case.
    #[serde(default)]
    pub sandbox: Option<String>,
    /// The tenant's namespace with its underscore, such as `_acme`. Mappings write `_tenant`.
    #[serde(default)]
    pub tenant: Option<String>,
    /// OAuth server-to-server credential; absent means inlets without authentication.
    #[serde(default)]
    pub auth: Option<Auth>,
    /// An HTTP proxy for everything sent to Adobe, `http://user:password@host:port`. The proxy
    /// variables of the environment are not read.
    #[serde(default)]
    pub proxy: Option<Secret>,
    /// A PEM file of trusted roots beside the system's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// How long one request may take, in milliseconds, before it counts as unanswered.
    #[serde(default = "Aep::default_timeout_ms")]
    #[schemars(range(min = 10, max = 600_000))]
    pub timeout_ms: u64,
}

impl Aep {
    /// Longer than AEP's own slow answers, shorter than a consumer's patience.
    fn default_timeout_ms() -> u64 {
        30_000
    }
}

/// An OAuth server-to-server credential of the Adobe Developer Console.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    /// The token endpoint.
    #[serde(default = "Auth::default_token_url")]
    pub token_url: Address,
    /// The credential's client id.
    pub client_id: Address,
    /// The credential's client secret.
    pub client_secret: Secret,
    /// The scopes that the Developer Console shows for the credential.
    pub scopes: Vec<String>,
}

impl Auth {
    fn default_token_url() -> Address {
        Address::literal("https://ims-na1.adobelogin.com/ims/token/v3")
    }
}

/// A component and its limits.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Plugin {
    /// The component's file, relative to the configuration file; absent for a shipped plugin.
    #[serde(default)]
    pub component: Option<PathBuf>,
    /// The linear memory that one instance may use, in bytes.
    #[serde(default = "Plugin::default_max_memory_bytes")]
    #[schemars(range(min = 1_048_576, max = 4_294_967_296u64))]
    pub max_memory_bytes: u64,
    /// The CPU time that one call may use, in milliseconds. A call that hits it is run again in
    /// halves; a record that hits it alone is dead-lettered.
    #[serde(default = "Plugin::default_max_cpu_ms")]
    #[schemars(range(min = 1, max = 60_000))]
    pub max_cpu_ms: u64,
    /// The stack that one call may use, in bytes.
    #[serde(default = "Plugin::default_max_stack_bytes")]
    #[schemars(range(min = 65_536, max = 4_194_304))]
    pub max_stack_bytes: usize,
}

impl Default for Plugin {
    fn default() -> Self {
        Self {
            component: None,
            max_memory_bytes: Self::default_max_memory_bytes(),
            max_cpu_ms: Self::default_max_cpu_ms(),
            max_stack_bytes: Self::default_max_stack_bytes(),
        }
    }
}

impl Plugin {
    /// Four times what the hungriest toolchain (C with zig's stack, 24 MiB) needs, rounded.
    fn default_max_memory_bytes() -> u64 {
        64 * 1024 * 1024
    }

    /// A thousand times a slow mapping; short enough that a loop is noticed.
    fn default_max_cpu_ms() -> u64 {
        1_000
    }

    /// wasmtime's own default; the recursion of `CPython` and `QuickJS` fits.
    fn default_max_stack_bytes() -> usize {
        512 * 1024
    }
}

/// A schema, dataset, flow and inlet in AEP.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Destination {
    /// The inlet's URL, `https://dcs.adobedc.net/collection/ID` (with or without `batch/`).
    pub inlet: Address,
    /// The XDM schema that events are checked against.
    pub schema: SchemaRef,
    /// The dataset's id.
    pub dataset: Address,
    /// The dataflow's id (`flowId`, `x-adobe-flow-id`); needed for `mode: raw`.
    #[serde(default)]
    pub flow: Option<Address>,
    /// `xdm`: entities in AEP's envelope; `raw`: the entity is the body and the flow maps it.
    #[serde(default)]
    pub mode: Mode,
    /// Whether requests carry the token of `aep.auth`; the default is yes where it is given.
    #[serde(default)]
    pub authenticate: Option<bool>,
    /// Whether the dataset is enabled for Profile, and so Profile's size limits hold.
    #[serde(default = "yes")]
    pub profile: bool,
    /// What an event above Profile's limit is: a `fault` of its record, or only a `warn`ing.
    #[serde(default)]
    pub oversize: Oversize,
    /// `partition`: within a partition nothing is sent before earlier requests have their
    /// verdicts; `none`: requests of one partition may overlap.
    #[serde(default)]
    pub order: Order,
    /// The name of the source in the message header; AEP fills in the connection's where absent.
    #[serde(default)]
    pub source: Option<String>,
    /// Further request headers. Not for secrets: they are shown in `/status`.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// When a request is full.
    #[serde(default)]
    pub batch: Batch,
}

fn yes() -> bool {
    true
}

/// An XDM schema: its id in AEP and its text here.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SchemaRef {
    /// The schema's `$id`, `https://ns.adobe.com/TENANT/schemas/ID`.
    pub id: Address,
    /// The schema's major version.
    #[serde(default = "SchemaRef::default_version")]
    pub version: String,
    /// A composed JSON Schema, or a registry's answer to `application/vnd.adobe.xed-full+json`,
    /// relative to the configuration file. It is closed at load: a key it does not name is a fault.
    pub file: PathBuf,
}

impl SchemaRef {
    fn default_version() -> String {
        "1".to_owned()
    }
}

/// How entities travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// In AEP's envelope, synthesised here.
    #[default]
    Xdm,
    /// Bare; the flow maps them. Only here can an event be an update or a delete.
    Raw,
}

/// What an event above Profile's size limit is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Oversize {
    /// A fault: the record is dead-lettered.
    #[default]
    Fault,
    /// A warning, counted; the event is sent.
    Warn,
}

/// What order a destination keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Offset order within a partition.
    #[default]
    Partition,
    /// None: several requests of one partition may be on their way.
    None,
}

/// When a request is full.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Batch {
    /// The most messages in one request.
    #[schemars(range(min = 1, max = 10_000))]
    pub max_messages: usize,
    /// The most bytes in one request, envelope included. AEP refuses above 1 MB.
    #[schemars(range(min = 1_000, max = 1_000_000))]
    pub max_bytes: usize,
    /// How long the first event of a request waits for others, in milliseconds.
    #[schemars(range(min = 0, max = 60_000))]
    pub linger_ms: u64,
    /// The most requests on their way at once.
    #[schemars(range(min = 1, max = 256))]
    pub max_in_flight: usize,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            // A thousand messages of the usual 700 bytes come to the size below.
            max_messages: 1_000,
            // AEP's limit is 1 MB and it does not say whether 10^6 or 2^20: 10 % of air.
            max_bytes: 900_000,
            // Long enough to fill a request at 10,000 records/s, unseen beside AEP's minutes.
            linger_ms: 10,
            // With a 50 ms answer this carries the quota of 10,000 messages/s many times over.
            max_in_flight: 16,
        }
    }
}

/// Topics -> chain -> validation -> destinations.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pipeline {
    /// The topics; each belongs to exactly one pipeline.
    pub topics: Vec<String>,
    /// The form in which plugins get payloads.
    #[serde(default)]
    pub payload: Form,
    /// The form in which plugins get keys.
    #[serde(default)]
    pub key: KeyForm,
    /// Whether plugins get headers (about 0.3 microseconds each).
    #[serde(default)]
    pub headers: bool,
    /// What becomes of records without a value.
    #[serde(default)]
    pub tombstones: Tombstones,
    /// The plugins, in order.
    pub chain: Vec<Step>,
    /// The destinations; the first is where events without a route go.
    pub destinations: Vec<String>,
    /// Where rejected records go.
    pub dead_letter: DeadLetter,
    /// How `xylem try` cuts an input file into records.
    #[serde(default)]
    pub split: Split,
    /// A folder of samples, `NAME.input.EXT` and optionally `NAME.expected.json`, relative to the
    /// configuration file. `check` runs them; so does the gate of a reload.
    #[serde(default)]
    pub samples: Option<PathBuf>,
    /// Goes into every id: change it when a topic is made again and its records are to count as new.
    #[serde(default)]
    pub id_epoch: String,
}

/// The form of payloads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// UTF-8 text; other bytes are the record's fault.
    #[default]
    Text,
    /// Bytes as they came.
    Bytes,
}

/// The form of keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum KeyForm {
    /// Plugins do not see keys.
    #[default]
    None,
    /// UTF-8 text; other bytes are the record's fault.
    Text,
    /// Bytes as they came.
    Bytes,
}

/// What becomes of records without a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Tombstones {
    /// They are filtered.
    #[default]
    Filter,
    /// The plugin decides.
    Plugin,
    /// They are dead-lettered.
    Reject,
}

/// How `xylem try` cuts a file into records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// A record per line; a CSV row ends outside quotes.
    #[default]
    Line,
    /// The file is one record.
    File,
}

/// One plugin of a chain, with what it is told.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The plugin's name: an entry of `plugins`, or a shipped plugin.
    pub plugin: String,
    /// Whatever the plugin understands. References are not read here: no secret reaches a plugin.
    #[serde(default)]
    pub settings: serde_json::Map<String, serde_json::Value>,
    /// A mapping table: a YAML or JSON file relative to the configuration file.
    #[serde(default)]
    pub mapping: Option<PathBuf>,
    /// Look-up files by name, relative to the configuration file; the plugin gets their text.
    #[serde(default)]
    pub lookups: BTreeMap<String, PathBuf>,
}

/// Where rejected records go.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeadLetter {
    /// The topic; it must exist, and no pipeline may read it.
    pub topic: String,
}

/// What the process may use of the machine.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Threads that run plugins; absent means one per core.
    #[schemars(range(min = 1, max = 256))]
    pub workers: Option<usize>,
    /// The budget of records and events in flight, in bytes.
    #[schemars(range(min = 65_536, max = 17_179_869_184u64))]
    pub in_flight_bytes: usize,
    /// The most records in one call of a plugin.
    #[schemars(range(min = 1, max = 10_000))]
    pub call_records: usize,
    /// The most payload bytes in one call of a plugin.
    #[schemars(range(min = 1_024, max = 16_777_216))]
    pub call_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            workers: None,
            // Ten seconds of AEP's quota at 640 bytes a record.
            in_flight_bytes: 64 * 1024 * 1024,
            // The cost of a call is flat from 64 records up.
            call_records: 256,
            call_bytes: 256 * 1024,
        }
    }
}

/// The listener for probes, metrics and status.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// The address; a pod sets `0.0.0.0:9600` so that probes and scrapes reach it.
    pub listen: String,
    /// The bearer token for `/status` from beyond loopback; absent means loopback only.
    pub token: Option<Secret>,
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: "127.0.0.1:9600".to_owned(), token: None }
    }
}

/// How the process stops.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Shutdown {
    /// How long a stop may take to deliver what is in flight, in milliseconds. What is not
    /// delivered by then is not committed and comes again.
    #[schemars(range(min = 0, max = 3_600_000))]
    pub grace_ms: u64,
}

impl Default for Shutdown {
    fn default() -> Self {
        // Kubernetes kills after 30 s.
        Self { grace_ms: 25_000 }
    }
}
