//! The token: fetched once for all, renewed early, and again when AEP refuses it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;

use super::server::*;
use crate::deliver::DestinationState;
use crate::fault::{Code, Domain};

/// A token that says which it is.
fn grant(number: usize, expires_in: u64) -> Answer {
    let body = json!({ "access_token": format!("t{number}"), "token_type": "bearer",
        "expires_in": expires_in });
    Answer::Say(200, body.to_string())
}

/// The requests for a token.
fn fetches(server: &Server) -> usize {
    server.requests().iter().filter(|request| request.path == "/token").count()
}

/// The tokens that events were sent with.
fn sent_with(server: &Server) -> Vec<String> {
    let heads = server.requests().into_iter().filter(|request| request.path != "/token");
    heads
        .map(|request| {
            let line = request.head.lines().find_map(|l| l.strip_prefix("authorization: bearer "));
            line.unwrap_or("none").to_owned()
        })
        .collect()
}

/// Answers the token endpoint with numbered tokens, and events as `answer` says.
async fn numbering(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Server {
    let count = AtomicUsize::new(0);
    Server::start(move |_, request| {
        if request.path == "/token" {
            grant(count.fetch_add(1, Ordering::SeqCst) + 1, 86_399)
        } else {
            answer(request)
        }
    })
    .await
}

#[tokio::test]
async fn one_fetch_serves_all_who_ask_together() {
    let server = numbering(|_| taken()).await;
    let token = server.token();
    assert!(!token.ready());
    let ask = || async { token.bearer().await.unwrap().generation };
    let (a, b, c, d) = within(async { tokio::join!(ask(), ask(), ask(), ask()) }).await;
    assert_eq!((a, b, c, d), (1, 1, 1, 1));
    assert!(token.ready());
    let destination = server.destination_with("", Some(Arc::clone(&token)));
    assert_eq!(deliver(&destination, "a").await, ["ok"]);
    assert_eq!((fetches(&server), sent_with(&server)), (1, vec!["t1".to_owned()]));
}

#[tokio::test]
async fn a_destination_without_authentication_sends_no_token() {
    let server = numbering(|_| taken()).await;
    let destination = server.destination_with("authenticate: false", Some(server.token()));
    assert_eq!(deliver(&destination, "a").await, ["ok"]);
    assert_eq!((fetches(&server), sent_with(&server)), (0, vec!["none".to_owned()]));
}

#[tokio::test]
async fn a_refused_token_is_replaced_at_once() {
    for status in [401, 403] {
        let server = numbering(move |request| {
            if request.head.contains("bearer t1") {
                Answer::Say(status, String::new())
            } else {
                taken()
            }
        })
        .await;
        let destination = server.destination_with("", Some(server.token()));
        assert_eq!(deliver(&destination, "a b").await, ["ok", "ok"]);
        assert_eq!(sent_with(&server), ["t1", "t2"]);
        assert_eq!((fetches(&server), destination.status().last_fault), (2, None));
    }
}

#[tokio::test]
async fn a_token_refused_for_one_message_is_replaced_for_it() {
    let server = numbering(|request| {
        if request.head.contains("bearer t1") {
            Answer::Each(|id| if id == "b" { json!({ "status": 401 }) } else { json!({}) })
        } else {
            taken()
        }
    })
    .await;
    let destination = server.destination_with("", Some(server.token()));
    assert_eq!(deliver(&destination, "a b c").await, ["ok"; 3]);
    let mut ids = server.ids();
    ids.retain(|ids| !ids.is_empty());
    assert_eq!(ids, ["a b c", "b"]);
}

#[tokio::test]
async fn invariant_11_a_credential_that_stays_refused_pauses_without_asking_for_tokens_again() {
    let mended = Arc::new(AtomicBool::new(false));
    let is_mended = Arc::clone(&mended);
    let server = numbering(move |_| {
        if is_mended.load(Ordering::SeqCst) { taken() } else { Answer::Say(403, String::new()) }
    })
    .await;
    let destination = server.destination_with("", Some(server.token()));
    let mend = async {
        until(|| server.requests().len() > 8).await;
        assert!(matches!(
            destination.status().state,
            DestinationState::Paused { code: Code::Unauthorized, .. }
        ));
        assert_eq!(fetches(&server), 2);
        mended.store(true, Ordering::SeqCst);
    };
    let (verdicts, ()) = tokio::join!(deliver(&destination, "a b"), mend);
    assert_eq!(verdicts, ["ok", "ok"]);
}

#[tokio::test]
async fn invariant_11_a_token_endpoint_that_is_away_or_refuses_is_waited_for() {
    for (status, code) in [
        (503, Code::TokenUnreachable),
        (429, Code::TokenThrottled),
        (400, Code::TokenRefused),
        (302, Code::TokenRefused),
    ] {
        let count = AtomicUsize::new(0);
        let server = Server::start(move |_, request| {
            if request.path != "/token" {
                taken()
            } else if count.fetch_add(1, Ordering::SeqCst) < 4 {
                Answer::Say(status, r#"{"error":"invalid_client"}"#.to_owned())
            } else {
                grant(1, 86_399)
            }
        })
        .await;
        let destination = server.destination_with("", Some(server.token()));
        assert_eq!(deliver(&destination, "a b").await, ["ok", "ok"]);
        assert_eq!((fetches(&server), sent_with(&server)), (5, vec!["t1".to_owned()]));
        let last = destination.status().last_fault.map(|(last, _)| last);
        assert_eq!(last, Some(code));
        let expected = match status {
            503 => Domain::Auth,
            429 => Domain::Quota,
            _ => Domain::Configuration,
        };
        assert_eq!(code.domain(), expected);
    }
}

#[tokio::test]
async fn invariant_11_a_token_endpoint_that_takes_no_connection_is_waited_for() {
    let inlet = Server::start(|_, _| taken()).await;
    let gone = Server::start(|_, _| taken()).await;
    let (token, address) = (gone.token(), gone.url(""));
    drop(gone);
    let destination = inlet.destination_with("", Some(Arc::clone(&token)));
    let back = async {
        until(|| token.status().failed > 2).await;
        let fault = token.status().fault.unwrap();
        assert_eq!(fault.code, Code::TokenUnreachable);
        Server::start_at(address.trim_start_matches("http://"), |_, _| grant(1, 86_399)).await
    };
    let (verdicts, endpoint) = tokio::join!(deliver(&destination, "a b"), back);
    assert_eq!(verdicts, ["ok", "ok"]);
    assert_eq!((fetches(&endpoint), sent_with(&inlet)), (1, vec!["t1".to_owned()]));
}

#[tokio::test]
async fn an_answer_without_a_token_is_none() {
    let count = AtomicUsize::new(0);
    let server = Server::start(move |_, _| match count.fetch_add(1, Ordering::SeqCst) {
        0 => Answer::Say(200, "<html>welcome to the proxy</html>".to_owned()),
        1 => Answer::Say(200, r#"{"access_token":"new\nline"}"#.to_owned()),
        _ => grant(3, 86_399),
    })
    .await;
    let token = server.token();
    let mut faults = Vec::new();
    let bearer = within(async {
        loop {
            match token.bearer().await {
                Ok(bearer) => break bearer,
                Err(fault) => faults.push(fault.code),
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    assert_eq!(bearer.header, "Bearer t3");
    assert!(faults.iter().all(|&code| code == Code::TokenUnreachable));
    assert_eq!((token.status().fetched, token.status().failed), (1, 2));
}

#[tokio::test]
async fn a_token_is_renewed_early_and_the_old_one_is_used_meanwhile() {
    let back = Arc::new(AtomicBool::new(false));
    let (is_back, count) = (Arc::clone(&back), AtomicUsize::new(0));
    let server = Server::start(move |_, _| match count.fetch_add(1, Ordering::SeqCst) {
        // Renewed after half its time, and that fails at first.
        0 => grant(1, 6),
        _ if is_back.load(Ordering::SeqCst) => grant(2, 86_399),
        _ => Answer::Say(503, String::new()),
    })
    .await;
    let token = server.token();
    let watch = async {
        until(|| token.status().failed > 0).await;
        assert_eq!(token.bearer().await.unwrap().header, "Bearer t1");
        back.store(true, Ordering::SeqCst);
        until(|| token.generation() == Some(2)).await;
    };
    tokio::select! {
        () = token.keep_fresh() => {}
        () = watch => {}
    }
    assert!(token.status().fault.is_none());
}
