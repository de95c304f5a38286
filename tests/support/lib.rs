//! The harness: what an integration test stands on.
//!
//! - [`within`] and [`eventually()`]: a limit for each test, a patience for each condition, no sleep;
//! - [`kafka`]: a real Apache Kafka and the plain client that looks at it from outside;
//! - [`Xylem`]: the built binary as a child, to be stopped and killed;
//! - [`guests`]: the components that `cargo xtask plugins` builds, and bad ones made of them ([`candidates`]);
//! - [`versions`]: a receiver's books while plugins are swapped;
//! - [`samples`], [`skip`]: what may be absent, and how a test says so.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod absent;
pub mod candidates;
mod children;
mod eventually;
pub mod guests;
pub mod http;
pub mod kafka;
mod lines;
mod process;
mod target;
pub mod versions;

pub use absent::{missing_tool, samples, skip};
pub use eventually::{eventually, eventually_within, patience, within};
pub use process::{Setup, Xylem, binary, run_to_end, run_unread};
pub use target::{free_port, repository};
