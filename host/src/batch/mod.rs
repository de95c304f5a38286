//! Batching: events of one destination become requests, and verdicts settle their records.

mod batcher;
mod outbox;

#[cfg(test)]
mod model;

pub use batcher::{Batch, Batcher, Entry, Next};
pub use outbox::{Outbound, Outbox};
