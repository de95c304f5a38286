//! The thread that polls.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::TICK;
use super::assigned::Assigned;
use super::backlog::Watch;
use crate::kafka::{Beginning, Consumer, Fetched, KafkaError};
use crate::record::PartitionId;
use crate::settle::Settled;
use crate::stop;

/// How long polling rests while half the budget is in use, before partitions are paused. What flows
/// makes room within that; a pause costs more: it throws away what was fetched ahead, and librdkafka
/// may take a second to fetch again (measured: 160,000 records/s became 75,000).
const REST: Duration = Duration::from_millis(250);

/// How long brokers may take to say where partitions go on, and how long until they are asked again.
const PATIENCE: Duration = Duration::from_secs(1);

/// Polls until told to stop, then drains. Runs on a thread of its own.
pub struct Poller {
    /// Before the consumer: it uses its client.
    watch: Watch,
    consumer: Consumer,
    assigned: Arc<Assigned>,
    stop: Arc<AtomicBool>,
    settled: Vec<Settled>,
    last_tick: Instant,
    /// Since when half of the budget has been in use.
    tight_since: Option<Instant>,
    /// Rest made no room: something is stuck, and partitions are held to their shares.
    crowded: bool,
    /// More than one pipeline has partitions here.
    several: bool,
    /// The change of topics that was followed last.
    followed: u64,
    /// When it is asked again where partitions go on, where some do not.
    look_again: Option<Instant>,
}

impl Poller {
    /// A poller of a consumer; it subscribes when it looks first.
    pub fn new(
        consumer: Consumer,
        assigned: Arc<Assigned>,
        stop: Arc<AtomicBool>,
    ) -> std::io::Result<Self> {
        Ok(Self {
            watch: Watch::start(consumer.log_ends(), consumer.retentions(), &assigned)?,
            consumer,
            assigned,
            stop,
            settled: Vec::new(),
            last_tick: Instant::now(),
            tight_since: None,
            crowded: false,
            several: false,
            followed: 0,
            look_again: None,
        })
    }

    /// Subscribes to the topics of all pipelines; the group then moves what differs.
    pub fn subscribe(&mut self) -> Result<(), KafkaError> {
        self.followed = self.assigned.changes();
        self.consumer.subscribe(&self.assigned.topics())
    }

    /// Polls until told to stop.
    pub fn run(&mut self) -> Result<(), KafkaError> {
        while !self.stop.load(Ordering::Acquire) {
            if self.last_tick.elapsed() >= TICK {
                self.tick();
            }
            if self.rests() {
                // Invariant 4: nothing is fetched; what settles makes room.
                self.assigned.take(&mut self.settled, TICK);
                self.tick();
                continue;
            }
            match self.consumer.poll(TICK) {
                Fetched::Record { partition, record } => {
                    stop::point("fetched");
                    if self.assigned.accept(&partition, record, self.crowded) {
                        self.consumer.pause(std::slice::from_ref(&partition));
                    }
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
            if let Fetched::Record { partition, .. } = self.consumer.poll(Duration::ZERO) {
                // Assigned meanwhile, because another member left.
                self.consumer.pause(&[partition]);
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

    /// Whether nothing is to be fetched just now.
    fn rests(&mut self) -> bool {
        let budget = self.assigned.budget();
        let tight = budget.is_tight();
        // Where several pipelines share the budget, one that is merely slow would take every byte
        // that it frees itself, and leave the others nothing: a dip does not count.
        let eased = if self.several { budget.has_eased() } else { !tight };
        if eased {
            self.tight_since = None;
            self.crowded &= !budget.is_easy();
        } else if tight {
            let since = *self.tight_since.get_or_insert_with(Instant::now);
            self.crowded |= since.elapsed() >= REST;
        }
        tight && !self.crowded
    }

    fn tick(&mut self) {
        self.last_tick = Instant::now();
        self.several = self.assigned.has_several_pipelines();
        self.assigned.take(&mut self.settled, Duration::ZERO);
        self.assigned.apply(&mut self.settled);
        self.store();
        self.follow();
        if self.look_again.is_some_and(|due| due <= self.last_tick) {
            self.look_for_records();
        }
        let (pause, resume) = self.assigned.shares(self.crowded);
        if !pause.is_empty() {
            self.consumer.pause(&pause);
        }
        if !resume.is_empty() {
            self.consumer.resume(&resume);
        }
    }

    /// Subscribes to other topics where there are some, and begins partitions again that are to.
    fn follow(&mut self) {
        let changes = self.assigned.changes();
        if std::mem::replace(&mut self.followed, changes) != changes
            && let Err(error) = self.subscribe()
        {
            tracing::error!(%error, "cannot subscribe to other topics");
        }
        let again = self.assigned.begin_again(self.last_tick);
        if again.is_empty() {
            return;
        }
        for (id, next) in &again {
            tracing::info!(partition = %id, next, "the partition begins again");
            let at = |offset| Beginning::At { offset, fresh: false };
            match next.map(at) {
                Some(beginning) if self.consumer.restart(id, &beginning) => {
                    self.assigned.begin(id, &beginning);
                }
                _ => self.look_again = Some(self.last_tick),
            }
        }
        // librdkafka keeps a pause over it.
        let ids: Vec<PartitionId> = again.into_iter().map(|(id, _)| id).collect();
        self.consumer.resume(&ids);
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
            if !self.consumer.restart(id, beginning) {
                self.look_again = Some(Instant::now() + PATIENCE);
            }
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
