//! The token endpoint's routes: `/ims/token/v1` to `v4` and `/ims/exchange/jwt`.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{ConnectInfo, RawQuery, State},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};

use crate::{
    answer::Answer,
    fault::{Endpoint, Place},
    spoil::{after, before},
    state::Shared,
    token::{self, Path},
    wire::Wire,
};

/// Bytes of a form that are read.
const FORM_LIMIT: usize = 64 << 10;

/// `POST /ims/token/v3` and its siblings.
pub(crate) async fn token(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(wire): ConnectInfo<Wire>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Response {
    answer(&shared, &wire, Path::Token, (query, headers, body)).await
}

/// `POST /ims/exchange/jwt`.
pub(crate) async fn exchange(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(wire): ConnectInfo<Wire>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Response {
    answer(&shared, &wire, Path::Exchange, (query, headers, body)).await
}

async fn answer(
    shared: &Shared,
    wire: &Wire,
    path: Path,
    (query, headers, body): (Option<String>, HeaderMap, Body),
) -> Response {
    let place = Place { endpoint: Endpoint::Token, name: "", id: "" };
    let form = axum::body::to_bytes(body, FORM_LIMIT).await.unwrap_or_default();
    if let Some(answer) = before(shared, wire, place).await {
        return answer.into_response();
    }
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let mut parameters = token::urlencoded(query.as_deref().unwrap_or_default());
    parameters.extend(token::form(media_type.unwrap_or_default(), &form));
    let (status, granted) = shared.tokens.answer(path, &parameters);
    tracing::info!(status, "token");
    let (answer, _) = after(shared, wire, place, Answer::json(status, granted.to_string()));
    answer.into_response()
}
