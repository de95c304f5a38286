//! Mappings from the outside: every key of the table, exactness, determinism, conservation, and
//! real documents. Expected values are written from the documents, not from the output.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::shadow_unrelated,
    reason = "a test may panic, say that it skips, and read where the samples are"
)]

mod documents;
mod events;
mod exactness;
mod expressions;
mod reading;
mod support;
mod types;
mod unmapped;
