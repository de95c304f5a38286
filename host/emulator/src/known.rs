//! What the emulator knows by id: inlets, datasets, flows, schemas. The control plane adds to it.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use crate::{
    ident,
    settings::{DataType, Dataset, Flow, Inlet, Settings},
};

/// Inlets that an open emulator makes on the fly, at most.
const OPEN_INLETS: usize = 1_000;

/// Everything known by id.
#[derive(Debug)]
pub(crate) struct Known {
    open: bool,
    org: Option<String>,
    validate: bool,
    tables: RwLock<Tables>,
}

/// The tables themselves.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    inlets: HashMap<String, Arc<Gate>>,
    datasets: HashMap<String, Option<String>>,
    flows: HashMap<String, String>,
    schemas: HashSet<String>,
}

/// An inlet as its requests meet it.
#[derive(Debug)]
pub(crate) struct Gate {
    /// The name in views and faults.
    pub(crate) name: Arc<str>,
    /// The id in answers.
    pub(crate) id: String,
    /// The organisation it takes messages of; none is any.
    pub(crate) org: Option<String>,
    /// Whether a valid token is asked for.
    pub(crate) authentication_required: bool,
    /// The form of messages.
    pub(crate) data_type: DataType,
    /// The source name of messages without one.
    pub(crate) source: String,
    /// Whether `syncValidation` is served.
    pub(crate) sync_validation: bool,
    /// Whether the asynchronous validator runs.
    pub(crate) validate: bool,
    schemas: Vec<String>,
    datasets: Vec<String>,
    flows: Vec<String>,
}

impl Known {
    /// What the settings list.
    pub(crate) fn new(settings: &Settings) -> Self {
        let known = Self {
            open: settings.open,
            org: settings.org.clone(),
            validate: settings.validate,
            tables: RwLock::default(),
        };
        for inlet in &settings.inlets {
            known.add_inlet(inlet);
        }
        for Dataset { id, schema } in &settings.datasets {
            known.add_dataset(id, schema.as_deref());
        }
        for Flow { id, dataset } in &settings.flows {
            known.add_flow(id, dataset);
        }
        known
    }

    /// The inlet with this id or name. An open emulator makes unknown ones.
    pub(crate) fn inlet(&self, id_or_name: &str) -> Option<Arc<Gate>> {
        if let Some(gate) = self.read().inlets.get(id_or_name) {
            return Some(Arc::clone(gate));
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let sound = (1..=128).contains(&id_or_name.len()) && id_or_name.bytes().all(plain);
        if !self.open || !sound || self.read().inlets.len() >= OPEN_INLETS {
            return None;
        }
        let id = Some(id_or_name.to_owned());
        Some(self.add_inlet(&Inlet { name: id_or_name.to_owned(), id, ..Inlet::default() }))
    }

    /// Adds an inlet under its name and its id.
    pub(crate) fn add_inlet(&self, inlet: &Inlet) -> Arc<Gate> {
        let id = inlet.id.clone().unwrap_or_else(|| ident::inlet(&inlet.name));
        let gate = Arc::new(Gate {
            name: Arc::from(inlet.name.as_str()),
            id: id.clone(),
            org: inlet.org.clone().or_else(|| self.org.clone()),
            authentication_required: inlet.authentication_required,
            data_type: inlet.data_type,
            source: inlet.source.clone().unwrap_or_else(|| inlet.name.clone()),
            sync_validation: !inlet.no_sync_validation,
            validate: inlet.validate.unwrap_or(self.validate),
            schemas: inlet.schemas.clone(),
            datasets: inlet.datasets.clone(),
            flows: inlet.flows.clone(),
        });
        let mut tables = self.write();
        let by_name = tables.inlets.entry(inlet.name.clone()).or_insert_with(|| Arc::clone(&gate));
        let named = Arc::clone(by_name);
        tables.inlets.entry(id).or_insert_with(|| Arc::clone(&named));
        named
    }

    /// Adds a dataset.
    pub(crate) fn add_dataset(&self, id: &str, schema: Option<&str>) {
        self.write().datasets.insert(id.to_owned(), schema.map(str::to_owned));
    }

    /// Adds a flow.
    pub(crate) fn add_flow(&self, id: &str, dataset: &str) {
        self.write().flows.insert(id.to_owned(), dataset.to_owned());
    }

    /// Takes a flow out.
    pub(crate) fn remove_flow(&self, id: &str) {
        self.write().flows.remove(id);
    }

    /// Whether this names an inlet.
    pub(crate) fn has_inlet(&self, id_or_name: &str) -> bool {
        self.read().inlets.contains_key(id_or_name)
    }

    /// Adds a schema id.
    pub(crate) fn add_schema(&self, id: &str) {
        self.write().schemas.insert(id.to_owned());
    }

    /// A look at the tables.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Tables> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether what is not listed is accepted.
    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    fn write(&self) -> RwLockWriteGuard<'_, Tables> {
        self.tables.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    /// Whether a dataset is known.
    pub(crate) fn has_dataset(&self, id: &str) -> bool {
        self.datasets.contains_key(id)
    }

    /// The schema of a dataset.
    pub(crate) fn schema_of(&self, dataset: &str) -> Option<&str> {
        self.datasets.get(dataset)?.as_deref()
    }

    /// The dataset of a flow.
    pub(crate) fn flow(&self, id: &str) -> Option<&str> {
        self.flows.get(id).map(String::as_str)
    }

    /// Whether a schema id is loaded or the schema of a dataset.
    pub(crate) fn has_schema(&self, id: &str) -> bool {
        self.schemas.contains(id) || self.datasets.values().flatten().any(|known| known == id)
    }
}

impl Gate {
    /// Whether messages may be of this schema.
    pub(crate) fn takes_schema(&self, id: &str) -> bool {
        self.schemas.is_empty() || self.schemas.iter().any(|known| known == id)
    }

    /// Whether messages may go to this dataset.
    pub(crate) fn takes_dataset(&self, id: &str) -> bool {
        self.datasets.is_empty() || self.datasets.iter().any(|known| known == id)
    }

    /// Whether this flow ends here.
    pub(crate) fn takes_flow(&self, id: &str) -> bool {
        self.flows.is_empty() || self.flows.iter().any(|known| known == id)
    }
}
