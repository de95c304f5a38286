//! Faults on order, as a client sees them.

use std::{error::Error, io, time::Instant};

use aep_emulator::{Body, Emulator, Fault, Kind, Select, Settings};
use serde_json::{Value, json};

use crate::support::*;

/// Whether somewhere in the error there is a reset connection.
fn is_reset(error: &reqwest::Error) -> bool {
    let mut cause: Option<&dyn Error> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>()
            && error.kind() == io::ErrorKind::ConnectionReset
        {
            return true;
        }
        cause = error.source();
    }
    false
}

fn accepted(emulator: &Emulator) -> u64 {
    emulator.control().summary().inlets["orders"].accepted
}

#[tokio::test]
async fn a_reset_before_accepts_nothing_and_one_after_everything() {
    let emulator = start(Settings::default());
    let control = emulator.control();
    let url = emulator.batch_url("orders");
    let before = control.fault(Fault::new(Kind::ResetBefore).times(1));
    let error = post(&url, &plain_batch(3)).send().await.unwrap_err();
    assert!(is_reset(&error), "{error:?}");
    assert_eq!((accepted(&emulator), control.took_effect(before)), (0, 1));

    let after = control.fault(Fault::new(Kind::ResetAfter).times(1));
    let error = post(&url, &plain_batch(3)).send().await.unwrap_err();
    assert!(is_reset(&error), "{error:?}");
    assert_eq!((accepted(&emulator), control.took_effect(after)), (3, 1));

    assert_eq!(send(&url, &plain_batch(3)).await.0, 207, "a repeat");
    let summary = &control.summary().inlets["orders"];
    assert_eq!((summary.accepted, summary.duplicates, summary.statuses[&0]), (6, 3, 2));
}

#[tokio::test]
async fn a_reset_within_the_answer_leaves_it_unreadable() {
    let emulator = start(Settings::default());
    let id = emulator.control().fault(Fault::new(Kind::ResetWithin { bytes: 120 }).times(1));
    let result = post(&emulator.batch_url("orders"), &plain_batch(100)).send().await;
    let failed = match result {
        Err(_) => true,
        Ok(response) => response.bytes().await.is_err(),
    };
    assert!(failed);
    assert_eq!((accepted(&emulator), emulator.control().took_effect(id)), (100, 1));
}

#[tokio::test]
async fn answers_can_be_empty_html_short_or_without_responses() {
    let emulator = start(Settings::default());
    let control = emulator.control();
    let url = emulator.batch_url("orders");
    control.fault(Fault::new(Kind::EmptyBody).times(1));
    assert_eq!(send(&url, &plain_batch(2)).await, (207, json!("")));
    control.fault(Fault::new(Kind::HtmlBody).times(1));
    let (status, body) = send(&url, &plain_batch(2)).await;
    assert!(status == 207 && body.as_str().unwrap().starts_with("<html>"), "{body}");
    control.fault(Fault::new(Kind::ShortResponses { missing: 1 }).times(1));
    let (status, body) = send(&url, &plain_batch(3)).await;
    assert_eq!((status, body["responses"].as_array().unwrap().len()), (207, 2));
    control.fault(Fault::new(Kind::NoResponses).times(1));
    let (status, body) = send(&url, &plain_batch(2)).await;
    assert_eq!((status, body.get("responses")), (207, None));
    assert_eq!(accepted(&emulator), 9, "all were accepted all the same");
    assert!(control.faults().iter().all(|report| report.took_effect == 1 && !report.active));
}

#[tokio::test]
async fn statuses_come_for_the_next_n_or_on_the_nth_request() {
    let emulator = start(Settings::default());
    let control = emulator.control();
    let url = emulator.batch_url("orders");
    control.fault(Fault::status(502).times(2));
    let date = "Wed, 21 Oct 2026 07:28:00 GMT".to_owned();
    let dated = Kind::Status { status: 503, retry_after: Some(date.clone()), body: Body::Html };
    control.fault(Fault::new(dated).after(1).times(1));
    let mut seen = Vec::new();
    for _ in 0..5 {
        let response = post(&url, &plain_batch(1)).send().await.unwrap();
        let after =
            response.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
        seen.push((response.status().as_u16(), after));
    }
    let none = |status| (status, None);
    assert_eq!(seen, [none(502), none(502), none(207), (503, Some(date)), none(207)]);
    let forbidden = Kind::Status { status: 403, retry_after: None, body: Body::Empty };
    control.fault(Fault::new(forbidden).times(1));
    assert_eq!(send(&url, &plain_batch(1)).await, (403, json!("")));
    assert_eq!(accepted(&emulator), 2);
}

#[tokio::test]
async fn an_outage_lasts_until_told_and_keeps_to_its_inlet() {
    let emulator = start(Settings::default());
    let control = emulator.control();
    let outage = control.fault(Fault::outage(2).at("orders"));
    for _ in 0..3 {
        let response = post(&emulator.batch_url("orders"), &plain_batch(1)).send().await.unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["retry-after"]),
            (503, &"2".parse().unwrap())
        );
    }
    assert_eq!(send(&emulator.batch_url("profiles"), &plain_batch(1)).await.0, 207);
    assert!(control.clear(outage));
    assert_eq!(send(&emulator.batch_url("orders"), &plain_batch(1)).await.0, 207);
    assert_eq!(control.took_effect(outage), 3);
}

#[tokio::test]
async fn a_message_is_refused_by_id_and_its_neighbours_are_not() {
    let emulator = start(Settings::default());
    let control = emulator.control();
    let url = emulator.batch_url("orders");
    let refused = control.fault(Fault::refuse("m2", 400, "not this one"));
    let busy = control.fault(Fault::refuse("m3", 429, "later").times(1));
    let entity = Kind::Refuse {
        message: Select::EntityId("m0".to_owned()),
        status: 503,
        text: "away".to_owned(),
    };
    control.fault(Fault::new(entity).times(1));
    let short = |body: &Value| -> Vec<Value> {
        body["responses"].as_array().unwrap().iter().map(|entry| entry["status"].clone()).collect()
    };
    let (status, body) = send(&url, &plain_batch(5)).await;
    assert_eq!(status, 207);
    assert_eq!(short(&body), [json!(503), Value::Null, json!(400), json!(429), Value::Null]);
    assert_eq!(body["responses"][2]["message"], "not this one");
    let (_, body) = send(&url, &plain_batch(5)).await;
    assert_eq!(short(&body), [Value::Null, Value::Null, json!(400), Value::Null, Value::Null]);
    assert_eq!((control.took_effect(refused), control.took_effect(busy)), (2, 1));
    let (status, body) = send(&emulator.inlet_url("orders"), &plain("m2")).await;
    assert_eq!((status, &body["report"]["message"]), (400, &json!("not this one")));
}

#[tokio::test]
async fn a_poison_message_fails_its_whole_request() {
    let emulator = start(Settings::default());
    let control = emulator.control();
    let url = emulator.batch_url("orders");
    let poison =
        Kind::FailRequestWith { message: Select::Containing("m1\"".to_owned()), status: 500 };
    let poison = control.fault(Fault::new(poison));
    assert_eq!(send(&url, &plain_batch(3)).await.0, 500);
    assert_eq!(send(&url, &batch(&[plain("m0"), plain("m2")])).await.0, 207);
    assert_eq!(send(&url, &batch(&[plain("m1")])).await.0, 500);
    assert_eq!(control.took_effect(poison), 2);
    control.clear_all();
    let seventh = Kind::FailRequestWith { message: Select::Any, status: 500 };
    control.fault(Fault::new(seventh).after(6).times(1));
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(send(&url, &plain_batch(3)).await.0);
    }
    assert_eq!(statuses, [207, 207, 500, 207], "the seventh message is in the third request");
}

#[tokio::test]
async fn the_body_limit_can_be_lowered() {
    let emulator = start(Settings::default());
    let url = emulator.batch_url("orders");
    let limit = emulator.control().fault(Fault::new(Kind::BodyLimit { bytes: 2_000 }));
    assert_eq!(send(&url, &plain_batch(1)).await.0, 207);
    assert_eq!(send(&url, &plain_batch(20)).await.0, 413);
    assert_eq!(emulator.control().took_effect(limit), 1, "only where it made the difference");
}

#[tokio::test]
async fn faults_of_the_settings_are_active_from_the_start() {
    let faults = vec![Fault::status(500).times(1)];
    let emulator = start(Settings { faults, ..Settings::default() });
    assert_eq!(send(&emulator.batch_url("orders"), &plain_batch(1)).await.0, 500);
    assert_eq!(send(&emulator.batch_url("orders"), &plain_batch(1)).await.0, 207);
}

#[tokio::test]
async fn latency_and_slow_answers_take_their_time() {
    let emulator = start(Settings { latency_ms: 30, ..Settings::default() });
    let url = emulator.batch_url("orders");
    let begun = Instant::now();
    assert_eq!(send(&url, &plain_batch(1)).await.0, 207);
    assert!(begun.elapsed().as_millis() >= 30);
    emulator.control().clear_all();
    let slow = emulator.control().fault(Fault::new(Kind::SlowAnswer { interval_ms: 1 }).times(1));
    let begun = Instant::now();
    let (status, body) = send(&url, &plain_batch(1)).await;
    assert_eq!((status, body["responses"].as_array().unwrap().len()), (207, 1));
    assert!(
        begun.elapsed().as_millis() >= 150,
        "a head and a body of more than 150 bytes, one by one"
    );
    assert_eq!(emulator.control().took_effect(slow), 1);
    let response = post(&url, &plain_batch(1)).send().await.unwrap();
    assert_eq!(
        response.headers().get("connection"),
        None,
        "only a slow answer ends its connection"
    );
}
