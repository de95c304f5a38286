//! All integration tests, in one binary: wasmtime and librdkafka are linked once.

mod fixture;
mod sandbox;
mod workloads;
