//! All integration tests, in one binary: wasmtime and librdkafka are linked once.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::shadow_unrelated,
    reason = "a test may panic, and tells one thing after the other"
)]

mod away;
mod beside;
mod check;
mod fixture;
mod stamped;
mod world;

mod asked;
mod candidates;
mod crash;
mod delivery;
mod demo;
mod documents;
mod hostile;
mod letters;
mod manuals;
mod membership;
mod neighbours;
mod offsets;
mod reload;
mod replay;
mod sandbox;
mod secrets;
mod swap;
mod swap_crash;
mod swaps;
mod torture;
mod try_;
mod twins;
mod verdicts;
mod workloads;
