//! JSON documents into XDM events, through a mapping table. `README.md` beside this file names the
//! settings; the mapping's keys are those of `xylem-mapping`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use xylem_kit::{Level, Outcome, Payload, Plugin, Record, Rejection, Source, log, reject};
use xylem_mapping::{Mapping, Options, Value, json, record_value};

/// The deepest that `max_depth` may go: the parser's stack must hold it.
const DEEPEST: usize = 512;

/// The json plugin: a mapping and how deep documents may nest.
pub struct Json {
    /// What documents become.
    mapping: Mapping,
    /// The deepest nesting of lists and objects.
    max_depth: usize,
}

/// What `init` reads.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings<'a> {
    /// The mapping table.
    #[serde(borrow)]
    mapping: Option<&'a RawValue>,
    /// What stands for `_tenant` in the mapping's paths.
    tenant: Option<String>,
    /// Look-up files' texts by name.
    #[serde(default)]
    lookups: BTreeMap<String, String>,
    /// The deepest nesting of lists and objects.
    max_depth: Option<usize>,
}

impl Plugin for Json {
    fn init(configuration: &str) -> Result<Self, String> {
        let settings: Settings<'_> = serde_json::from_str(configuration)
            .map_err(|error| format!("settings of the json plugin: {error}"))?;
        let table = settings
            .mapping
            .ok_or("the json plugin needs a mapping table: state `mapping: FILE` beside it")?;
        let max_depth = settings.max_depth.unwrap_or(json::MAX_DEPTH);
        if !(1..=DEEPEST).contains(&max_depth) {
            return Err(format!("`max_depth` is {max_depth}; it must be from 1 to {DEEPEST}"));
        }
        let options =
            Options { tenant: settings.tenant, lookups: settings.lookups, ..Options::default() };
        let mapping =
            Mapping::from_json(table.get(), &options).map_err(|error| error.to_string())?;
        Ok(Json { mapping, max_depth })
    }

    fn transform(&self, source: &Source, record: &Record) -> Outcome {
        let document = match self.document(record) {
            Ok(document) => document,
            Err(outcome) => return outcome,
        };
        let outcome = if self.mapping.uses_record() {
            self.mapping.apply(&document, &record_value(source, record))
        } else {
            self.mapping.apply(&document, &Value::Null)
        };
        for path in self.mapping.take_warnings() {
            log(Level::Warn, &format!("the mapping neither reads nor drops `{path}`"));
        }
        outcome
    }
}

impl Json {
    /// A record's document; a tombstone is null.
    fn document<'r>(&self, record: &'r Record) -> Result<Value<'r>, Outcome> {
        let text = match &record.payload {
            None => return Ok(Value::Null),
            Some(Payload::Text(text)) => text,
            Some(Payload::Bytes(bytes)) => std::str::from_utf8(bytes)
                .map_err(|_| reject("not-utf8", "the payload is not UTF-8 text"))?,
        };
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        json::parse(text, self.max_depth).map_err(|error| {
            Outcome::Reject(Rejection {
                code: "malformed-json".to_owned(),
                message: format!("the payload is no JSON document: {error}"),
                path: Some(format!("line {}, column {}", error.line, error.column)),
            })
        })
    }
}

xylem_kit::export!(Json);
