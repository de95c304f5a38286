//! Nobody knows what arrived: three times the same again, then one event at a time.

use serde_json::json;

use super::server::*;
use crate::deliver::DestinationState;
use crate::fault::Code;

/// How a batch of several events is answered; one event alone is taken.
fn answer(kind: &str, request: &Request) -> Answer {
    if request.ids.len() <= 1 {
        return taken();
    }
    let responses = |count| json!({ "responses": vec![json!({}); count] }).to_string();
    match kind {
        "short" => Answer::Say(207, responses(request.ids.len() - 1)),
        "long" => Answer::Say(207, responses(request.ids.len() + 1)),
        "missing" => Answer::Say(207, r#"{"inletId":"i1"}"#.to_owned()),
        "empty" => Answer::Say(200, String::new()),
        "html" => Answer::Say(200, "<html>ok</html>".to_owned()),
        "no content" => Answer::Say(204, String::new()),
        "break" => Answer::Break,
        "hang" => Answer::Hang,
        "close" => Answer::Close,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn invariant_11_an_unknown_outcome_is_never_success_and_never_a_dead_letter() {
    for kind in
        ["short", "long", "missing", "empty", "html", "no content", "break", "hang", "close"]
    {
        let server = Server::start(move |_, request| answer(kind, request)).await;
        let mut destination = server.destination("");
        if kind == "hang" {
            destination = impatient(destination);
        }
        assert_eq!(deliver(&destination, "a b").await, ["ok", "ok"], "{kind}");
        let mut ids = server.ids();
        if kind == "close" {
            // A connection that breaks before any answer is tried once more at once.
            assert_eq!(ids.drain(..8).collect::<Vec<_>>(), ["a b"; 8]);
        } else {
            assert_eq!(ids.drain(..4).collect::<Vec<_>>(), ["a b"; 4], "{kind}");
        }
        assert_eq!(ids, ["a", "b"], "{kind}");
        assert_eq!(destination.metrics().unknown.get(), 4, "{kind}");
    }
}

#[tokio::test]
async fn after_a_probe_of_one_event_requests_grow_again() {
    let server = Server::start(|n, _| match n {
        0..6 => Answer::Say(207, String::new()),
        _ => taken(),
    })
    .await;
    let destination = server.destination("");
    assert_eq!(deliver(&destination, "a b c d e f g h").await, ["ok"; 8]);
    let all = "a b c d e f g h";
    assert_eq!(server.ids(), [all, all, all, all, "a", "a", "a", "b", "c d", "e f g h"]);
}

#[tokio::test]
async fn while_outcomes_are_unknown_the_destination_is_paused() {
    let server = Server::start(|n, _| match n {
        0..12 => Answer::Say(207, "{}".to_owned()),
        _ => taken(),
    })
    .await;
    let destination = server.destination("");
    let watch = until(|| {
        matches!(
            destination.status().state,
            DestinationState::Paused { code: Code::UnknownOutcome, .. }
        )
    });
    let (verdicts, ()) = tokio::join!(deliver(&destination, "a b c"), watch);
    assert_eq!(verdicts, ["ok"; 3]);
}

#[tokio::test]
async fn one_unreadable_entry_is_asked_again_alone() {
    let server = Server::start(|n, _| match n {
        0 => Answer::Each(|id| if id == "b" { json!({ "status": "?" }) } else { json!({}) }),
        _ => taken(),
    })
    .await;
    assert_eq!(deliver(&server.destination(""), "a b c").await, ["ok"; 3]);
    assert_eq!(server.ids(), ["a b c", "b"]);
}

#[tokio::test]
async fn an_idle_connection_closed_at_the_wrong_moment_is_no_fault() {
    let server = Server::start(|n, _| if n == 1 { Answer::Close } else { taken() }).await;
    let destination = server.destination("");
    assert_eq!(deliver(&destination, "a").await, ["ok"]);
    assert_eq!(deliver(&destination, "b").await, ["ok"]);
    assert_eq!(server.ids(), ["a", "b", "b"]);
    assert_eq!((destination.metrics().unknown.get(), destination.status().last_fault), (0, None));
}
