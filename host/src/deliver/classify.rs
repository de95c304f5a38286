//! The table from what happened to what is done. Pure and exhaustive; `host/docs/faults.md` is
//! written from it by a test.

use super::response::Said;
use crate::fault::Code;
use crate::http::Transport;

/// What is done about a whole request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Action {
    /// Look at the verdict of each message.
    Read,
    /// Send the same again when the destination's gate lets it.
    Retry(Code),
    /// The same, and where it repeats on one batch while others pass, find the message it is about.
    Suspect(Code),
    /// Nobody knows what arrived: the same again under the same ids, three times, then one event at
    /// a time.
    Unknown,
    /// Fetch a new token once, then pause.
    Reauthorise,
    /// Too large: send in two parts, and smaller requests from now on.
    Split,
    /// Refused for its content: find the message it is about by halves.
    Isolate,
    /// The configuration is wrong: pause, one request a minute.
    Pause(Code),
}

/// What is done about one message of an answered request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum MessageAction {
    /// Delivered.
    Accept,
    /// The record's own fault, provided that AEP takes others under the same header.
    Refuse,
    /// Send this message again when the gate lets it.
    Retry(Code),
    /// The same, and where it repeats while others pass, it is this message's own fault.
    Suspect(Code),
    /// Fetch a new token once, then pause.
    Reauthorise,
    /// Nobody knows: like [`Action::Unknown`], for this message alone.
    Unknown,
}

/// What to do about an HTTP status.
pub(super) fn status(status: u16) -> Action {
    match status {
        200..=299 => Action::Read,
        400 | 409 | 422 => Action::Isolate,
        401 | 403 => Action::Reauthorise,
        413 => Action::Split,
        429 => Action::Retry(Code::Throttled),
        500 => Action::Suspect(Code::Unavailable),
        408 | 425 | 502..=599 => Action::Retry(Code::Unavailable),
        // A redirect leads somewhere that is not the inlet; 404, 405, 407, 410, 415, 501 and the
        // like do not depend on the messages.
        300..=499 | 501 => Action::Pause(Code::NotFound),
        // No final answer, or no HTTP.
        _ => Action::Unknown,
    }
}

/// What to do when no answer came.
pub(super) fn transport(kind: Transport) -> Action {
    match kind {
        Transport::Unreachable => Action::Retry(Code::Unreachable),
        Transport::Broken | Transport::Unanswered => Action::Unknown,
    }
}

/// What to do about one message.
pub(super) fn message(said: Said) -> MessageAction {
    match said {
        Said::Nothing | Said::Status(200..=299) => MessageAction::Accept,
        Said::Status(401 | 403) => MessageAction::Reauthorise,
        Said::Status(429) => MessageAction::Retry(Code::Throttled),
        Said::Status(500) => MessageAction::Suspect(Code::Unavailable),
        Said::Status(408 | 501..=599) => MessageAction::Retry(Code::Unavailable),
        Said::Status(400..=499) => MessageAction::Refuse,
        Said::Status(_) | Said::Unreadable => MessageAction::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const UNAVAILABLE: Action = Action::Retry(Code::Unavailable);
    const NOT_FOUND: Action = Action::Pause(Code::NotFound);

    #[test]
    fn every_status_of_a_request_has_its_action() {
        // Written from the table of the specification, not from the code.
        let others = |status: u16| match status / 100 {
            1 => Action::Unknown,
            2 => Action::Read,
            3 | 4 => NOT_FOUND,
            _ => UNAVAILABLE,
        };
        let named = [
            (400, Action::Isolate),
            (401, Action::Reauthorise),
            (403, Action::Reauthorise),
            (408, UNAVAILABLE),
            (409, Action::Isolate),
            (413, Action::Split),
            (422, Action::Isolate),
            (425, UNAVAILABLE),
            (429, Action::Retry(Code::Throttled)),
            (500, Action::Suspect(Code::Unavailable)),
            (501, NOT_FOUND),
        ];
        for number in 100..=599 {
            let named = named.iter().find(|(status, _)| *status == number);
            let expected = named.map_or_else(|| others(number), |(_, action)| *action);
            assert_eq!(status(number), expected, "{number}");
        }
        assert_eq!((status(0), status(99), status(600)), [Action::Unknown; 3].into());
    }

    #[test]
    fn every_status_of_a_message_has_its_action() {
        for number in 100..=599 {
            let expected = match number {
                200..=299 => MessageAction::Accept,
                401 | 403 => MessageAction::Reauthorise,
                429 => MessageAction::Retry(Code::Throttled),
                500 => MessageAction::Suspect(Code::Unavailable),
                408 | 501..=599 => MessageAction::Retry(Code::Unavailable),
                400..=499 => MessageAction::Refuse,
                _ => MessageAction::Unknown,
            };
            assert_eq!(message(Said::Status(number)), expected, "{number}");
        }
        assert_eq!(message(Said::Nothing), MessageAction::Accept);
        assert_eq!(message(Said::Unreadable), MessageAction::Unknown);
    }

    #[test]
    fn only_a_request_that_was_not_sent_is_simply_retried() {
        let actions: BTreeSet<_> = Transport::ALL.map(|kind| (kind, transport(kind))).into();
        let expected = [
            (Transport::Unreachable, Action::Retry(Code::Unreachable)),
            (Transport::Broken, Action::Unknown),
            (Transport::Unanswered, Action::Unknown),
        ];
        assert_eq!(actions, expected.into());
    }

    #[test]
    fn invariant_11_no_status_of_a_request_is_a_dead_letter_by_itself() {
        for number in 0..=u16::MAX {
            if let Action::Retry(code) | Action::Suspect(code) | Action::Pause(code) =
                status(number)
            {
                assert!(!code.domain().is_dead_lettered(), "{number}");
            }
        }
    }
}
