//! What an expression can see: the value it stands at, the item and document around it, the Kafka
//! record, and the look-up tables.

use std::cell::OnceCell;

use jaq_json::Val;

use crate::expression::query;
use crate::lookups::Lookups;
use crate::value::Value;

/// A value with jq's copy of it, made when a jq expression first asks.
pub(crate) struct Frame<'s> {
    /// The value itself.
    pub(crate) value: &'s Value<'s>,
    /// The copy.
    copy: OnceCell<Val>,
}

impl<'s> Frame<'s> {
    /// A value that no jq expression has asked for yet.
    pub(crate) fn new(value: &'s Value<'s>) -> Frame<'s> {
        Frame { value, copy: OnceCell::new() }
    }

    /// The value for jq.
    pub(crate) fn copy(&self) -> Val {
        self.copy.get_or_init(|| query::to_val(self.value)).clone()
    }
}

/// The values that an expression can name.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'s> {
    /// `.`
    pub(crate) this: &'s Frame<'s>,
    /// `$item`
    pub(crate) item: &'s Frame<'s>,
    /// `$document`
    pub(crate) document: &'s Frame<'s>,
    /// `$record`
    pub(crate) record: &'s Frame<'s>,
    /// `$lookups`
    pub(crate) lookups: &'s Lookups,
}

impl<'s> Scope<'s> {
    /// The same surroundings, seen from another value.
    pub(crate) fn at<'t>(self, this: &'t Frame<'t>) -> Scope<'t>
    where
        's: 't,
    {
        Scope { this, ..self }
    }
}
