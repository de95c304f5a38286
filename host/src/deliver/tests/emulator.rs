//! Delivery against the emulator: what the receiver's books say afterwards.

use std::collections::BTreeSet;
use std::sync::Arc;

use aep_emulator::{
    DataType, Emulator, Fault, Inlet, Kind, LakeEntry, Rate, Select, Settings, Style,
};

use super::server::*;
use crate::deliver::{Destination, DestinationState, Verdict};
use crate::fault::Code;
use crate::http::Token;
use crate::record::Operation;

/// An emulator that takes what is not listed, with one inlet as given.
fn start(settings: Settings) -> Emulator {
    Emulator::start(settings).unwrap()
}

fn inlet() -> Inlet {
    Inlet { name: "orders".to_owned(), ..Inlet::default() }
}

fn open(emulator: &Emulator, yaml: &str) -> Destination {
    destination_at(&emulator.inlet_url("orders"), yaml, None)
}

fn names(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|i| format!("e{i:04}")).collect()
}

/// The ids in the order in which they first arrived, and how many arrivals were repeats.
fn arrivals(entries: &[LakeEntry]) -> (Vec<String>, usize) {
    let mut seen = BTreeSet::new();
    let first = entries.iter().map(|entry| entry.msg_id.clone());
    let first: Vec<_> = first.filter(|id| seen.insert(id.clone())).collect();
    let repeats = entries.len() - first.len();
    (first, repeats)
}

#[tokio::test]
async fn a_refused_valid_event_among_500_is_refused_in_aeps_words_in_every_style() {
    for style in [Style::Documented, Style::Production, Style::NoXaction] {
        let emulator = start(Settings { style, ..Settings::default() }.with_inlet(inlet()));
        let words = "Message has unknown xdm format";
        emulator.control().fault(Fault::refuse("e0321", 400, words));
        let destination = open(&emulator, "");
        let names = names(0, 500);
        let messages = messages(&destination, &names.join(" "));
        let verdicts = within(destination.deliver(&messages)).await;
        for (name, verdict) in names.iter().zip(&verdicts) {
            match verdict {
                Verdict::Accepted => assert_ne!(name, "e0321"),
                Verdict::Refused(fault) => {
                    assert_eq!((name.as_str(), fault.code), ("e0321", Code::Refused));
                    assert!(fault.message.contains(words), "{}", fault.message);
                }
            }
        }
        let (arrived, repeats) = arrivals(&emulator.control().messages("orders"));
        assert_eq!((arrived.len(), repeats), (499, 0));
        assert!(!arrived.contains(&"e0321".to_owned()));
        emulator.stop();
    }
}

/// Faults that end by themselves, and whether AEP takes what it does not confirm.
fn faults() -> Vec<(Kind, bool)> {
    let status = |status| Kind::Status {
        status,
        retry_after: (status == 503).then(|| "0".to_owned()),
        body: aep_emulator::Body::Html,
    };
    vec![
        (status(503), false),
        (status(429), false),
        (status(500), false),
        (status(504), false),
        (status(404), false),
        (Kind::ResetBefore, false),
        (Kind::ResetAfter, true),
        (Kind::ResetWithin { bytes: 90 }, true),
        (Kind::EmptyBody, true),
        (Kind::HtmlBody, true),
        (Kind::ShortResponses { missing: 1 }, true),
        (Kind::NoResponses, true),
        (Kind::SlowAnswer { interval_ms: 20 }, true),
        (Kind::Latency { ms: 600 }, true),
    ]
}

#[tokio::test]
async fn invariant_11_every_fault_passes_without_loss_and_repeats_keep_their_ids() {
    for (kind, repeats_allowed) in faults() {
        let what = format!("{kind:?}");
        let slow = matches!(kind, Kind::SlowAnswer { .. } | Kind::Latency { .. });
        let emulator = start(Settings::default().with_inlet(inlet()));
        let fault = emulator.control().fault(Fault::new(kind).times(6));
        let mut destination = open(&emulator, "");
        if slow {
            destination = impatient(destination);
        }
        let first = names(0, 20);
        assert_eq!(deliver(&destination, &first.join(" ")).await, ["ok"; 20], "{what}");
        let second = names(20, 30);
        assert_eq!(deliver(&destination, &second.join(" ")).await, ["ok"; 10], "{what}");
        assert!(emulator.control().took_effect(fault) > 0, "{what}");
        let (arrived, repeats) = arrivals(&emulator.control().messages("orders"));
        // Promise 3: in order, those of the second call after those of the first.
        assert_eq!(arrived, names(0, 30), "{what}");
        assert!(repeats_allowed || repeats == 0, "{what}: {repeats}");
        emulator.stop();
    }
}

#[tokio::test]
async fn an_event_that_fails_its_request_is_found() {
    for status in [400, 500] {
        let emulator = start(Settings::default().with_inlet(inlet()));
        let message = Select::MsgId("e0013".to_owned());
        emulator.control().fault(Fault::new(Kind::FailRequestWith { message, status }));
        let destination = open(&emulator, "");
        let verdicts = deliver(&destination, &names(0, 32).join(" ")).await;
        let refused: Vec<usize> = (0..32).filter(|&i| verdicts[i] != "ok").collect();
        assert_eq!(refused, [13], "{status}: {verdicts:?}");
        assert!(verdicts[13].starts_with("aep.refused"), "{}", verdicts[13]);
        let (arrived, repeats) = arrivals(&emulator.control().messages("orders"));
        assert_eq!(arrived.len(), 31);
        // Only the witness.
        assert_eq!(repeats as u64, destination.metrics().witnesses.get(), "{status}");
        emulator.stop();
    }
}

#[tokio::test]
async fn a_smaller_limit_is_learned() {
    let emulator = start(Settings { body_limit: 5_000, ..Settings::default() }.with_inlet(inlet()));
    let destination = open(&emulator, "");
    assert_eq!(deliver(&destination, &names(0, 200).join(" ")).await, ["ok"; 200]);
    let learned = destination.status().learned_bytes.unwrap();
    let (arrived, repeats) = arrivals(&emulator.control().messages("orders"));
    assert_eq!((arrived, repeats), (names(0, 200), 0));
    assert!(learned > 2_500 && learned < 12_000, "{learned}");
    emulator.stop();
}

#[tokio::test]
async fn the_quota_slows_down_and_loses_nothing() {
    let rate = Rate { requests_per_second: 40, messages_per_second: 400, retry_after: None };
    let emulator = start(Settings { rate: Some(rate), ..Settings::default() }.with_inlet(inlet()));
    let destination = open(&emulator, "");
    for batch in 0..12 {
        let names = names(batch * 50, (batch + 1) * 50);
        assert_eq!(deliver(&destination, &names.join(" ")).await, ["ok"; 50]);
    }
    let throttled = destination.metrics().statuses().find(|(status, _)| *status == 429);
    assert!(throttled.is_some(), "the quota was never reached");
    let (arrived, repeats) = arrivals(&emulator.control().messages("orders"));
    assert_eq!((arrived, repeats), (names(0, 600), 0));
    emulator.stop();
}

/// An emulator whose inlet wants a token, a destination there, and its token.
fn authenticated(status: u16) -> (Emulator, Destination, Arc<Token>) {
    let inlet = Inlet { authentication_required: true, ..inlet() };
    let settings = Settings { invalid_token_status: status, ..Settings::default() };
    let emulator = start(settings.with_inlet(inlet));
    let token = token_at(&emulator.token_url());
    let destination = destination_at(&emulator.inlet_url("orders"), "", Some(Arc::clone(&token)));
    (emulator, destination, token)
}

#[tokio::test]
async fn invariant_11_revoked_tokens_and_an_absent_token_endpoint_lose_nothing() {
    for status in [401, 403] {
        let (emulator, destination, token) = authenticated(status);
        for round in 0..5 {
            let names = names(round * 10, (round + 1) * 10);
            assert_eq!(deliver(&destination, &names.join(" ")).await, ["ok"; 10]);
            assert_eq!(emulator.control().revoke_tokens(), 1);
        }
        let fault = emulator.control().fault(Fault::status(503).at_token().times(5));
        assert_eq!(deliver(&destination, "last").await, ["ok"]);
        assert_eq!(emulator.control().took_effect(fault), 5);
        assert_eq!((token.status().fetched, token.status().failed), (6, 5));
        assert_eq!(emulator.control().messages("orders").len(), 51);
        emulator.stop();
    }
}

#[tokio::test]
async fn invariant_11_a_wrong_organisation_pauses_and_refuses_nothing() {
    let inlet = Inlet { org: Some("OTHER@AdobeOrg".to_owned()), ..inlet() };
    let emulator = start(Settings::default().with_inlet(inlet));
    let destination = open(&emulator, "");
    let messages = messages(&destination, &names(0, 10).join(" "));
    let paused = async {
        until(|| destination.metrics().requests() > 5).await;
        let state = destination.status().state;
        assert!(matches!(state, DestinationState::Paused { code: Code::HeaderRefused, .. }));
    };
    tokio::select! {
        verdicts = destination.deliver(&messages) => panic!("{verdicts:?}"),
        () = within(paused) => {}
    }
    emulator.stop();
}

#[tokio::test]
async fn raw_entities_and_their_operations_are_taken() {
    let inlet = Inlet { data_type: DataType::Raw, flows: vec!["f1".to_owned()], ..inlet() };
    let emulator = start(Settings::default().with_inlet(inlet).with_flow("f1", "d1"));
    let destination = open(&emulator, "mode: raw\nflow: f1");
    let messages = [Operation::Create, Operation::Update, Operation::Delete]
        .map(|operation| destination.encode("m1", r#"{"_id":"x1","a":1.50}"#, operation).unwrap());
    assert_eq!(within(destination.deliver(&messages)).await, vec![Verdict::Accepted; 3]);
    let entries = emulator.control().messages("orders");
    assert_eq!(entries.len(), 3);
    for entry in entries {
        assert_eq!((entry.dataset.as_str(), entry.entity_id.as_deref()), ("d1", Some("x1")));
        assert_eq!(entry.entity.unwrap().get(), r#"{"_id":"x1","a":1.50}"#);
    }
    emulator.stop();
}
