//! Consuming: one thread that polls, hands records to the workers, and moves offsets.
//!
//! The thread never waits on a worker. When half of the budget is in use it rests, until something
//! settles. Where that makes no room, something is stuck: then every partition is held to its share
//! of the other half, and paused where it has more. Offsets move over the settled prefix only.

mod assigned;
mod backlog;
mod follow;
mod held;
mod poller;
mod retention;
mod storm;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use assigned::{Assigned, Topic, Topics};
pub use follow::{Change, Followed};
pub use held::PartitionState;
pub use poller::Poller;
pub use retention::{Expiry, warnings as expiry_warnings};

/// How often shares are looked at and settlements are carried to Kafka.
const TICK: Duration = Duration::from_millis(20);
