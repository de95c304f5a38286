//! The rules of a mapping, compiled: each writes its part of an event straight into JSON text, or
//! nothing. No tree is built, and what stays empty is never written.

pub(crate) mod convert;
pub(crate) mod keys;
pub(crate) mod read;
mod types;
mod writer;

use std::collections::HashMap;

use crate::expression::{Answer, Expression, Failure};
use crate::scope::Scope;
use crate::value::Value;
use convert::{Kind, scalar_text};
pub(crate) use writer::Writer;

/// A part of an event.
pub(crate) enum Node {
    /// An object.
    Group(Group),
    /// Anything else.
    Rule(Box<Rule>),
}

/// An object of an event.
#[derive(Default)]
pub(crate) struct Group {
    /// Its members in order.
    pub(crate) members: Vec<Member>,
    /// Whether it is left out where only its constants have a value, although others might: an
    /// identity without its id.
    pub(crate) needs_source: bool,
}

/// A member of an object.
pub(crate) struct Member {
    /// Its name.
    pub(crate) name: String,
    /// The same as JSON, with the colon.
    pub(crate) key: String,
    /// Its value.
    pub(crate) node: Node,
}

/// A value of an event, and where it comes from.
pub(crate) struct Rule {
    /// Its path in the event, for messages.
    pub(crate) target: String,
    /// Where it comes from.
    pub(crate) source: Source,
    /// Whether the record is rejected where there is none.
    pub(crate) required: bool,
}

/// Where a value comes from.
pub(crate) enum Source {
    /// A constant, as JSON.
    Constant(String),
    /// The document.
    From(Box<From>),
    /// A list whose items have rules of their own.
    List(Vec<Node>),
    /// A list with one item for each answer of an expression.
    Each(Expression, Node),
    /// An object that is required.
    Group(Group),
}

/// A value read from the document, and what becomes of it.
pub(crate) struct From {
    /// Where it is.
    pub(crate) expression: Expression,
    /// Whether blanks around a text are taken away first.
    pub(crate) trim: bool,
    /// The table that translates it.
    pub(crate) table: Option<Table>,
    /// The type it must have.
    pub(crate) kind: Kind,
    /// Whether a value of the wrong type counts as none instead of rejecting the record.
    pub(crate) lenient: bool,
    /// What stands in for no value, as JSON.
    pub(crate) default: Option<String>,
    /// Which values become an explicit null.
    pub(crate) unset: Unset,
}

/// Which values of the source become an explicit null in the event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Unset {
    /// None: nulls are left out.
    #[default]
    Never,
    /// A null.
    Null,
    /// A null or an empty text.
    Empty,
}

/// A table that translates values.
pub(crate) struct Table {
    /// From where.
    pub(crate) rows: TableRows,
    /// What becomes of a value that it does not have.
    pub(crate) unknown: Unknown,
}

/// The rows of a table.
pub(crate) enum TableRows {
    /// Written in the mapping.
    Inline(HashMap<String, Value<'static>>),
    /// A look-up file, and the column where its rows have more than one.
    Lookup(usize, Option<String>),
}

/// What becomes of a value that a table does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// The record is rejected.
    #[default]
    Reject,
    /// There is no value.
    Omit,
    /// It stays as it is.
    Keep,
}

/// How much a rule wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wrote {
    /// Nothing at all.
    Nothing,
    /// Constants and defaults only.
    Constants,
    /// Something that comes from the document.
    Sourced,
}

/// Why a record cannot become an event. Holds paths, types and expressions, never values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// A stable word.
    pub(crate) code: &'static str,
    /// A sentence.
    pub(crate) message: String,
    /// Where in the document, as an expression.
    pub(crate) path: String,
}

impl Problem {
    /// An expression that failed.
    pub(crate) fn failure(expression: &Expression, failure: &Failure) -> Problem {
        Problem {
            code: "expression",
            message: format!("`{}` {}", expression.text(), failure.what),
            path: expression.text().to_owned(),
        }
    }

    /// The same, found inside an answer of another expression.
    pub(crate) fn inside(mut self, each: &Expression, index: usize) -> Problem {
        if self.path.starts_with('$') {
            return self;
        }
        let place = match each.text().strip_suffix("[]") {
            Some(list) if each.is_place() => format!("{list}[{index}]"),
            _ => format!("nth({index}; {})", each.text()),
        };
        self.path = if self.path == "." {
            place
        } else if self.path.starts_with('.') && each.is_place() {
            format!("{place}{}", self.path)
        } else {
            format!("{place} | {}", self.path)
        };
        self
    }
}

impl Table {
    /// What a value becomes; none where that is nothing. An error where it must be known and is not.
    fn translate<'t>(
        &'t self,
        value: &'t Value<'t>,
        scope: Scope<'t>,
    ) -> Result<Option<&'t Value<'t>>, ()> {
        let found = scalar_text(value).and_then(|key| match &self.rows {
            TableRows::Inline(rows) => rows.get(&*key),
            TableRows::Lookup(table, column) => {
                let row = scope.lookups.row(*table, &key)?;
                match (column, row) {
                    (Some(column), row) => row.get(column),
                    (None, Value::Object(members)) => match members.as_slice() {
                        [(_, only)] => Some(only),
                        _ => None,
                    },
                    (None, row) => Some(row),
                }
            }
        });
        match (found, self.unknown) {
            (Some(found), _) => Ok(Some(found)),
            (None, Unknown::Reject) => Err(()),
            (None, Unknown::Omit) => Ok(None),
            (None, Unknown::Keep) => Ok(Some(value)),
        }
    }
}

/// The answers of an expression, or the problem that it failed.
pub(crate) fn answers<'s>(
    expression: &'s Expression,
    scope: Scope<'s>,
) -> Result<Vec<Answer<'s>>, Problem> {
    expression.many(scope).map_err(|failure| Problem::failure(expression, &failure))
}
