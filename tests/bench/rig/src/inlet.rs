//! An inlet that answers at once with one entry per message, and only counts; where asked to, it
//! also keeps when each message came.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// Stands once in every message.
const MARK: &[u8] = b"\"xdmEntity\":";

/// Stands once in every message, before its id.
const ID: &[u8] = b"\"msgId\":\"";

/// When a message came, and what its id says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    /// The hash at the id's beginning.
    pub(crate) prefix: [u8; 10],
    /// The record's partition.
    pub(crate) partition: i32,
    /// The record's timestamp.
    pub(crate) written_ms: i64,
    /// When the request was there.
    pub(crate) received_ms: i64,
}

/// An inlet on a thread of its own, until dropped.
pub(crate) struct Inlet {
    address: SocketAddr,
    books: Arc<Books>,
    _runtime: Runtime,
}

#[derive(Default)]
struct Books {
    count: AtomicU64,
    arrivals: Option<Mutex<Vec<Arrival>>>,
}

impl Inlet {
    /// Starts an inlet; with `arrivals` it keeps when each message came.
    pub(crate) fn start(arrivals: bool) -> anyhow::Result<Self> {
        let books = Arc::new(Books { arrivals: arrivals.then(Mutex::default), ..Books::default() });
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        let routes = Router::new()
            .route("/collection/batch/{id}", post(batch))
            .route(
                "/count",
                get(async |State(kept): State<Arc<Books>>| {
                    kept.count.load(Ordering::Relaxed).to_string()
                }),
            )
            .layer(DefaultBodyLimit::max(2_000_000))
            .with_state(Arc::clone(&books));
        runtime.spawn(axum::serve(listener, routes).into_future());
        Ok(Self { address, books, _runtime: runtime })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Messages so far.
    pub(crate) fn count(&self) -> u64 {
        self.books.count.load(Ordering::Relaxed)
    }

    /// What came so far, where that is kept.
    pub(crate) fn arrivals(&self) -> Vec<Arrival> {
        self.books.arrivals.as_ref().map(|kept| kept.lock().unwrap().clone()).unwrap_or_default()
    }
}

/// Prints its address, then serves until killed.
pub(crate) fn run() -> anyhow::Result<()> {
    let inlet = Inlet::start(false)?;
    let mut out = std::io::stdout();
    writeln!(out, "{}", inlet.address())?;
    out.flush()?;
    loop {
        std::thread::park();
    }
}

type Answer = (StatusCode, [(header::HeaderName, &'static str); 1], String);

async fn batch(State(books): State<Arc<Books>>, body: Bytes) -> Answer {
    let messages = occurrences(&body, MARK).count();
    if let Some(arrivals) = &books.arrivals {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis();
        let received_ms = i64::try_from(now).unwrap();
        let ids = occurrences(&body, ID).map(|at| &body[at + ID.len()..]);
        arrivals.lock().unwrap().extend(ids.map(|id| arrival(id, received_ms)));
    }
    books.count.fetch_add(messages as u64, Ordering::Relaxed);
    let entries = vec![r#"{"xactionId":"1:1:1:1"}"#; messages].join(",");
    let answer = format!(
        r#"{{"inletId":"bench","batchId":"1","receivedTimeMs":1,"responses":[{entries}]}}"#
    );
    (StatusCode::MULTI_STATUS, [(header::CONTENT_TYPE, "application/json")], answer)
}

/// Reads `HASH.PARTITION.OFFSET.TIMESTAMP.INDEX`, up to a quote.
fn arrival(id: &[u8], received_ms: i64) -> Arrival {
    let end = id.iter().position(|byte| *byte == b'"').unwrap();
    let parts: Vec<&str> = std::str::from_utf8(&id[..end]).unwrap().split('.').collect();
    Arrival {
        prefix: parts[0].as_bytes().try_into().unwrap(),
        partition: parts[1].parse().unwrap(),
        written_ms: parts[3].parse().unwrap(),
        received_ms,
    }
}

/// Where `mark` stands.
fn occurrences<'a>(body: &'a [u8], mark: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    memchr::memmem::find_iter(body, mark)
}
