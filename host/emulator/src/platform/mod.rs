//! The parts of `platform.adobe.io` that a set-up or reconciling tool calls: Catalog, Data Access,
//! Flow Service, Schema Registry; and the gateway in front of them.

mod batches;
mod flows;
mod objects;
mod registry;

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};

use crate::{state::Shared, token::Standing};

pub(crate) use objects::{Collection, Objects};

/// The routes, behind the gateway's checks.
pub(crate) fn routes(shared: Arc<Shared>) -> Router<Arc<Shared>> {
    let catalog = Router::new()
        .route("/batches", get(batches::list))
        .route("/dataSets", post(registry::create_dataset).get(registry::list_datasets))
        .route("/dataSets/{id}", get(registry::dataset));
    let registry = Router::new()
        .route("/stats", get(registry::stats))
        .route("/tenant/schemas", post(registry::create_schema).get(registry::list_schemas))
        .route("/tenant/schemas/{id}", get(registry::schema))
        .route("/tenant/descriptors", post(registry::create_descriptor));
    let flows = Router::new()
        .route("/{kind}", post(flows::create).get(flows::list))
        .route("/{kind}/{id}", get(flows::one).delete(flows::remove));
    Router::new()
        .nest("/data/foundation/catalog", catalog)
        .nest("/data/foundation/schemaregistry", registry)
        .nest("/data/foundation/flowservice", flows)
        .route("/data/foundation/export/batches/{id}/failed", get(batches::failed))
        .layer(from_fn_with_state(shared, gateway))
}

/// Token, API key and organisation, as the gateway asks for them.
async fn gateway(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    match refusal(&shared, request.headers()) {
        Some((code, message)) => {
            let status = code.get(..3).and_then(|digits| digits.parse().ok()).unwrap_or(400);
            error(status, &json!({"error_code": code, "message": message}))
        }
        None => next.run(request).await,
    }
}

fn refusal(shared: &Shared, headers: &HeaderMap) -> Option<(&'static str, &'static str)> {
    let has = |name: &str| headers.get(name).is_some_and(|value| !value.is_empty());
    let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    match shared.tokens.standing(authorization) {
        Standing::Missing => return Some(("403010", "Oauth token is missing.")),
        // An open emulator takes any token, so that a shell can ask it.
        Standing::Invalid if !shared.known.is_open() => {
            return Some(("401013", "Oauth token is not valid"));
        }
        Standing::Invalid | Standing::Valid => {}
    }
    if !has("x-api-key") {
        return Some(("403000", "Api Key is required"));
    }
    (!has("x-gw-ims-org-id")).then_some(("400003", "Missing header x-gw-ims-org-id"))
}

/// A JSON answer with a status given as a number.
fn error(status: u16, body: &Value) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    (status, Json(body)).into_response()
}
