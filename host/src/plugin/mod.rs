//! The sandbox: the only user of wasmtime.
//!
//! A [`Loader`] turns a component's bytes into a [`Component`]: native code from the cache or from a
//! compiler in a child process, checked against the contract. A [`Plugin`] is a component with a
//! name, limits and a configuration; a [`Chain`] is the plugins of a pipeline. Each worker has a
//! [`Runner`] of its own, which holds one instance per plugin, made at first use, used until a call
//! fails, and then replaced.
//!
//! A guest has CPU time, memory, stack and room for its answer, all limited; it has no network, no
//! files, no clock that moves and no randomness (see [`wasi`]). So an outcome depends on nothing
//! but the record, the configuration and the component.

mod batch;
mod binary;
mod bindings;
mod cache;
mod chain;
mod compile;
mod component;
mod engine;
mod error;
mod host;
mod instance;
mod limits;
mod room;
mod runner;
mod wasi;

pub use binary::{Outline, Producer};
pub use cache::Cache;
pub use chain::{CallLimits, Chain, Forms, Outcome, Plugin, StandIn};
pub use compile::{Compile, compile_as_child, read_component};
pub use component::{Component, Import, Loader, Precompiled, Report};
pub use engine::{Engine, MAX_STACK_BYTES, WORKER_STACK_BYTES};
pub use error::{LoadError, RunError, StartError};
pub use host::{Hooks, Level, Line, Phase, Sink};
pub use limits::Limits;
pub use room::left as memory_left;
pub use runner::{Runner, Usage, Warm};
