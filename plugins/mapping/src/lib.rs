//! Mappings from documents to XDM, as data: a table from XDM path to expression, compiled once and
//! applied to each record ([`Mapping`]). `README.md` beside this crate names every key.
//!
//! The same crate holds what plugins that know their format share: values that lose nothing
//! ([`Value`], [`Decimal`]), times ([`Moment`]), identities, CSV, encodings, entities ([`Entity`]),
//! and documents that remember what was read of them ([`document`], [`conserve`]).

pub mod conservation;
pub mod conserve;
pub mod date;
pub mod decimal;
pub mod decode;
pub mod document;
pub mod entity;
mod expression;
pub mod format;
#[cfg(feature = "testing")]
pub mod golden;
pub mod identity;
pub mod json;
mod lookups;
mod mapping;
mod record;
pub mod rows;
mod rule;
mod scope;
#[cfg(feature = "testing")]
pub mod testing;
pub mod value;
pub mod write;

pub use date::{DateError, Moment};
pub use decimal::{Decimal, Notation};
pub use entity::Entity;
pub use mapping::{Mapping, Options, conservation::Report as ConservationReport};
pub use record::record_value;
pub use rule::keys::MappingError;
pub use value::Value;
