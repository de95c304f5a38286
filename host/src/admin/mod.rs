//! The admin listener: probes, metrics and status, on a thread and runtime of its own, so that a
//! busy data path starves none of them and a stuck one can not hide.
//!
//! | route | answer |
//! | --- | --- |
//! | `GET /livez` | 200 while this thread runs |
//! | `GET /readyz` | 200 when ready, else 503 with what is missing |
//! | `GET /metrics` | `OpenMetrics` text |
//! | `GET /status` | JSON (`host/docs/status.md`); beyond loopback only with the bearer token |
//! | `POST /reload`, `POST /rollback` | the report, as JSON or text; on the Unix socket, or with the token |
//! | `POST /shadow`, `POST /canary`, each with `/stop`, `POST /canary/promote` | likewise |
//! | `GET /shadow`, `GET /canary` | what comes of it; may show contents of records where `examples` were asked for, so likewise |
//!
//! Invariant 10: no secret and no contents of a record is shown.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::thread::JoinHandle;

use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use tokio::sync::oneshot;

use crate::config::{Config, Secret};
use crate::reload::Reloader;
use crate::telemetry::Metrics;

mod change;
mod listener;
mod ready;
mod socket;
mod status;

pub use change::OUTCOME;
pub use ready::{Part, Ready};
pub use socket::{Socket, SocketError, is_own, places};
pub use status::{
    BacklogStatus, BegunStatus, DeadLetterStatus, DestinationState, DestinationStatus, FaultStatus,
    InFlightStatus, PartitionStatus, PipelineStatus, PluginStatus, QuotaStatus, Status,
    TokenStatus,
};

use listener::{Bounded, Door, Peer};
use socket::Place;

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
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    /// The file of the Unix socket.
    place: Option<Place>,
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
    /// Listens on `admin.listen`, and on the Unix socket where there is one. Port 0 takes any;
    /// [`Admin::address`] says which.
    pub fn start(
        config: &Config,
        socket: Option<Socket>,
        metrics: Metrics,
        ready: Ready,
        source: Arc<dyn StatusSource>,
    ) -> Result<Self, AdminError> {
        let listen = config.admin.listen.clone();
        let bind = |error| AdminError::Bind { listen: listen.clone(), source: error };
        let tcp = TcpListener::bind(&listen).map_err(bind)?;
        let address = tcp.local_addr().map_err(bind)?;
        tcp.set_nonblocking(true).map_err(bind)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(AdminError::Thread)?;

        let token = AdminToken::new(config.admin.token.clone());
        let shared = Arc::new(Shared { metrics, ready, source, token, reloader: OnceLock::new() });
        let routes = router(&shared);
        let (stop, stopped) = oneshot::channel::<()>();
        let (unix, place) = socket.map(|socket| (socket.listener, socket.place)).unzip();
        let serve = async move {
            // A stop does not wait for whoever holds a connection open.
            tokio::select! {
                _ = stopped => {}
                ended = serve(tcp, unix, routes) => {
                    tracing::error!(?ended, "the admin listener ended");
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("admin".to_owned())
            .spawn(move || runtime.block_on(serve))
            .map_err(AdminError::Thread)?;
        Ok(Self { address, shared, stop: Some(stop), thread: Some(thread), place })
    }

    /// Takes requests that change what runs from now on.
    pub fn takes_requests(&self, reloader: &Reloader) {
        self.shared.reloader.get_or_init(|| reloader.clone());
    }

    /// The address that is listened on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its token.
    pub fn token(&self) -> AdminToken {
        self.shared.token.clone()
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so.
            thread.join().unwrap_or_default();
        }
        drop(self.place.take());
    }
}

/// Serves both listeners; ends only where one cannot be served.
async fn serve(
    tcp: TcpListener,
    unix: Option<std::os::unix::net::UnixListener>,
    routes: Router,
) -> std::io::Result<()> {
    let service = routes.into_make_service_with_connect_info::<Peer>();
    let tcp = Bounded::new(tokio::net::TcpListener::from_std(tcp)?);
    let tcp = axum::serve(tcp, service.clone()).into_future();
    let Some(unix) = unix else { return tcp.await };
    let unix = Bounded::new(tokio::net::UnixListener::from_std(unix)?);
    tokio::select! {
        ended = tcp => ended,
        ended = axum::serve(unix, service).into_future() => ended,
    }
}

/// What the routes share.
struct Shared {
    metrics: Metrics,
    ready: Ready,
    source: Arc<dyn StatusSource>,
    token: AdminToken,
    /// Empty until there is one, and where nothing is reloaded.
    reloader: OnceLock<Reloader>,
}

fn router(shared: &Arc<Shared>) -> Router {
    Router::new()
        .route("/livez", get(async || "live\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/status", get(status))
        .merge(change::routes(shared))
        .fallback(async || {
            let words = "there are /livez, /readyz, /metrics, /status, /reload, /rollback, /shadow and /canary\n";
            (StatusCode::NOT_FOUND, words)
        })
        // A connection serves one request, so that its time is the request's.
        .layer(axum::middleware::map_response(async |mut answer: Response| {
            answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            answer
        }))
        .with_state(Arc::clone(shared))
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
    ConnectInfo(peer): ConnectInfo<Peer>,
    headers: HeaderMap,
) -> Response {
    if !may_see(peer.door, &headers, shared.token.get().as_ref()) {
        let realm = [(header::WWW_AUTHENTICATE, "Bearer")];
        let words = "beyond loopback `/status` wants the bearer token of `admin.token`\n";
        return (StatusCode::UNAUTHORIZED, realm, words).into_response();
    }
    let status = shared.source.status().with_ready(&shared.ready);
    let status = status.with_reloads(shared.reloader.get());
    Json(status).into_response()
}

/// Loopback and the socket's user may see all; others need the token.
fn may_see(door: Door, headers: &HeaderMap, token: Option<&Secret>) -> bool {
    let near = match door {
        Door::Tcp(peer) => peer.ip().to_canonical().is_loopback(),
        Door::Socket(user) => is_ours(user),
    };
    near || token.is_some_and(|token| has_token(headers, token))
}

/// Whether the user of a process is ours or root.
fn is_ours(user: Option<u32>) -> bool {
    user.is_some_and(|user| user == 0 || user == rustix::process::geteuid().as_raw())
}

fn has_token(headers: &HeaderMap, token: &Secret) -> bool {
    let given = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    match given.and_then(|value| value.split_at_checked(7)) {
        Some((scheme, given)) if scheme.eq_ignore_ascii_case(b"bearer ") => {
            // Invariant 10: hashes are compared, in constant time, so that the time taken does not
            // tell how much of the token was right.
            blake3::hash(given) == blake3::hash(token.expose().as_bytes())
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
