//! One destination's events, from the workers to the verdicts.

use std::sync::atomic::{AtomicBool, Ordering};
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
    /// Nothing is sent yet.
    held: AtomicBool,
    /// Nothing comes any more.
    over: CancellationToken,
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
            held: AtomicBool::new(false),
            over: CancellationToken::new(),
        })
    }

    /// Sends nothing until it is released. Invariant 3: while the outbox that it takes the place of has
    /// something on its way, what comes behind that waits.
    pub fn hold(&self) {
        self.held.store(true, Ordering::Release);
    }

    /// Sends from now on.
    pub fn release(&self) {
        self.held.store(false, Ordering::Release);
        self.changed.notify_one();
    }

    /// Ends [`Outbox::run`]; to be called when nothing can come any more.
    pub fn end(&self) {
        self.over.cancel();
    }

    /// The assignments of which something waits or is on its way.
    pub fn terms(&self) -> Vec<u64> {
        self.batcher().partitions()
    }

    /// Whether something of an assignment waits or is on its way, also after it was forgotten.
    pub fn holds(&self, term: u64) -> bool {
        self.batcher().holds(term)
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
        let next = || cancelled.run_until_cancelled(self.over.run_until_cancelled(self.next()));
        while let Some(Some(batch)) = next().await {
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
            if self.held.load(Ordering::Acquire) {
                changed.await;
                continue;
            }
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
    use std::time::Duration;

    use bytes::Bytes;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::mpsc;

    use super::*;
    use crate::rig::{self, Assignment};
    use crate::settle::Settlement;

    /// An inlet that tells of each request, and answers it when it is told what.
    struct Inlet {
        address: String,
        asked: mpsc::Receiver<()>,
        answers: mpsc::Sender<&'static str>,
    }

    impl Inlet {
        async fn start() -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = format!("http://{}/collection/i1", listener.local_addr().unwrap());
            let (ask, asked) = mpsc::channel(1);
            let (answers, mut answer) = mpsc::channel::<&str>(1);
            TaskTracker::new().spawn(async move {
                while let Some(stream) = asked_by(&listener, &ask).await {
                    say(stream, answer.recv().await).await;
                }
            });
            Self { address, asked, answers }
        }
    }

    /// Reads a request and tells of it; none where nobody listens any more.
    async fn asked_by(listener: &TcpListener, ask: &mpsc::Sender<()>) -> Option<TcpStream> {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"]}") {
            assert!(stream.read_buf(&mut request).await.unwrap() > 0);
        }
        ask.send(()).await.ok()?;
        Some(stream)
    }

    /// Answers; without an answer the connection just closes.
    async fn say(mut stream: TcpStream, body: Option<&str>) {
        let Some(body) = body else { return };
        let length = body.len();
        let head = format!(
            "HTTP/1.1 207 Multi-Status\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
        );
        stream.write_all((head + body).as_bytes()).await.unwrap();
    }

    /// An event of a record of its own.
    fn event(assignment: &Assignment, offset: i64) -> Outbound {
        let debt = assignment.debt(rig::record(offset));
        let owed = Owed::new(debt, 1, &rig::origin(), &rig::dead_letters());
        Outbound { message: Message { bytes: Bytes::from_static(b"{}") }, owed, index: 0 }
    }

    async fn within<T>(future: impl Future<Output = T>) -> T {
        let limit = Duration::from_secs(30);
        tokio::time::timeout(limit, future).await.expect("the test takes too long")
    }

    #[tokio::test]
    async fn invariant_3_the_next_request_waits_for_the_verdict_of_the_one_before() {
        let (mut inlet, assignment) = (Inlet::start().await, Assignment::new());
        let settings = rig::destination_settings(&inlet.address);
        let outbox = Outbox::new(rig::destination(&settings), &settings);
        outbox.drain();
        let (tasks, cancelled) = (TaskTracker::new(), CancellationToken::new());
        tasks.spawn(Arc::clone(&outbox).run(tasks.clone(), cancelled.clone()));

        outbox.push(&assignment.partition, vec![event(&assignment, 0)]);
        within(inlet.asked.recv()).await.unwrap();
        outbox.push(&assignment.partition, vec![event(&assignment, 1)]);
        // Long enough for a request that waits for nothing.
        let early = tokio::time::timeout(Duration::from_millis(200), inlet.asked.recv()).await;
        assert!(early.is_err(), "the first has no verdict yet");
        assert_eq!((outbox.waiting(), assignment.settled()), (1, Vec::new()));

        inlet.answers.send("{\"responses\":[{}]}").await.unwrap();
        within(inlet.asked.recv()).await.unwrap();
        assert_eq!(assignment.settled(), [(0, Settlement::Delivered)]);
        cancelled.cancel();
        tasks.close();
        within(tasks.wait()).await;
        assert_eq!(assignment.settled(), [], "what has no verdict is not settled");
    }

    #[tokio::test]
    async fn invariant_3_a_request_of_a_partition_that_is_gone_is_given_up() {
        let (mut inlet, assignment) = (Inlet::start().await, Assignment::new());
        let settings = rig::destination_settings(&inlet.address);
        let outbox = Outbox::new(rig::destination(&settings), &settings);
        outbox.drain();
        let (tasks, cancelled) = (TaskTracker::new(), CancellationToken::new());
        tasks.spawn(Arc::clone(&outbox).run(tasks.clone(), cancelled.clone()));
        outbox.push(&assignment.partition, vec![event(&assignment, 0)]);
        within(inlet.asked.recv()).await.unwrap();
        assignment.partition.end();
        outbox.forget(&assignment.partition);
        within(async {
            while assignment.budget.used() > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        assert_eq!(assignment.settled(), [], "nobody knows whether it arrived");
        cancelled.cancel();
    }

    #[tokio::test]
    async fn invariant_3_an_outbox_that_is_held_sends_nothing_until_it_is_released() {
        let (mut inlet, assignment) = (Inlet::start().await, Assignment::new());
        let settings = rig::destination_settings(&inlet.address);
        let outbox = Outbox::new(rig::destination(&settings), &settings);
        outbox.hold();
        outbox.drain();
        let (tasks, cancelled) = (TaskTracker::new(), CancellationToken::new());
        tasks.spawn(Arc::clone(&outbox).run(tasks.clone(), cancelled.clone()));
        outbox.push(&assignment.partition, vec![event(&assignment, 0)]);
        let early = tokio::time::timeout(Duration::from_millis(200), inlet.asked.recv()).await;
        assert!(early.is_err(), "another one may still be sending");
        assert_eq!(outbox.terms(), [assignment.partition.term]);
        outbox.release();
        within(inlet.asked.recv()).await.unwrap();
        assert!(outbox.holds(assignment.partition.term), "on its way");
        inlet.answers.send("{\"responses\":[{}]}").await.unwrap();
        outbox.end();
        tasks.close();
        within(tasks.wait()).await;
        assert_eq!(outbox.terms(), [0_u64; 0]);
        assert_eq!(assignment.settled(), [(0, Settlement::Delivered)]);
    }

    #[test]
    fn invariant_3_what_a_plugin_ends_with_after_its_partition_was_taken_away_is_not_sent() {
        let (old, new) = (Assignment::new(), Assignment::of_term(2));
        let settings = rig::nowhere();
        let outbox = Outbox::new(rig::destination(&settings), &settings);
        outbox.push(&old.partition, vec![event(&old, 7)]);
        assert_eq!(outbox.waiting(), 1);
        old.partition.end();
        outbox.forget(&old.partition);
        outbox.push(&old.partition, vec![event(&old, 7)]);
        assert_eq!(outbox.waiting(), 0);
        outbox.push(&new.partition, vec![event(&new, 7)]);
        assert_eq!(outbox.waiting(), 1);
    }
}
