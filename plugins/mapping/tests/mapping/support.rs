//! Mappings in YAML, outcomes as JSON.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};
use xylem_kit::Outcome;
use xylem_mapping::{Mapping, Notation, Options, Value};

/// The options of most tests: a tenant, two look-ups.
pub(crate) fn options() -> Options {
    Options {
        tenant: Some("_acme".to_owned()),
        lookups: BTreeMap::from([
            (
                "stores".to_owned(),
                "store,zone,city\n007,Europe/Berlin,Berlin\n12,America/New_York,\n".to_owned(),
            ),
            ("genders".to_owned(), r#"{"M": "male", "F": "female", "1": "male"}"#.to_owned()),
        ]),
        notation: Notation::Plain,
        added: Vec::new(),
    }
}

/// A compiled mapping.
pub(crate) fn mapping(yaml: &str) -> Mapping {
    try_mapping(yaml).unwrap_or_else(|error| panic!("{error}"))
}

/// A mapping, or why it is refused.
pub(crate) fn try_mapping(yaml: &str) -> Result<Mapping, String> {
    let value: Json = serde_saphyr::from_str(yaml).unwrap();
    Mapping::from_json(&value.to_string(), &options()).map_err(|error| error.to_string())
}

/// A mapping of one event with these fields, indented by two.
pub(crate) fn fields(yaml: &str) -> Mapping {
    mapping(&format!("unmapped: ignore\nevents:\n- fields:\n{}", indent(yaml)))
}

/// The same text, each line six blanks further in.
fn indent(yaml: &str) -> String {
    yaml.lines().flat_map(|line| ["      ", line, "\n"]).collect()
}

/// What a document becomes.
pub(crate) fn apply(mapping: &Mapping, document: &str) -> Outcome {
    let value = xylem_mapping::json::parse(document, 64).unwrap();
    mapping.apply(&value, &Value::Null)
}

/// The bodies of the events that a document becomes.
pub(crate) fn bodies(mapping: &Mapping, document: &str) -> Vec<String> {
    match apply(mapping, document) {
        Outcome::Emit(events) => events.into_iter().map(|event| event.body).collect(),
        other => panic!("{other:?}"),
    }
}

/// The one event that a document becomes.
pub(crate) fn event(mapping: &Mapping, document: &str) -> Json {
    let bodies = bodies(mapping, document);
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    serde_json::from_str(&bodies[0]).unwrap()
}

/// Code, message and path of a rejection.
pub(crate) fn rejected(mapping: &Mapping, document: &str) -> (String, String, String) {
    match apply(mapping, document) {
        Outcome::Reject(rejection) => (rejection.code, rejection.message, rejection.path.unwrap()),
        other => panic!("{other:?}"),
    }
}

/// The value of a field `x` with this rule, for this source value under `.v`; null where there is
/// none. The field `k` keeps the event from being empty.
pub(crate) fn convert(rule: &str, value: &Json) -> Json {
    let mapping = fields(&format!("k: .k\nx: {rule}"));
    let event = event(&mapping, &json!({"k": 1, "v": value}).to_string());
    event.get("x").cloned().unwrap_or(Json::Null)
}

/// Why a field with this rule refuses this source value.
pub(crate) fn refuse(rule: &str, value: &Json) -> String {
    let mapping = fields(&format!("k: .k\nx: {rule}"));
    rejected(&mapping, &json!({"k": 1, "v": value}).to_string()).1
}
