//! Items, events, fields: the shape of the table.

use serde_json::json;
use xylem_kit::{Operation, Outcome};
use xylem_mapping::Value;

use crate::support::{apply, bodies, event, fields, mapping, rejected};

#[test]
fn fields_are_paths_expressions_and_constants() {
    let mapping = fields(
        "_id: .id\neventType: {const: commerce.purchases}\ncommerce.purchases.value: 1\nflag: true\n\
         identityMap.Phone_E\\.164: {list: [{id: .phone}]}\n_tenant.loyalty.tier: {from: .tier, default: none}\n\
         commerce.order.purchaseID: .order",
    );
    assert_eq!(
        event(&mapping, r#"{"id": "a", "order": "o-1", "phone": "+491"}"#),
        json!({
            "_id": "a", "eventType": "commerce.purchases",
            "commerce": {"purchases": {"value": 1}, "order": {"purchaseID": "o-1"}},
            "flag": true, "identityMap": {"Phone_E.164": [{"id": "+491"}]}, "_acme": {"loyalty": {"tier": "none"}},
        })
    );
}

#[test]
fn a_list_keeps_only_items_that_the_document_fills() {
    let mapping = fields(
        "_id: .id\nidentityMap.Email: {list: [{id: {from: .email, type: email}, primary: true}]}\n\
         tags: {list: [.a, .b, {const: c}]}",
    );
    assert_eq!(
        event(&mapping, r#"{"id": 1, "email": "A@b.c", "a": "x"}"#),
        json!({"_id": 1, "identityMap": {"Email": [{"id": "a@b.c", "primary": true}]}, "tags": ["x", "c"]})
    );
    // An identity without its id is none, its constants notwithstanding.
    assert_eq!(
        event(&mapping, r#"{"id": 1, "email": "null", "b": ""}"#),
        json!({"_id": 1, "tags": ["c"]})
    );
}

#[test]
fn each_makes_a_list_of_objects_or_values() {
    let mapping = fields(
        "_id: .id\nproductListItems:\n  each: .products[]\n  fields:\n    SKU: {from: .sku, type: string, required: true}\n    \
         quantity: {from: .quantity, type: integer}\n    currencyCode: $item.currency\n    _tenant.weight: .w\n\
         tags: {each: '.tags[]', value: {from: ., type: lower}}",
    );
    assert_eq!(
        event(
            &mapping,
            r#"{"id": 1, "currency": "EUR", "products": [{"sku": 12, "quantity": "2"}, {"sku": "0012", "w": 1.47}], "tags": ["A", "", "B"]}"#
        ),
        json!({
            "_id": 1,
            "productListItems": [{"SKU": "12", "quantity": 2, "currencyCode": "EUR"}, {"SKU": "0012", "currencyCode": "EUR", "_acme": {"weight": 1.47}}],
            "tags": ["a", "b"],
        })
    );
    for none in [r#"{"id": 1}"#, r#"{"id": 1, "products": null}"#, r#"{"id": 1, "products": []}"#] {
        assert_eq!(event(&mapping, none), json!({"_id": 1}), "{none}");
    }
    let (code, message, path) =
        rejected(&mapping, r#"{"products": [{"sku": 1}, {"quantity": 1}]}"#);
    assert_eq!((code.as_str(), path.as_str()), ("missing", ".products[1].sku"));
    assert_eq!(message, "`productListItems[].SKU` is required, but `.sku` is missing");
}

#[test]
fn required_names_the_source_path() {
    let mapping = fields("timestamp: {from: .at, required: true}\nx: .x");
    for (document, state) in [
        (r#"{"x": 1}"#, "is missing"),
        (r#"{"at": null}"#, "is null"),
        (r#"{"at": ""}"#, "is empty"),
    ] {
        let (code, message, path) = rejected(&mapping, document);
        assert_eq!((code.as_str(), path.as_str()), ("missing", ".at"));
        assert_eq!(message, format!("`timestamp` is required, but `.at` {state}"));
    }
    let list = fields("x: .x\nids: {list: [{from: .id, type: id}], required: true}");
    assert_eq!(rejected(&list, r#"{"x": 1, "id": "0"}"#).0, "missing");
    let each = fields("x: .x\nids: {each: '.ids[]', value: ., required: true}");
    assert_eq!(rejected(&each, r#"{"x": 1, "ids": []}"#).2, ".ids[]");
    let group = fields("x: .x\ng: {fields: {a: .a}, required: true}");
    assert_eq!(rejected(&group, r#"{"x": 1}"#).0, "missing");
}

#[test]
fn absent_null_and_unset_are_three_things() {
    let plain = fields("k: .k\nx: .x");
    assert_eq!(event(&plain, r#"{"k": 1, "x": null}"#), json!({"k": 1}));
    let unset = fields("k: .k\nx: {from: .x, unset: true}");
    assert_eq!(event(&unset, r#"{"k": 1, "x": null}"#), json!({"k": 1, "x": null}));
    assert_eq!(event(&unset, r#"{"k": 1}"#), json!({"k": 1}));
    assert_eq!(event(&unset, r#"{"k": 1, "x": ""}"#), json!({"k": 1}));
    let empty = fields("k: .k\nx: {from: .x, unset: empty}");
    assert_eq!(event(&empty, r#"{"k": 1, "x": ""}"#), json!({"k": 1, "x": null}));
    assert_eq!(event(&empty, r#"{"k": 1}"#), json!({"k": 1}));
    let default = fields("k: .k\nx: {from: .x, default: 7}");
    for none in [r#"{"k": 1}"#, r#"{"k": 1, "x": null}"#, r#"{"k": 1, "x": ""}"#] {
        assert_eq!(event(&default, none), json!({"k": 1, "x": 7}));
    }
    assert_eq!(event(&default, r#"{"k": 1, "x": 0}"#), json!({"k": 1, "x": 0}));
}

#[test]
fn tables_translate() {
    let rule = |unknown| {
        fields(&format!(
            "k: .k\ng: {{from: .g, table: {{M: male, F: female, 1: male, true: \"yes\"}}, unknown: {unknown}}}"
        ))
    };
    assert_eq!(event(&rule("reject"), r#"{"k": 1, "g": "F"}"#)["g"], json!("female"));
    assert_eq!(event(&rule("reject"), r#"{"k": 1, "g": 1}"#)["g"], json!("male"));
    assert_eq!(event(&rule("reject"), r#"{"k": 1, "g": true}"#)["g"], json!("yes"));
    let (code, message, path) = rejected(&rule("reject"), r#"{"k": 1, "g": "secret"}"#);
    assert_eq!((code.as_str(), path.as_str()), ("unknown-value", ".g"));
    assert!(!message.contains("secret"), "{message}");
    assert_eq!(event(&rule("omit"), r#"{"k": 1, "g": "X"}"#), json!({"k": 1}));
    assert_eq!(event(&rule("keep"), r#"{"k": 1, "g": "X"}"#), json!({"k": 1, "g": "X"}));
    let lookup = fields(
        "k: .k\ng: {from: .g, lookup: genders, unknown: omit, default: not_specified}\ncity: {from: .s, lookup: stores, column: city, unknown: omit}",
    );
    assert_eq!(
        event(&lookup, r#"{"k": 1, "g": "M", "s": "007"}"#),
        json!({"k": 1, "g": "male", "city": "Berlin"})
    );
    assert_eq!(
        event(&lookup, r#"{"k": 1, "g": "?", "s": "12"}"#),
        json!({"k": 1, "g": "not_specified"})
    );
}

#[test]
fn routes_operations_and_conditions() {
    let mapping = mapping(
        "unmapped: ignore\nevents:\n- {route: orders, when: '.type == \"order\"', fields: {_id: .id}}\n\
         - {route: customers, operation: update, when: .customer, fields: {_id: .customer.id}}\n",
    );
    let Outcome::Emit(events) =
        apply(&mapping, r#"{"type": "order", "id": "o", "customer": {"id": "c"}}"#)
    else {
        panic!()
    };
    let seen: Vec<_> =
        events.iter().map(|e| (e.route.as_deref(), e.operation, e.body.as_str())).collect();
    assert_eq!(
        seen,
        [
            (Some("orders"), None, r#"{"_id":"o"}"#),
            (Some("customers"), Some(Operation::Update), r#"{"_id":"c"}"#),
        ]
    );
    assert!(
        matches!(apply(&mapping, r#"{"type": "other"}"#), Outcome::Filter(reason) if reason.contains("no event"))
    );
}

const BATCH: &str = "split: .batch[]\nunmapped: ignore\nfilter:\n- {when: '.type == \"alias\"', reason: alias calls carry no event}\n\
    - {when: '.type == \"group\"', reason: groups are not persons}\n\
    events:\n- fields: {_id: {from: .id, required: true}, sentAt: $document.sentAt, n: {from: .n, type: integer}}\n";

#[test]
fn a_batch_becomes_its_items() {
    let mapping = mapping(BATCH);
    assert_eq!(
        bodies(
            &mapping,
            r#"{"sentAt": "s", "batch": [{"type": "alias", "id": 0}, {"id": 1}, {"id": 2}]}"#
        ),
        [r#"{"_id":1,"sentAt":"s"}"#, r#"{"_id":2,"sentAt":"s"}"#]
    );
    let filtered = apply(&mapping, r#"{"batch": [{"type": "group"}, {"type": "alias"}]}"#);
    assert!(matches!(filtered, Outcome::Filter(reason) if reason == "groups are not persons"));
    for empty in [r#"{"batch": []}"#, r#"{"batch": null}"#, "{}"] {
        assert!(
            matches!(apply(&mapping, empty), Outcome::Filter(reason) if reason.contains("no item")),
            "{empty}"
        );
    }
    let (code, _, path) =
        rejected(&mapping, r#"{"batch": [{"type": "alias"}, {"id": 1}, {"x": 1}]}"#);
    assert_eq!((code.as_str(), path.as_str()), ("missing", ".batch[2].id"));
    assert_eq!(rejected(&mapping, r#"{"batch": [{"id": 1, "n": "x"}]}"#).2, ".batch[0].n");
    assert_eq!(rejected(&mapping, r#"{"batch": 1}"#).0, "expression");
}

#[test]
fn an_event_without_anything_from_the_document_is_rejected() {
    let some = fields("eventType: {const: web}\nx: .x\ny: {from: .y, default: 1}");
    assert_eq!(rejected(&some, "{}").0, "empty-event");
    let constant = fields("eventType: {const: heartbeat}");
    assert_eq!(event(&constant, "{}"), json!({"eventType": "heartbeat"}));
}

#[test]
fn copy_begins_with_what_is_there() {
    let mapping = mapping(
        "unmapped: ignore\nsplit: .events[]\nevents:\n- {copy: .xdm, fields: {producedBy: {const: self}, web.name: .name}}\n",
    );
    assert_eq!(
        bodies(
            &mapping,
            r#"{"events": [{"xdm": {"_id": "a", "web": {"name": "old", "n": 1.50}, "e": null}, "name": "new"}]}"#
        ),
        [r#"{"_id":"a","web":{"name":"new","n":1.5},"producedBy":"self"}"#]
    );
    assert_eq!(rejected(&mapping, r#"{"events": [{"xdm": 1}]}"#).2, ".events[0].xdm");
    assert_eq!(rejected(&mapping, r#"{"events": [{}]}"#).0, "empty-event");
}

#[test]
fn rows_of_one_record_stand_or_fall_together() {
    let mapping = mapping(
        "unmapped: ignore\nfilter: [{when: .skip, reason: marked}]\nevents: [{fields: {a: {from: .a, type: integer}}}]",
    );
    let rows = |values: &[(usize, &str)]| {
        let rows: Vec<_> = values
            .iter()
            .map(|(number, a)| {
                Ok((
                    *number,
                    Value::Object(vec![
                        ("a".into(), Value::from(*a)),
                        ("skip".into(), Value::Bool(a.is_empty())),
                    ]),
                ))
            })
            .collect();
        mapping.apply_rows(rows.into_iter(), &Value::Null)
    };
    assert!(
        matches!(rows(&[(2, "1"), (3, ""), (4, "2")]), Outcome::Emit(events) if events.len() == 2)
    );
    assert!(matches!(rows(&[(2, "")]), Outcome::Filter(reason) if reason == "marked"));
    let Outcome::Reject(rejection) = rows(&[(2, "1"), (3, "x")]) else { panic!() };
    assert_eq!(rejection.path.as_deref(), Some("row 3: .a"));
    assert!(rejection.message.starts_with("row 3: `a` needs a whole number"));
    assert!(matches!(rows(&[]), Outcome::Filter(reason) if reason.contains("no rows")));
}
