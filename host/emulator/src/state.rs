//! Everything that the endpoints share.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    answer::Verdict,
    failed::FailedBatches,
    fault::{Endpoint, Fault, Faults, Kind, Place},
    inlet::Judged,
    inspect::{Inspector, Room},
    known::{Gate, Known},
    lake::{Arrival, Lake},
    platform::{Collection, Objects},
    rate::Rates,
    schema::Schema,
    settings::{FailedShape, Settings, SettingsError, Style},
    token::Tokens,
};

/// The state of an emulator.
#[derive(Debug)]
pub(crate) struct Shared {
    /// What it was started with.
    pub(crate) settings: Settings,
    /// The address it listens at, as `http://host:port`.
    pub(crate) url: String,
    /// Inlets, datasets, flows and schemas.
    pub(crate) known: Known,
    /// Faults on order.
    pub(crate) faults: Faults,
    /// Tokens given out.
    pub(crate) tokens: Tokens,
    /// Token buckets.
    pub(crate) rates: Rates,
    /// Accepted messages.
    pub(crate) lake: Arc<Lake>,
    /// Messages found wrong later.
    pub(crate) failed: Arc<FailedBatches>,
    /// The asynchronous validator.
    pub(crate) validator: Inspector,
    /// What the control plane was given.
    pub(crate) objects: Objects,
    live: Mutex<Live>,
}

/// Settings that can change while it runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Live {
    /// The form of the answers.
    pub(crate) style: Style,
    /// The form of records in failed batches.
    pub(crate) failed_shape: FailedShape,
}

/// Why an emulator does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings cannot be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The address cannot be listened at, or a thread cannot be started.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// What the system said.
        source: io::Error,
    },
}

impl Shared {
    /// The state at the start; compiles the schemas and starts the validator.
    pub(crate) fn new(settings: Settings, url: String) -> Result<Self, StartError> {
        let known = Known::new(&settings);
        let objects = Objects::default();
        let mut schemas = HashMap::new();
        for (id, document) in settings.load_schemas()? {
            let schema = Schema::new(&document).map_err(|error| SettingsError::Schema {
                name: id.clone(),
                message: error.to_string(),
            })?;
            known.add_schema(&id);
            objects.add(Collection::Schemas, &id, document);
            schemas.insert(id, Arc::new(schema));
        }
        let lake = Arc::new(Lake::new(settings.keep));
        let failed = Arc::new(FailedBatches::default());
        let validator = Inspector::start(schemas, Arc::clone(&lake), Arc::clone(&failed))
            .map_err(|source| StartError::System { what: "start a thread".to_owned(), source })?;
        let faults = Faults::default();
        if settings.latency_ms > 0 {
            faults.add(Fault::new(Kind::Latency { ms: settings.latency_ms }));
        }
        for fault in &settings.faults {
            faults.add(fault.clone());
        }
        let live = Live { style: settings.style, failed_shape: settings.failed_shape };
        Ok(Self {
            url,
            known,
            faults,
            tokens: Tokens::new(
                settings.open,
                settings.clients.clone(),
                settings.token_ttl_seconds,
            ),
            rates: Rates::new(settings.rate),
            lake,
            failed,
            validator,
            objects,
            live: Mutex::new(live),
            settings,
        })
    }

    /// The settings that can change, as they are now.
    pub(crate) fn live(&self) -> Live {
        *self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes them.
    pub(crate) fn set_live(&self, change: impl FnOnce(&mut Live)) {
        change(&mut self.live.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Bytes that a body at this inlet may have. A fault that lowers it is counted where it makes
    /// the difference.
    pub(crate) fn body_limit(&self, gate: &Gate, length: usize) -> usize {
        let place = Place { endpoint: Endpoint::Inlet, name: &gate.name, id: &gate.id };
        let lowered = self.faults.take(place, |kind| match kind {
            Kind::BodyLimit { bytes } if length > *bytes => Some(*bytes),
            _ => None,
        });
        lowered.unwrap_or(self.settings.body_limit)
    }

    /// Takes the good messages of a request into the lake and queues them for the validator.
    /// Answers a verdict for each message.
    pub(crate) fn accept(
        &self,
        arrival: &Arc<Arrival>,
        judged: Vec<Result<Judged, Verdict>>,
        room: Room,
    ) -> Vec<Verdict> {
        let mut verdicts = Vec::with_capacity(judged.len());
        let (mut arriving, mut jobs) = (Vec::with_capacity(judged.len()), Vec::new());
        for (index, verdict) in judged.into_iter().enumerate() {
            let mut message = match verdict {
                Ok(message) => message,
                Err(verdict) => {
                    verdicts.push(verdict);
                    continue;
                }
            };
            verdicts.push(Verdict::Accepted);
            message.arriving.index = u32::try_from(index).unwrap_or(u32::MAX);
            if room.is_some() {
                let job = self.validator.job(arrival, &message);
                jobs.extend(job.map(|job| (arriving.len() as u64, job)));
            }
            arriving.push(message.arriving);
        }
        if arriving.is_empty() {
            return verdicts;
        }
        let first = self.lake.append(arrival, arriving);
        let numbered = jobs.into_iter().map(|(offset, mut job)| {
            job.set_seq(first + offset);
            job
        });
        self.validator.send(room, numbered.collect());
        verdicts
    }
}
