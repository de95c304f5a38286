//! Synchronous and asynchronous validation, and failed batches.

use aep_emulator::{CompiledSchema, FailedShape, Inlet, Keep, Settings, Violation};
use serde_json::{Value, json};

use crate::support::*;

/// The schema of these tests, open as a registry gives it.
fn schema() -> Value {
    json!({
        "type": "object", "required": ["_id", "timestamp"],
        "properties": {
            "_id": {"type": "string"},
            "timestamp": {"type": "string", "format": "date-time"},
            "quantity": {"type": "integer", "minimum": 0},
            "currencyCode": {"type": "string", "pattern": "^[A-Z]{3}$"},
            "kind": {"enum": ["a", "b"]},
            "order": {"$ref": "#/$defs/order"},
            "lines": {"type": "array", "maxItems": 2, "items": {"type": "object", "required": ["sku"],
                "properties": {"sku": {"type": "string", "minLength": 2}}}},
            "map": {"type": "object", "additionalProperties": {"type": "number"}},
        },
        "$defs": {"order": {"type": "object", "properties": {"total": {"type": "number"}, "on": {"type": "string", "format": "date"}}}},
    })
}

fn settings() -> Settings {
    Settings { org: Some(ORG.to_owned()), ..Settings::default() }.with_schema(SCHEMA, schema())
}

fn entity(more: &Value) -> Value {
    let mut entity = json!({"_id": "e", "timestamp": "2026-01-02T03:04:05Z"});
    entity.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    entity
}

fn violations(more: &Value) -> Vec<Violation> {
    CompiledSchema::new(&schema()).unwrap().check(&entity(more))
}

/// Code, keyword, pointer, schema location and text of the only violation.
fn only(more: &Value) -> [String; 5] {
    let found = violations(more);
    assert_eq!(found.len(), 1, "{more}: {found:?}");
    let one = found[0].clone();
    [one.code, one.keyword, one.pointer_to_violation, one.schema_location, one.message]
}

/// What is added to a good entity, and the only violation then: code, keyword, pointer, place in the
/// schema, text.
const KEYWORDS: [[&str; 6]; 18] = [
    [
        r#"{"quantity": 1.0}"#,
        "DCVS-1104-400",
        "type",
        "#/quantity",
        "#/properties/quantity",
        "expected type: Integer, found: Double",
    ],
    [
        r#"{"quantity": "1"}"#,
        "DCVS-1104-400",
        "type",
        "#/quantity",
        "#/properties/quantity",
        "expected type: Integer, found: String",
    ],
    [
        r#"{"_id": 3000000000}"#,
        "DCVS-1104-400",
        "type",
        "#/_id",
        "#/properties/_id",
        "expected type: String, found: Long",
    ],
    [
        r#"{"_id": 7}"#,
        "DCVS-1104-400",
        "type",
        "#/_id",
        "#/properties/_id",
        "expected type: String, found: Integer",
    ],
    [
        r#"{"_id": null}"#,
        "DCVS-1101-400",
        "type",
        "#/_id",
        "#/properties/_id",
        "expected type: String, found: Null",
    ],
    [
        r#"{"order": []}"#,
        "DCVS-1104-400",
        "type",
        "#/order",
        "#/properties/order",
        "expected type: JSONObject, found: JSONArray",
    ],
    [
        r#"{"order": {"total": true}}"#,
        "DCVS-1104-400",
        "type",
        "#/order/total",
        "#/properties/order/properties/total",
        "expected type: Number, found: Boolean",
    ],
    [
        r#"{"timestamp": "2018-00-23T22:07:01Z"}"#,
        "DCVS-1102-400",
        "format",
        "#/timestamp",
        "#/properties/timestamp",
        "[2018-00-23T22:07:01Z] is not a valid date-time. Expected [yyyy-MM-dd'T'HH:mm:ssZ, yyyy-MM-dd'T'HH:mm:ss.[0-9]{1,9}Z, yyyy-MM-dd'T'HH:mm:ss[+-]HH:mm, yyyy-MM-dd'T'HH:mm:ss.[0-9]{1,9}[+-]HH:mm]",
    ],
    [
        r#"{"order": {"on": "2026-13-01"}}"#,
        "DCVS-1102-400",
        "format",
        "#/order/on",
        "#/properties/order/properties/on",
        "[2026-13-01] is not a valid date. Expected [yyyy-MM-dd]",
    ],
    [
        r#"{"currencyCode": "eur"}"#,
        "DCVS-1103-400",
        "pattern",
        "#/currencyCode",
        "#/properties/currencyCode",
        "string [eur] does not match pattern ^[A-Z]{3}$",
    ],
    [
        r#"{"lines": [{"sku": "ab"}, {}]}"#,
        "DCVS-1106-400",
        "required",
        "#/lines/1",
        "#/properties/lines/items",
        "required key [sku] not found",
    ],
    [
        r#"{"workEmail": 1}"#,
        "DCVS-1101-400",
        "additionalProperties",
        "#",
        "#",
        "extraneous key [workEmail] is not permitted",
    ],
    [
        r#"{"order": {"x": 1}}"#,
        "DCVS-1101-400",
        "additionalProperties",
        "#/order",
        "#/properties/order",
        "extraneous key [x] is not permitted",
    ],
    [
        r#"{"kind": "c"}"#,
        "DCVS-1101-400",
        "enum",
        "#/kind",
        "#/properties/kind",
        "c is not a valid enum value",
    ],
    [
        r#"{"quantity": -1}"#,
        "DCVS-1101-400",
        "minimum",
        "#/quantity",
        "#/properties/quantity",
        "-1 is not greater or equal to 0",
    ],
    [
        r#"{"lines": [{"sku": "a"}]}"#,
        "DCVS-1101-400",
        "minLength",
        "#/lines/0/sku",
        "#/properties/lines/items/properties/sku",
        "expected minLength: 2, actual: 1",
    ],
    [
        r#"{"lines": [{"sku": "ab"}, {"sku": "ab"}, {"sku": "ab"}]}"#,
        "DCVS-1101-400",
        "maxItems",
        "#/lines",
        "#/properties/lines",
        "expected maximum item count: 2, found: 3",
    ],
    [
        r#"{"map": {"any": "x"}}"#,
        "DCVS-1104-400",
        "type",
        "#/map/any",
        "#/properties/map/additionalProperties",
        "expected type: Number, found: String",
    ],
];

#[test]
fn every_keyword_has_aeps_text_code_and_places() {
    for [more, expected @ ..] in KEYWORDS {
        assert_eq!(only(&serde_json::from_str(more).unwrap()), expected, "{more}");
    }
    assert_eq!(
        violations(&json!({"quantity": 10_000_000_000_u64, "map": {"any": 1}})),
        [],
        "a long is an integer, and a map takes any key"
    );
}

#[test]
fn only_the_four_patterns_are_date_times() {
    let valid = |text: &str| violations(&json!({"timestamp": text})).is_empty();
    for good in [
        "2026-01-02T03:04:05Z",
        "2026-01-02T03:04:05.1Z",
        "2026-01-02T03:04:05.123456789Z",
        "2026-01-02T03:04:05+02:00",
        "2026-01-02T03:04:05.5-11:30",
        "2024-02-29T00:00:00Z",
    ] {
        assert!(valid(good), "{good}");
    }
    for bad in [
        "2026-01-02t03:04:05z",
        "2026-01-02T03:04:60Z",
        "2026-01-02T03:04:05.1234567890Z",
        "2026-01-02T03:04:05",
        "2026-01-02 03:04:05Z",
        "2026-01-02T03:04:05+0200",
        "2026-01-02T24:00:00Z",
        "2026-02-29T00:00:00Z",
        "2026-01-02T03:04Z",
        "2026-01-02T03:04:05.Z",
        "2026-01-02",
        "",
        "02026-01-02T03:04:05Z",
    ] {
        assert!(!valid(bad), "{bad}");
    }
}

#[test]
fn it_stops_after_five_and_parents_come_first() {
    let more = json!({"b": 1, "a": 1, "quantity": "x", "lines": [{"sku": 1}, {"sku": 2}], "order": {"x": 1}});
    let found = violations(&more);
    let pointers: Vec<&str> = found.iter().map(|one| one.pointer_to_violation.as_str()).collect();
    assert_eq!(pointers, ["#", "#", "#/lines/0/sku", "#/lines/1/sku", "#/order"]);
}

#[tokio::test]
async fn synchronous_validation_reports_and_drops() {
    let emulator = start(settings());
    let url = format!("{}?syncValidation=true", emulator.inlet_url("orders"));
    let (status, body) = send(&url, &message("m", &entity(&json!({})))).await;
    assert_eq!((status, &body["syncValidation"]), (200, &json!({"status": "pass"})));

    let bad = json!({"_id": 3_000_000_000_u64, "workEmail": {}});
    let (status, body) = send(&url, &message("m", &entity(&bad))).await;
    let violation = |location: &str, pointer: &str, keyword: &str, text: &str| {
        json!({"schemaLocation": location, "pointerToViolation": pointer, "causingExceptions": [],
            "keyword": keyword, "message": text})
    };
    let extraneous =
        violation("#", "#", "additionalProperties", "extraneous key [workEmail] is not permitted");
    let kind = violation("#/properties/_id", "#/_id", "type", "expected type: String, found: Long");
    assert_eq!(
        (status, body),
        (
            400,
            json!({
                "type": "http://ns.adobe.com/adobecloud/problem/data-collection-service/inlet",
                "status": 400, "title": "Invalid XDM Message Format",
                "report": {
                    "message": format!("inletId: [orders] imsOrgId: [{ORG}] Message is invalid"),
                    "cause": {"_streamingValidation": [{
                        "schemaLocation": "#", "pointerToViolation": "#", "causingExceptions": [extraneous, kind],
                        "message": "2 schema violations found",
                    }]},
                },
            })
        )
    );
    let (_, body) = send(&url, &message("m", &entity(&json!({"currencyCode": ""})))).await;
    assert_eq!(
        body["report"]["cause"]["_streamingValidation"],
        json!([violation(
            "#/properties/currencyCode",
            "#/currencyCode",
            "pattern",
            "string [] does not match pattern ^[A-Z]{3}$"
        )]),
        "one alone has no wrapper"
    );
    assert!(emulator.control().wait_validated(patience()));
    assert_eq!(emulator.control().messages("orders").len(), 1, "the bad ones are nowhere");
    assert!(emulator.control().failed_batches().is_empty());
}

#[tokio::test]
async fn synchronous_validation_is_for_single_messages_and_some_regions() {
    let emulator =
        start(settings().with_inlet(Inlet { no_sync_validation: true, ..Inlet::named("paris") }));
    let bad = message("m", &entity(&json!({"quantity": "x"})));
    let (status, body) = send(
        &format!("{}?syncValidation=true", emulator.batch_url("orders")),
        &batch(std::slice::from_ref(&bad)),
    )
    .await;
    assert_eq!(
        (status, &body["responses"][0]["status"]),
        (207, &Value::Null),
        "ignored on batches"
    );
    let (status, _) =
        send(&format!("{}?syncValidation=true", emulator.inlet_url("paris")), &bad).await;
    assert_eq!(status, 501);
    let url = format!("{}?synchronousValidation=true", emulator.inlet_url("orders"));
    // The allowance fills up by one a second, so a slow machine gets more than 60 through.
    let mut passed = 0;
    while send(&url, &plain("m")).await.0 == 200 {
        passed += 1;
        assert!(passed < 1_000, "no end to it");
    }
    assert!(passed >= 60, "{passed}");
    assert_eq!(
        send(&emulator.inlet_url("orders"), &plain("m")).await.0,
        200,
        "without it there is no limit"
    );
}

#[tokio::test]
async fn asynchronous_failures_are_in_a_failed_batch() {
    let emulator = start(settings());
    let control = emulator.control();
    let mut lost = plain("lost");
    lost["body"].as_object_mut().unwrap().remove("xdmEntity");
    let messages = [
        message("good", &entity(&json!({}))),
        message("bad", &entity(&json!({"quantity": 1.5, "currencyCode": "eur"}))),
        lost,
    ];
    let (status, body) = send(&emulator.batch_url("orders"), &batch(&messages)).await;
    assert_eq!(status, 207);
    assert!(body["responses"].as_array().unwrap().iter().all(|entry| entry["status"].is_null()));
    assert!(control.wait_validated(patience()));
    let batches = control.failed_batches();
    assert_eq!((batches.len(), batches[0].dataset.as_str()), (1, DATASET));
    let records = &batches[0].records;
    assert_eq!((records[0].msg_id.as_str(), records[0].seq), ("bad", 2));
    assert_eq!(records[0].xaction_id, body["responses"][1]["xactionId"].as_str().unwrap());
    let codes: Vec<&str> = records[0].violations.iter().map(|one| one.code.as_str()).collect();
    assert_eq!(codes, ["DCVS-1103-400", "DCVS-1104-400"]);
    assert_eq!(records[1].violations[0].message, "Payload body is missing xdmEntity");
    let entries = control.messages("orders");
    assert_eq!(entries.iter().map(|entry| entry.invalid).collect::<Vec<_>>(), [false, true, true]);
    let summary = &control.summary().inlets["orders"];
    assert_eq!((summary.accepted, summary.invalid, summary.datasets[DATASET].invalid), (3, 2, 2));
    assert_eq!(control.profile(&aep_emulator::LakeQuery::default()).len(), 1);
}

#[tokio::test]
async fn failed_records_are_read_back_in_three_shapes() {
    let emulator = start(settings().with_keep(Keep::Ids));
    let control = emulator.control();
    let bad = message("bad", &entity(&json!({"currencyCode": "eur"})));
    assert_eq!(
        send(&emulator.batch_url("orders"), &batch(std::slice::from_ref(&bad))).await.0,
        207
    );
    assert!(control.wait_validated(patience()));
    let ask = async |path: &str| {
        let url = if path.starts_with("http") {
            path.to_owned()
        } else {
            format!("{}/data/foundation{path}", emulator.url())
        };
        let request = client().get(url).header("authorization", "Bearer any");
        read(request.header("x-api-key", "id").header("x-gw-ims-org-id", ORG).send().await.unwrap())
            .await
    };
    let (_, batches) = ask("/catalog/batches?status=failed&limit=10&orderBy=desc:created").await;
    let id = batches.as_object().unwrap().keys().next().unwrap().clone();
    assert_eq!(id.len(), 26, "a ULID");
    assert_eq!(batches[&id]["relatedObjects"], json!([{"type": "dataSet", "id": DATASET}]));
    let (_, files) = ask(&format!("/export/batches/{id}/failed")).await;
    assert_eq!(
        (&files["data"][0]["name"], &files["_page"]["count"]),
        (&json!("_SUCCESS"), &json!(2))
    );
    let link = files["data"][1]["_links"]["self"]["href"].as_str().unwrap().to_owned();

    let (status, streaming) = ask(&link).await;
    let sentence = "The message cannot be validated due to the pattern mismatch error: \
        #/currencyCode: string [eur] does not match pattern ^[A-Z]{3}$.";
    assert_eq!(
        (status, &streaming["_errors"]),
        (200, &json!({"_streamingValidation": [{"code": "DCVS-1103-400", "message": sentence}]}))
    );
    assert_eq!((&streaming["body"], &streaming["header"]["msgId"]), (&bad["body"], &json!("bad")));
    let violation = json!({
        "causingExceptions": [], "keyword": "pattern", "message": "string [eur] does not match pattern ^[A-Z]{3}$",
        "pointerToViolation": "#/currencyCode", "schemaLocation": "#/properties/currencyCode",
    });
    control.set_failed_shape(FailedShape::ValidationErrors);
    let (_, errors) = ask(&link).await;
    assert_eq!(
        (&errors["_validationErrors"], &errors["body"]),
        (&json!([violation]), &bad["body"])
    );
    control.set_failed_shape(FailedShape::Strings);
    let (_, strings) = ask(&link).await;
    let inner =
        |key: &str| -> Value { serde_json::from_str(strings[key].as_str().unwrap()).unwrap() };
    assert_eq!(inner("_errors"), json!({"_streamingValidation": [violation]}));
    assert_eq!(inner("body"), bad["body"]);
    assert!(inner("header")["_dcvsMeta"]["processingTimestamp"].is_u64());
}

#[tokio::test]
async fn merges_are_not_asked_for_what_is_required() {
    let emulator = start(settings().with_dataset(DATASET, SCHEMA).with_flow("flow", DATASET));
    let raw = |operation: &str| json!({"header": {"flowId": "flow", "msgId": operation, "operations": {"data": operation}}, "body": {"quantity": 1}});
    let request =
        post(&emulator.batch_url("orders"), &batch(&[raw("create"), raw("merge"), raw("delete")]));
    assert_eq!(request.header("x-adobe-flow-id", "flow").send().await.unwrap().status(), 207);
    let control = emulator.control();
    assert!(control.wait_validated(patience()));
    let invalid: Vec<String> = control
        .messages("orders")
        .into_iter()
        .filter(|entry| entry.invalid)
        .map(|entry| entry.msg_id)
        .collect();
    assert_eq!(invalid, ["create"]);
}

#[test]
fn a_schema_that_cannot_be_used_is_named_at_the_start() {
    let wrong = Settings::default().with_schema("broken", json!({"type": 5}));
    let error = aep_emulator::Emulator::start(wrong).unwrap_err().to_string();
    assert!(error.contains("broken"), "{error}");
}

/// The composed bundles of the whole of XDM with the examples of its repository, where they are.
#[test]
fn xdm_bundles_take_the_examples_that_they_take_elsewhere() {
    #[expect(clippy::disallowed_methods, reason = "only a test is told where the documents are")]
    let Ok(samples) = std::env::var("XYLEM_SAMPLES") else {
        let skipped = b"skipped: XYLEM_SAMPLES is not set\n";
        std::io::Write::write_all(&mut std::io::stderr(), skipped).unwrap();
        return;
    };
    let folder = std::path::Path::new(&samples).join("xdm-bundles");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let compile =
        |name: String| CompiledSchema::new(&serde_json::from_str(&read(&name)).unwrap()).unwrap();
    let mut compared = 0;
    for bundle in ["experienceevent", "profile"] {
        let forms = [".schema.json", "-closed.schema.json", ".xed-full.json"];
        let schemas = forms.map(|form| compile(format!("{bundle}{form}")));
        for line in read("examples.jsonl").lines() {
            let example: Value = serde_json::from_str(line).unwrap();
            if example["bundle"] != bundle {
                continue;
            }
            let [open, closed, full] =
                [0, 1, 2].map(|form: usize| schemas[form].check_partial(&example["doc"]));
            let expected = example["closed_without_required"].as_bool().unwrap();
            assert_eq!(closed.is_empty(), expected, "{}: {closed:?}", example["source"]);
            assert_eq!(open, closed, "closed here is closed elsewhere: {}", example["source"]);
            assert_eq!(full, closed, "written out or not: {}", example["source"]);
            compared += 1;
        }
    }
    assert_eq!(compared, 62);
}
