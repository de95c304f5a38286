//! All integration tests, in one binary: wasmtime and librdkafka are linked once.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod check;
mod fixture;
mod world;

mod crash;
mod delivery;
mod documents;
mod hostile;
mod sandbox;
mod try_;
mod workloads;
