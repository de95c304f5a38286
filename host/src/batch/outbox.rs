//! One destination's events, from the workers to the verdicts.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Batch, Batcher, Entry, Next};
use crate::config;
use crate::deliver::{Destination, Message, Verdict};
use crate::settle::{Owed, Partition};
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

    /// Adds events of one assigned partition, in offset order; not where it was taken away while
    /// a plugin was at work.
    pub fn push(&self, partition: &Partition, events: Vec<Outbound>) {
        let now = Instant::now();
        let mut batcher = self.batcher();
        // Asked under the lock that `forget` takes after the assignment ended: no event slips past.
        if partition.is_over() {
            return;
        }
        for event in events {
            batcher.push(partition.term, event, now);
        }
        drop(batcher);
        self.changed.notify_one();
    }

    /// Forgets the events of an assignment that is over, and gives up its requests, unless they
    /// carry events of others. Its records are not settled by this.
    pub fn forget(&self, partition: &Partition) {
        debug_assert!(partition.is_over(), "what comes after this would be sent");
        let term = partition.term;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead_letter::{DeadLetters, Origin};
    use crate::deliver::Quota;
    use crate::http::Client;
    use crate::kafka::Producer;
    use crate::record::{Operation, PartitionId, Record};
    use crate::settle::{Budget, Debt};
    use crate::telemetry::{Faults, Metrics};

    fn outbox() -> Arc<Outbox> {
        let settings: config::Destination = serde_saphyr::from_str(
            "inlet: http://127.0.0.1:9/collection/i1\nschema: {id: s, file: s.json}\ndataset: d",
        )
        .unwrap();
        let aep = serde_saphyr::from_str("organisation: ORG@AdobeOrg").unwrap();
        let client = Client::new(&aep, 1).unwrap();
        let quota = Arc::new(Quota::new(&config::Quota::default()));
        let destination = Destination::new("d", &settings, &aep, client, None, quota).unwrap();
        Outbox::new(destination, &settings)
    }

    fn event(
        outbox: &Outbox,
        partition: &Arc<Partition>,
        dead_letters: &Arc<DeadLetters>,
    ) -> Outbound {
        let record = Record { offset: 7, ..Record::default() };
        let origin = Origin { topic: "dead".into(), pipeline: "p".into(), generation: "g".into() };
        let debt = Debt::new(Arc::clone(partition), record);
        let owed = Owed::new(debt, 1, &Arc::new(origin), dead_letters);
        let message = outbox.destination().encode("id", "{}", Operation::Create).unwrap();
        Outbound { message, owed, index: 0 }
    }

    #[test]
    fn invariant_3_what_a_plugin_ends_with_after_its_partition_was_taken_away_is_not_sent() {
        let kafka = serde_saphyr::from_str("{brokers: '127.0.0.1:9', group: g, start: earliest}");
        let producer = Producer::new(&kafka.unwrap()).unwrap();
        let dead_letters = DeadLetters::new(producer, Faults::new(Metrics::default()));
        let budget = Arc::new(Budget::new(1 << 20));
        let assigned = |term| {
            let id = PartitionId { topic: "orders".into(), partition: 3 };
            Arc::new(Partition::new(id, term, Arc::clone(&budget), Arc::default()))
        };
        let (outbox, old, new) = (outbox(), assigned(1), assigned(2));
        outbox.push(&old, vec![event(&outbox, &old, &dead_letters)]);
        assert_eq!(outbox.waiting(), 1);
        old.end();
        outbox.forget(&old);
        outbox.push(&old, vec![event(&outbox, &old, &dead_letters)]);
        assert_eq!(outbox.waiting(), 0);
        outbox.push(&new, vec![event(&outbox, &new, &dead_letters)]);
        assert_eq!(outbox.waiting(), 1);
    }
}
