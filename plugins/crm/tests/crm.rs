//! The crm plugin over golden pairs, and over the documents of others where they are.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test may panic, and says when it skips"
)]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value as Json, json};
use xylem_kit::{Operation, Payload, Plugin};
use xylem_mapping::{
    conservation,
    document::Node,
    golden,
    testing::{self, Schema},
};
use xylem_plugin_crm::Crm;

/// The settings for the documents of others.
const SETTINGS: &str = r#"{
    "org": "00D5e000000AcmeEAC", "tenant": "_acme", "entity": "Account",
    "time_zone": "UTC", "slash_dates": "us",
    "identity": {"person": "b2b_person", "email": "Email"}
}"#;

/// What no leaf of a document decides.
const CONSTANTS: &[&str] = &[
    "**.sourceType",
    "**.sourceInstanceID",
    "identityMap.*[].primary",
    // Decided by the id's first characters, the columns, or the settings.
    "_acme.crm.entity",
    // Another word is refused.
    "_acme.crm.changeType",
    "isDeleted",
    // The name of a column or key is not a leaf.
    "_acme.crm.fields[].name",
];

/// A file of this package.
fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The schema of the example.
fn own_schema() -> Schema {
    Schema::read(&here("../../examples/crm/schemas/profile.json")).unwrap()
}

/// The documents of others, by name; none where they are not.
fn others() -> Option<(PathBuf, BTreeMap<String, Vec<u8>>)> {
    let Some(folder) = testing::samples() else {
        eprintln!("skipped: XYLEM_SAMPLES does not name the documents of others");
        return None;
    };
    let mut documents = BTreeMap::new();
    for entry in fs::read_dir(folder.join("samples/crm")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        documents.insert(name, fs::read(&path).unwrap());
    }
    Some((folder, documents))
}

/// What a schema has against the events of an outcome.
fn complaints(outcome: &Json, schema: &Schema, strip: bool) -> Vec<String> {
    let mut found = Vec::new();
    for entry in outcome["events"].as_array().into_iter().flatten() {
        let event = &entry["event"];
        let event = if strip { testing::without_tenant(event, "_acme") } else { event.clone() };
        found.extend(schema.complaints(&event));
    }
    found
}

/// What the conservation test finds in a document.
fn losses(crm: &Crm, document: &Node) -> Vec<String> {
    let map = |node: &Node| match crm.events(node) {
        Ok(events) => {
            Ok(events.iter().map(|event| serde_json::from_str(&event.body).unwrap()).collect())
        }
        Err(outcome) => Err(format!("{outcome:?}")),
    };
    conservation::violations(document, &map, Crm::left_out(), CONSTANTS)
}

/// The inputs of the golden pairs.
fn inputs() -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(here("golden")).unwrap().map(|entry| entry.unwrap().path());
    let inputs = entries.filter(|path| path.to_str().unwrap().contains(".input."));
    inputs.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

#[test]
fn golden_pairs_are_valid_and_lose_nothing() {
    let crm = Crm::init(&fs::read_to_string(here("golden/settings.json")).unwrap()).unwrap();
    let names = golden::check(&crm, &here("golden")).unwrap_or_else(|wrong| panic!("{wrong}"));
    assert_eq!(names.len(), 11, "{names:?}");
    let schema = own_schema();
    for (path, input) in inputs() {
        let outcome = golden::outcome(&crm, input.clone()).unwrap();
        assert_eq!(complaints(&outcome, &schema, false), [""; 0], "{path:?}");
        if let Ok(document) = crm.document(&Payload::Bytes(input)) {
            assert_eq!(losses(&crm, &document), [""; 0], "{path:?}");
        }
    }
}

#[test]
fn the_schema_agrees_with_the_composed_one() {
    let Some((folder, _)) = others() else { return };
    let composed = folder.join("xdm-bundles/profile-closed.schema.json");
    let composed = testing::read_json(&composed).unwrap();
    assert_eq!(testing::differences(&own_schema().document, &composed, "_acme"), [""; 0]);
}

#[test]
fn documents_of_others() {
    let Some((folder, documents)) = others() else { return };
    let crm = Crm::init(SETTINGS).unwrap();
    let composed = Schema::read(&folder.join("xdm-bundles/profile-closed.schema.json")).unwrap();
    let own = own_schema();
    for (name, input) in documents.iter().filter(|(name, _)| !name.starts_with("adobe-lab")) {
        let outcome = golden::outcome(&crm, input.clone()).unwrap();
        let result = match outcome["outcome"].as_str().unwrap() {
            "emit" => outcome["events"].as_array().unwrap().len().to_string(),
            "filter" => outcome["reason"].as_str().unwrap().to_owned(),
            _ => outcome["fault"]["code"].as_str().unwrap().to_owned(),
        };
        let expected = match name.strip_prefix("salesforce-").unwrap_or(name) {
            "cdc.json"
            | "dataloader-acctsWithBinaryDataInRTF.csv"
            | "dataloader-dateEndingInZ.csv"
            | "dataloader-dateUsingDefaultTimeZone.csv" => "1",
            "dataloader-accountsForInsert.csv" => "4",
            "dataloader-success.csv" => "9",
            "dataloader-timeZoneFormatTesting.csv" => "12",
            name if name.starts_with("dataloader") => "2",
            // Many documents in one file; each of them is an unknown format.
            "confluent-customers-retail.jsonl" => "bad-json",
            _ => "unknown-format",
        };
        assert_eq!(result, expected, "{name}");
        assert_eq!(complaints(&outcome, &composed, true), [""; 0], "{name}");
        assert_eq!(complaints(&outcome, &own, false), [""; 0], "{name}");
        if let Ok(document) = crm.document(&Payload::Bytes(input.clone())) {
            assert_eq!(losses(&crm, &document), [""; 0], "{name}");
        }
    }
}

#[test]
fn published_rows_of_a_contact_follow_the_published_table() {
    let Some((folder, _)) = others() else { return };
    let table = testing::read_json(&folder.join("salesforce-to-xdm.json")).unwrap();
    let crm = Crm::init(SETTINGS).unwrap();
    for (entity, key) in [("Contact", "contact"), ("Lead", "lead")] {
        for row in table[key].as_array().unwrap() {
            let field = row["source"].as_str().unwrap();
            // Constants and concatenations are the keys, which the golden pairs show.
            if field.contains(['"', '(']) {
                continue;
            }
            let value = match row["type"].as_str().unwrap() {
                "date" => json!("1984-07-15"),
                "date-time" => json!("2026-01-31T08:00:00Z"),
                "number" => json!(7.25),
                "boolean" => json!(true),
                _ if field == "Email" => json!("ann@example.com"),
                _ => json!("0035e00000KimPaAAJ"),
            };
            let mut payload = json!({"ChangeEventHeader": {
                "entityName": entity, "changeType": "CREATE", "recordIds": ["0035e00000KimPaAAJ"]}});
            if field != "Id" {
                payload[field] = value.clone();
            }
            let outcome = golden::outcome(&crm, payload.to_string().into_bytes()).unwrap();
            let path = row["inBundleAs"].as_str().unwrap().replace("[]", ".0").replace('.', "/");
            let found = outcome["events"][0]["event"].pointer(&format!("/{path}"));
            assert_eq!(found, Some(&value), "{entity} {field} at {path}");
        }
    }
}

#[test]
fn dates_of_others_are_the_instants_they_say() {
    let Some((_, documents)) = others() else { return };
    let settings = SETTINGS.replacen('{', r#"{"fields": {"date": "LastModifiedDate"}, "#, 1);
    let crm = Crm::init(&settings).unwrap();
    let input = documents["salesforce-dataloader-timeZoneFormatTesting.csv"].clone();
    let outcome = golden::outcome(&crm, input).unwrap();
    let times: Vec<&str> = outcome["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["event"]["extSourceSystemAudit"]["lastUpdatedDate"].as_str().unwrap())
        .collect();
    let expected = [
        "2009-07-15T02:14:45+08:00",
        "2009-07-13T22:14:45-08:00",
        "2009-07-14T14:14:45+02:00",
        "2009-07-14T22:14:45+08:00",
        "2009-07-14T02:14:45-08:00",
        "2009-07-14T14:14:45+02:00",
    ];
    assert_eq!(times, [expected, expected].concat());
}

/// A record with a payload of text.
fn operations(settings: &str, payload: &str) -> Vec<(Json, Option<Operation>)> {
    let crm = Crm::init(settings).unwrap();
    let document = crm.document(&Payload::Text(payload.to_owned())).unwrap();
    let events = crm.events(&document).unwrap();
    events
        .iter()
        .map(|event| (serde_json::from_str(&event.body).unwrap(), event.operation))
        .collect()
}

#[test]
fn a_partial_change_is_an_update_where_the_settings_say_so() {
    let change = |word: &str| {
        json!({"ChangeEventHeader": {"entityName": "Contact", "changeType": word,
            "recordIds": ["0035e00000KimPaAAJ"], "nulledFields": ["MobilePhone", "MailingAddress.City"]},
            "Title": "CEO"})
        .to_string()
    };
    let update = r#"{"org": "00D", "partial": "update", "nulls": "unset"}"#;
    let (changed, operation) = operations(update, &change("UPDATE")).remove(0);
    assert!(matches!(operation, Some(Operation::Update)));
    assert_eq!(changed["mobilePhone"], json!({"number": null}));
    assert_eq!(changed["workAddress"], json!({"city": null}));
    assert_eq!(changed["extendedWorkDetails"], json!({"jobTitle": "CEO"}));
    assert!(operations(update, &change("CREATE")).remove(0).1.is_none());
    let (known, plain) = operations(r#"{"org": "00D"}"#, &change("UPDATE")).remove(0);
    assert!(plain.is_none() && known.get("mobilePhone").is_none());
    let (_, of_row) = operations(update, "Id,Title\n0035e00000KimPaAAJ,CEO\n").remove(0);
    assert!(matches!(of_row, Some(Operation::Update)));
}

#[test]
fn a_record_may_be_one_row() {
    let settings = r#"{"org": "00D", "columns": ["Id", "LastName", "Company"], "format": "rows"}"#;
    let (event, _) = operations(settings, "00Q5e00000LeadX;Park;Hanok").remove(0);
    assert_eq!(event["person"]["name"]["lastName"], "Park");
    assert_eq!(event["b2b"]["companyName"], "Hanok");
    assert_eq!(event["b2b"]["personKey"]["sourceID"], "00Q5e00000LeadXEAR");
}

#[test]
fn invariant_10_without_a_tenant_what_has_no_place_is_reported_by_its_column() {
    let crm = Crm::init(r#"{"org": "00D", "unmapped": "reject"}"#).unwrap();
    let rows = "Id,Name,Tier__c\n0015e00000AcmeX,Acme,Gold\n";
    let outcome = golden::outcome(&crm, rows.as_bytes().to_vec()).unwrap();
    assert_eq!(outcome["fault"]["code"], "unmapped-field");
    // Not its name: where a header is missing that is a value, and messages reach logs.
    assert_eq!(outcome["fault"]["path"], "column 3");
}

#[test]
fn nothing_panics_and_no_event_is_invalid() {
    let crm = Crm::init(&fs::read_to_string(here("golden/settings.json")).unwrap()).unwrap();
    let schema = own_schema();
    for (path, input) in inputs() {
        // Every prefix, and every byte replaced: most are no documents, none may do harm.
        for end in 0..input.len() {
            let outcome = golden::outcome(&crm, input[..end].to_vec()).unwrap();
            assert_eq!(complaints(&outcome, &schema, false), [""; 0]);
        }
        for place in 0..input.len() {
            let mut copy = input.clone();
            copy[place] = if copy[place] == b'7' { b'"' } else { b'7' };
            let outcome = golden::outcome(&crm, copy).unwrap();
            assert_eq!(complaints(&outcome, &schema, false), [""; 0], "{place} of {path:?}");
        }
    }
}
