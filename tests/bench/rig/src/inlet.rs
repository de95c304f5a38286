//! An inlet that answers at once with one entry per message, and only counts.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::routing::{get, post};

/// Stands once in every message.
const MARK: &[u8] = b"\"xdmEntity\":";

/// Prints its address, then serves until killed.
pub(crate) fn run() -> anyhow::Result<()> {
    let count = Arc::new(AtomicU64::new(0));
    let routes = Router::new()
        .route("/collection/batch/{id}", post(batch))
        .route(
            "/count",
            get(|State(counted): State<Arc<AtomicU64>>| async move {
                counted.load(Ordering::Relaxed).to_string()
            }),
        )
        .layer(DefaultBodyLimit::max(2_000_000))
        .with_state(count);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let mut out = std::io::stdout();
        writeln!(out, "{}", listener.local_addr()?)?;
        out.flush()?;
        axum::serve(listener, routes).await?;
        Ok(())
    })
}

type Answer = (StatusCode, [(header::HeaderName, &'static str); 1], String);

async fn batch(State(count): State<Arc<AtomicU64>>, body: Bytes) -> Answer {
    let messages = occurrences(&body);
    count.fetch_add(messages, Ordering::Relaxed);
    let entries = vec![r#"{"xactionId":"1:1:1:1"}"#; usize::try_from(messages).unwrap()].join(",");
    let answer = format!(
        r#"{{"inletId":"bench","batchId":"1","receivedTimeMs":1,"responses":[{entries}]}}"#
    );
    (StatusCode::MULTI_STATUS, [(header::CONTENT_TYPE, "application/json")], answer)
}

fn occurrences(body: &[u8]) -> u64 {
    let mut found = 0;
    let mut rest = body;
    while let Some(at) = rest.iter().position(|byte| *byte == b'x') {
        rest = &rest[at..];
        if rest.starts_with(&MARK[1..]) {
            found += 1;
        }
        rest = &rest[1..];
    }
    found
}
