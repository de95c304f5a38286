//! Real documents and their golden events, and documents of our own that stand in where those of
//! others are absent. Every expected value was written from the document.

use std::path::PathBuf;

use serde_json::{Value as Json, json};
use xylem_mapping::ConservationReport;

use crate::support::{bodies, mapping};

/// Segment's tracking calls as web events: an identity, the event, its properties.
const SEGMENT: &str = r#"
split: .batch[]
filter:
  - {when: '.type == "alias"', reason: alias calls carry no event}
  - {when: '.type == "group"', reason: group calls describe companies}
events:
  - when: .type == "track"
    fields:
      _id: {from: .messageId, type: uri-safe, required: true}
      timestamp: {from: .timestamp, type: date-time, required: true}
      eventType: {from: .event, table: {Download: web.webinteraction.linkClicks, Order Completed: commerce.purchases}, unknown: omit, default: track}
      identityMap.segmentUserId: {list: [{id: {from: .userId, type: id}, primary: true}]}
      _tenant.track.event: .event
      _tenant.track.application: .properties.application
      _tenant.track.platform: .properties.platform
      _tenant.track.version: .properties.version
  - when: .type == "page" or .type == "screen"
    fields:
      _id: {from: .messageId, type: uri-safe, required: true}
      timestamp: {from: .timestamp, type: date-time, required: true}
      eventType: {const: web.webpagedetails.pageViews}
      web.webPageDetails.pageViews.value: 1
      web.webPageDetails.name: .name
      identityMap.segmentUserId: {list: [{id: {from: .userId, type: id}, primary: true}]}
  - when: .type == "identify"
    route: profiles
    fields:
      _id: {from: .messageId, type: uri-safe, required: true}
      identityMap.segmentUserId: {list: [{id: {from: .userId, type: id}, primary: true}]}
      extSourceSystemAudit.lastUpdatedDate: {from: .timestamp, type: date-time}
drop:
  .context.library: names the tracker only
  .messageId: names the batch, not an event
  .sentAt: the client's clock; timestamp is corrected
unmapped: reject
"#;

/// The text of a sample, or none with a word why.
fn sample(name: &str) -> Option<String> {
    let Some(root) = std::env::var_os("XYLEM_SAMPLES") else {
        eprintln!("skipped: XYLEM_SAMPLES is not set, so {name} is not here");
        return None;
    };
    Some(std::fs::read_to_string(PathBuf::from(root).join("samples").join(name)).unwrap())
}

/// The events of a document, checked for conservation: nothing lost, nothing from nowhere, and of
/// what counts as read only `inert` makes no difference.
fn conserved(yaml: &str, document: &str, inert: &[&str]) -> Vec<Json> {
    let mapping = mapping(yaml);
    let parsed = xylem_mapping::json::parse(document, 64).unwrap();
    let report = mapping.check_conservation(&parsed);
    assert_eq!(
        report,
        ConservationReport {
            inert: inert.iter().map(|path| (*path).to_owned()).collect(),
            ..Default::default()
        }
    );
    bodies(&mapping, document).iter().map(|body| serde_json::from_str(body).unwrap()).collect()
}

const DROPPED: [&str; 4] =
    [".context.library.name", ".context.library.version", ".messageId", ".sentAt"];

#[test]
fn segment_track() {
    let Some(document) = sample("web-mobile/segment-track-batch.json") else { return };
    assert_eq!(
        conserved(SEGMENT, &document, &DROPPED),
        [json!({
            "_id": "I%27m%20unique",
            "timestamp": "2009-11-10T23:00:00Z",
            "eventType": "web.webinteraction.linkClicks",
            "identityMap": {"segmentUserId": [{"id": "123456", "primary": true}]},
            "_acme": {"track": {"event": "Download", "application": "Segment Desktop", "platform": "osx", "version": "1.1.0"}},
        })]
    );
}

#[test]
fn segment_page() {
    let Some(document) = sample("web-mobile/segment-page-batch.json") else { return };
    assert_eq!(
        conserved(SEGMENT, &document, &DROPPED),
        [json!({
            "_id": "I%27m%20unique",
            "timestamp": "2009-11-10T23:00:00Z",
            "eventType": "web.webpagedetails.pageViews",
            "web": {"webPageDetails": {"pageViews": {"value": 1}, "name": "A"}},
            "identityMap": {"segmentUserId": [{"id": "B", "primary": true}]},
        })]
    );
}

#[test]
fn segment_identify() {
    let Some(document) = sample("web-mobile/segment-identify-batch.json") else { return };
    assert_eq!(
        conserved(SEGMENT, &document, &DROPPED),
        [json!({
            "_id": "I%27m%20unique",
            "identityMap": {"segmentUserId": [{"id": "B", "primary": true}]},
            "extSourceSystemAudit": {"lastUpdatedDate": "2009-11-10T23:00:00Z"},
        })]
    );
}

#[test]
fn segment_alias_and_group_are_filtered() {
    for (name, expected) in [
        ("web-mobile/segment-alias-batch.json", "alias calls carry no event"),
        ("web-mobile/segment-group-batch.json", "group calls describe companies"),
    ] {
        let Some(document) = sample(name) else { return };
        let outcome = crate::support::apply(&mapping(SEGMENT), &document);
        assert!(matches!(outcome, xylem_kit::Outcome::Filter(reason) if reason == expected));
    }
}

/// An order of our own, of the size and kind that the speed workloads use.
const ORDER: &str = r#"{"order_id":"o-00042","ts":1767323045678,"customer":{"id":"c-9","email":"Ann@Example.com"},
"currency":"eur","total":59.97,"tax":9.58,"store":"007","lines":[{"sku":"0012","name":"Tea","qty":2,"price":9.99},
{"sku":"0077","name":"Cup","qty":1,"price":39.99}],"channel":"web","schema":3}"#;

const ORDERS: &str = r"
events:
  - fields:
      _id: {from: .order_id, type: uri-safe, required: true}
      timestamp: {from: .ts, type: date-time, format: ms, required: true}
      eventType: {const: commerce.purchases}
      commerce.purchases.value: 1
      commerce.order.purchaseID: .order_id
      commerce.order.priceTotal: {from: .total, type: number}
      commerce.order.taxAmount: {from: .tax, type: number}
      commerce.order.currencyCode: {from: .currency, type: currency}
      identityMap.Email: {list: [{id: {from: .customer.email, type: email}, primary: true}]}
      identityMap.crmId: {list: [{id: {from: .customer.id, type: id}}]}
      store.storeID: .store
      _tenant.channel: .channel
      productListItems:
        each: .lines[]
        fields:
          SKU: {from: .sku, type: string, required: true}
          name: .name
          quantity: {from: .qty, type: integer}
          priceTotal: {from: .price, type: number}
          currencyCode: {from: $item.currency, type: currency}
drop: {.schema: the version of the message's own format}
unmapped: reject
";

#[test]
fn an_order() {
    assert_eq!(
        conserved(ORDERS, ORDER, &[".schema"]),
        [json!({
            "_id": "o-00042",
            "timestamp": "2026-01-02T03:04:05.678Z",
            "eventType": "commerce.purchases",
            "commerce": {
                "purchases": {"value": 1},
                "order": {"purchaseID": "o-00042", "priceTotal": 59.97, "taxAmount": 9.58, "currencyCode": "EUR"},
            },
            "identityMap": {"Email": [{"id": "ann@example.com", "primary": true}], "crmId": [{"id": "c-9"}]},
            "store": {"storeID": "007"},
            "_acme": {"channel": "web"},
            "productListItems": [
                {"SKU": "0012", "name": "Tea", "quantity": 2, "priceTotal": 9.99, "currencyCode": "EUR"},
                {"SKU": "0077", "name": "Cup", "quantity": 1, "priceTotal": 39.99, "currencyCode": "EUR"},
            ],
        })]
    );
}

/// Lines in another order give the same event with its lines in that order; one more field in the
/// source changes nothing.
#[test]
fn an_order_changed_as_its_meaning_allows() {
    let plain = conserved(ORDERS, ORDER, &[".schema"]);
    let mut document: Json = serde_json::from_str(ORDER).unwrap();
    document["lines"].as_array_mut().unwrap().reverse();
    let mut expected = plain[0].clone();
    expected["productListItems"].as_array_mut().unwrap().reverse();
    assert_eq!(conserved(ORDERS, &document.to_string(), &[".schema"]), [expected]);

    let mut document: Json = serde_json::from_str(ORDER).unwrap();
    document["new"] = json!("unheard of");
    let lenient = mapping(&ORDERS.replace("unmapped: reject", "unmapped: warn"));
    let body = &bodies(&lenient, &document.to_string())[0];
    assert_eq!(serde_json::from_str::<Json>(body).unwrap(), plain[0]);
    assert_eq!(lenient.take_warnings(), [".new"]);
}

/// Debezium's envelope through expressions: an upsert, a delete, and what cannot be told.
#[test]
fn a_change_event_of_our_own() {
    let yaml = r#"
split: '.payload // .'
filter:
  - {when: '.op == "r"', reason: snapshots are loaded elsewhere}
events:
  - when: .op == "c" or .op == "u"
    operation: update
    fields:
      personKey: {from: .after.id, type: string, required: true}
      person.name.firstName: {from: .after.first, unset: true}
      personalEmail.address: {from: '.after.email | select(. != "__debezium_unavailable_value")', type: email, unset: true}
  - when: .op == "d"
    operation: delete
    fields: {personKey: {from: .before.id, type: string, required: true}}
unmapped: ignore
"#;
    let mapping = mapping(yaml);
    for (document, expected) in [
        (
            r#"{"payload": {"op": "u", "after": {"id": 1004, "first": null, "email": "A@b.c"}}}"#,
            r#"{"personKey":"1004","person":{"name":{"firstName":null}},"personalEmail":{"address":"a@b.c"}}"#,
        ),
        (
            r#"{"op": "u", "after": {"id": 1004, "email": "__debezium_unavailable_value"}}"#,
            r#"{"personKey":"1004"}"#,
        ),
        (r#"{"op": "d", "before": {"id": 1004}, "after": null}"#, r#"{"personKey":"1004"}"#),
    ] {
        let expected: Json = serde_json::from_str(expected).unwrap();
        assert_eq!(crate::support::event(&mapping, document), expected);
    }
}

/// The table on the crate's page makes what the page says.
#[test]
fn the_page_says_what_is_true() {
    let page = include_str!("../../README.md");
    let blocks = |language: &str| {
        let fences = page.split("```").skip(1).step_by(2);
        fences.filter_map(|block| block.strip_prefix(language)).collect::<Vec<_>>()
    };
    let documents = blocks("json\n");
    let mapping = mapping(blocks("yaml\n")[0]);
    let expected: Json = serde_json::from_str(documents[1]).unwrap();
    assert_eq!(crate::support::event(&mapping, documents[0]), expected);
}

/// Every key that the table knows is named on the crate's page.
#[test]
fn the_page_names_every_key() {
    let page = include_str!("../../README.md");
    let refusal = |yaml: &str| crate::support::try_mapping(yaml).err().unwrap();
    for unknown in [
        refusal("unheard-of-key: 1"),
        refusal("events: [{unheard-of-key: 1}]"),
        refusal("events: [{fields: {a: {unheard-of-key: 1}}}]"),
        refusal("events: [{fields: {a: {from: .a, type: unheard-of-type}}}]"),
    ] {
        let names = unknown.split("there are: ").nth(1).unwrap().trim_end_matches(')');
        assert!(names.split(", ").count() > 3, "{unknown}");
        for name in names.split(", ") {
            assert!(
                page.contains(&format!("`{name}`")) || page.contains(&format!("`{{{name}: ")),
                "`{name}` is not on the page"
            );
        }
    }
}
