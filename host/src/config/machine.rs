//! The sections `quota`, `limits`, `admin` and `shutdown`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::reference::Secret;

/// What AEP takes from the organisation, and how much of that is this process's.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Quota {
    /// Messages a second, of the whole organisation.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub messages_per_second: u32,
    /// Requests a second, of the whole organisation.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub requests_per_second: u32,
    /// The part of it that this process uses, above 0 and up to 1. Absent means as large a part as
    /// it has of all partitions of its topics, so that the processes of a group use all of it
    /// together. After a 429 it is less for a while.
    #[schemars(range(min = 0.000_001, max = 1.0))]
    pub share: Option<f64>,
}

impl Default for Quota {
    fn default() -> Self {
        // Adobe's guardrails for streaming ingestion.
        Self { messages_per_second: 10_000, requests_per_second: 1_000, share: None }
    }
}

/// What the process may use of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
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
    /// The most payload bytes in one call of a plugin. What a call returns may be 16 MiB.
    #[schemars(range(min = 1_024, max = 1_048_576))]
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

/// The listener for probes, metrics, status, and requests that change what runs.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// The address; a pod sets `0.0.0.0:9600` so that probes and scrapes reach it.
    pub listen: String,
    /// The bearer token for `/status` from beyond loopback, and for what changes what runs (`POST /reload`) from
    /// anywhere; absent means `/status` on loopback only, and changes on the Unix socket only.
    pub token: Option<Secret>,
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: "127.0.0.1:9600".to_owned(), token: None }
    }
}

/// How the process stops.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
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
