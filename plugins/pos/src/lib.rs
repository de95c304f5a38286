//! Point of sale to XDM: POSLog XML, and orders and refunds of Shopify.
//!
//! The plugin knows its formats; the settings say what documents do not (see `README.md`).

mod context;
mod detect;
mod poslog;
mod settings;
mod shopify;
mod xml;

use std::cell::RefCell;

use xylem_kit::{Event, Level, Outcome, Payload, Plugin, Record, Source};
use xylem_mapping::{
    conserve::{Conserve, LeftOut},
    document::Node,
};

use crate::{
    context::{Context, Stop},
    settings::Format,
};

/// How many notes about sums an instance writes to the log before it says no more.
const MAX_NOTES: usize = 200;

/// The plugin.
pub struct Pos {
    /// The settings.
    context: Context,
    /// Looks after POSLog documents for fields that would be lost.
    poslog: Conserve,
    /// Looks after Shopify's.
    shopify: Conserve,
    /// How many notes may still be written.
    notes: RefCell<usize>,
}

impl Plugin for Pos {
    fn init(configuration: &str) -> Result<Self, String> {
        let context = Context::new(configuration)?;
        let unmapped = context.settings.unmapped;
        Ok(Self {
            context,
            poslog: Conserve::new(unmapped, poslog::left_out::LEFT_OUT),
            shopify: Conserve::new(unmapped, shopify::left_out::LEFT_OUT),
            notes: RefCell::new(MAX_NOTES),
        })
    }

    fn transform(&self, _: &Source, record: &Record) -> Outcome {
        let Some(payload) = &record.payload else {
            return Outcome::Filter("a tombstone holds no sale".to_owned());
        };
        let outcome = self.read(payload).and_then(|document| self.settle(&document));
        outcome.map_or_else(Outcome::from, Outcome::Emit)
    }
}

impl Pos {
    /// Reads a payload into a tree. The root of XML has its element's name, that of JSON none.
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

    /// The fields of a document's format that the mapping leaves out, with their reasons.
    pub fn left_out(document: &Node) -> &'static [LeftOut] {
        if document.name().is_empty() {
            shopify::left_out::LEFT_OUT
        } else {
            poslog::left_out::LEFT_OUT
        }
    }

    /// Reads a payload.
    fn read(&self, payload: &Payload) -> Result<Node, Stop> {
        let text = match payload {
            Payload::Text(text) => text.as_str().into(),
            Payload::Bytes(bytes) => {
                xml::decode(bytes).map_err(|error| Stop::reject("bad-encoding", error, ""))?
            }
        };
        let start = text.trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']);
        let format = self.context.settings.format;
        match start.chars().next() {
            None => Err(Stop::Filter("the record is empty".to_owned())),
            Some('<') if format != Format::Shopify => {
                let root = xml::parse(&text).map_err(|error| Stop::reject("bad-xml", error, ""))?;
                if matches!(root.name(), "POSLog" | "Transaction") {
                    return Ok(root);
                }
                Err(Stop::reject(
                    "unknown-format",
                    "this is XML, but its root is neither `POSLog` nor `Transaction`",
                    "",
                ))
            }
            Some('{' | '[') if format != Format::Poslog => {
                Node::from_json(start).map_err(|error| Stop::reject("bad-json", error, ""))
            }
            Some(_) => {
                let expected = match format {
                    Format::Auto => "POSLog XML or JSON of Shopify",
                    Format::Poslog => "POSLog XML",
                    Format::Shopify => "JSON of Shopify",
                };
                Err(Stop::reject("unknown-format", format!("this is not {expected}"), ""))
            }
        }
    }

    /// Maps a document.
    fn map(&self, document: &Node) -> Result<Vec<Event>, Stop> {
        if document.name().is_empty() {
            shopify::events(document, &self.context)
        } else {
            poslog::events(document, &self.context)
        }
    }

    /// Maps a document and reports what it would lose and what does not add up.
    fn settle(&self, document: &Node) -> Result<Vec<Event>, Stop> {
        let events = self.map(document);
        let notes = self.context.notes.take();
        let events = events?;
        let conserve = if document.name().is_empty() { &self.shopify } else { &self.poslog };
        let lost = conserve.settle(document).map_err(|lost| {
            let message = format!(
                "the mapping does not know `{}`; set `unmapped: warn` to send the event without",
                lost.join("`, `")
            );
            Stop::reject("unmapped-field", message, lost.first().cloned().unwrap_or_default())
        })?;
        for path in lost {
            let line = format!("the mapping does not know the field `{path}`: it is not sent");
            xylem_kit::log(Level::Warn, &line);
        }
        for note in notes {
            let mut left = self.notes.borrow_mut();
            if *left > 0 {
                *left -= 1;
                xylem_kit::log(Level::Warn, &note);
            }
        }
        Ok(events)
    }
}

xylem_kit::export!(Pos);
