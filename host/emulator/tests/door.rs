//! Door checks, statuses, bodies, response styles and rates.

use aep_emulator::{DataType, Inlet, LakeQuery, Rate, Settings, Style};
use serde_json::{Value, json};

use crate::support::*;

const HEADER_TEXT: &str =
    "The 'header' field is mandatory. Provide a valid 'header' value and try again.";

/// An emulator that knows one organisation's inlet, dataset and schema, and nothing else.
fn strict() -> Settings {
    Settings { open: false, ..Settings::default() }
        .with_inlet(Inlet::named("orders").of(ORG))
        .with_inlet(Inlet { name: "closed".to_owned(), ..Inlet::default() }.of(ORG).authenticated())
        .with_inlet(Inlet::named("raw").of(ORG).raw())
        .with_dataset(DATASET, SCHEMA)
        .with_flow("flow-1", DATASET)
        .with_client("id", "secret")
}

fn without(mut message: Value, pointer: &str, key: &str) -> Value {
    message.pointer_mut(pointer).unwrap().as_object_mut().unwrap().remove(key);
    message
}

fn with(mut message: Value, pointer: &str, value: Value) -> Value {
    *message.pointer_mut(pointer).unwrap() = value;
    message
}

#[tokio::test]
async fn each_door_check_has_its_text_and_neighbours_pass() {
    let emulator = start(strict().with_style(Style::Documented));
    let url = emulator.batch_url("orders");
    let id = url.rsplit('/').next().unwrap().to_owned();
    assert_eq!(id.len(), 64);
    let text = |what: &str| format!("inletId: [{id}] imsOrgId: [{ORG}] {what}");
    let unknown = text("Message has unknown xdm format");
    let wrong_org = text("Message has an absent or wrong ims org in the header");
    let legacy = json!({
        "header": {"msgType": "xdmEntityCreate", "xdmSchema": {"name": "x"}, "imsOrgId": ORG, "datasetId": DATASET},
        "body": {"xdmMeta": {"xdmSchema": {"name": "x"}}, "xdmEntity": {}},
    });
    let good = || plain("m");
    let cases: Vec<(Value, Option<&str>)> = vec![
        (good(), None),
        (without(good(), "", "header"), Some(HEADER_TEXT)),
        (json!(7), Some(HEADER_TEXT)),
        (json!({"header": "text", "body": {}}), Some(HEADER_TEXT)),
        (without(good(), "", "body"), Some(&unknown)),
        (with(good(), "/header/imsOrgId", json!("other@AdobeOrg")), Some(&wrong_org)),
        (without(good(), "/header", "imsOrgId"), None),
        (legacy, Some(&unknown)),
        (without(good(), "/header", "schemaRef"), Some(&unknown)),
        (without(good(), "/body", "xdmMeta"), Some(&unknown)),
        (
            with(good(), "/header/schemaRef/id", json!("https://ns.adobe.com/acme/schemas/else")),
            Some(&unknown),
        ),
        (with(good(), "/header/datasetId", json!("no-such-dataset")), Some(&unknown)),
        (without(good(), "/header", "datasetId"), Some(&unknown)),
        (
            with(
                good(),
                "/header/schemaRef/contentType",
                json!("application/vnd.adobe.xed-full+json; version=1.0"),
            ),
            None,
        ),
        (with(good(), "/header/imsOrgId", json!(5)), Some(&unknown)),
        (good(), None),
    ];
    let messages: Vec<Value> = cases.iter().map(|(message, _)| message.clone()).collect();
    let (status, body) = send(&url, &batch(&messages)).await;
    assert_eq!(status, 207);
    assert_eq!(body["inletId"], id);
    assert!(body["receivedTimeMs"].as_u64().unwrap() > 1_700_000_000_000);
    let batch_id = body["batchId"].as_str().unwrap();
    let responses = body["responses"].as_array().unwrap();
    assert_eq!(responses.len(), cases.len());
    for (index, ((message, expected), answer)) in cases.iter().zip(responses).enumerate() {
        let wanted = match expected {
            Some(text) => json!({"statusCode": 400, "message": text}),
            None => json!({"xactionId": format!("{batch_id}:{index}")}),
        };
        assert_eq!(*answer, wanted, "case {index}: {message}");
    }
    let summary = &emulator.control().summary().inlets["orders"];
    assert_eq!((summary.messages, summary.accepted, summary.refused), (16, 4, 12));
}

#[tokio::test]
async fn the_three_styles_answer_a_batch_by_position() {
    let emulator = start(Settings::default());
    let url = emulator.batch_url("orders");
    let body = batch(&[json!({"body": {}}), plain("good")]);

    let (_, answer) = send(&url, &body).await;
    let first = &answer["responses"][0];
    let id = first["xactionId"].as_str().unwrap().strip_suffix("-0").unwrap();
    assert_eq!(id.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12], "uuid-n");
    assert_eq!(
        *first,
        json!({"xactionId": format!("{id}-0"), "status": 400, "message": HEADER_TEXT})
    );
    assert_eq!(answer["responses"][1], json!({"xactionId": format!("{id}-1")}));

    emulator.control().set_style(Style::NoXaction);
    let (_, answer) = send(&url, &body).await;
    assert_eq!(answer["responses"], json!([{"status": 400, "message": HEADER_TEXT}, {}]));

    emulator.control().set_style(Style::Documented);
    let (_, answer) = send(&url, &body).await;
    let id = format!("{}:1", answer["batchId"].as_str().unwrap());
    assert_eq!(
        answer["responses"],
        json!([{"statusCode": 400, "message": HEADER_TEXT}, {"xactionId": id}])
    );
}

#[tokio::test]
async fn an_empty_batch_has_an_empty_answer() {
    let emulator = start(Settings::default());
    let (status, body) = send(&emulator.batch_url("orders"), &batch(&[])).await;
    assert_eq!((status, &body["responses"]), (207, &json!([])));
}

#[tokio::test]
async fn the_single_endpoint_answers_200_or_a_problem() {
    let emulator = start(strict());
    let url = emulator.inlet_url("orders");
    let (status, body) = send(&url, &plain("m")).await;
    assert_eq!(status, 200);
    assert_eq!(body["syncValidation"], json!({"skipped": true}));
    let xaction = body["xactionId"].as_str().unwrap();
    assert_eq!(xaction.split(':').count(), 3, "{xaction}");
    assert!(url.ends_with(body["inletId"].as_str().unwrap()));
    let (status, body) = send(&url, &without(plain("m"), "", "body")).await;
    let inlet = url.rsplit('/').next().unwrap();
    let text = format!("inletId: [{inlet}] imsOrgId: [{ORG}] Message has unknown xdm format");
    assert_eq!(
        (status, body),
        (
            400,
            json!({
                "type": "http://ns.adobe.com/adobecloud/problem/data-collection-service/inlet",
                "status": 400, "title": "Invalid XDM Message Format", "report": {"message": text},
            })
        )
    );
}

#[tokio::test]
async fn wrong_requests_get_404_415_413_400() {
    let emulator = start(strict());
    let (status, _) =
        send(&format!("{}/collection/batch/nowhere", emulator.url()), &plain_batch(1)).await;
    assert_eq!(status, 404);
    let url = emulator.batch_url("orders");
    let typed = |kind: &str| {
        client().post(&url).header("content-type", kind).body(plain_batch(1).to_string())
    };
    assert_eq!(typed("text/plain").send().await.unwrap().status(), 415);
    assert_eq!(typed("application/json; charset=utf-8").send().await.unwrap().status(), 207);
    let sized = |bytes: usize| {
        let frame = r#"{"messages":[]}"#.len();
        let body = format!("{{\"messages\":[]{}}}", " ".repeat(bytes - frame));
        client().post(&url).header("content-type", "application/json").body(body)
    };
    assert_eq!(sized(1_000_000).send().await.unwrap().status(), 207);
    assert_eq!(sized(1_000_001).send().await.unwrap().status(), 413);
    assert_eq!(
        sized(3_000_000).send().await.unwrap().status(),
        413,
        "seen before the connection ends"
    );
    for malformed in ["{\"messages\":[", "[]", "{}", "{\"messages\":5}", "\u{1f}\u{8b}"] {
        let request = client().post(&url).header("content-type", "application/json");
        let (status, body) = read(request.body(malformed).send().await.unwrap()).await;
        assert_eq!(status, 400, "{malformed}");
        assert_eq!(
            body["type"],
            "http://ns.adobe.com/adobecloud/problem/data-collection-service/inlet"
        );
    }
}

#[tokio::test]
async fn an_authenticated_inlet_wants_a_good_token() {
    let emulator = start(strict());
    let url = emulator.batch_url("closed");
    let inlet = url.rsplit('/').next().unwrap().to_owned();
    let with_token = |token: String| post(&url, &plain_batch(1)).header("authorization", token);
    let (status, body) = send(&url, &plain_batch(1)).await;
    assert_eq!(
        (status, body),
        (
            401,
            json!({
                "type": "https://ns.adobe.com/adobecloud/problem/data-collection-service-authorization",
                "status": "401", "title": "Authorization",
                "report": {"message": format!("[{inlet}] Ims service token is empty")},
            })
        )
    );
    assert_eq!(with_token("Bearer wrong".to_owned()).send().await.unwrap().status(), 401);
    let token = crate::token::token(&emulator).await;
    assert_eq!(with_token(format!("Bearer {token}")).send().await.unwrap().status(), 207);
    assert_eq!(with_token(token.clone()).send().await.unwrap().status(), 207, "the bare token");
    assert_eq!(emulator.control().revoke_tokens(), 1);
    assert_eq!(with_token(format!("Bearer {token}")).send().await.unwrap().status(), 401);
    assert_eq!(emulator.control().summary().tokens.revoked_used, 1);
    emulator.control().set_token_ttl(0);
    let token = crate::token::token(&emulator).await;
    assert_eq!(with_token(token).send().await.unwrap().status(), 401, "expired");

    let forbidding = start(Settings { invalid_token_status: 403, ..strict() });
    let request = post(&forbidding.batch_url("closed"), &plain_batch(1));
    assert_eq!(request.header("authorization", "Bearer x").send().await.unwrap().status(), 403);
}

#[tokio::test]
async fn an_open_inlet_does_not_mind_a_wrong_token() {
    let emulator = start(strict());
    let request =
        post(&emulator.batch_url("orders"), &plain_batch(1)).header("authorization", "Bearer x");
    assert_eq!(request.send().await.unwrap().status(), 207);
    let query = LakeQuery { headers: true, ..LakeQuery::default() };
    let header = emulator.control().lake(&query)[0].header.clone().unwrap();
    assert_eq!(header["_dcsMeta"]["authenticatedRequest"], false);
}

#[tokio::test]
async fn a_flow_takes_raw_messages_bare_or_in_an_envelope() {
    let emulator = start(strict());
    let url = emulator.batch_url("raw");
    let bare = json!({"_id": "r1", "name": "Johnson Smith"});
    let upsert = json!({
        "header": {"flowId": "flow-1", "imsOrgId": ORG, "datasetId": DATASET, "operations": {"data": "merge"}},
        "body": {"_id": "r2"},
    });
    let (status, body) = send(&url, &batch(&[bare.clone(), upsert.clone()])).await;
    assert_eq!(
        (status, &body["responses"][0]["message"]),
        (207, &json!(HEADER_TEXT)),
        "no flow id"
    );

    let request = post(&url, &batch(&[bare.clone(), upsert])).header("x-adobe-flow-id", "flow-1");
    let (_, body) = read(request.send().await.unwrap()).await;
    assert!(
        body["responses"].as_array().unwrap().iter().all(|entry| entry["status"].is_null()),
        "{body}"
    );
    let single = format!("{}?x-adobe-flow-id=flow-1", emulator.inlet_url("raw"));
    assert_eq!(send(&single, &bare).await.0, 200, "the query form");
    let entries = emulator.control().messages("raw");
    assert_eq!(
        entries.iter().map(|entry| entry.dataset.as_str()).collect::<Vec<_>>(),
        [DATASET; 3]
    );
    assert_eq!(entries[0].value(), bare);
    assert_eq!(entries[1].value(), json!({"_id": "r2"}), "the body is the entity");
}

#[tokio::test]
async fn an_inlet_may_be_limited_to_schemas_and_datasets() {
    let limited = |inlet: Inlet| start(Settings::default().with_inlet(inlet));
    let names = |text: &str| vec![text.to_owned()];
    let by_schema = limited(Inlet { schemas: names("other"), ..Inlet::named("orders") });
    let by_dataset = limited(Inlet { datasets: names("other"), ..Inlet::named("orders") });
    let neither = limited(Inlet {
        schemas: names(SCHEMA),
        datasets: names(DATASET),
        ..Inlet::named("orders")
    });
    for (emulator, expected) in [(by_schema, 400), (by_dataset, 400), (neither, 200)] {
        assert_eq!(send(&emulator.inlet_url("orders"), &plain("m")).await.0, expected);
    }
}

#[tokio::test]
async fn operations_are_for_raw_flows_unless_told_otherwise() {
    let mut update = plain("m");
    update["header"]["operations"] = json!({"data": "merge"});
    let refusing = start(Settings::default());
    let (_, body) = send(&refusing.batch_url("orders"), &batch(&[update.clone()])).await;
    assert_eq!(body["responses"][0]["status"], 400);
    let flow = post(&refusing.batch_url("orders"), &batch(&[update.clone()]))
        .header("x-adobe-flow-id", "f");
    let (_, body) = read(flow.send().await.unwrap()).await;
    assert_eq!(body["responses"][0]["status"], 400, "the XDM form under a flow is the XDM form");
    let taking = start(Settings { operations_in_xdm: true, ..Settings::default() });
    let (_, body) = send(&taking.batch_url("orders"), &batch(&[update])).await;
    assert_eq!(body["responses"][0]["status"], Value::Null);
}

#[tokio::test]
async fn rates_answer_429() {
    let rate = Rate { requests_per_second: 1_000, messages_per_second: 5, retry_after: Some(3) };
    let emulator = start(Settings { rate: Some(rate), ..Settings::default() });
    let url = emulator.batch_url("orders");
    assert_eq!(send(&url, &plain_batch(50)).await.0, 207, "a full bucket");
    let response = post(&url, &plain_batch(1)).send().await.unwrap();
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()["retry-after"], "3");
    let summary = &emulator.control().summary().inlets["orders"];
    assert_eq!((summary.statuses[&207], summary.statuses[&429], summary.refused), (1, 1, 1));
}

#[tokio::test]
async fn accepted_messages_carry_what_aep_adds() {
    let settings = Settings { org: Some(ORG.to_owned()), ..Settings::default() };
    let emulator = start(
        settings.with_inlet(Inlet { source: Some("shop".to_owned()), ..Inlet::named("orders") }),
    );
    let mut sparse = plain("m");
    for key in ["imsOrgId", "msgId", "source"] {
        sparse = without(sparse, "/header", key);
    }
    let (_, body) = send(&emulator.inlet_url("orders"), &sparse).await;
    let query = LakeQuery { headers: true, entities: true, ..LakeQuery::default() };
    let entry = &emulator.control().lake(&query)[0];
    let header = entry.header.clone().unwrap();
    let xaction = body["xactionId"].as_str().unwrap();
    assert_eq!((entry.msg_id.as_str(), entry.xaction_id.as_str()), (xaction, xaction));
    assert_eq!(header["xactionId"], xaction);
    assert_eq!(header["msgId"], xaction);
    assert_eq!(header["msgVersion"], "1.0");
    assert_eq!(header["imsOrgId"], ORG);
    assert_eq!(header["source"], json!({"name": "shop"}));
    assert_eq!(header["sandboxName"], "prod");
    assert_eq!(header["originalTimestamp"], body["receivedTimeMs"]);
    assert_eq!(header["_dcsMeta"]["inletId"], body["inletId"]);
    assert_eq!(entry.value(), json!({"_id": "m", "timestamp": "2026-01-02T03:04:05Z"}));
}

#[test]
fn settings_are_strict_and_secrets_are_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("emulator.yaml");
    let text = "open: false\nstyle: no-xaction\nclients:\n  - {id: c, secrets: [hush, hush2]}\ninlets:\n  \
                - {name: orders, data_type: raw}\nschemas:\n  - {id: s, file: s.json}\n";
    std::fs::write(&file, text).unwrap();
    let settings = Settings::from_file(&file).unwrap();
    assert_eq!((settings.open, settings.style), (false, Style::NoXaction));
    assert_eq!(settings.inlets[0].data_type, DataType::Raw);
    assert_eq!(settings.schemas[0].file.as_deref(), Some(folder.path().join("s.json").as_path()));
    assert!(!format!("{settings:?}").contains("hush"));
    std::fs::write(&file, "opne: false\n").unwrap();
    let error = Settings::from_file(&file).unwrap_err().to_string();
    assert!(error.contains("opne"), "{error}");
}

#[test]
fn the_readmes_configuration_is_one() {
    let readme = include_str!("../README.md");
    let yaml = readme.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("emulator.yaml");
    std::fs::write(&file, yaml).unwrap();
    std::fs::write(folder.path().join("orders.schema.json"), r#"{"type": "object"}"#).unwrap();
    let emulator = start(Settings::from_file(&file).unwrap());
    assert_eq!(emulator.control().faults().len(), 1);
    assert_eq!(emulator.inlet_url("crm").rsplit('/').next().unwrap().len(), 64);
}
