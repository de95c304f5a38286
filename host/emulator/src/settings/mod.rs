//! What an emulator is started with: a plain serde structure, written in YAML or built in code.

mod load;

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use load::SettingsError;

use crate::fault::Fault;

/// Bytes of a request's body above which the inlet answers 413. AEP documents "1 MB"; whether it
/// means 10^6 or 2^20 is not known, so the stricter reading is the default.
pub const BODY_LIMIT: usize = 1_000_000;

/// Seconds that a token lives, as IMS answers them.
pub const TOKEN_TTL_SECONDS: u64 = 86_399;

/// Everything an emulator can be told before it starts. [`Settings::default`] is *open*: any inlet,
/// client, dataset and flow is accepted, and nothing is validated because no schema is loaded.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Accept inlets, clients, datasets, schemas and flows that are not listed here. What is listed
    /// is checked in any case. False answers as an organisation that has only what is listed.
    pub open: bool,
    /// The organisation of inlets that do not name their own; none accepts any.
    pub org: Option<String>,
    /// The sandbox that stored messages carry.
    pub sandbox: String,
    /// The form of the answers.
    pub style: Style,
    /// Credentials that the token endpoint knows.
    pub clients: Vec<Client>,
    /// Seconds that a token lives.
    pub token_ttl_seconds: u64,
    /// What an authenticated inlet answers to an invalid or expired token: 401 or 403 (Adobe's pages
    /// disagree). A missing token is always 401.
    pub invalid_token_status: u16,
    /// Streaming connections.
    pub inlets: Vec<Inlet>,
    /// Datasets and the schema each holds.
    pub datasets: Vec<Dataset>,
    /// Dataflows of raw inlets.
    pub flows: Vec<Flow>,
    /// Schemas by id.
    pub schemas: Vec<Schema>,
    /// A directory whose `*.json` files are schemas too; the id is the document's `$id`, else the
    /// file's name without its extension.
    pub schemas_directory: Option<PathBuf>,
    /// Run the asynchronous validator on messages whose schema is loaded.
    pub validate: bool,
    /// Accept the header `operations` in messages of the XDM form. AEP documents it for raw flows only.
    pub operations_in_xdm: bool,
    /// Show `"syncValidation": {"skipped": true}` in answers of the single endpoint.
    pub show_skipped_validation: bool,
    /// Bytes of a body above which the answer is 413.
    pub body_limit: usize,
    /// Requests and messages per second of an organisation; none is unlimited.
    pub rate: Option<Rate>,
    /// Milliseconds that every inlet request waits before it is looked at.
    pub latency_ms: u64,
    /// Faults that are active from the start.
    pub faults: Vec<Fault>,
    /// How much of each accepted message to keep.
    pub keep: Keep,
    /// The form of records in failed batches.
    pub failed_shape: FailedShape,
    /// Worker threads of the HTTP server.
    pub workers: usize,
}

/// A streaming connection.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Inlet {
    /// The name that views and faults use.
    pub name: String,
    /// The id in the URL, 64 hex digits; none makes one from the name.
    pub id: Option<String>,
    /// The organisation whose messages are taken; none is that of the settings.
    pub org: Option<String>,
    /// Ask for a valid token.
    pub authentication_required: bool,
    /// The form of the messages.
    pub data_type: DataType,
    /// The source name that messages without one are given; none is the inlet's name.
    pub source: Option<String>,
    /// Schemas that messages may name; empty means all.
    pub schemas: Vec<String>,
    /// Datasets that may be written through this inlet; empty means all.
    pub datasets: Vec<String>,
    /// Flows of this inlet; empty means all.
    pub flows: Vec<String>,
    /// Answer 501 to `syncValidation=true`, as all regions but one do.
    pub no_sync_validation: bool,
    /// Run the asynchronous validator; none is the settings' own `validate`.
    pub validate: Option<bool>,
}

/// A dataset.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dataset {
    /// The id in message headers.
    pub id: String,
    /// The `$id` of its schema; none takes messages of any schema.
    pub schema: Option<String>,
}

/// A dataflow: it maps raw messages one to one into a dataset.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Flow {
    /// The id in `x-adobe-flow-id`.
    pub id: String,
    /// The dataset it writes.
    pub dataset: String,
}

/// A schema: a composed JSON Schema or a registry's `xed-full` answer, from a file or in place.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Schema {
    /// The id in `schemaRef`; none is the document's `$id`.
    pub id: Option<String>,
    /// The file that holds it.
    pub file: Option<PathBuf>,
    /// The document itself.
    pub document: Option<Value>,
}

/// A credential of the token endpoint. AEP gives two secrets so that one can be replaced.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Client {
    /// The client id.
    pub id: String,
    /// One or two secrets, any of which is right.
    pub secrets: Vec<Secret>,
    /// Scopes that may be asked for; empty means any.
    pub scopes: Vec<String>,
}

/// Text that `Debug` does not show.
#[derive(Clone, Default, Eq, PartialEq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Secret(pub String);

/// Token buckets of an organisation, each as deep as one second's worth.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// HTTP requests per second.
    pub requests_per_second: u32,
    /// Messages per second.
    pub messages_per_second: u32,
    /// Seconds to put into `Retry-After` of the 429; none sends no such header.
    #[serde(default)]
    pub retry_after: Option<u64>,
}

/// The three forms in which AEP has been seen to answer a batch.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Style {
    /// As the documentation prints it: `statusCode`, transaction ids with colons, none on failures.
    Documented,
    /// As production answers: `status`, ids of the form `uuid-n` on every entry.
    #[default]
    Production,
    /// `status` and no transaction id anywhere.
    NoXaction,
}

/// The form of an inlet's messages.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DataType {
    /// Envelope with header and body.
    #[default]
    Xdm,
    /// Any JSON object, mapped by the flow.
    Raw,
}

/// How much of an accepted message stays in memory.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// Header and entity.
    #[default]
    Messages,
    /// Ids and times only, for counting long runs.
    Ids,
}

/// The three forms in which records of failed batches have been seen.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailedShape {
    /// `_validationErrors` with the validator's own objects, and the message.
    ValidationErrors,
    /// The message, and `_errors._streamingValidation` with codes and texts.
    #[default]
    Streaming,
    /// `header`, `body` and `_errors` as JSON text within JSON.
    Strings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            open: true,
            org: None,
            sandbox: "prod".to_owned(),
            style: Style::default(),
            clients: Vec::new(),
            token_ttl_seconds: TOKEN_TTL_SECONDS,
            invalid_token_status: 401,
            inlets: Vec::new(),
            datasets: Vec::new(),
            flows: Vec::new(),
            schemas: Vec::new(),
            schemas_directory: None,
            validate: true,
            operations_in_xdm: false,
            show_skipped_validation: true,
            body_limit: BODY_LIMIT,
            rate: None,
            latency_ms: 0,
            faults: Vec::new(),
            keep: Keep::default(),
            failed_shape: FailedShape::default(),
            workers: 2,
        }
    }
}

impl Settings {
    /// Adds an inlet.
    #[must_use]
    pub fn with_inlet(mut self, inlet: Inlet) -> Self {
        self.inlets.push(inlet);
        self
    }

    /// Adds a client with one secret.
    #[must_use]
    pub fn with_client(mut self, id: &str, secret: &str) -> Self {
        self.clients.push(Client {
            id: id.to_owned(),
            secrets: vec![Secret(secret.to_owned())],
            scopes: Vec::new(),
        });
        self
    }

    /// Adds a dataset that holds messages of one schema.
    #[must_use]
    pub fn with_dataset(mut self, id: &str, schema: &str) -> Self {
        self.datasets.push(Dataset { id: id.to_owned(), schema: Some(schema.to_owned()) });
        self
    }

    /// Adds a flow into a dataset.
    #[must_use]
    pub fn with_flow(mut self, id: &str, dataset: &str) -> Self {
        self.flows.push(Flow { id: id.to_owned(), dataset: dataset.to_owned() });
        self
    }

    /// Adds a schema.
    #[must_use]
    pub fn with_schema(mut self, id: &str, document: Value) -> Self {
        self.schemas.push(Schema { id: Some(id.to_owned()), file: None, document: Some(document) });
        self
    }

    /// Chooses the form of the answers.
    #[must_use]
    pub fn with_style(mut self, style: Style) -> Self {
        self.style = style;
        self
    }

    /// Keeps ids only.
    #[must_use]
    pub fn with_keep(mut self, keep: Keep) -> Self {
        self.keep = keep;
        self
    }
}

impl Rate {
    /// The documented guidance: 1,000 requests and 10,000 messages a second.
    pub fn guardrails() -> Self {
        Self { requests_per_second: 1_000, messages_per_second: 10_000, retry_after: None }
    }
}

impl Inlet {
    /// An inlet of the XDM form that asks for no token.
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// The same with `authenticationRequired`.
    #[must_use]
    pub fn authenticated(mut self) -> Self {
        self.authentication_required = true;
        self
    }

    /// The same with `dataType: raw`.
    #[must_use]
    pub fn raw(mut self) -> Self {
        self.data_type = DataType::Raw;
        self
    }

    /// The same, of one organisation.
    #[must_use]
    pub fn of(mut self, org: &str) -> Self {
        self.org = Some(org.to_owned());
        self
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}
