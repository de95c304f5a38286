//! What changes state: who may ask for it, and how it is answered.

use std::fmt::Display;
use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{ConnectInfo, Query, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use super::listener::{Door, Peer};
use super::{Shared, has_token, is_ours};
use crate::config::Secret;
use crate::reload::{Ask, CanaryAsk, Cause, Reloader, Report, ShadowAsk};

/// The outcome in one word, for who does not read the report.
pub const OUTCOME: HeaderName = HeaderName::from_static("xylem-outcome");

/// The routes, each behind the guard.
pub(super) fn routes(shared: &Arc<Shared>) -> Router<Arc<Shared>> {
    Router::new()
        .route("/reload", post(reload))
        .route("/rollback", post(rollback))
        .route("/shadow", post(shadow).get(shadow_report))
        .route("/shadow/stop", post(async |s, h| now(s, h, Ask::StopShadow).await))
        .route("/canary", post(canary).get(canary_report))
        .route("/canary/stop", post(async |s, h| now(s, h, Ask::StopCanary).await))
        .route("/canary/promote", post(async |s, h| now(s, h, Ask::PromoteCanary).await))
        .route_layer(from_fn_with_state(Arc::clone(shared), guard))
}

async fn guard(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
    next: Next,
) -> Response {
    if let Err(refusal) = may_change(peer.door, request.headers(), shared.token.get().as_ref()) {
        return refusal.into_response();
    }
    peer.may_wait();
    next.run(request).await
}

/// Who may not, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    Browser,
    OtherUser,
    NoToken,
    WrongToken,
}

/// This user and root on the socket; elsewhere whoever has the token, loopback or not.
fn may_change(door: Door, headers: &HeaderMap, token: Option<&Secret>) -> Result<(), Refusal> {
    // A page in somebody's browser has no business here, whatever the browser adds to its requests.
    if headers.contains_key(header::ORIGIN) {
        return Err(Refusal::Browser);
    }
    match (door, token) {
        (Door::Socket(user), _) if is_ours(user) => Ok(()),
        (Door::Socket(_), _) => Err(Refusal::OtherUser),
        (Door::Tcp(_), None) => Err(Refusal::NoToken),
        (Door::Tcp(_), Some(token)) if has_token(headers, token) => Ok(()),
        (Door::Tcp(_), Some(_)) => Err(Refusal::WrongToken),
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let forbidden = |words: &'static str| (StatusCode::FORBIDDEN, words).into_response();
        match self {
            Self::Browser => forbidden("requests with an `Origin` are refused\n"),
            Self::OtherUser => forbidden("this socket is for the user that xylem runs as\n"),
            Self::NoToken => forbidden(
                "this changes what runs: ask on the Unix socket (`xylem reload`), or set `admin.token` and send it\n",
            ),
            Self::WrongToken => {
                let realm = [(header::WWW_AUTHENTICATE, "Bearer")];
                let words = "this wants the bearer token of `admin.token`\n";
                (StatusCode::UNAUTHORIZED, realm, words).into_response()
            }
        }
    }
}

/// Whether the report is waited for.
#[derive(Deserialize)]
struct Waits {
    #[serde(default = "yes")]
    wait: bool,
}

fn yes() -> bool {
    true
}

async fn reload(
    State(shared): State<Arc<Shared>>,
    Query(Waits { wait }): Query<Waits>,
    headers: HeaderMap,
) -> Response {
    ask(&shared, Ask::Reload, wait, &headers).await
}

async fn rollback(
    State(shared): State<Arc<Shared>>,
    Query(Waits { wait }): Query<Waits>,
    headers: HeaderMap,
) -> Response {
    ask(&shared, Ask::Rollback, wait, &headers).await
}

async fn shadow(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    asked: Result<Json<ShadowAsk>, JsonRejection>,
) -> Response {
    match asked {
        Ok(Json(asked)) => ask(&shared, Ask::Shadow(asked), true, &headers).await,
        Err(rejection) => rejection.into_response(),
    }
}

async fn canary(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    asked: Result<Json<CanaryAsk>, JsonRejection>,
) -> Response {
    match asked {
        Ok(Json(asked)) => ask(&shared, Ask::Canary(asked), true, &headers).await,
        Err(rejection) => rejection.into_response(),
    }
}

async fn now(State(shared): State<Arc<Shared>>, headers: HeaderMap, wanted: Ask) -> Response {
    ask(&shared, wanted, true, &headers).await
}

async fn shadow_report(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    seen(shared.reloader.get().and_then(Reloader::shadow), "shadow", &headers)
}

async fn canary_report(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    seen(shared.reloader.get().and_then(Reloader::canary), "canary", &headers)
}

/// A report that is there, or the words that none is.
fn seen<R: Serialize + Display>(report: Option<R>, what: &str, headers: &HeaderMap) -> Response {
    match report {
        None => (StatusCode::NOT_FOUND, format!("there was no {what} yet\n")).into_response(),
        Some(report) if in_words(headers) => report.to_string().into_response(),
        Some(report) => Json(report).into_response(),
    }
}

async fn ask(shared: &Shared, ask: Ask, wait: bool, headers: &HeaderMap) -> Response {
    let Some(reloader) = shared.reloader.get() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "this process takes no reloads, or not yet\n")
            .into_response();
    };
    let report = reloader.ask(ask, Cause::Asked);
    if !wait {
        let words = "asked; what comes of it stands in the log and under `reloads` in /status\n";
        let asked = serde_json::json!({ "asked": true });
        let answer =
            if in_words(headers) { words.into_response() } else { Json(asked).into_response() };
        return (StatusCode::ACCEPTED, answer).into_response();
    }
    match report.await {
        Ok(report) => answer(&report, in_words(headers)),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "xylem is about to end\n").into_response(),
    }
}

/// Whether the answer is for people.
fn in_words(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).map(HeaderValue::as_bytes);
    accept.is_some_and(|accept| accept.starts_with(b"text/plain"))
}

fn answer(report: &Report, in_words: bool) -> Response {
    let status = if report.is_done() { StatusCode::OK } else { StatusCode::CONFLICT };
    let outcome = [(OUTCOME, report.outcome.as_str())];
    if in_words {
        return (status, outcome, report.to_string()).into_response();
    }
    (status, outcome, Json(report)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_socket_and_the_token_change_what_runs() {
        let token = Secret::literal("correct horse battery");
        let token = Some(&token);
        let near = Door::Tcp("127.0.0.1:1".parse().unwrap());
        let headers = |pairs: &[(HeaderName, &str)]| -> HeaderMap {
            pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
        };
        let (none, good) =
            (headers(&[]), headers(&[(header::AUTHORIZATION, "Bearer correct horse battery")]));
        let bad = headers(&[(header::AUTHORIZATION, "Bearer correct horse batter")]);
        let us = rustix::process::geteuid().as_raw();
        assert_eq!(may_change(Door::Socket(Some(us)), &none, None), Ok(()));
        assert_eq!(may_change(Door::Socket(Some(0)), &none, token), Ok(()));
        let other = may_change(Door::Socket(Some(us + 4_711)), &good, token);
        assert_eq!(other, Err(Refusal::OtherUser));
        assert_eq!(may_change(Door::Socket(None), &none, None), Err(Refusal::OtherUser));
        assert_eq!(may_change(near, &good, token), Ok(()));
        assert_eq!(may_change(near, &bad, token), Err(Refusal::WrongToken));
        assert_eq!(may_change(near, &none, token), Err(Refusal::WrongToken));
        assert_eq!(may_change(near, &good, None), Err(Refusal::NoToken));
        let page =
            [(header::AUTHORIZATION, "Bearer correct horse battery"), (header::ORIGIN, "null")];
        assert_eq!(may_change(near, &headers(&page), token), Err(Refusal::Browser));
        let socket = may_change(Door::Socket(Some(us)), &headers(&page[1..]), None);
        assert_eq!(socket, Err(Refusal::Browser));
    }
}
