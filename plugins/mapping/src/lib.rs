//! What the shipped plugins share: values that lose nothing, dates, decimals, identities, entities.

pub mod conservation;
pub mod conserve;
pub mod date;
pub mod decimal;
pub mod decode;
pub mod document;
pub mod entity;
pub mod format;
#[cfg(feature = "testing")]
pub mod golden;
pub mod identity;
pub mod json;
pub mod rows;
#[cfg(feature = "testing")]
pub mod testing;
pub mod value;
pub mod write;

pub use date::{DateError, Moment};
pub use decimal::Decimal;
pub use entity::Entity;
pub use value::Value;
