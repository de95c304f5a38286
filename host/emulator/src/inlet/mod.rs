//! The two inlet endpoints: what a request meets, in the order in which it meets it.

mod judge;

use std::{sync::Arc, time::Instant};

use axum::{
    extract::{ConnectInfo, Path, Request, State},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{json, value::RawValue};

pub(crate) use judge::Judged;
use judge::{judge, refuse_single};

use crate::{
    answer::{self, Answer, Verdict},
    fault::{self, Endpoint, Kind, Place},
    ident,
    known::Gate,
    lake::{Arrival, Tally},
    settings::Style,
    spoil::{after, before},
    state::Shared,
    token::{Standing, urlencoded},
    wire::Wire,
};

/// Bytes of a body that are read before the connection is given up; what is above the inlet's own
/// limit is read so that the client gets to see the 413.
const READ_LIMIT: usize = 64 << 20;

/// A request, read.
struct Call {
    gate: Arc<Gate>,
    is_batch: bool,
    /// `syncValidation=true` at the single endpoint.
    sync: bool,
    headers: HeaderMap,
    flow: Option<String>,
    body: Bytes,
}

/// What a request came to.
struct Outcome {
    answer: Answer,
    tally: Tally,
}

#[derive(Deserialize)]
struct Messages<'a> {
    #[serde(borrow)]
    messages: Vec<&'a RawValue>,
}

/// `POST /collection/{id}`.
pub(crate) async fn single(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(wire): ConnectInfo<Wire>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    serve(&shared, &wire, Endpoints::Single(id), request).await
}

/// `POST /collection/batch/{id}`.
pub(crate) async fn batch(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(wire): ConnectInfo<Wire>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    serve(&shared, &wire, Endpoints::Batch(id), request).await
}

/// The endpoint of a request, with the inlet's id.
enum Endpoints {
    Single(String),
    Batch(String),
}

async fn serve(shared: &Shared, wire: &Wire, endpoint: Endpoints, request: Request) -> Response {
    let (id, is_batch) = match endpoint {
        Endpoints::Single(id) => (id, false),
        Endpoints::Batch(id) => (id, true),
    };
    let Some(gate) = shared.known.inlet(&id) else {
        let text = format!("inletId: [{id}] is not known");
        return Answer::problem(404, "Not Found", &text).into_response();
    };
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, READ_LIMIT).await else {
        return Answer::refusal(413, None, fault::Body::Problem).into_response();
    };
    let query = urlencoded(parts.uri.query().unwrap_or_default());
    let asked = |name: &str| query.get(name).is_some_and(|value| value == "true");
    let named = parts.headers.get("x-adobe-flow-id").and_then(|value| value.to_str().ok());
    let flow = named.or(query.get("x-adobe-flow-id").map(String::as_str)).map(str::to_owned);
    let sync = !is_batch && (asked("syncValidation") || asked("synchronousValidation"));
    let call = Call { gate, is_batch, sync, headers: parts.headers, flow, body };
    let place = Place { endpoint: Endpoint::Inlet, name: &call.gate.name, id: &call.gate.id };
    let outcome = match before(shared, wire, place).await {
        Some(answer) => Outcome { answer, tally: Tally::default() },
        None => consider(shared, &call).await,
    };
    let (answer, status) = after(shared, wire, place, outcome.answer);
    shared.lake.count(&call.gate.name, status, outcome.tally);
    tracing::info!(
        inlet = &*call.gate.name,
        status,
        messages = outcome.tally.messages,
        accepted = outcome.tally.accepted,
        "request"
    );
    answer.into_response()
}

/// Everything an inlet checks of a request, then of its messages.
async fn consider(shared: &Shared, call: &Call) -> Outcome {
    let refused = |answer| Outcome { answer, tally: Tally::default() };
    let authenticated = match head(shared, call) {
        Ok(authenticated) => authenticated,
        Err(answer) => return refused(answer),
    };
    let Some(messages) = messages(call) else {
        let text = format!(
            "inletId: [{}] The request body is not valid JSON of the expected form",
            call.gate.id
        );
        return refused(Answer::problem(400, "Invalid XDM Message Format", &text));
    };
    if let Err(retry_after) = admit(shared, call, messages.len()) {
        let answer = Answer::refusal(429, retry_after, fault::Body::Problem);
        let tally = Tally { messages: messages.len() as u64, accepted: 0 };
        return Outcome { answer, tally };
    }
    take(shared, call, &messages, authenticated).await
}

/// Checks of the request's head; answers whether a valid token came along.
fn head(shared: &Shared, call: &Call) -> Result<bool, Answer> {
    let header = |name| call.headers.get(name).and_then(|value| value.to_str().ok());
    let media_type =
        header(header::CONTENT_TYPE).unwrap_or_default().split(';').next().unwrap_or_default();
    if !media_type.trim().eq_ignore_ascii_case("application/json") {
        let text = format!("Content-Type `{media_type}` is not supported, use application/json");
        return Err(Answer::problem(415, "Unsupported Media Type", &text));
    }
    let limit = shared.body_limit(&call.gate, call.body.len());
    if call.body.len() > limit {
        let text =
            format!("The request payload of {} bytes is larger than {limit}", call.body.len());
        return Err(Answer::problem(413, "Payload Too Large", &text));
    }
    let standing = shared.tokens.standing(header(header::AUTHORIZATION));
    let status = shared.settings.invalid_token_status;
    match standing {
        Standing::Missing if call.gate.authentication_required => {
            Err(Answer::unauthorized(401, &call.gate.id, "Ims service token is empty"))
        }
        Standing::Invalid if call.gate.authentication_required => Err(Answer::unauthorized(
            status,
            &call.gate.id,
            "Provided authorization token is invalid or expired",
        )),
        _ => Ok(standing == Standing::Valid),
    }
}

fn admit(shared: &Shared, call: &Call, messages: usize) -> Result<(), Option<String>> {
    let now = Instant::now();
    shared.rates.admit(call.gate.org.as_deref().unwrap_or_default(), messages, now)?;
    if call.sync && call.gate.sync_validation && !shared.rates.admit_sync(&call.gate.name, now) {
        return Err(None);
    }
    Ok(())
}

fn messages(call: &Call) -> Option<Vec<&RawValue>> {
    if !call.is_batch {
        return serde_json::from_slice::<&RawValue>(&call.body).ok().map(|message| vec![message]);
    }
    let first = call.body.iter().find(|byte| !byte.is_ascii_whitespace());
    if first != Some(&b'{') {
        return None;
    }
    serde_json::from_slice::<Messages<'_>>(&call.body).ok().map(|batch| batch.messages)
}

/// Judges each message, keeps the good ones, answers.
async fn take(
    shared: &Shared,
    call: &Call,
    messages: &[&RawValue],
    authenticated: bool,
) -> Outcome {
    let tally = Tally { messages: messages.len() as u64, accepted: 0 };
    if call.sync && !call.gate.sync_validation {
        return Outcome { answer: Answer::refusal(501, None, fault::Body::Problem), tally };
    }
    // Room at the validator first: between acceptance and the queue nothing may be lost.
    let room = shared.validator.room(&call.gate).await;
    let style = shared.live().style;
    let judged = match judge(shared, call, messages) {
        Ok(judged) => judged,
        Err(status) => {
            return Outcome { answer: Answer::refusal(status, None, fault::Body::Problem), tally };
        }
    };
    if !call.is_batch
        && let Some(answer) = refuse_single(shared, call, judged.first())
    {
        return Outcome { answer, tally };
    }
    let batch_id = ident::xaction();
    let (xaction, separator) = match (call.is_batch, style) {
        (false, _) => (batch_id.clone(), None),
        (true, Style::Documented) => (batch_id.clone(), Some(':')),
        (true, Style::Production | Style::NoXaction) => (ident::uuid(), Some('-')),
    };
    let arrival = Arc::new(Arrival {
        gate: Arc::clone(&call.gate),
        xaction,
        separator,
        received_ms: ident::now_ms(),
        authenticated,
        flow: call.flow.clone(),
    });
    let accepted = judged.iter().filter(|verdict| verdict.is_ok()).count() as u64;
    let verdicts = shared.accept(&arrival, judged, room);
    let tally = Tally { accepted, ..tally };
    if call.is_batch {
        return Outcome {
            answer: batch_answer(shared, style, &arrival, &batch_id, &verdicts),
            tally,
        };
    }
    let sync = match (call.sync, shared.settings.show_skipped_validation) {
        (true, _) => Some(json!({"status": "pass"})),
        (false, true) => Some(json!({"skipped": true})),
        (false, false) => None,
    };
    Outcome { answer: answer::single(&arrival, sync), tally }
}

fn batch_answer(
    shared: &Shared,
    style: Style,
    arrival: &Arrival,
    batch_id: &str,
    verdicts: &[Verdict],
) -> Answer {
    let place = Place { endpoint: Endpoint::Inlet, name: &arrival.gate.name, id: &arrival.gate.id };
    let none = |kind: &Kind| matches!(kind, Kind::NoResponses).then_some(());
    if shared.faults.take(place, none).is_some() {
        return answer::batch(style, arrival, batch_id, None);
    }
    let short = |kind: &Kind| {
        if let Kind::ShortResponses { missing } = kind { Some(*missing) } else { None }
    };
    let missing = shared.faults.take(place, short).unwrap_or(0);
    let shown = verdicts.get(..verdicts.len().saturating_sub(missing)).unwrap_or_default();
    answer::batch(style, arrival, batch_id, Some(shown))
}
