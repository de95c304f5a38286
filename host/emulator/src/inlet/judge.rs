//! What becomes of each message of a request: the door, then the faults that look at messages.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::{json, value::RawValue};

use super::Call;
use crate::{
    answer::{Answer, Verdict},
    door::{self, Passed, Rules},
    fault::{Endpoint, Place, Traits},
    lake::Arriving,
    state::Shared,
};

/// Each message's way through the door, then past the faults that look at messages. The error is
/// the status of the whole request.
pub(super) fn judge(
    shared: &Shared,
    call: &Call,
    messages: &[&RawValue],
) -> Result<Vec<Result<Judged, Verdict>>, u16> {
    let tables = shared.known.read();
    let dataset_header =
        call.headers.get("x-adobe-dataset-id").and_then(|value| value.to_str().ok());
    let open = shared.known.is_open();
    let rules = Rules {
        gate: &call.gate,
        tables: &tables,
        open,
        operations_in_xdm: shared.settings.operations_in_xdm,
        flow: door::flow(call.flow.as_deref(), dataset_header, &call.gate, &tables, open),
    };
    let mut passed: Vec<Result<Passed<'_>, Verdict>> = messages
        .iter()
        .map(|message| {
            door::check(message, &rules).map_err(|refusal| {
                let org = call.gate.org.as_deref().unwrap_or_default();
                Verdict::Refused(400, refusal.text(&call.gate.id, org))
            })
        })
        .collect();
    if shared.faults.any() {
        spoil(shared, call, messages, &mut passed)?;
    }
    let detached = passed
        .into_iter()
        .zip(messages)
        .map(|(verdict, message)| verdict.map(|good| Judged::of(&call.body, message, good)));
    Ok(detached.collect())
}

/// Faults that look at messages.
fn spoil(
    shared: &Shared,
    call: &Call,
    messages: &[&RawValue],
    passed: &mut [Result<Passed<'_>, Verdict>],
) -> Result<(), u16> {
    let place = Place { endpoint: Endpoint::Inlet, name: &call.gate.name, id: &call.gate.id };
    for (message, verdict) in messages.iter().zip(passed.iter()) {
        let traits = traits(message, verdict.as_ref().ok());
        if let Some(status) = shared.faults.take(place, |kind| kind.fails_request(&traits)) {
            return Err(status);
        }
    }
    for (message, verdict) in messages.iter().zip(passed.iter_mut()) {
        let Ok(good) = verdict.as_ref() else { continue };
        let traits = traits(message, Some(good));
        if let Some((status, text)) = shared.faults.take(place, |kind| kind.refuses(&traits)) {
            *verdict = Err(Verdict::Refused(status, text));
        }
    }
    Ok(())
}

fn traits<'a>(message: &'a RawValue, passed: Option<&'a Passed<'_>>) -> Traits<'a> {
    Traits {
        msg_id: passed.and_then(|passed| passed.msg_id.as_deref()),
        entity_id: passed.and_then(|passed| passed.entity_id.as_deref()),
        text: message.get(),
    }
}

/// At the single endpoint a refusal is the HTTP answer; so is a failed synchronous validation,
/// which leaves no trace of the message.
pub(super) fn refuse_single(
    shared: &Shared,
    call: &Call,
    judged: Option<&Result<Judged, Verdict>>,
) -> Option<Answer> {
    match judged? {
        Err(Verdict::Refused(status, text)) => {
            Some(Answer::problem(*status, "Invalid XDM Message Format", text))
        }
        Ok(judged) if call.sync => {
            let org = call.gate.org.as_deref().unwrap_or_default();
            let message =
                format!("inletId: [{}] imsOrgId: [{org}] Message is invalid", call.gate.id);
            let cause = shared.validator.sync_report(judged)?;
            let report = json!({"message": message, "cause": {"_streamingValidation": [cause]}});
            Some(Answer::report(400, "Invalid XDM Message Format", &report))
        }
        Ok(_) | Err(Verdict::Accepted) => None,
    }
}

/// A message that may be taken, detached from the request's body without copying it.
pub(crate) struct Judged {
    /// What the lake needs.
    pub(crate) arriving: Arriving,
    /// The schema it is held against.
    pub(crate) schema: Option<String>,
    /// `required` does not hold.
    pub(crate) partial: bool,
    /// Whether there is an entity.
    pub(crate) has_entity: bool,
    /// The message as it came.
    pub(crate) message: Bytes,
}

impl Judged {
    fn of(body: &Bytes, message: &RawValue, passed: Passed<'_>) -> Self {
        let slice = |text: &str| body.slice_ref(text.as_bytes());
        let arriving = Arriving {
            index: 0,
            dataset: passed.dataset.into_owned(),
            msg_id: passed.msg_id.map(Cow::into_owned),
            entity_id: passed.entity_id.map(Cow::into_owned),
            header: passed.header.map(slice).unwrap_or_default(),
            entity: passed.entity.map(slice).unwrap_or_default(),
        };
        Self {
            arriving,
            schema: passed.schema.map(Cow::into_owned),
            partial: passed.partial,
            has_entity: passed.entity.is_some(),
            message: slice(message.get()),
        }
    }
}
