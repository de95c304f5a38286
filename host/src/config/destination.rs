//! The section `destinations`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::reference::Address;

/// The most bytes of a schema file; the largest composed bundle known has four megabytes.
pub const MAX_SCHEMA_BYTES: u64 = 32 * 1024 * 1024;

/// A schema, dataset, flow and inlet in AEP.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
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
    /// A field of the event that names the generation which made it: a JSON pointer such as
    /// `/_tenant/xylem/generation`, where `_tenant` stands for `aep.tenant`. The schema has to have the field;
    /// it is written before the event is checked, into created events only. Absent means none.
    #[serde(default)]
    pub generation_field: Option<String>,
    /// Further request headers. Not for secrets: references are not read here, so that one would
    /// stand in the configuration's text.
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
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
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
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
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
