//! The bodies of inlet answers, in the three forms in which AEP has been seen to answer.

use std::fmt::Write as _;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use crate::{fault::Body, lake::Arrival, settings::Style};

const INLET_PROBLEM: &str = "http://ns.adobe.com/adobecloud/problem/data-collection-service/inlet";
const AUTHORIZATION_PROBLEM: &str =
    "https://ns.adobe.com/adobecloud/problem/data-collection-service-authorization";
const HTML: &str = "<html><head><title>Service</title></head><body><h1>Service</h1></body></html>";

/// What became of one message of a batch.
#[derive(Clone, Debug)]
pub(crate) enum Verdict {
    /// Taken.
    Accepted,
    /// Refused, with status and text.
    Refused(u16, String),
}

/// An answer before it is sent.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The text of `Retry-After`.
    pub(crate) retry_after: Option<String>,
    /// The body.
    pub(crate) body: String,
    /// Its media type; none with an empty body.
    pub(crate) media_type: Option<&'static str>,
    /// Whether the connection ends with it.
    pub(crate) close: bool,
}

impl Answer {
    /// A JSON body.
    pub(crate) fn json(status: u16, body: String) -> Self {
        Self { status, retry_after: None, body, media_type: Some("application/json"), close: false }
    }

    /// The problem object of the inlets with this text.
    pub(crate) fn problem(status: u16, title: &str, message: &str) -> Self {
        Self::report(status, title, &json!({"message": message}))
    }

    /// The problem object of the inlets with this report.
    pub(crate) fn report(status: u16, title: &str, report: &Value) -> Self {
        let body =
            json!({"type": INLET_PROBLEM, "status": status, "title": title, "report": report});
        Self::json(status, body.to_string())
    }

    /// The refusal of a request without a good token. `status` in the body is text, as documented.
    pub(crate) fn unauthorized(status: u16, inlet: &str, what: &str) -> Self {
        let body = json!({
            "type": AUTHORIZATION_PROBLEM, "status": status.to_string(), "title": "Authorization",
            "report": {"message": format!("[{inlet}] {what}")},
        });
        Self::json(status, body.to_string())
    }

    /// A whole request refused with a status, in Adobe's words where it has any.
    pub(crate) fn refusal(status: u16, retry_after: Option<String>, body: Body) -> Self {
        let mut answer = match body {
            Body::Problem => Self::problem(status, title(status), text(status)),
            Body::Empty => Self::json(status, String::new()).emptied(),
            Body::Html => Self::json(status, String::new()).in_html(),
        };
        answer.retry_after = retry_after;
        answer
    }

    /// The same without a body.
    pub(crate) fn emptied(mut self) -> Self {
        self.body = String::new();
        self.media_type = None;
        self
    }

    /// The same with a page of HTML as its body.
    pub(crate) fn in_html(mut self) -> Self {
        HTML.clone_into(&mut self.body);
        self.media_type = Some("text/html");
        self
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = Response::new(self.body.into());
        *response.status_mut() = status;
        let headers = response.headers_mut();
        if let Some(media_type) = self.media_type {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        }
        if self.close {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(Ok(value)) = self.retry_after.map(HeaderValue::try_from) {
            headers.insert(header::RETRY_AFTER, value);
        }
        response
    }
}

/// The answer of the batch endpoint: 207, one entry per message. The last `missing` entries are
/// left out by order; with none, `responses` itself is.
pub(crate) fn batch(
    style: Style,
    arrival: &Arrival,
    batch_id: &str,
    verdicts: Option<&[Verdict]>,
) -> Answer {
    let entries = verdicts.map_or(0, <[Verdict]>::len);
    let mut body = String::with_capacity(160 + entries * 64);
    let (inlet, received) = (quoted(&arrival.gate.id), arrival.received_ms);
    // Writing to a `String` does not fail.
    let mut result =
        write!(body, r#"{{"inletId":{inlet},"batchId":"{batch_id}","receivedTimeMs":{received}"#);
    if let Some(verdicts) = verdicts {
        body.push_str(r#","responses":["#);
        for (index, verdict) in verdicts.iter().enumerate() {
            if index > 0 {
                body.push(',');
            }
            let xaction = arrival.xaction(u32::try_from(index).unwrap_or(u32::MAX));
            result = result.and_then(|()| entry(&mut body, style, &xaction, verdict));
        }
        body.push(']');
    }
    body.push('}');
    debug_assert!(result.is_ok(), "a string takes all that is written to it");
    Answer::json(207, body)
}

fn entry(body: &mut String, style: Style, xaction: &str, verdict: &Verdict) -> std::fmt::Result {
    match (style, verdict) {
        (Style::NoXaction, Verdict::Accepted) => write!(body, "{{}}"),
        (_, Verdict::Accepted) => write!(body, r#"{{"xactionId":"{xaction}"}}"#),
        (Style::Documented, Verdict::Refused(status, text)) => {
            write!(body, r#"{{"statusCode":{status},"message":{}}}"#, quoted(text))
        }
        (Style::Production, Verdict::Refused(status, text)) => {
            write!(
                body,
                r#"{{"xactionId":"{xaction}","status":{status},"message":{}}}"#,
                quoted(text)
            )
        }
        (Style::NoXaction, Verdict::Refused(status, text)) => {
            write!(body, r#"{{"status":{status},"message":{}}}"#, quoted(text))
        }
    }
}

/// The answer of the single endpoint to an accepted message.
pub(crate) fn single(arrival: &Arrival, sync: Option<Value>) -> Answer {
    let mut body = json!({
        "inletId": arrival.gate.id, "xactionId": arrival.xaction(0), "receivedTimeMs": arrival.received_ms,
    });
    if let (Some(sync), Value::Object(fields)) = (sync, &mut body) {
        fields.insert("syncValidation".to_owned(), sync);
    }
    Answer::json(200, body.to_string())
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn title(status: u16) -> &'static str {
    let known = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    known.unwrap_or("Error")
}

/// Adobe's sentence for a status where it has one.
fn text(status: u16) -> &'static str {
    match status {
        400 => "There was a problem with the request.",
        401 => "The request does not contain a valid authorization token.",
        403 => "Provided authorization token is invalid or expired.",
        413 => "The total request payload is too large.",
        429 => "Too many requests. The service is experiencing high loads.",
        500 => "Error in processing payload. Try the request again in a few minutes.",
        501 => "Synchronous validation is not supported in this location.",
        503 => {
            "The service is currently unavailable. Clients should retry at least three times \
                using an exponential back-off strategy."
        }
        _ => "The request was not processed.",
    }
}
