//! Faults that look at whole requests and answers, at inlets and at the token endpoint.

use std::time::Duration;

use tokio::time::sleep;

use crate::{
    answer::Answer,
    fault::{Kind, Place},
    state::Shared,
    wire::Wire,
};

/// Faults that come before anything is looked at.
pub(crate) async fn before(shared: &Shared, wire: &Wire, place: Place<'_>) -> Option<Answer> {
    let latency = |kind: &Kind| if let Kind::Latency { ms } = kind { Some(*ms) } else { None };
    if let Some(ms) = shared.faults.take(place, latency) {
        sleep(Duration::from_millis(ms)).await;
    }
    let reset = |kind: &Kind| matches!(kind, Kind::ResetBefore).then_some(());
    if shared.faults.take(place, reset).is_some() {
        wire.reset();
        return Some(Answer::json(0, String::new()));
    }
    shared.faults.take(place, |kind| match kind {
        Kind::Status { status, retry_after, body } => {
            Some(Answer::refusal(*status, retry_after.clone(), *body))
        }
        _ => None,
    })
}

/// Faults of an answer that is otherwise right; the status is 0 where a reset replaces it.
pub(crate) fn after(
    shared: &Shared,
    wire: &Wire,
    place: Place<'_>,
    mut answer: Answer,
) -> (Answer, u16) {
    let is = |wanted: fn(&Kind) -> bool| {
        shared.faults.take(place, |kind| wanted(kind).then_some(())).is_some()
    };
    if answer.status == 0 || !(200..300).contains(&answer.status) {
        let status = answer.status;
        return (answer, status);
    }
    if is(|kind| matches!(kind, Kind::ResetAfter)) {
        wire.reset();
        return (answer, 0);
    }
    let within =
        |kind: &Kind| if let Kind::ResetWithin { bytes } = kind { Some(*bytes) } else { None };
    if let Some(bytes) = shared.faults.take(place, within) {
        // Within the answer, however short it is.
        let body = u32::try_from(answer.body.len()).unwrap_or(u32::MAX);
        wire.cut_after(bytes.min(body));
        return (answer, 0);
    }
    let crawl = |kind: &Kind| {
        if let Kind::SlowAnswer { interval_ms } = kind { Some(*interval_ms) } else { None }
    };
    if let Some(interval) = shared.faults.take(place, crawl) {
        wire.crawl(interval.max(1));
        // The next request comes over another connection, at full speed.
        answer.close = true;
    }
    let status = answer.status;
    if is(|kind| matches!(kind, Kind::EmptyBody)) {
        return (answer.emptied(), status);
    }
    if is(|kind| matches!(kind, Kind::HtmlBody)) {
        return (answer.in_html(), status);
    }
    (answer, status)
}
