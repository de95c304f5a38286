//! What the control plane was given, by kind and id, in the order of creation.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

/// All objects of the control plane.
#[derive(Debug, Default)]
pub(crate) struct Objects(Mutex<Vec<Object>>);

/// Which collection an object is in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Collection {
    /// Flow Service's base connections.
    Connections,
    /// Its source connections.
    SourceConnections,
    /// Its target connections.
    TargetConnections,
    /// Its dataflows.
    Flows,
    /// Catalog's datasets.
    DataSets,
    /// The registry's schemas.
    Schemas,
    /// The registry's descriptors.
    Descriptors,
}

/// An object as it is shown.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    /// Where it is.
    pub(crate) collection: Collection,
    /// Its id there.
    pub(crate) id: String,
    /// Its contents.
    pub(crate) value: Value,
}

impl Objects {
    /// Adds an object.
    pub(crate) fn add(&self, collection: Collection, id: &str, value: Value) {
        self.lock().push(Object { collection, id: id.to_owned(), value });
    }

    /// The object with this id.
    pub(crate) fn get(&self, collection: Collection, id: &str) -> Option<Value> {
        let objects = self.lock();
        let found =
            objects.iter().find(|object| object.collection == collection && object.id == id);
        found.map(|object| object.value.clone())
    }

    /// All objects of a collection.
    pub(crate) fn list(&self, collection: Collection) -> Vec<Object> {
        let objects = self.lock();
        objects.iter().filter(|object| object.collection == collection).cloned().collect()
    }

    /// Takes an object out; false where there was none.
    pub(crate) fn remove(&self, collection: Collection, id: &str) -> bool {
        let mut objects = self.lock();
        let before = objects.len();
        objects.retain(|object| object.collection != collection || object.id != id);
        objects.len() < before
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Object>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
