//! The pos plugin over golden pairs, and over the documents of others where they are.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::indexing_slicing,
    reason = "a test may panic, and says when it skips"
)]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value as Json;
use xylem_kit::{Payload, Plugin};
use xylem_mapping::{
    Decimal, Value, conservation,
    document::Node,
    golden, json,
    testing::{self, Schema},
};
use xylem_plugin_pos::Pos;

/// The settings for the documents of others: a grocer in Washington State and a web shop.
const SETTINGS: &str = r#"{
    "tenant": "_acme", "time_zone": "America/Los_Angeles", "currency": "USD", "weight_unit": "LBR",
    "identity": {"loyalty": "acmeLoyaltyId", "customer": "acmeShopId", "email": "Email"},
    "routes": {"profiles": "profiles"}
}"#;

/// What no leaf of a document decides, by format.
const CONSTANTS: &[&str] = &[
    "eventType",
    "channel._id",
    "channel._type",
    "commerce.purchases.value",
    "commerce.inStorePurchase.value",
    "identityMap.*[].primary",
    // Weighed goods: one piece, in the unit of the settings.
    "productListItems[].quantity",
    "productListItems[].unitOfMeasureCode",
    "productListItems[].returnItem.returnQuantityReceived",
    // A way to pay that no word of the document names.
    "commerce.order.payments[].paymentType",
    "commerce.order.refunds[].refundPaymentType",
];

/// A file of this package.
fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The schemas of the example: events and profiles.
fn own_schemas() -> [Schema; 2] {
    ["event", "profile"].map(|name| {
        Schema::read(&here(&format!("../../examples/pos/schemas/{name}.json"))).unwrap()
    })
}

/// The documents of others, by name; none where they are not.
fn others() -> Option<(PathBuf, BTreeMap<String, Vec<u8>>)> {
    let Some(folder) = testing::samples() else {
        eprintln!("skipped: XYLEM_SAMPLES does not name the documents of others");
        return None;
    };
    let mut documents = BTreeMap::new();
    for entry in fs::read_dir(folder.join("samples/pos")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        documents.insert(name, fs::read(&path).unwrap());
    }
    Some((folder, documents))
}

/// What the schemas have against the events of an outcome.
fn complaints(outcome: &Json, schemas: &[Schema; 2], strip: bool) -> Vec<String> {
    let mut found = Vec::new();
    for entry in outcome["events"].as_array().into_iter().flatten() {
        let schema = &schemas[usize::from(entry["destination"] == "profiles")];
        let event = &entry["event"];
        let event = if strip { testing::without_tenant(event, "_acme") } else { event.clone() };
        found.extend(schema.complaints(&event));
    }
    found
}

/// What the conservation test finds in a document.
fn losses(pos: &Pos, document: &Node) -> Vec<String> {
    let map = |node: &Node| match pos.events(node) {
        Ok(events) => {
            Ok(events.iter().map(|event| serde_json::from_str(&event.body).unwrap()).collect())
        }
        Err(outcome) => Err(format!("{outcome:?}")),
    };
    conservation::violations(document, &map, Pos::left_out(document), CONSTANTS)
}

#[test]
fn golden_pairs_are_valid_and_lose_nothing() {
    let settings = fs::read_to_string(here("golden/settings.json")).unwrap();
    let pos = Pos::init(&settings).unwrap();
    let names = golden::check(&pos, &here("golden")).unwrap_or_else(|wrong| panic!("{wrong}"));
    assert_eq!(names.len(), 8, "{names:?}");
    let schemas = own_schemas();
    for name in names {
        let file = ["xml", "json"].map(|ext| here(&format!("golden/{name}.input.{ext}")));
        let input = file.iter().find_map(|path| fs::read(path).ok()).unwrap();
        let outcome = golden::outcome(&pos, input.clone()).unwrap();
        assert_eq!(complaints(&outcome, &schemas, false), [""; 0], "{name}");
        if let Ok(document) = pos.document(&Payload::Bytes(input)) {
            // A changed leaf may break a sum, which these settings reject.
            let lenient = settings.replace("\"totals\": \"reject\"", "\"totals\": \"ignore\"");
            // So may another store, which has no time zone of its own.
            let lenient = lenient.replacen('{', "{\"time_zone\": \"UTC\",", 1);
            assert_eq!(losses(&Pos::init(&lenient).unwrap(), &document), [""; 0], "{name}");
        }
    }
}

#[test]
fn schemas_agree_with_the_composed_ones() {
    let Some((folder, _)) = others() else { return };
    for (own, name) in own_schemas().iter().zip(["experienceevent", "profile"]) {
        let composed = folder.join(format!("xdm-bundles/{name}-closed.schema.json"));
        let composed = testing::read_json(&composed).unwrap();
        assert_eq!(testing::differences(&own.document, &composed, "_acme"), [""; 0], "{name}");
    }
}

#[test]
fn documents_of_others() {
    let Some((folder, documents)) = others() else { return };
    let pos = Pos::init(SETTINGS).unwrap();
    let composed = ["experienceevent", "profile"].map(|name| {
        Schema::read(&folder.join(format!("xdm-bundles/{name}-closed.schema.json"))).unwrap()
    });
    let own = own_schemas();
    for (name, input) in &documents {
        let outcome = golden::outcome(&pos, input.clone()).unwrap();
        let result = match outcome["outcome"].as_str().unwrap() {
            "emit" => format!("{} events", outcome["events"].as_array().unwrap().len()),
            "filter" => outcome["reason"].as_str().unwrap().to_owned(),
            _ => outcome["fault"]["code"].as_str().unwrap().to_owned(),
        };
        let expected = match name.as_str() {
            "ncr-acs-poslog-tx-control-signoff.xml" => {
                "no sale in the POSLog document: 1 ControlTransaction"
            }
            name if name.starts_with("ncr") => "1 events",
            "shopify-order.json" => "2 events",
            "shopify-refund.json" => "1 events",
            // Many documents in one file; each of them is an unknown format.
            name if name.contains(".jsonl") => "bad-json",
            _ => "unknown-format",
        };
        assert_eq!(result, expected, "{name}");
        assert_eq!(complaints(&outcome, &composed, true), [""; 0], "{name}");
        assert_eq!(complaints(&outcome, &own, false), [""; 0], "{name}");
        if let Ok(document) = pos.document(&Payload::Bytes(input.clone())) {
            assert_eq!(losses(&pos, &document), [""; 0], "{name}");
        }
        for line in input.split(|byte| *byte == b'\n').filter(|_| name.contains(".jsonl")) {
            if !line.is_empty() {
                let one = golden::outcome(&pos, line.to_vec()).unwrap();
                assert_eq!(one["fault"]["code"], "unknown-format", "{name}");
            }
        }
    }
}

/// The sum of the numbers at a path below each item of a list.
fn total(list: Option<&Value<'_>>, name: &str) -> Decimal {
    let Some(Value::Array(items)) = list else { return Decimal::ZERO };
    items
        .iter()
        .map(|item| number(item.get(name)))
        .fold(Decimal::ZERO, |sum, amount| sum.checked_add(amount).unwrap())
}

/// A number, exactly as it stands in the event; zero where there is none.
fn number(value: Option<&Value<'_>>) -> Decimal {
    match value {
        Some(Value::Number(text)) => Decimal::parse(text).unwrap(),
        _ => Decimal::ZERO,
    }
}

#[test]
fn sales_of_others_add_up() {
    let Some((_, documents)) = others() else { return };
    let strict = SETTINGS.replacen('{', r#"{"totals": "reject", "#, 1);
    let pos = Pos::init(&strict).unwrap();
    let mut sales = 0;
    for (name, input) in documents.iter().filter(|(name, _)| name.starts_with("ncr")) {
        let document = pos.document(&Payload::Bytes(input.clone())).unwrap();
        for event in pos.events(&document).unwrap_or_default() {
            let event = json::parse(&event.body, json::MAX_DEPTH).unwrap();
            let commerce = event.get("commerce").unwrap();
            let order = commerce.get("order").unwrap();
            let price = number(order.get("priceTotal"));
            let goods = total(event.get("productListItems"), "priceTotal");
            let goods = goods.checked_sub(number(order.get("discountAmount"))).unwrap();
            // T1: goods, less the discount of the order, and the tax make the total.
            assert_eq!(goods.checked_add(number(order.get("taxAmount"))).unwrap(), price, "{name}");
            // T2: so do the payments, change taken off.
            assert_eq!(total(order.get("payments"), "paymentAmount"), price, "{name}");
            // T4: one currency.
            assert!(!event.to_json().contains(r#""currencyCode":"EUR""#));
            // T5: the type and the measure agree.
            assert_eq!(event.get("eventType").unwrap().as_str(), Some("commerce.purchases"));
            assert_eq!(
                number(commerce.get("purchases").unwrap().get("value")).to_integer(),
                Some(1)
            );
            // T6: no placeholder as identity.
            assert!(!event.to_json().contains(r#""id":"0000000000000000000000000""#));
            // T7: the local time, at Seattle's summer offset.
            assert!(event.get("timestamp").unwrap().as_str().unwrap().ends_with("-07:00"));
            // T8: pieces are whole and at least one.
            let Some(Value::Array(items)) = event.get("productListItems") else { panic!("{name}") };
            assert!(items.iter().all(|item| number(item.get("quantity")).to_integer() >= Some(1)));
            sales += 1;
        }
    }
    assert_eq!(sales, 6);
}

#[test]
fn nothing_panics_and_no_event_is_invalid() {
    let settings = fs::read_to_string(here("golden/settings.json")).unwrap();
    let pos = Pos::init(&settings.replace("\"reject\"", "\"ignore\"")).unwrap();
    let schemas = own_schemas();
    for entry in fs::read_dir(here("golden")).unwrap() {
        let path = entry.unwrap().path();
        if !path.to_str().unwrap().contains(".input.") {
            continue;
        }
        let input = fs::read(&path).unwrap();
        // Every prefix, and every byte replaced: most are no documents, none may do harm.
        for end in 0..input.len() {
            let outcome = golden::outcome(&pos, input[..end].to_vec()).unwrap();
            assert_eq!(complaints(&outcome, &schemas, false), [""; 0]);
        }
        for place in 0..input.len() {
            let mut copy = input.clone();
            copy[place] = if copy[place] == b'7' { b'"' } else { b'7' };
            let outcome = golden::outcome(&pos, copy).unwrap();
            assert_eq!(complaints(&outcome, &schemas, false), [""; 0], "{place} of {path:?}");
        }
    }
}
