//! All integration tests, in one binary: wasmtime and librdkafka are linked once.

mod fixture;
mod world;
mod delivery;
mod crash;
mod hostile;
mod sandbox;
mod workloads;
