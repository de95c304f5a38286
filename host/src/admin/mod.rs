//! The admin listener: probes, metrics and status, on a thread and runtime of its own, so that a
//! busy data path starves none of them and a stuck one can not hide.
//!
//! | route | answer |
//! | --- | --- |
//! | `GET /livez` | 200 while this thread runs |
//! | `GET /readyz` | 200 when ready, else 503 with what is missing |
//! | `GET /metrics` | `OpenMetrics` text |
//! | `GET /status` | JSON (`host/docs/status.md`); beyond loopback only with the bearer token |
//!
//! Nothing here changes state. Invariant 10: no secret and no contents of a record is shown.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;

use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use tokio::sync::oneshot;

use crate::config::{Config, Secret};
use crate::telemetry::Metrics;

mod listener;
mod ready;
mod status;

pub use ready::{Part, Ready};
pub use status::{
    BacklogStatus, BegunStatus, DeadLetterStatus, DestinationState, DestinationStatus, FaultStatus,
    InFlightStatus, PartitionStatus, PipelineStatus, PluginStatus, QuotaStatus, Status,
    TokenStatus,
};

use listener::{Bounded, Peer};

/// Whoever knows what the process is doing.
pub trait StatusSource: Send + Sync + 'static {
    /// What `/status` shows.
    fn status(&self) -> Status;

    /// Brings the metrics up to date that are read, not counted; called before each scrape.
    fn refresh(&self, metrics: &Metrics);
}

/// The running listener; it ends when this is dropped.
pub struct Admin {
    address: SocketAddr,
    token: AdminToken,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// The bearer token, which may change while the listener runs; clones are the same.
#[derive(Clone)]
pub struct AdminToken(Arc<RwLock<Option<Secret>>>);

impl AdminToken {
    fn new(token: Option<Secret>) -> Self {
        Self(Arc::new(RwLock::new(token)))
    }

    /// From now on only this one is good.
    pub fn set(&self, token: Option<Secret>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = token;
    }

    fn get(&self) -> Option<Secret> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Why there is no listener.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The address can not be listened on.
    #[error("`admin.listen`: cannot listen on `{listen}`: {source}")]
    Bind {
        /// The address.
        listen: String,
        /// Why not.
        source: std::io::Error,
    },
    /// The thread or its runtime can not be started.
    #[error("the admin thread cannot be started: {0}")]
    Thread(std::io::Error),
}

impl Admin {
    /// Listens on `admin.listen`. Port 0 takes any; [`Admin::address`] says which.
    pub fn start(
        config: &Config,
        metrics: Metrics,
        ready: Ready,
        source: Arc<dyn StatusSource>,
    ) -> Result<Self, AdminError> {
        let listen = config.admin.listen.clone();
        let bind = |error| AdminError::Bind { listen: listen.clone(), source: error };
        let socket = TcpListener::bind(&listen).map_err(bind)?;
        let address = socket.local_addr().map_err(bind)?;
        socket.set_nonblocking(true).map_err(bind)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(AdminError::Thread)?;

        let token = AdminToken::new(config.admin.token.clone());
        let shared = Shared { metrics, ready, source, token: token.clone() };
        let routes = router(Arc::new(shared));
        let (stop, stopped) = oneshot::channel::<()>();
        let serve = async move {
            let socket = match tokio::net::TcpListener::from_std(socket) {
                Ok(socket) => socket,
                Err(error) => {
                    tracing::error!(%error, "the admin listener cannot be served");
                    return;
                }
            };
            let service = routes.into_make_service_with_connect_info::<Peer>();
            let served = axum::serve(Bounded::new(socket), service);
            // A stop does not wait for whoever holds a connection open.
            tokio::select! {
                _ = stopped => {}
                ended = served.into_future() => tracing::error!(?ended, "the admin listener ended"),
            }
        };
        let thread = std::thread::Builder::new()
            .name("admin".to_owned())
            .spawn(move || runtime.block_on(serve))
            .map_err(AdminError::Thread)?;
        Ok(Self { address, token, stop: Some(stop), thread: Some(thread) })
    }

    /// The address that is listened on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its token.
    pub fn token(&self) -> AdminToken {
        self.token.clone()
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so.
            thread.join().unwrap_or_default();
        }
    }
}

/// What the routes share.
struct Shared {
    metrics: Metrics,
    ready: Ready,
    source: Arc<dyn StatusSource>,
    token: AdminToken,
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/livez", get(async || "live\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/status", get(status))
        .fallback(async || {
            (StatusCode::NOT_FOUND, "there are /livez, /readyz, /metrics and /status\n")
        })
        // A connection serves one request, so that its time is the request's.
        .layer(axum::middleware::map_response(async |mut answer: Response| {
            answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            answer
        }))
        .with_state(shared)
}

async fn readyz(State(shared): State<Arc<Shared>>) -> Response {
    let missing = shared.ready.missing();
    if missing.is_empty() {
        return "ready\n".into_response();
    }
    let lines: Vec<String> = missing.iter().map(|part| format!("waiting for {part}\n")).collect();
    (StatusCode::SERVICE_UNAVAILABLE, lines.concat()).into_response()
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    shared.source.refresh(&shared.metrics);
    shared.metrics.ready.set(i64::from(shared.ready.missing().is_empty()));
    match shared.metrics.encode() {
        Ok(page) => {
            let text = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, text)], page).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "the metrics cannot be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn status(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    headers: HeaderMap,
) -> Response {
    if !may_see(peer, &headers, shared.token.get().as_ref()) {
        let realm = [(header::WWW_AUTHENTICATE, "Bearer")];
        let words = "beyond loopback `/status` wants the bearer token of `admin.token`\n";
        return (StatusCode::UNAUTHORIZED, realm, words).into_response();
    }
    let status = shared.source.status().with_ready(&shared.ready);
    Json(status).into_response()
}

/// Loopback may see all; others need the token.
fn may_see(peer: SocketAddr, headers: &HeaderMap, token: Option<&Secret>) -> bool {
    if peer.ip().to_canonical().is_loopback() {
        return true;
    }
    let given = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    let given = given.and_then(|value| value.split_at_checked(7));
    match (given, token) {
        (Some((scheme, given)), Some(token)) if scheme.eq_ignore_ascii_case(b"bearer ") => {
            // Invariant 10: hashes are compared, in constant time, so that the time taken does not
            // tell how much of the token was right.
            blake3::hash(given) == blake3::hash(token.expose().as_bytes())
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
