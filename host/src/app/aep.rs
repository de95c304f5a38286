//! What sends to AEP: the client, the token, an outbox for each destination.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::SwapError;
use crate::batch::Outbox;
use crate::config::{self, Loaded};
use crate::deliver::{Access, Destination, Quota};
use crate::http::{Token, client};
use crate::transform::Outboxes;

/// What runs and may go on.
pub(super) struct Delivery<'a> {
    /// The client and the token, where requests are made as before.
    pub(super) access: Option<Access>,
    /// The settings of the running destinations.
    pub(super) destinations: Option<&'a BTreeMap<String, config::Destination>>,
    /// Their outboxes.
    pub(super) outboxes: &'a Outboxes,
}

/// The outboxes of a configuration: those that run where nothing of theirs differs, new ones elsewhere.
pub(super) fn outboxes(
    loaded: &Loaded,
    quota: &Arc<Quota>,
    running: &Delivery<'_>,
) -> Result<(Access, Outboxes), SwapError> {
    let config = &loaded.config;
    let access = match &running.access {
        Some(access) => access.clone(),
        None => access(loaded, quota)?,
    };
    let mut outboxes = Outboxes::new();
    for (name, settings) in &config.destinations {
        let before = running.outboxes.get(name.as_str());
        let same = running.destinations.and_then(|all| all.get(name)) == Some(settings);
        let outbox = match before {
            Some(before) if same && running.access.is_some() => Arc::clone(before),
            _ => {
                let made = Destination::new(name, settings, &config.aep, access.clone());
                let made = made.map_err(|error| SwapError(error.to_string()))?;
                let made = match before {
                    Some(before) => made.counting_on(before.destination()),
                    None => made,
                };
                Outbox::new(made, settings)
            }
        };
        outboxes.insert(name.as_str().into(), outbox);
    }
    Ok((access, outboxes))
}

fn access(loaded: &Loaded, quota: &Arc<Quota>) -> Result<Access, SwapError> {
    let config = &loaded.config;
    let refuse = |error: &dyn std::error::Error| SwapError(error.to_string());
    let connections = config.destinations.values().map(|d| d.batch.max_in_flight).sum();
    let client = client(loaded, connections).map_err(|error| refuse(&error))?;
    let token = match &config.aep.auth {
        Some(auth) => {
            Some(Arc::new(Token::new(auth, client.clone()).map_err(|error| refuse(&error))?))
        }
        None => None,
    };
    Ok(Access { client, token, quota: Arc::clone(quota) })
}
