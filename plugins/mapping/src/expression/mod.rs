//! Expressions of a mapping. The language is jq; what is only a path, a constant or a comparison of
//! such is compiled to a direct look-up, and the rest runs in jaq.

mod direct;
mod natives;
pub(crate) mod query;
mod reads;
mod tracker;
pub(crate) mod usage;

use std::borrow::Cow;

use jaq_core::load;

use crate::lookups::Lookups;
use crate::scope::Scope;
use crate::value::Value;
use direct::Direct;
use query::{Library, Query};
use tracker::Tracker;
use usage::{Place, Usage};

/// The longest expression, in bytes: what Data Prep allows a calculated field.
const MAX_LENGTH: usize = 4096;

/// The most values that one expression may give for one item.
pub(crate) const MAX_OUTPUTS: usize = 65_536;

/// A compiled expression.
pub(crate) struct Expression {
    /// As it was written.
    text: String,
    /// How it runs.
    kind: Kind,
}

/// How an expression runs.
enum Kind {
    /// Without an interpreter.
    Direct(Direct),
    /// In jaq.
    Query(Query),
}

/// Why an expression gave no answer for a record. Never holds the record's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Continues a sentence whose subject is the expression.
    pub(crate) what: String,
}

impl Failure {
    /// A failure with its text.
    pub(crate) fn new(what: impl Into<String>) -> Failure {
        Failure { what: what.into() }
    }
}

/// The answers of an expression: borrowed from the document where it was a look-up.
pub(crate) type Answer<'s> = Cow<'s, Value<'s>>;

impl Expression {
    /// As it was written in the mapping.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether it is a plain path from `.`, which reads as a place in the document.
    pub(crate) fn is_place(&self) -> bool {
        matches!(self.kind, Kind::Direct(Direct::Path(_))) && self.text.starts_with('.')
    }

    /// The one answer; none where there is nothing at its place.
    pub(crate) fn one<'s>(&'s self, scope: Scope<'s>) -> Result<Option<Answer<'s>>, Failure> {
        if let Kind::Direct(direct) = &self.kind
            && !direct.is_many()
        {
            return Ok(direct.one(scope)?.map(Cow::Borrowed));
        }
        let mut answers = self.many(scope)?;
        match (answers.pop(), answers.len()) {
            (answer, 0) => Ok(answer),
            (_, more) => Err(Failure::new(format!(
                "gives {} values where one is needed; use `list` or `each`",
                more + 1
            ))),
        }
    }

    /// All answers in order.
    pub(crate) fn many<'s>(&'s self, scope: Scope<'s>) -> Result<Vec<Answer<'s>>, Failure> {
        match &self.kind {
            Kind::Direct(direct) => {
                let mut answers = Vec::new();
                direct.many(scope, &mut answers)?;
                Ok(answers)
            }
            Kind::Query(query) => Ok(query.run(scope)?.into_iter().map(Cow::Owned).collect()),
        }
    }

    /// Whether its first answer is neither null nor false; no answer is false.
    pub(crate) fn truth(&self, scope: Scope<'_>) -> Result<bool, Failure> {
        if let Kind::Direct(direct) = &self.kind
            && !direct.is_many()
        {
            return direct.truth(scope);
        }
        let answers = self.many(scope)?;
        Ok(answers
            .first()
            .is_some_and(|answer| !matches!(**answer, Value::Null | Value::Bool(false))))
    }
}

/// Compiles the expressions of one mapping and notes which places of the document they read.
pub(crate) struct Compiler<'c> {
    /// The tables that expressions may name.
    pub(crate) lookups: &'c Lookups,
    /// jq's own definitions.
    library: Library,
    /// What is read so far.
    pub(crate) usage: Usage,
    /// The places that `.` stands for.
    pub(crate) this: Vec<Place>,
    /// The places that `$item` stands for.
    pub(crate) item: Vec<Place>,
    /// The events on whose behalf places are read, a bit for each.
    pub(crate) events: u64,
    /// Whether an expression names `$record`.
    pub(crate) uses_record: bool,
}

impl<'c> Compiler<'c> {
    /// A compiler at the document's root.
    pub(crate) fn new(lookups: &'c Lookups) -> Compiler<'c> {
        Compiler {
            lookups,
            library: Library::default(),
            usage: Usage::default(),
            this: vec![Place::document()],
            item: vec![Place::document()],
            events: u64::MAX,
            uses_record: false,
        }
    }

    /// Compiles an expression whose answers end up in an event or in a decision.
    pub(crate) fn value(&mut self, text: &str) -> Result<Expression, String> {
        let (expression, places) = self.places(text)?;
        self.usage.mark(&places, self.events);
        Ok(expression)
    }

    /// Compiles an expression whose answers are looked at further; the places they come from.
    pub(crate) fn places(&mut self, text: &str) -> Result<(Expression, Vec<Place>), String> {
        if text.len() > MAX_LENGTH {
            return Err(format!(
                "the expression has {} bytes, the limit is {MAX_LENGTH}",
                text.len()
            ));
        }
        let quoted = |what: String| format!("`{}`: {what}", shortened(text));
        let Some(term) = load::parse(text, |parser| parser.term()) else {
            return Err(quoted(query::syntax_error(text)));
        };
        query::refuse_recursion(&term).map_err(quoted)?;
        let mut tracker = Tracker::new(&mut self.usage, &self.this, &self.item, self.events);
        let places = tracker.run(&term);
        self.uses_record |= text.contains("$record");
        let kind = if let Some(direct) = direct::compile(&term, self.lookups).map_err(quoted)? {
            Kind::Direct(direct)
        } else {
            let reads = reads::members(&term);
            Kind::Query(Query::compile(text, &term, reads, &mut self.library).map_err(quoted)?)
        };
        Ok((Expression { text: text.trim().to_owned(), kind }, places))
    }
}

/// The beginning of a text, for messages.
fn shortened(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(80) {
        Some((at, _)) => Cow::Owned(format!("{}…", text.split_at(at).0)),
        None => Cow::Borrowed(text),
    }
}
