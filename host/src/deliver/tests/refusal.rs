//! AEP refuses: which event is at fault, or whether it is the configuration.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use super::server::*;
use crate::deliver::DestinationState;
use crate::fault::Code;

/// AEP's words for a wrong organisation, as documented.
const WRONG_ORG: &str =
    "inletId: [9b] imsOrgId: [O] Message has an absent or wrong ims org in the header";

/// The names `e0` to `e{count - 1}`, some replaced.
fn names(count: usize, bad: &[usize]) -> String {
    let name = |i| if bad.contains(&i) { format!("bad{i}") } else { format!("e{i}") };
    (0..count).map(name).collect::<Vec<_>>().join(" ")
}

/// Which verdicts are refusals; all others must be `ok`.
fn refused(verdicts: &[String]) -> Vec<usize> {
    let refusals = verdicts.iter().enumerate().filter(|(_, verdict)| *verdict != "ok");
    refusals
        .map(|(i, verdict)| {
            assert!(verdict.starts_with("aep.refused: "), "{verdict}");
            i
        })
        .collect()
}

#[tokio::test]
async fn a_request_refused_for_its_content_is_halved_to_the_event_at_fault() {
    for bad in [&[0][..], &[63], &[17], &[3, 4], &[0, 31, 63]] {
        let server = Server::start(|_, request| {
            if request.ids.iter().any(|id| id.starts_with("bad")) {
                Answer::Say(400, r#"{"message":"Message is invalid"}"#.to_owned())
            } else {
                taken()
            }
        })
        .await;
        let destination = server.destination("");
        let verdicts = deliver(&destination, &names(64, bad)).await;
        assert_eq!(refused(&verdicts), bad);
        assert!(verdicts[bad[0]].contains("AEP answered 400: Message is invalid"));
        // Two requests for each of six halvings, and the whole; a witness where the last is bad.
        assert!(server.requests().len() <= 2 + 12 * bad.len(), "{}", server.requests().len());
    }
}

#[tokio::test]
async fn an_event_that_always_meets_a_server_error_is_refused_in_the_end() {
    let whole: fn(&Request) -> Answer = |_| Answer::Say(500, "boom".to_owned());
    let single: fn(&Request) -> Answer = |_| {
        Answer::Each(|id| {
            if id.starts_with("bad") {
                json!({ "status": 500, "message": "boom" })
            } else {
                json!({})
            }
        })
    };
    for fail in [whole, single] {
        let server = Server::start(move |_, request| {
            if request.ids.iter().any(|id| id.starts_with("bad")) { fail(request) } else { taken() }
        })
        .await;
        let destination = server.destination("");
        let verdicts = deliver(&destination, &names(8, &[5])).await;
        assert_eq!(refused(&verdicts), [5]);
        assert!(verdicts[5].ends_with("answered to this event alone 500: boom"), "{}", verdicts[5]);
        assert_eq!(destination.metrics().witnesses.get(), 5);
    }
}

#[tokio::test]
async fn a_request_that_is_too_large_is_split_and_the_size_is_learned() {
    let server = Server::start(|_, request| {
        let length = request.head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if length.unwrap().parse::<usize>().unwrap() > 2_000 {
            Answer::Say(413, String::new())
        } else {
            taken()
        }
    })
    .await;
    let destination = server.destination("");
    assert_eq!(deliver(&destination, &names(16, &[])).await, ["ok"; 16]);
    let status = destination.status();
    assert!(status.learned_bytes.is_some_and(|learned| learned < 5_000), "{status:?}");
    assert_eq!(destination.max_request_bytes(), status.learned_bytes.unwrap());
    assert_eq!(status.state, DestinationState::Open);

    // The next batches are cut before they are sent.
    for _ in 0..3 {
        assert_eq!(deliver(&destination, &names(16, &[])).await, ["ok"; 16]);
    }
    let before = server.requests().len();
    assert_eq!(deliver(&destination, &names(16, &[])).await, ["ok"; 16]);
    let lengths: Vec<_> = server.requests()[before..].iter().map(|r| r.ids.len()).collect();
    assert_eq!(lengths.iter().sum::<usize>(), 16, "{lengths:?}");

    let large = "x".repeat(2_000);
    let verdicts = deliver(&destination, &format!("a {large} b")).await;
    assert_eq!((verdicts[0].as_str(), verdicts[2].as_str()), ("ok", "ok"));
    assert!(verdicts[1].starts_with("record.too-large: AEP answered 413"), "{}", verdicts[1]);
}

#[tokio::test]
async fn all_refused_for_what_they_are_is_the_records_fault() {
    let server =
        Server::start(|_, _| Answer::Each(|_| json!({ "status": 400, "message": "#/a: no" })))
            .await;
    let verdicts = deliver(&server.destination(""), "a b").await;
    assert_eq!(verdicts, ["aep.refused: AEP answered 400: #/a: no"; 2]);
    assert_eq!(server.ids(), ["a b"]);
}

#[tokio::test]
async fn words_about_the_header_count_for_nothing_where_another_was_taken() {
    let server = Server::start(|_, _| {
        Answer::Each(|id| {
            if id == "b" { json!({ "statusCode": 400, "message": WRONG_ORG }) } else { json!({}) }
        })
    })
    .await;
    let verdicts = deliver(&server.destination(""), "a b c").await;
    assert_eq!(refused(&verdicts), [1]);
    assert!(verdicts[1].contains(WRONG_ORG));
    assert_eq!(server.ids(), ["a b c"]);
}

/// A server that refuses everything until it is mended.
async fn refusing(answer: fn() -> Answer) -> (Server, Arc<AtomicBool>) {
    let mended = Arc::new(AtomicBool::new(false));
    let is_mended = Arc::clone(&mended);
    let server = Server::start(
        move |_, _| {
            if is_mended.load(Ordering::SeqCst) { taken() } else { answer() }
        },
    )
    .await;
    (server, mended)
}

fn wrong_org() -> Answer {
    Answer::Each(|_| json!({ "status": 400, "message": WRONG_ORG }))
}

fn wrong_org_whole() -> Answer {
    Answer::Say(400, json!({ "report": { "message": WRONG_ORG } }).to_string())
}

fn wrong_request() -> Answer {
    Answer::Say(400, "no".to_owned())
}

#[tokio::test]
async fn invariant_11_a_wrong_configuration_pauses_and_refuses_nothing() {
    for answer in [wrong_org, wrong_org_whole, wrong_request] {
        let (server, mended) = refusing(answer).await;
        let destination = server.destination("");
        let mend = async {
            let paused = || {
                matches!(
                    destination.status().state,
                    DestinationState::Paused { code: Code::HeaderRefused, .. }
                )
            };
            until(paused).await;
            let before = server.requests().len();
            until(|| server.requests().len() > before + 3).await;
            // Paused, it tries one event at a time and does not look for one at fault.
            for request in &server.requests()[before + 1..] {
                assert_eq!(request.ids.len(), 1);
            }
            mended.store(true, Ordering::SeqCst);
        };
        let (verdicts, ()) = tokio::join!(deliver(&destination, "a b c d"), mend);
        assert_eq!(verdicts, ["ok"; 4]);
        assert_eq!(destination.status().refused, 0);
    }
}

#[tokio::test]
async fn invariant_11_where_nothing_is_ever_taken_a_batch_is_not_taken_apart() {
    let (server, mended) = refusing(wrong_request).await;
    let destination = server.destination("");
    let mend = async {
        until(|| destination.status().last_fault.is_some()).await;
        // The whole, eight halves to the first event alone, and what stood beside the last ones.
        let in_parts = server.requests().iter().filter(|request| request.ids.len() > 1).count();
        assert!(in_parts <= 10, "{:?}", server.ids());
        mended.store(true, Ordering::SeqCst);
    };
    let names = names(512, &[]);
    let (verdicts, ()) = tokio::join!(deliver(&destination, &names), mend);
    assert_eq!(verdicts, vec!["ok"; 512]);
}

#[tokio::test]
async fn one_event_refused_alone_is_at_fault_where_the_last_one_is_taken_again() {
    for (answer, expected) in [
        (wrong_org as fn() -> Answer, "AEP answered 400"),
        (wrong_org_whole, "AEP answered 400"),
        (wrong_request, "AEP answered 400: no"),
    ] {
        let server =
            Server::start(move |_, request| if request.has("bad") { answer() } else { taken() })
                .await;
        let destination = server.destination("");
        assert_eq!(deliver(&destination, "a z").await, ["ok", "ok"]);
        let verdicts = deliver(&destination, "bad").await;
        assert!(verdicts[0].starts_with(&format!("aep.refused: {expected}")), "{verdicts:?}");
        assert_eq!(server.ids(), ["a z", "bad", "z"]);
        assert_eq!(destination.status().state, DestinationState::Open);
    }
}

#[tokio::test]
async fn invariant_11_a_configuration_that_breaks_later_refuses_nothing() {
    for answer in [wrong_org, wrong_org_whole, wrong_request] {
        let (server, mended) = refusing(answer).await;
        mended.store(true, Ordering::SeqCst);
        let destination = server.destination("");
        assert_eq!(deliver(&destination, "a").await, ["ok"]);
        mended.store(false, Ordering::SeqCst);
        let mend = async {
            until(|| server.requests().len() > 8).await;
            // Once it is clear whose fault it is, only the event that AEP took is tried.
            assert_eq!(server.ids().last().map(String::as_str), Some("a"));
            mended.store(true, Ordering::SeqCst);
        };
        let (verdicts, ()) = tokio::join!(deliver(&destination, "b c"), mend);
        assert_eq!(verdicts, ["ok", "ok"]);
    }
}
