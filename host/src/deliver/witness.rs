//! The witness: an event that AEP has taken, sent once more to learn whose fault a refusal is.

use super::classify::{self, Action, MessageAction};
use super::{Destination, Message, Reply, envelope, response};
use crate::fault::Code;

/// The largest event that is kept as a witness; larger ones are no good for a probe.
pub(super) const WITNESS_CAP: usize = 64 * 1024;

/// What became of an event that AEP had taken before, sent once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Witness {
    /// It was taken again: the header is sound.
    Taken,
    /// It is refused now: the header is not. The gate is shut.
    Refused,
    /// It did not get through. The gate is shut.
    Lost,
    /// AEP has not taken any event yet.
    Missing,
}

impl Destination {
    /// Sends the witness, alone on the way, so that nothing newer is overtaken.
    pub(super) async fn ask_witness(&self) -> Witness {
        if !self.has_witness() {
            return Witness::Missing;
        }
        let (permit, slot) = self.enter(1, true).await;
        let Some(bytes) = self.witness() else { return Witness::Missing };
        self.metrics.witnesses.add(1);
        let message = Message { bytes };
        let reply = self.send(envelope::request_body([&message].into_iter())).await;
        drop(slot);
        let said = match reply.action {
            Action::Read => {
                let entry = response::read_batch(&reply.body, 1)
                    .and_then(|entries| entries.first().map(|entry| classify::message(entry.said)));
                entry.unwrap_or(MessageAction::Unknown)
            }
            Action::Isolate => MessageAction::Refuse,
            _ => {
                self.hold(permit, &reply, false);
                return Witness::Lost;
            }
        };
        let action = match said {
            MessageAction::Accept => {
                permit.passed();
                return Witness::Taken;
            }
            MessageAction::Refuse => {
                self.note_fault(Code::HeaderRefused);
                permit.failed(Code::HeaderRefused);
                return Witness::Refused;
            }
            MessageAction::Retry(code) | MessageAction::Suspect(code) => Action::Retry(code),
            MessageAction::Reauthorise => Action::Reauthorise,
            MessageAction::Unknown => Action::Unknown,
        };
        self.hold(permit, &Reply { action, ..reply }, false);
        Witness::Lost
    }
}
