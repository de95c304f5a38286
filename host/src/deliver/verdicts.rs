//! What one answer says of the events of its request.

use super::classify::{self, MessageAction};
use super::response::{self, Entry, Said};
use super::work::Piece;
use crate::fault::{Code, Fault};

/// The verdicts of one answer.
#[derive(Default)]
pub(super) struct Verdicts {
    pub(super) accepted: Vec<usize>,
    pub(super) refused: Vec<(usize, Fault)>,
    /// To be sent again, and why.
    pub(super) left: Vec<usize>,
    /// The words of a refusal name the header.
    pub(super) names_header: bool,
    pub(super) throttled: bool,
    pub(super) refused_token: bool,
    /// The words of a server error.
    pub(super) suspect: Option<String>,
    pub(super) unknown: bool,
    /// AEP's id of an event that it took.
    pub(super) xaction_id: Option<String>,
}

/// What an answer says of each event; none where it does not say.
pub(super) fn read_verdicts(piece: &Piece, body: &[u8]) -> Option<Verdicts> {
    let entries = response::read_batch(body, piece.events.len())?;
    let mut verdicts = Verdicts::default();
    let mut taken = None;
    for (&event, entry) in piece.events.iter().zip(entries) {
        match classify::message(entry.said) {
            MessageAction::Accept => {
                verdicts.accepted.push(event);
                taken = Some(entry);
            }
            MessageAction::Refuse => {
                verdicts.names_header |= response::names_header(&entry.words());
                verdicts.refused.push((event, refusal(&entry)));
            }
            action => {
                verdicts.left.push(event);
                if matches!(action, MessageAction::Suspect(_)) {
                    verdicts.suspect = Some(answered(&entry));
                }
                verdicts.throttled |= action == MessageAction::Retry(Code::Throttled);
                verdicts.refused_token |= action == MessageAction::Reauthorise;
                verdicts.unknown |= action == MessageAction::Unknown;
            }
        }
    }
    verdicts.xaction_id = taken.and_then(|entry| entry.xaction_id());
    Some(verdicts)
}

/// The fault of a message that AEP refuses, in its own words.
fn refusal(entry: &Entry<'_>) -> Fault {
    let said = answered(entry);
    let message = match entry.xaction_id() {
        Some(id) => format!("AEP answered {said} (xactionId {id})"),
        None => format!("AEP answered {said}"),
    };
    Fault::new(Code::Refused, message)
}

/// Status and words of an entry.
fn answered(entry: &Entry<'_>) -> String {
    match entry.said {
        Said::Status(status) => format!("{status}: {}", entry.words()),
        Said::Nothing | Said::Unreadable => entry.words(),
    }
}
