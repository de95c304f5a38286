//! One destination's events, from the workers to the verdicts.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Batch, Batcher, Entry, Next};
use crate::config;
use crate::deliver::{Destination, Message, Verdict};
use crate::settle::Owed;
use crate::stop;

/// One event that waits for a request.
pub struct Outbound {
    /// The message as it will be sent.
    pub message: Message,
    /// The record that it came from.
    pub owed: Arc<Owed>,
    /// Its index among the record's events.
    pub index: usize,
}

impl Entry for Outbound {
    fn bytes(&self) -> usize {
        self.message.bytes.len()
    }
}

/// A destination, what waits for it, and what is on its way.
pub struct Outbox {
    destination: Destination,
    batcher: Mutex<Batcher<Outbound>>,
    changed: Notify,
    permits: Arc<Semaphore>,
    /// Requests under way.
    sent: Mutex<Vec<Sent>>,
}

/// A request under way.
struct Sent {
    /// The assignments whose events it carries, as far as they are not over.
    terms: Vec<u64>,
    given_up: CancellationToken,
}

impl Outbox {
    /// An empty outbox.
    pub fn new(destination: Destination, settings: &config::Destination) -> Arc<Self> {
        Arc::new(Self {
            destination,
            batcher: Mutex::new(Batcher::new(&settings.batch, settings.order)),
            changed: Notify::new(),
            permits: Arc::new(Semaphore::new(settings.batch.max_in_flight)),
            sent: Mutex::default(),
        })
    }

    /// The destination.
    pub fn destination(&self) -> &Destination {
        &self.destination
    }

    /// How many events wait for a request.
    pub fn waiting(&self) -> usize {
        self.batcher().waiting()
    }

    /// Adds events of one assigned partition (by its term), in offset order.
    pub fn push(&self, term: u64, events: Vec<Outbound>) {
        let now = Instant::now();
        let mut batcher = self.batcher();
        for event in events {
            batcher.push(term, event, now);
        }
        drop(batcher);
        self.changed.notify_one();
    }

    /// Forgets the events of an assignment that is over, and gives up its requests, unless they
    /// carry events of others. Its records are not settled by this.
    pub fn forget(&self, term: u64) {
        self.batcher().forget(term);
        for sent in self.sent().iter_mut() {
            sent.terms.retain(|other| *other != term);
            if sent.terms.is_empty() {
                sent.given_up.cancel();
            }
        }
    }

    /// From now on nothing lingers.
    pub fn drain(&self) {
        self.batcher().drain();
        self.changed.notify_one();
    }

    /// Seals and sends until cancelled; requests under way are tasks of `tasks`.
    pub async fn run(self: Arc<Self>, tasks: TaskTracker, cancelled: CancellationToken) {
        while let Some(batch) = cancelled.run_until_cancelled(self.next()).await {
            let this = Arc::clone(&self);
            // Cancelled at the end of the grace period, or when its partitions are taken away: what
            // has no verdict is not settled.
            let given_up = cancelled.child_token();
            let terms = batch.0.partitions.clone();
            self.sent().push(Sent { terms, given_up: given_up.clone() });
            tasks.spawn(async move {
                let partitions = batch.0.partitions.clone();
                given_up.run_until_cancelled(this.deliver(batch)).await;
                given_up.cancel();
                this.sent().retain(|sent| !sent.given_up.is_cancelled());
                // Invariant 3: only now may the next request of these partitions be made.
                this.batcher().done(&partitions);
                this.changed.notify_one();
            });
        }
    }

    /// Waits for a permit and a request that is due. The permit comes first: what waits for one
    /// gathers more events meanwhile.
    async fn next(&self) -> (Batch<Outbound>, tokio::sync::OwnedSemaphorePermit) {
        let permits = Arc::clone(&self.permits);
        let permit = permits.acquire_owned().await.expect("the semaphore is never closed");
        loop {
            let changed = self.changed.notified();
            let next = self.batcher().next(Instant::now());
            match next {
                Next::Send(batch) => return (batch, permit),
                Next::Idle => changed.await,
                Next::Wait(until) => {
                    // Whichever comes first; either way the batcher is asked again.
                    drop(tokio::time::timeout_at(until.into(), changed).await);
                }
            }
        }
    }

    async fn deliver(&self, (batch, permit): (Batch<Outbound>, tokio::sync::OwnedSemaphorePermit)) {
        let (messages, owed): (Vec<Message>, Vec<(Arc<Owed>, usize)>) = batch
            .entries
            .into_iter()
            .map(|event| (event.message, (event.owed, event.index)))
            .unzip();
        stop::point("before-request");
        let verdicts = self.destination.deliver(&messages).await;
        stop::point("after-request");
        drop(permit);
        for ((record, index), verdict) in owed.into_iter().zip(verdicts) {
            record.answer(
                index,
                match verdict {
                    Verdict::Accepted => Ok(()),
                    Verdict::Refused(fault) => Err(fault),
                },
            );
        }
    }

    fn sent(&self) -> MutexGuard<'_, Vec<Sent>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn batcher(&self) -> MutexGuard<'_, Batcher<Outbound>> {
        self.batcher.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
