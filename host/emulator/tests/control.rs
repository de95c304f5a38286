//! Views, counts, and the controls over HTTP.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use aep_emulator::{Emulator, Keep, LakeQuery, Settings};
use serde_json::{Value, json};

use crate::support::*;

async fn lines(url: &str) -> Vec<Value> {
    let text = client().get(url).send().await.unwrap().text().await.unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn the_lake_keeps_all_and_the_profile_the_first() {
    let emulator = start(Settings::default());
    let entity = |id: &str, value: u64| json!({"_id": id, "value": value});
    let messages = [
        message("a", &entity("x", 1)),
        message("b", &entity("y", 2)),
        message("a", &entity("x", 3)),
        message("c", &json!({"value": 4})),
    ];
    assert_eq!(send(&emulator.batch_url("orders"), &batch(&messages)).await.0, 207);
    assert_eq!(send(&emulator.batch_url("other"), &batch(&messages[..1])).await.0, 207);
    let control = emulator.control();
    let query = LakeQuery { entities: true, ..LakeQuery::default() };
    let values = |entries: Vec<aep_emulator::LakeEntry>| -> Vec<Value> {
        entries.iter().map(|entry| entry.value()["value"].clone()).collect()
    };
    assert_eq!(values(control.lake(&query)), [1, 2, 3, 4, 1]);
    assert_eq!(values(control.messages("orders")), [1, 2, 3, 4]);
    assert_eq!(values(control.profile(&query)), [1, 2], "first wins, and no `_id` is no event");
    let summary = control.summary();
    let orders = &summary.inlets["orders"];
    assert_eq!((orders.requests, orders.accepted, orders.duplicates), (1, 4, 1));
    assert_eq!(orders.datasets[DATASET].duplicates, 1);
    assert_eq!(summary.inlets["other"].duplicates, 0, "each inlet for itself");
}

#[tokio::test]
async fn the_lake_is_paged_as_json_lines() {
    let emulator = start(Settings::default());
    for inlet in ["orders", "other", "orders"] {
        assert_eq!(send(&emulator.batch_url(inlet), &plain_batch(3)).await.0, 207);
    }
    let page = |query: &str| format!("{}/_emulator/lake?{query}", emulator.url());
    let first = lines(&page("inlet=orders&limit=4")).await;
    let seqs: Vec<u64> = first.iter().map(|line| line["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, [1, 2, 3, 7]);
    assert_eq!(first[1]["msgId"], "m1");
    assert_eq!((&first[1]["inlet"], &first[1]["_id"]), (&json!("orders"), &json!("m1")));
    assert!(first[1]["receivedAtMs"].is_u64() && first[1]["xactionId"].is_string());
    assert_eq!(first[1].get("entity"), None);
    let rest = lines(&page("inlet=orders&limit=4&after=7&entities=true")).await;
    assert_eq!(rest.iter().map(|line| line["seq"].clone()).collect::<Vec<_>>(), [8, 9]);
    assert_eq!(rest[0]["entity"]["_id"], "m1");
    assert_eq!(get(&page("limt=4")).await.0, 400, "a misspelt parameter");
}

#[tokio::test]
async fn ids_only_keeps_no_contents() {
    let emulator = start(Settings::default().with_keep(Keep::Ids));
    assert_eq!(send(&emulator.batch_url("orders"), &plain_batch(2)).await.0, 207);
    let entries = emulator.control().messages("orders");
    assert_eq!(entries.iter().map(|entry| entry.msg_id.as_str()).collect::<Vec<_>>(), ["m0", "m1"]);
    assert!(entries.iter().all(|entry| entry.entity.is_none()));
}

#[tokio::test]
async fn faults_and_switches_go_over_http() {
    let emulator = start(Settings::default());
    let control = |path: &str| format!("{}/_emulator{path}", emulator.url());
    let order = json!({"fault": {"status": {"status": 503, "retry_after": "1"}}, "inlet": "orders", "times": 1});
    assert_eq!(send(&control("/faults"), &order).await, (200, json!({"id": 1})));
    assert_eq!(send(&emulator.batch_url("orders"), &plain_batch(1)).await.0, 503);
    let (_, reports) = get(&control("/faults")).await;
    assert_eq!((&reports[0]["tookEffect"], &reports[0]["active"]), (&json!(1), &json!(false)));
    let (status, body) = send(&control("/faults"), &json!({"fault": "explode"})).await;
    assert!(status == 400 && body["error"].as_str().unwrap().contains("explode"), "{body}");
    assert_eq!(send(&control("/faults"), &json!({"fault": "reset_before"})).await.0, 200);
    let cleared = client().delete(control("/faults/2")).send().await.unwrap();
    assert_eq!(read(cleared).await, (200, json!({"cleared": 1})));

    assert_eq!(send(&control("/settings"), &json!({"style": "documented"})).await.0, 204);
    let (_, body) = send(&emulator.batch_url("orders"), &batch(&[json!({})])).await;
    assert_eq!(body["responses"][0]["statusCode"], 400);
    assert_eq!(send(&control("/settings"), &json!({"styel": "x"})).await.0, 400);
    let (_, summary) = get(&control("/summary")).await;
    assert_eq!(summary["inlets"]["orders"]["statuses"], json!({"207": 1, "503": 1}));
    assert_eq!(send(&control("/tokens/revoke"), &json!({})).await, (200, json!({"revoked": 0})));
}

#[tokio::test]
async fn twenty_thousand_messages_are_counted_exactly() {
    let emulator = start(Settings::default().with_keep(Keep::Ids));
    let url = emulator.batch_url("orders");
    let pad = "x".repeat(300);
    for request in 0..20 {
        let messages: Vec<Value> = (0..1_000)
            .map(|index| {
                message(
                    &format!("{request}-{index}"),
                    &json!({"_id": format!("{request}-{index}"), "pad": pad}),
                )
            })
            .collect();
        assert_eq!(send(&url, &batch(&messages)).await.0, 207);
    }
    let summary = &emulator.control().summary().inlets["orders"];
    assert_eq!((summary.accepted, summary.duplicates, summary.refused), (20_000, 0, 0));
    let mut after = 0;
    let mut read = 0;
    loop {
        let page =
            lines(&format!("{}/_emulator/lake?after={after}&limit=7000", emulator.url())).await;
        let Some(last) = page.last() else { break };
        after = last["seq"].as_u64().unwrap();
        read += page.len();
    }
    assert_eq!(read, 20_000);
}

#[test]
fn it_needs_no_runtime_and_frees_its_address() {
    let first = start(Settings::default());
    let address = first.address();
    first.stop();
    let again: Emulator = start(Settings { listen: address, ..Settings::default() });
    assert_eq!(again.address(), address);
    drop(again);
}

/// A program that is ended with the test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        self.0.kill().and_then(|()| self.0.wait()).unwrap();
    }
}

#[tokio::test]
async fn the_program_says_what_it_serves_and_serves_it() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aep-emulator"));
    command.args(["--listen", "127.0.0.1:0", "--style", "documented", "--strict"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut program = Program(child);
    let mut lines = BufReader::new(program.0.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    let url =
        first.strip_prefix("token endpoint").unwrap().trim().strip_suffix("/ims/token/v3").unwrap();
    let (status, overview) = get(&format!("{url}/_emulator")).await;
    assert_eq!(
        (status, &overview["style"], &overview["open"]),
        (200, &json!("documented"), &json!(false))
    );
    assert_eq!(send(&format!("{url}/collection/x"), &plain("m")).await.0, 404, "strict");
}
