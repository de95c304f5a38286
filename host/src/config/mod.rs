//! The configuration: one YAML file, strict, as types. Their doc comments are the manual:
//! `host/docs/config.md` and the JSON Schema for editors are written from them by a test.
//!
//! References `${NAME}` (environment) and `${file:PATH}` (a file's text) stand only in fields of
//! type [`Address`] and [`Secret`], so that no plugin and no mapping can be handed a secret.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

// The types, by section.
mod aep;
mod destination;
mod kafka;
mod machine;
mod pipeline;
mod reference;
mod reload;

// From a file to the types.
mod files;
mod inputs;
mod kind;
mod load;
mod nearest;
mod path;
mod problem;
mod rules;
mod shape;
mod source;
mod yaml;

// What follows from the types.
mod component;
mod step;

#[cfg(test)]
mod manual;
#[cfg(test)]
mod mistakes;

pub use aep::{Aep, Auth};
pub use component::{ComponentError, MAX_COMPONENT_BYTES, SHIPPED};
pub use destination::{Batch, Destination, MAX_SCHEMA_BYTES, Mode, Order, Oversize, SchemaRef};
pub(crate) use files::ReadError;
pub use inputs::{Fingerprint, Inputs};
pub use kafka::{GroupProtocol, Kafka, OutOfRange, Sasl, SaslMechanism, Start, Tls};
#[cfg(test)]
pub(crate) use kind::choices;
pub use load::{Environment, Loaded, environment, load, load_text, load_with};
pub use machine::{Admin, Limits, Quota, Shutdown};
pub use path::KeyPath;
pub use pipeline::{
    DeadLetter, Form, KeyForm, Pipeline, Plugin, Quarantine, Split, Step, Storm, Tombstones,
};
pub(crate) use problem::count;
pub use problem::{ConfigErrors, Problem, Severity};
#[cfg(test)]
pub(crate) use reference::REFERENCES;
pub use reference::{Address, Secret};
pub(crate) use reference::{has_user, without_user};
pub use reload::Reload;
pub use step::StepError;

/// The whole configuration of a process.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
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
    /// What AEP takes from the organisation, and how much of that is this process's.
    #[serde(default)]
    pub quota: Quota,
    /// What the process may use of the machine.
    #[serde(default)]
    pub limits: Limits,
    /// The listener for probes, metrics, status, and requests that change what runs.
    #[serde(default)]
    pub admin: Admin,
    /// How changed files are taken up, and what a changed plugin, mapping or schema has to show before it
    /// replaces the one that runs.
    #[serde(default)]
    pub reload: Reload,
    /// How the process stops.
    #[serde(default)]
    pub shutdown: Shutdown,
}
