//! The server: a thread with a runtime of its own, so that it can be used from tests of any kind.

use std::{
    net::SocketAddr,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use axum::{Router, routing::post};
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

use crate::{
    admin,
    control::Control,
    ims, inlet, platform,
    settings::Settings,
    state::{Shared, StartError},
    wire::{Ear, Wire},
};

/// Bytes of control and control-plane bodies; inlets and the token endpoint have limits of their own.
const OTHER_BODIES: usize = 16 << 20;
/// How long tasks may take to notice the stop.
const STOPPING: Duration = Duration::from_secs(1);

/// A running emulator. It stops when dropped.
#[derive(Debug)]
pub struct Emulator {
    shared: Arc<Shared>,
    address: SocketAddr,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Emulator {
    /// Binds the address, compiles the schemas and begins to serve. Needs no runtime around it and
    /// does not mind one.
    pub fn start(settings: Settings) -> Result<Self, StartError> {
        settings.check()?;
        let system = |what: String| move |source| StartError::System { what, source };
        let listen = settings.listen;
        let listener =
            std::net::TcpListener::bind(listen).map_err(system(format!("listen at {listen}")))?;
        listener.set_nonblocking(true).map_err(system("use the listener".to_owned()))?;
        let address = listener.local_addr().map_err(system("use the listener".to_owned()))?;
        let workers = settings.workers;
        let shared = Arc::new(Shared::new(settings, format!("http://{address}"))?);
        let runtime = Builder::new_multi_thread()
            .worker_threads(workers)
            .thread_name("aep-emulator")
            .enable_all()
            .build()
            .map_err(system("start threads".to_owned()))?;
        let stop = CancellationToken::new();
        let (state, stopped) = (Arc::clone(&shared), stop.clone());
        let thread = thread::Builder::new()
            .name("aep-emulator".to_owned())
            .spawn(move || serve(runtime, listener, state, &stopped))
            .map_err(system("start a thread".to_owned()))?;
        Ok(Self { shared, address, stop, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://host:port`, the base of everything.
    pub fn url(&self) -> &str {
        &self.shared.url
    }

    /// The token endpoint's URL.
    pub fn token_url(&self) -> String {
        format!("{}/ims/token/v3", self.url())
    }

    /// The URL of an inlet's single endpoint, by name or id.
    pub fn inlet_url(&self, name: &str) -> String {
        format!("{}/collection/{}", self.url(), self.inlet_id(name))
    }

    /// The URL of an inlet's batch endpoint, by name or id.
    pub fn batch_url(&self, name: &str) -> String {
        format!("{}/collection/batch/{}", self.url(), self.inlet_id(name))
    }

    /// The controls.
    pub fn control(&self) -> Control {
        Control(Arc::clone(&self.shared))
    }

    /// Stops serving: connections end, the address is free again.
    pub fn stop(mut self) {
        self.end();
    }

    fn inlet_id(&self, name: &str) -> String {
        self.shared.known.inlet(name).map_or_else(|| name.to_owned(), |gate| gate.id.clone())
    }

    fn end(&mut self) {
        self.stop.cancel();
        self.shared.validator.close();
        let thread = self.thread.take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the emulator's thread panicked");
        }
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.end();
    }
}

fn serve(
    runtime: Runtime,
    listener: std::net::TcpListener,
    shared: Arc<Shared>,
    stop: &CancellationToken,
) {
    runtime.block_on(async {
        let listener = match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => Ear(listener),
            Err(error) => {
                tracing::error!(%error, "cannot listen");
                return;
            }
        };
        let service = routes(shared).into_make_service_with_connect_info::<Wire>();
        tokio::select! {
            ended = axum::serve(listener, service).into_future() => {
                tracing::error!(?ended, "the server ended by itself");
            }
            () = stop.cancelled() => {}
        }
    });
    runtime.shutdown_timeout(STOPPING);
}

fn routes(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/collection/{id}", post(inlet::single))
        .route("/collection/batch/{id}", post(inlet::batch))
        .route("/ims/token/v1", post(ims::token))
        .route("/ims/token/v2", post(ims::token))
        .route("/ims/token/v3", post(ims::token))
        .route("/ims/token/v4", post(ims::token))
        .route("/ims/exchange/jwt", post(ims::exchange))
        .route("/ims/exchange/jwt/", post(ims::exchange))
        .merge(admin::routes())
        .merge(platform::routes(Arc::clone(&shared)))
        .layer(axum::extract::DefaultBodyLimit::max(OTHER_BODIES))
        .with_state(shared)
}
