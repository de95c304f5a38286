//! The emulator's controls over HTTP, under `/_emulator/`.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, Query, State, rejection::JsonRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    control::Control,
    fault::{Fault, FaultId},
    lake::LakeQuery,
    settings::{FailedShape, Style},
    state::Shared,
};

/// What `POST /_emulator/settings` changes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    style: Option<Style>,
    failed_shape: Option<FailedShape>,
    token_ttl_seconds: Option<u64>,
}

/// The routes.
pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/_emulator", get(overview))
        .route("/_emulator/summary", get(summary))
        .route("/_emulator/lake", get(lake))
        .route("/_emulator/profile", get(profile))
        .route("/_emulator/failed", get(failed))
        .route("/_emulator/failed/seal", post(seal))
        .route("/_emulator/settings", post(change))
        .route("/_emulator/tokens/revoke", post(revoke))
        .route("/_emulator/faults", get(faults).post(order).delete(clear_all))
        .route("/_emulator/faults/{id}", delete(clear))
}

async fn overview(State(shared): State<Arc<Shared>>) -> Response {
    let url = &shared.url;
    Json(json!({
        "token": format!("{url}/ims/token/v3"), "inlet": format!("{url}/collection/{{id}}"),
        "batch": format!("{url}/collection/batch/{{id}}"), "platform": format!("{url}/data/foundation"),
        "open": shared.known.is_open(), "style": shared.live().style,
        "failedShape": shared.live().failed_shape,
    }))
    .into_response()
}

async fn summary(State(shared): State<Arc<Shared>>) -> Response {
    Json(Control(shared).summary()).into_response()
}

async fn lake(State(shared): State<Arc<Shared>>, Query(query): Query<LakeQuery>) -> Response {
    lines(&Control(shared).lake(&query))
}

async fn profile(State(shared): State<Arc<Shared>>, Query(query): Query<LakeQuery>) -> Response {
    lines(&Control(shared).profile(&query))
}

async fn failed(State(shared): State<Arc<Shared>>) -> Response {
    lines(&Control(shared).failed_batches())
}

async fn seal(State(shared): State<Arc<Shared>>) -> StatusCode {
    Control(shared).seal_failed_batches();
    StatusCode::NO_CONTENT
}

async fn change(
    State(shared): State<Arc<Shared>>,
    change: Result<Json<Change>, JsonRejection>,
) -> Response {
    let Json(change) = match change {
        Ok(change) => change,
        Err(rejection) => return refused(&rejection),
    };
    let control = Control(shared);
    if let Some(style) = change.style {
        control.set_style(style);
    }
    if let Some(shape) = change.failed_shape {
        control.set_failed_shape(shape);
    }
    if let Some(seconds) = change.token_ttl_seconds {
        control.set_token_ttl(seconds);
    }
    StatusCode::NO_CONTENT.into_response()
}

async fn revoke(State(shared): State<Arc<Shared>>) -> Response {
    Json(json!({"revoked": Control(shared).revoke_tokens()})).into_response()
}

async fn faults(State(shared): State<Arc<Shared>>) -> Response {
    Json(Control(shared).faults()).into_response()
}

async fn order(
    State(shared): State<Arc<Shared>>,
    fault: Result<Json<Fault>, JsonRejection>,
) -> Response {
    match fault {
        Ok(Json(fault)) => Json(json!({"id": Control(shared).fault(fault)})).into_response(),
        Err(rejection) => refused(&rejection),
    }
}

async fn clear(State(shared): State<Arc<Shared>>, Path(id): Path<u64>) -> Response {
    let cleared = usize::from(Control(shared).clear(FaultId(id)));
    Json(json!({"cleared": cleared})).into_response()
}

async fn clear_all(State(shared): State<Arc<Shared>>) -> Response {
    Json(json!({"cleared": Control(shared).clear_all()})).into_response()
}

fn refused(rejection: &JsonRejection) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({"error": rejection.body_text()}))).into_response()
}

/// One JSON value a line.
fn lines<T: Serialize>(values: &[T]) -> Response {
    let mut text = Vec::new();
    for value in values {
        if let Err(error) = serde_json::to_writer(&mut text, value) {
            let body = Json(json!({"error": error.to_string()}));
            return (StatusCode::INTERNAL_SERVER_ERROR, body).into_response();
        }
        text.push(b'\n');
    }
    ([(header::CONTENT_TYPE, "application/x-ndjson")], text).into_response()
}
