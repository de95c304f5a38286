//! Transforming: records of ready partitions run through their pipeline's chain.
//!
//! Workers are OS threads, one per core and one spare for each: a plugin's call is synchronous and
//! may take its whole CPU budget. Nothing of a record is handed on before all of its events have
//! passed validation (Invariant 2).

mod current;
mod lane;
mod prepare;
mod worker;

pub use current::{Current, Outboxes};
pub use lane::{Begun, Lane, Ready, Turn};
pub use prepare::{Prepared, prepare};
pub use worker::{Shared, Workers};
