//! Salesforce to XDM: change events and rows of Data Loader to Individual Profile.
//!
//! The plugin knows its formats; the settings say what documents do not (see `README.md`).

mod change;
mod entity;
mod left_out;
mod profile;
mod rows;
mod settings;
mod source;
mod value;

use std::borrow::Cow;

use xylem_kit::{Event, Level, Outcome, Payload, Plugin, Record, Rejection, Source};
use xylem_mapping::{
    Entity,
    conserve::{Conserve, LeftOut},
    decode,
    document::Node,
};

use crate::settings::{Derived, Format, Settings};

/// The plugin.
pub struct Crm {
    /// The settings.
    context: Context,
    /// Looks after documents for fields that would be lost.
    conserve: Conserve,
}

/// Why a document gives no events.
#[derive(Debug)]
enum Stop {
    /// It holds nothing to send.
    Filter(String),
    /// It can not be mapped.
    Reject(Rejection),
}

/// The settings.
struct Context {
    /// As they stand in the configuration.
    settings: Settings,
    /// What is worked out from them.
    derived: Derived,
}

impl Plugin for Crm {
    fn init(configuration: &str) -> Result<Self, String> {
        let context = Context::new(configuration)?;
        let conserve = Conserve::new(context.settings.unmapped, left_out::LEFT_OUT);
        Ok(Self { context, conserve })
    }

    fn transform(&self, _: &Source, record: &Record) -> Outcome {
        let Some(payload) = &record.payload else {
            return Outcome::Filter("a tombstone holds no record".to_owned());
        };
        let outcome = self.read(payload).and_then(|document| self.settle(&document));
        outcome.map_or_else(Outcome::from, Outcome::Emit)
    }
}

impl Crm {
    /// Reads a payload into a tree: a change event, or a list of rows.
    ///
    /// # Errors
    /// The outcome of a record that can not be read.
    pub fn document(&self, payload: &Payload) -> Result<Node, Outcome> {
        self.read(payload).map_err(Outcome::from)
    }

    /// Maps a document, without looking for what it would lose.
    ///
    /// # Errors
    /// The outcome of a document without events.
    pub fn events(&self, document: &Node) -> Result<Vec<Event>, Outcome> {
        self.map(document).map_err(Outcome::from)
    }

    /// The fields that the mapping leaves out, with their reasons.
    pub fn left_out() -> &'static [LeftOut] {
        left_out::LEFT_OUT
    }

    /// Reads a payload.
    fn read(&self, payload: &Payload) -> Result<Node, Stop> {
        let Context { settings, derived } = &self.context;
        let text: Cow<'_, str> = match payload {
            Payload::Text(text) => text.strip_prefix('\u{feff}').unwrap_or(text).into(),
            Payload::Bytes(bytes) => decode::decode(bytes, derived.encoding).map_err(|error| {
                Stop::reject("bad-encoding", format!("the document {error}"), "")
            })?,
        };
        let start = text.trim_start();
        let json = match settings.format {
            Format::Auto => start.starts_with(['{', '[']),
            Format::Cdc => true,
            Format::Rows => false,
        };
        if start.is_empty() {
            Err(Stop::Filter("the record is empty".to_owned()))
        } else if json {
            Node::from_json(start).map_err(|error| Stop::reject("bad-json", error, ""))
        } else {
            source::read_rows(&text, settings, derived)
        }
    }

    /// Maps a document.
    fn map(&self, document: &Node) -> Result<Vec<Event>, Stop> {
        if document.name() == source::ROWS {
            rows::events(document, &self.context)
        } else {
            change::events(document, &self.context)
        }
    }

    /// Maps a document and reports what it would lose.
    fn settle(&self, document: &Node) -> Result<Vec<Event>, Stop> {
        let events = self.map(document)?;
        let lost = self.conserve.settle(document).map_err(|lost| {
            let lost = places(document, lost);
            let message = format!(
                "the mapping has no place for `{}`; set `tenant` to keep such fields, or \
                 `unmapped: warn` to send the event without",
                lost.join("`, `")
            );
            Stop::reject("unmapped-field", message, lost.first().cloned().unwrap_or_default())
        })?;
        for path in places(document, lost) {
            let line = format!("the mapping has no place for the field `{path}`: it is not sent");
            xylem_kit::log(Level::Warn, &line);
        }
        Ok(events)
    }
}

// Invariant 10: no content of a record reaches the log.
/// What is said of lost fields: their paths; of rows the numbers of the columns, since the first row
/// of a document whose header is missing holds values.
fn places(document: &Node, lost: Vec<String>) -> Vec<String> {
    if document.name() != source::ROWS {
        return lost;
    }
    let columns = document.children().first().map(Node::children).unwrap_or_default();
    let number = |path: &String| {
        let name = path.strip_prefix("[].").unwrap_or(path);
        columns.iter().position(|column| column.name() == name)
    };
    lost.iter().map(|path| format!("column {}", number(path).map_or(0, |at| at + 1))).collect()
}

impl Context {
    /// Reads the settings.
    fn new(configuration: &str) -> Result<Self, String> {
        let (settings, derived) = Settings::read(configuration)?;
        Ok(Self { settings, derived })
    }

    /// An empty profile, whose `_tenant` stands for the organisation's namespace.
    fn entity(&self) -> Entity<'_> {
        self.settings.tenant.as_deref().map_or_else(Entity::new, Entity::for_tenant)
    }

    /// Whether fields of the organisation's own can be written. Without a namespace they are not
    /// even read, so that they are reported as lost.
    fn has_tenant(&self) -> bool {
        self.settings.tenant.is_some()
    }
}

impl Stop {
    /// A rejection with the place in the document that it is about.
    fn reject(code: &str, message: impl Into<String>, path: impl Into<String>) -> Self {
        let path = Some(path.into()).filter(|path| !path.is_empty());
        Self::Reject(Rejection { code: code.to_owned(), message: message.into(), path })
    }
}

impl From<Stop> for Outcome {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Filter(reason) => Outcome::Filter(reason),
            Stop::Reject(rejection) => Outcome::Reject(rejection),
        }
    }
}

xylem_kit::export!(Crm);
