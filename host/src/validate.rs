//! Validation: what a plugin made of a record, against its destination's schema and AEP's limits.

use crate::config::{Destination, Mode, Oversize};
use crate::fault::{Code, Fault};
use crate::id;
use crate::record::{Event, Operation};
use crate::schema::{Entity, Schema, Violations, Warning, WarningCode};

/// What a destination asks of its events beside the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Whether the dataset is enabled for Profile.
    pub profile: bool,
    /// What an event above Profile's size is.
    pub oversize: Oversize,
    /// Whether events may be updates and deletions.
    pub mode: Mode,
}

impl From<&Destination> for Rules {
    fn from(destination: &Destination) -> Self {
        Self {
            profile: destination.profile,
            oversize: destination.oversize,
            mode: destination.mode,
        }
    }
}

/// An event that may be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validated {
    /// The entity as JSON text; it has an `_id` where its class has one.
    pub body: String,
    /// What the destination is asked to do with it.
    pub operation: Operation,
    /// What is worth counting.
    pub warnings: Vec<Warning>,
}

/// Why an event may not be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is not valid under the schema.
    Invalid(Violations),
    /// Anything else: not an object, too large, an operation that the destination does not have.
    Fault(Box<Fault>),
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Fault(fault) => *fault,
            Refusal::Invalid(violations) => {
                let fault = Self::new(Code::SchemaInvalid, violations.to_string());
                match violations.first.first() {
                    Some(first) => fault.at(&first.pointer),
                    None => fault,
                }
            }
        }
    }
}

/// Profile drops larger events of a time series. Adobe says 10 KB and not which KB: the smaller one, since
/// a dead letter is seen and a drop is not.
const MAX_EVENT_BYTES: usize = 10_000;
/// Profile drops larger records.
const MAX_RECORD_BYTES: usize = 100_000;

/// Checks an event; `id` becomes its `_id` where the class has one and the plugin gave none.
///
/// Updates and deletions keep exactly the keys that the plugin gave: an `_id` of ours would
/// overwrite the record's own.
pub fn validate(
    schema: &Schema,
    rules: Rules,
    event: Event,
    id: &str,
) -> Result<Validated, Refusal> {
    let operation = event.operation.unwrap_or_default();
    let is_partial = operation != Operation::Create;
    if is_partial && rules.mode == Mode::Xdm {
        return Err(fault(
            Code::PluginOperation,
            "the event is an update or a deletion, the destination's mode is `xdm`",
        ));
    }
    let mut entity = Entity::parse(&event.body)
        .map_err(|error| fault(Code::PluginOutput, format!("the event is not JSON: {error}")))?;
    let Entity::Object(members) = &mut entity else {
        return Err(fault(Code::PluginOutput, "the event is JSON, but not an object"));
    };
    // Invariant 9: the plugin's `_id` where it gives one, else the host's, and only where the class has it.
    let with_id = if schema.has_id() && !is_partial && !members.iter().any(|(key, _)| key == "_id")
    {
        members.push(("_id".into(), Entity::Text(id.into())));
        Some(id::with_id(&event.body, id).into_owned())
    } else {
        None
    };
    let checked = if is_partial { schema.check_partial(&entity) } else { schema.check(&entity) };
    checked.map_err(Refusal::Invalid)?;
    let mut warnings = schema.warnings(&entity);
    drop(entity);
    let body = with_id.unwrap_or(event.body);
    if let Some(oversize) = oversize(schema, rules, body.len()) {
        match rules.oversize {
            Oversize::Fault => return Err(Refusal::Fault(Box::new(oversize))),
            Oversize::Warn => {
                warnings.push(Warning { code: WarningCode::Oversize, pointer: String::new() });
            }
        }
    }
    Ok(Validated { body, operation, warnings })
}

/// The fault of an entity of so many bytes, where Profile would drop it.
fn oversize(schema: &Schema, rules: Rules, bytes: usize) -> Option<Fault> {
    let limit = if schema.is_time_series() { MAX_EVENT_BYTES } else { MAX_RECORD_BYTES };
    (rules.profile && bytes > limit).then(|| {
        Fault::new(
            Code::Oversize,
            format!("the event has {bytes} bytes, Profile's limit is {limit}"),
        )
    })
}

fn fault(code: Code, message: impl Into<String>) -> Refusal {
    Refusal::Fault(Box::new(Fault::new(code, message)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn schema(is_event: bool, mode: Mode) -> Schema {
        let text = json!({"type": "string"});
        let mut properties =
            json!({"name": text, "eventType": {"type": "string", "meta:enum": {"a": ""}}});
        if is_event {
            properties["_id"] = text.clone();
            properties["timestamp"] = text;
        }
        let required = if is_event { json!(["_id", "name"]) } else { json!(["name"]) };
        let root = json!({"type": "object", "properties": properties, "required": required});
        Schema::load(&root.to_string(), mode).unwrap()
    }

    const RULES: Rules = Rules { profile: true, oversize: Oversize::Fault, mode: Mode::Xdm };

    fn event(body: &str, operation: Option<Operation>) -> Event {
        Event { body: body.to_owned(), route: None, operation }
    }

    fn refused(rules: Rules, event: Event) -> Fault {
        validate(&schema(true, rules.mode), rules, event, "h.0.1.2.0").unwrap_err().into()
    }

    #[test]
    fn invariant_9_an_event_gets_the_hosts_id_where_its_class_has_one_and_the_plugin_gave_none() {
        let body = |is_event, text: &str| {
            validate(&schema(is_event, Mode::Xdm), RULES, event(text, None), "h.0.1.2.0")
                .unwrap()
                .body
        };
        assert_eq!(
            body(true, " { \"name\" : \"n\" } "),
            " {\"_id\":\"h.0.1.2.0\", \"name\" : \"n\" } "
        );
        assert_eq!(
            body(true, "{\"name\":\"n\",\"_id\":\"mine\"}"),
            "{\"name\":\"n\",\"_id\":\"mine\"}"
        );
        assert_eq!(body(false, "{\"name\":\"n\"}"), "{\"name\":\"n\"}");
    }

    #[test]
    fn an_id_that_is_wrong_is_not_replaced() {
        let fault = refused(RULES, event("{\"name\":\"n\",\"_id\":null}", None));
        assert_eq!(fault.message, "DCVS-1101-400 #/_id: expected type: String, found: Null");
    }

    #[test]
    fn an_invalid_event_says_all_that_is_wrong_and_where_it_begins() {
        let fault = refused(RULES, event("{\"eventType\":1,\"more\":2}", None));
        assert_eq!(fault.code, Code::SchemaInvalid);
        assert_eq!(fault.path.as_deref(), Some(""));
        assert_eq!(
            fault.message,
            "3 schema violations found: DCVS-1106-400 #: required key [name] not found; \
             DCVS-1101-400 #: extraneous key [more] is not permitted; \
             DCVS-1104-400 #/eventType: expected type: String, found: Integer"
        );
    }

    #[test]
    fn what_is_no_object_is_the_plugins_fault() {
        for body in
            ["", "{", "{\"name\":\"a\",\"name\":\"b\"}", "{\"name\":\"a\"}}", &"[".repeat(5_000)]
        {
            let fault = refused(RULES, event(body, None));
            assert_eq!(fault.code, Code::PluginOutput);
            assert!(fault.message.starts_with("the event is not JSON: "), "{}", fault.message);
        }
        for body in ["[]", "null", "\"{}\"", "1"] {
            assert_eq!(
                refused(RULES, event(body, None)).message,
                "the event is JSON, but not an object"
            );
        }
    }

    #[test]
    fn what_profile_drops_is_a_fault_or_a_warning() {
        let sized = |is_event: bool, bytes: usize| {
            let mut body = json!({"name": ""});
            if is_event {
                body["_id"] = json!("1");
            }
            let name = "x".repeat(bytes - body.to_string().len());
            body["name"] = Value::String(name);
            assert_eq!(body.to_string().len(), bytes);
            event(&body.to_string(), None)
        };
        for (is_event, limit) in [(true, 10_000), (false, 100_000)] {
            let schema = schema(is_event, Mode::Xdm);
            let checked = |rules, bytes| validate(&schema, rules, sized(is_event, bytes), "i");
            assert!(checked(RULES, limit).is_ok());
            let fault = Fault::from(checked(RULES, limit + 1).unwrap_err());
            assert_eq!(fault.code, Code::Oversize);
            assert_eq!(
                fault.message,
                format!("the event has {} bytes, Profile's limit is {limit}", limit + 1)
            );
            assert!(
                checked(Rules { profile: false, ..RULES }, limit + 1).unwrap().warnings.is_empty()
            );
            let warned = checked(Rules { oversize: Oversize::Warn, ..RULES }, limit + 1).unwrap();
            assert_eq!(
                warned.warnings,
                [Warning { code: WarningCode::Oversize, pointer: String::new() }]
            );
        }
    }

    #[test]
    fn updates_and_deletions_exist_in_raw_mode_only() {
        let raw = Rules { mode: Mode::Raw, ..RULES };
        for operation in [Operation::Update, Operation::Delete] {
            let partial = event("{\"eventType\":\"a\"}", Some(operation));
            assert_eq!(refused(RULES, partial.clone()).code, Code::PluginOperation);
            let validated = validate(&schema(true, Mode::Raw), raw, partial, "i").unwrap();
            assert_eq!(
                (validated.body.as_str(), validated.operation),
                ("{\"eventType\":\"a\"}", operation)
            );
            assert_eq!(
                refused(raw, event("{\"name\":1}", Some(operation))).code,
                Code::SchemaInvalid
            );
        }
        // A creation needs what the schema requires in either mode.
        assert_eq!(refused(raw, event("{\"eventType\":\"a\"}", None)).code, Code::SchemaInvalid);
        assert!(
            validate(
                &schema(true, Mode::Raw),
                raw,
                event("{\"name\":\"n\"}", Some(Operation::Create)),
                "i"
            )
            .is_ok()
        );
    }

    #[test]
    fn warnings_come_with_the_event() {
        let validated = validate(
            &schema(false, Mode::Xdm),
            RULES,
            event("{\"name\":\"n\",\"eventType\":\"b\"}", None),
            "i",
        );
        let soft = Warning { code: WarningCode::SoftEnum, pointer: "/eventType".to_owned() };
        assert_eq!(validated.unwrap().warnings, [soft]);
    }
}
