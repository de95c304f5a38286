//! From a plugin's event to what may be sent: route, id, validity. The same function serves the
//! data path, `try` and the samples of `check`.

use crate::fault::Domain;
use crate::generation::{Pipeline, Route};
use crate::record::Event;
use crate::validate::{self, Refusal, Rules, Validated};

/// An event that may be sent.
pub struct Prepared<'a> {
    /// Its destination.
    pub route: &'a Route,
    /// The entity with its `_id`, what is asked, what is worth counting.
    pub event: Validated,
}

/// Finds the destination of an event and checks it there; `id` is the message's id.
pub fn prepare<'a>(
    pipeline: &'a Pipeline,
    event: Event,
    id: &str,
) -> Result<Prepared<'a>, Refusal> {
    let checked = pipeline.route(event.route.as_deref()).map_err(Refusal::Fault);
    let checked = checked.and_then(|route| {
        let rules = Rules::from(&*route.settings);
        let event = validate::validate(&route.schema, rules, event, id)?;
        Ok(Prepared { route, event })
    });
    checked.map_err(|mut refusal| {
        if let Refusal::Fault(fault) = &mut refusal
            && fault.domain() == Domain::Plugin
        {
            fault.plugin = pipeline.last_plugin();
        }
        refusal
    })
}
