//! From a plugin's event to what may be sent: route, id, validity. The same function serves the
//! data path, `try` and the samples of `check`.

use crate::fault::Domain;
use crate::generation::{Pipeline, Route};
use crate::record::{Event, Operation};
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
    mut event: Event,
    id: &str,
) -> Result<Prepared<'a>, Refusal> {
    let checked = pipeline.route(event.route.as_deref()).map_err(Refusal::Fault);
    let checked = checked.and_then(|route| {
        let rules = Rules::from(&*route.settings);
        // An update or a deletion has exactly the keys that the plugin gave.
        if let Some(stamp) = &route.stamp
            && event.operation.unwrap_or_default() == Operation::Create
            && let Some(stamped) = stamp.write(&event.body, &pipeline.origin.generation)
        {
            event.body = stamped;
        }
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::stamp::Stamp;

    fn event(operation: Option<Operation>) -> Event {
        Event { body: "{\"name\":\"n\"}".to_owned(), route: None, operation }
    }

    #[test]
    fn an_event_names_its_generation_before_it_is_checked() {
        let text = serde_json::json!({"type": "string"});
        let schema = serde_json::json!({
            "type": "object", "properties": {"name": text, "generation": text}
        });
        let mut pipeline = crate::rig::pipeline("g1", &schema, |_, _| Vec::new());
        let body = |of: &Pipeline, operation| {
            let prepared = prepare(of, event(operation), "i");
            prepared.map(|prepared| prepared.event.body)
        };
        assert_eq!(body(&pipeline, None).unwrap(), "{\"name\":\"n\"}");
        pipeline.routes[0].stamp = Some(Stamp::new("/generation", None).unwrap());
        assert_eq!(body(&pipeline, None).unwrap(), "{\"name\":\"n\",\"generation\":\"g1\"}");
        let mut settings = (*pipeline.routes[0].settings).clone();
        settings.mode = crate::config::Mode::Raw;
        pipeline.routes[0].settings = Arc::new(settings);
        let update = body(&pipeline, Some(Operation::Update)).unwrap();
        assert_eq!(update, "{\"name\":\"n\"}", "it has exactly the keys that the plugin gave");
        // A field that the schema does not have is a fault of the configuration that shows at once.
        pipeline.routes[0].stamp = Some(Stamp::new("/other", None).unwrap());
        assert!(matches!(body(&pipeline, None), Err(Refusal::Invalid(_))));
    }
}
