//! The thread that polls.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::TICK;
use super::assigned::{Assigned, PATIENCE};
use super::backlog::Watch;
use crate::kafka::{Beginning, Consumer, Fetched, KafkaError};
use crate::settle::Settled;
use crate::stop;

/// Polls until told to stop, then drains. Runs on a thread of its own.
pub struct Poller {
    /// Before the consumer: it uses its client.
    watch: Watch,
    consumer: Consumer,
    assigned: Arc<Assigned>,
    stop: Arc<AtomicBool>,
    settled: Vec<Settled>,
    last_tick: Instant,
    last_poll: Instant,
    /// When it is asked again where partitions go on, where some do not.
    look_again: Option<Instant>,
}

impl Poller {
    /// A poller of a consumer that has subscribed.
    pub fn new(
        consumer: Consumer,
        assigned: Arc<Assigned>,
        stop: Arc<AtomicBool>,
    ) -> std::io::Result<Self> {
        let now = Instant::now();
        Ok(Self {
            watch: Watch::start(consumer.log_ends(), Arc::clone(&assigned))?,
            consumer,
            assigned,
            stop,
            settled: Vec::new(),
            last_tick: now,
            last_poll: now,
            look_again: None,
        })
    }

    /// Polls until told to stop.
    pub fn run(&mut self) -> Result<(), KafkaError> {
        while !self.stop.load(Ordering::Acquire) {
            if self.last_tick.elapsed() >= TICK {
                self.tick();
            }
            if self.assigned.is_spent() && self.last_poll.elapsed() < PATIENCE {
                // Invariant 4: nothing is fetched; what settles makes room.
                self.assigned.take(&mut self.settled, TICK);
                self.tick();
                continue;
            }
            self.last_poll = Instant::now();
            match self.consumer.poll(TICK) {
                Fetched::Record { partition, record } => {
                    stop::point("fetched");
                    self.assigned.accept(&partition, record);
                }
                Fetched::Nothing => {}
                Fetched::OutOfRange => self.look_again = Some(Instant::now()),
                Fetched::Trouble(error @ KafkaError::Fatal(_)) => return Err(error),
                Fetched::Trouble(error) => tracing::warn!(%error, "consumer"),
            }
        }
        Ok(())
    }

    /// Ends within the time: what was begun is settled and committed. True where all was (promise 8).
    /// The group is left when this is dropped.
    pub fn drain(&mut self) -> bool {
        let deadline = self.assigned.deadline().unwrap_or_else(Instant::now);
        self.watch.stop();
        self.consumer.pause(&self.assigned.ids());
        self.assigned.close(None);
        let mut drained = false;
        while !drained && Instant::now() < deadline {
            // Polled all the while: the group must not think that we are gone.
            if let Fetched::Record { .. } = self.consumer.poll(Duration::ZERO) {
                continue;
            }
            drained = self.assigned.drain(None, deadline.min(Instant::now() + TICK * 5));
            self.store();
        }
        stop::point("drained");
        if !self.consumer.commit(deadline) {
            tracing::warn!("last commit failed: records since the one before come again");
            return false;
        }
        drained
    }

    fn tick(&mut self) {
        self.last_tick = Instant::now();
        self.assigned.take(&mut self.settled, Duration::ZERO);
        self.assigned.apply(&mut self.settled);
        self.store();
        if self.look_again.is_some_and(|due| due <= self.last_tick) {
            self.look_for_records();
        }
        let (pause, resume) = self.assigned.shares(self.last_tick);
        if !pause.is_empty() {
            self.consumer.pause(&pause);
        }
        if !resume.is_empty() {
            self.consumer.resume(&resume);
        }
    }

    /// Finds out where partitions go on whose next record is not there. Which ones librdkafka has
    /// given up it does not say, so all are begun again; what it had fetched ahead is fetched anew.
    fn look_for_records(&mut self) {
        let wanted = self.assigned.nexts();
        let found = self.consumer.look_again(&wanted, PATIENCE);
        let unknown = found.contains(&Beginning::Unknown);
        self.look_again = unknown.then(|| Instant::now() + PATIENCE);
        if unknown {
            return;
        }
        for ((id, _), beginning) in wanted.iter().zip(&found) {
            self.consumer.restart(id, beginning);
            self.assigned.begin(id, beginning);
        }
    }

    fn store(&self) {
        for (id, position) in self.assigned.moved() {
            stop::point("store");
            self.consumer.store(&id, position);
        }
    }
}
