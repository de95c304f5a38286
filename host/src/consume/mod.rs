//! Consuming: one thread that polls, hands records to the workers, and moves offsets.
//!
//! The thread never waits on a worker. A partition that holds more than its share of the budget is
//! paused after a second (a pause throws away what was fetched ahead); when the budget is spent
//! nothing is polled until something settles. Offsets move over the settled prefix only.

mod assigned;
mod backlog;
mod held;
mod poller;
mod storm;

use std::time::Duration;

pub use assigned::{Assigned, Topic};
pub use held::PartitionState;
pub use poller::Poller;

/// How often shares are looked at and settlements are carried to Kafka.
const TICK: Duration = Duration::from_millis(20);
