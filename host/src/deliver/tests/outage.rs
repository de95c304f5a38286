//! AEP or the way to it is away: nothing is lost, nothing is refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use super::server::*;
use crate::deliver::DestinationState;
use crate::fault::Code;

/// The code that a destination shows while it does not pass requests.
fn shown(destination: &crate::deliver::Destination) -> Option<Code> {
    match destination.status().state {
        DestinationState::Open => None,
        DestinationState::BackingOff { code, .. } | DestinationState::Paused { code, .. } => {
            Some(code)
        }
    }
}

#[tokio::test]
async fn invariant_11_an_outage_is_waited_out_whole() {
    for status in [408, 425, 429, 502, 503, 504, 520, 599] {
        let server = Server::start(move |n, _| match n {
            0..12 => Answer::Say(status, "<html>away</html>".to_owned()),
            _ => taken(),
        })
        .await;
        let destination = server.destination("");
        assert_eq!(deliver(&destination, "a b c").await, ["ok", "ok", "ok"]);
        // The same request again and again, never in parts.
        assert_eq!(server.ids(), ["a b c"; 13]);
        let code = if status == 429 { Code::Throttled } else { Code::Unavailable };
        let seen = destination.status();
        assert_eq!(seen.last_fault.map(|(last, _)| last), Some(code), "{status}");
        assert_eq!(seen.state, DestinationState::Open);
        assert_eq!(destination.metrics().repeated.get(), 36);
    }
}

#[tokio::test]
async fn invariant_11_server_errors_for_all_refuse_nothing() {
    // Far longer than it takes to suspect the batch, to halve it and to suspect each event.
    let server = Server::start(|n, _| match n {
        1..80 => Answer::Say(500, String::new()),
        _ => taken(),
    })
    .await;
    let destination = server.destination("");
    assert_eq!(deliver(&destination, "first").await, ["ok"]);
    assert_eq!(deliver(&destination, "a b c d").await, ["ok"; 4]);
}

#[tokio::test]
async fn invariant_11_an_unreachable_inlet_is_waited_for() {
    let gone = Server::start(|_, _| taken()).await;
    let destination = gone.destination("");
    let address = gone.url("");
    drop(gone);
    let waiting = deliver(&destination, "a b");
    let back = async {
        until(|| shown(&destination) == Some(Code::Unreachable)).await;
        until(|| destination.metrics().requests() > 3).await;
        let address = address.trim_start_matches("http://");
        Server::start_at(address, |_, _| taken()).await
    };
    let (verdicts, server) = tokio::join!(waiting, back);
    assert_eq!(verdicts, ["ok", "ok"]);
    assert_eq!(server.ids(), ["a b"]);
}

#[tokio::test]
async fn invariant_11_a_wrong_address_pauses_and_is_tried_whole() {
    for status in [302, 404, 405, 407, 415, 501] {
        let mended = Arc::new(AtomicBool::new(false));
        let answer = Arc::clone(&mended);
        let server = Server::start(move |_, request| {
            assert_eq!(request.path, "/collection/batch/i1", "a redirect was followed");
            if answer.load(Ordering::SeqCst) {
                taken()
            } else {
                Answer::SayWith(status, "location: /elsewhere\r\n", String::new())
            }
        })
        .await;
        let destination = server.destination("");
        let mend = async {
            until(|| server.requests().len() > 2).await;
            assert!(matches!(
                destination.status().state,
                DestinationState::Paused { code: Code::NotFound, .. }
            ));
            mended.store(true, Ordering::SeqCst);
        };
        let (verdicts, ()) = tokio::join!(deliver(&destination, "a b"), mend);
        assert_eq!(verdicts, ["ok", "ok"]);
        assert!(server.ids().iter().all(|ids| ids == "a b"));
    }
}

#[tokio::test]
async fn retry_after_is_the_least_that_is_waited() {
    let server = Server::start(|n, _| match n {
        0 => Answer::SayWith(503, "retry-after: 1\r\n", String::new()),
        _ => taken(),
    })
    .await;
    let begun = Instant::now();
    assert_eq!(deliver(&server.destination(""), "a").await, ["ok"]);
    assert!(begun.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn only_messages_that_were_not_taken_are_sent_again() {
    for status in [408, 429, 500, 503] {
        let left = AtomicUsize::new(3);
        let server = Server::start(move |_, request| {
            let again = request.has("b")
                && left
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1))
                    .is_ok();
            match (again, status) {
                (false, _) => taken(),
                (true, 408) => Answer::Each(|id| entry(id, 408)),
                (true, 429) => Answer::Each(|id| entry(id, 429)),
                (true, 500) => Answer::Each(|id| entry(id, 500)),
                (true, _) => Answer::Each(|id| entry(id, 503)),
            }
        })
        .await;
        let destination = server.destination("");
        assert_eq!(deliver(&destination, "a b c").await, ["ok", "ok", "ok"]);
        assert_eq!(server.ids(), ["a b c", "b", "b", "b"], "{status}");
    }
}

/// The entry of a message where only `b` fails.
fn entry(id: &str, status: u16) -> serde_json::Value {
    if id == "b" { json!({ "status": status }) } else { json!({}) }
}

#[tokio::test]
async fn many_partitions_wait_together_and_all_get_through() {
    // No more requests than the outage refuses and the calls need: nobody asks out of turn.
    let server = Server::start(|n, _| match n {
        0..20 => Answer::Say(503, String::new()),
        _ => taken(),
    })
    .await;
    let destination = server.destination("");
    let names: Vec<String> = (0..32).map(|i| format!("e{i}")).collect();
    let calls = names.iter().map(|name| async {
        assert_eq!(deliver(&destination, name).await, ["ok"]);
    });
    let mut all = std::pin::pin!(join_all(calls));
    within(&mut all).await;
    assert_eq!(server.requests().len(), 20 + 32);
    assert!(destination.metrics().waits.get() > 0);
}

/// Runs futures side by side within one task.
async fn join_all(futures: impl Iterator<Item = impl Future<Output = ()>>) {
    let mut running: Vec<_> = futures.map(Box::pin).collect();
    std::future::poll_fn(|context| {
        running.retain_mut(|future| future.as_mut().poll(context).is_pending());
        if running.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

#[tokio::test]
async fn a_call_that_is_dropped_leaves_the_gate_to_others() {
    let server = Server::start(|n, _| match n {
        0 => Answer::Say(503, String::new()),
        1 => Answer::Hang,
        _ => taken(),
    })
    .await;
    let destination = server.destination("");
    let messages = messages(&destination, "a b");
    let dropped = destination.deliver(&messages);
    let probing = async { until(|| server.requests().len() == 2).await };
    tokio::select! {
        _ = dropped => panic!("the probe hangs"),
        () = probing => {}
    }
    assert_eq!(destination.status().in_flight, 0);
    assert_eq!(deliver(&destination, "a b").await, ["ok", "ok"]);
}
