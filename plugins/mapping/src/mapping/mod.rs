//! A mapping: from a document to events, filtered items or a rejection.

mod apply;
pub(crate) mod conservation;
mod read;
mod report;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use xylem_kit::{Operation, Outcome, Rejection};

use crate::decimal::Notation;
use apply::Collected;

use crate::conserve::Unmapped;
use crate::expression::Expression;
use crate::expression::usage::{Place, Usage};
use crate::lookups::Lookups;
use crate::rule::Group;
use crate::value::Value;

/// What surrounds a mapping.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What stands for `_tenant` in paths: `_acme`.
    pub tenant: Option<String>,
    /// The look-up files' texts by name.
    pub lookups: BTreeMap<String, String>,
    /// How the documents write numbers in texts.
    pub notation: Notation,
    /// Members that the plugin adds to each document: no mapping need read them.
    pub added: Vec<String>,
}

/// A compiled mapping. Applying it depends on the document and record alone; what it remembers is
/// for speed and for not repeating a warning.
pub struct Mapping {
    /// Cuts a document into items.
    split: Option<Expression>,
    /// Where the items are, if that is one place; otherwise what is read of them is not followed.
    items: Option<Place>,
    /// What is filtered, and why.
    filters: Vec<(Expression, String)>,
    /// The events of an item.
    events: Vec<EventRule>,
    /// The look-up tables.
    lookups: Lookups,
    /// What is read.
    usage: Usage,
    /// What becomes of documents that hold more than is read.
    unmapped: Unmapped,
    /// How the documents write numbers in texts.
    notation: Notation,
    /// Whether an expression names `$record`.
    uses_record: bool,
    /// The paths in events that hold constants or defaults.
    constants: Vec<String>,
    /// The room for the next event's body. For speed only.
    size: Cell<usize>,
    /// The paths warned about: those told, and those to be told.
    warnings: RefCell<(BTreeSet<String>, Vec<String>)>,
}

/// One event of an item.
struct EventRule {
    /// Its condition.
    when: Option<Expression>,
    /// The destination.
    route: Option<String>,
    /// What the destination is asked to do.
    operation: Option<Operation>,
    /// The object it begins with.
    copy: Option<Expression>,
    /// Its fields.
    fields: Group,
    /// Whether some field is read from the document.
    has_source: bool,
}

impl Mapping {
    /// Maps a document. `record` is what `$record` stands for; see [`record_value`](crate::record_value).
    pub fn apply(&self, document: &Value<'_>, record: &Value<'_>) -> Outcome {
        let mut collected = Collected::default();
        match self.collect(document, record, &mut collected) {
            Ok(()) => collected.outcome(),
            Err(problem) => problem.outcome(""),
        }
    }

    /// Maps the rows of one record, each a document with its number; one rejected row rejects the
    /// record, and the rejection names it.
    pub fn apply_rows<'v>(
        &self,
        rows: impl Iterator<Item = Result<(usize, Value<'v>), Rejection>>,
        record: &Value<'_>,
    ) -> Outcome {
        let mut collected = Collected::default();
        for row in rows {
            match row {
                Ok((number, row)) => {
                    if let Err(problem) = self.collect(&row, record, &mut collected) {
                        return problem.outcome(&format!("row {number}"));
                    }
                }
                Err(rejection) => return Outcome::Reject(rejection),
            }
        }
        collected.outcome()
    }

    /// Whether an expression names `$record`; if not, null will do.
    pub fn uses_record(&self) -> bool {
        self.uses_record
    }

    /// The paths in events that hold constants or defaults, `[]` standing for items.
    pub fn constants(&self) -> &[String] {
        &self.constants
    }
}
