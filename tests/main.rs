//! All integration tests, in one binary: wasmtime and librdkafka are linked once.

mod crash;
mod delivery;
mod fixture;
mod hostile;
mod run;
mod sandbox;
mod workloads;
mod world;
