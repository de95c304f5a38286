//! The receiver: answers at once, keeps the books of versions, and times what comes in stretches.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::routing::post;
use memchr::memmem::find_iter;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use xylem_tests::guests;
use xylem_tests::versions::{Stamped, Versions};

/// Stands once in every message, before its id.
const ID: &[u8] = b"\"msgId\":\"";

/// Latencies are counted by millisecond; above this they count as this.
const LONGEST: usize = 60_000;

/// A receiver on a thread of its own, until dropped.
pub(super) struct Receiver {
    address: SocketAddr,
    books: Arc<Mutex<Books>>,
    _runtime: Runtime,
}

/// Everything that is kept.
struct Books {
    versions: Versions,
    stretch: Stretch,
    first: Option<Instant>,
    last: Option<Instant>,
}

/// What came in a stretch of time.
pub(super) struct Stretch {
    events: u64,
    /// Events by latency in milliseconds, from the record's timestamp to acceptance.
    latencies: Vec<u64>,
    /// The longest time in which nothing came.
    longest_gap: Duration,
}

impl Stretch {
    fn new() -> Self {
        Self { events: 0, latencies: vec![0; LONGEST + 1], longest_gap: Duration::ZERO }
    }

    /// How many events came.
    pub(super) fn events(&self) -> u64 {
        self.events
    }

    /// The latency in milliseconds that 99 of 100 events do not exceed.
    pub(super) fn p99_ms(&self) -> u64 {
        let mut left = self.events * 99 / 100;
        let holds = |count: &u64| {
            let reached = left < *count;
            left = left.saturating_sub(*count);
            reached
        };
        self.latencies.iter().position(holds).unwrap_or(LONGEST) as u64
    }

    /// The longest time in which nothing came, in milliseconds.
    pub(super) fn longest_gap_ms(&self) -> f64 {
        self.longest_gap.as_secs_f64() * 1000.0
    }
}

impl Receiver {
    /// Starts a receiver for records that become so many events each.
    pub(super) fn start(events: u64) -> anyhow::Result<Self> {
        let (versions, stretch) = (Versions::new(events), Stretch::new());
        let books = Arc::new(Mutex::new(Books { versions, stretch, first: None, last: None }));
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        let routes = Router::new()
            .route("/collection/batch/{id}", post(batch))
            .layer(DefaultBodyLimit::max(2_000_000))
            .with_state(Arc::clone(&books));
        runtime.spawn(axum::serve(listener, routes).into_future());
        Ok(Self { address, books, _runtime: runtime })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Events so far, each counted once.
    pub(super) fn arrived(&self) -> u64 {
        self.books().versions.arrived()
    }

    /// Time between the first and the last event so far.
    pub(super) fn took(&self) -> Duration {
        let books = self.books();
        books.first.zip(books.last).map(|(first, last)| last - first).unwrap_or_default()
    }

    /// Begins a stretch; gives the one that ends.
    pub(super) fn next_stretch(&self) -> Stretch {
        std::mem::replace(&mut self.books().stretch, Stretch::new())
    }

    /// The books so far; they begin anew.
    pub(super) fn take_versions(&self, events: u64) -> Versions {
        std::mem::replace(&mut self.books().versions, Versions::new(events))
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap()
    }
}

type Answer = (StatusCode, [(header::HeaderName, &'static str); 1], String);

async fn batch(State(books): State<Arc<Mutex<Books>>>, body: Bytes) -> Answer {
    let messages = books.lock().unwrap().take(&body);
    let entries = vec![r#"{"xactionId":"1:1:1:1"}"#; messages].join(",");
    let answer = format!(
        r#"{{"inletId":"swaps","batchId":"1","receivedTimeMs":1,"responses":[{entries}]}}"#
    );
    (StatusCode::MULTI_STATUS, [(header::CONTENT_TYPE, "application/json")], answer)
}

impl Books {
    /// Enters a request; how many messages it holds.
    fn take(&mut self, body: &[u8]) -> usize {
        let (now, wall) = (Instant::now(), SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis());
        self.first.get_or_insert(now);
        if let Some(last) = self.last.replace(now) {
            self.stretch.longest_gap = self.stretch.longest_gap.max(now - last);
        }
        let mut messages = 0;
        for at in find_iter(body, ID) {
            let message = &body[at + ID.len()..];
            let (event, written_ms) = read(message);
            self.versions.arrive(event);
            let latency = usize::try_from(wall).unwrap().saturating_sub(written_ms);
            self.stretch.latencies[latency.min(LONGEST)] += 1;
            self.stretch.events += 1;
            messages += 1;
        }
        messages
    }
}

/// Reads `HASH.PARTITION.OFFSET.TIMESTAMP.INDEX`, up to a quote, and the version further on; the
/// timestamp stands beside.
fn read(message: &[u8]) -> (Stamped, usize) {
    let end = message.iter().position(|byte| *byte == b'"').unwrap();
    let id: Vec<&str> = std::str::from_utf8(&message[..end]).unwrap().split('.').collect();
    let event = Stamped {
        partition: id[1].parse().unwrap(),
        offset: id[2].parse().unwrap(),
        index: id[4].parse().unwrap(),
        version: guests::version_of(message).unwrap(),
    };
    (event, id[3].parse().unwrap())
}
