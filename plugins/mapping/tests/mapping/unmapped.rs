//! What a mapping would lose is reported, never dropped unseen.

use xylem_kit::Outcome;
use xylem_mapping::json::parse;

use crate::support::{apply, mapping, rejected};

/// The leaves that a mapping would lose of a document.
fn lost(yaml: &str, document: &str) -> Vec<String> {
    mapping(yaml).unmapped(&parse(document, 64).unwrap())
}

#[test]
fn leaves_neither_read_nor_dropped_are_lost() {
    let yaml = "drop: {.context.library: names the tracker only}\nfilter: [{when: '.type == \"x\"', reason: r}]\n\
        events: [{fields: {_id: .id, items: {each: '.products[]', fields: {SKU: .sku}}}}]";
    let document = r#"{"id": 1, "type": "t", "context": {"library": {"name": "l", "v": [1]}, "ip": "1"}, "odd name": 1,
        "products": [{"sku": "a", "price": 1}, {"sku": "b", "price": 2, "gone": null}], "empty": {"a": [null, ""]}}"#;
    assert_eq!(lost(yaml, document), [".[\"odd name\"]", ".context.ip", ".products[].price"]);
}

#[test]
fn only_the_events_that_are_made_count() {
    let yaml = "events:\n- {when: '.type == \"a\"', fields: {x: .a}}\n- {when: '.type == \"b\"', fields: {x: .b}}";
    assert_eq!(lost(yaml, r#"{"type": "a", "a": 1, "b": 2}"#), [".b"]);
    assert_eq!(lost(yaml, r#"{"type": "b", "a": 1, "b": 2}"#), [".a"]);
    assert!(
        lost(yaml, r#"{"type": "c", "a": 1, "b": 2}"#).is_empty(),
        "what is filtered is not lost unseen"
    );
}

#[test]
fn items_and_their_document() {
    let yaml = "split: .batch[]\nfilter: [{when: .skip, reason: r}]\ndrop: {.sentAt: why not, '.batch[].seq': no use}\n\
        events: [{fields: {_id: .id, ip: $document.context.ip}}]";
    assert_eq!(
        lost(
            yaml,
            r#"{"batch": [{"id": 1, "x": 1, "seq": 1}, {"skip": true, "y": 1}], "sentAt": 1, "context": {"ip": 1, "os": 2}}"#
        ),
        [".batch[].x", ".context.os"]
    );
}

#[test]
fn expressions_are_followed() {
    let all = |expression: &str, document: &str| {
        lost(&format!("events: [{{fields: {{k: .k, x: '{expression}'}}}}]"), document)
    };
    let document = r#"{"k": 1, "a": {"b": 1, "c": 2}, "l": [{"v": 1, "w": 2}], "s": "t"}"#;
    for (expression, expected) in [
        (".a.b // .s", vec![".a.c", ".l[].v", ".l[].w"]),
        (".a | .b", vec![".a.c", ".l[].v", ".l[].w", ".s"]),
        ("[.l[] | select(.v == 1)] | first | .w", vec![".a.b", ".a.c", ".s"]),
        (".l | map(.w) | add", vec![".a.b", ".a.c", ".l[].v", ".s"]),
        (".a as $x | $x.b + 1", vec![".a.c", ".l[].v", ".l[].w", ".s"]),
        ("if .s == \"t\" then .a.b else null end", vec![".a.c", ".l[].v", ".l[].w"]),
        ("\"\\(.s)-\\(.a.b)\"", vec![".a.c", ".l[].v", ".l[].w"]),
        ("{s, n: .a.c}", vec![".a.b", ".l[].v", ".l[].w"]),
        (".l | sort_by(.v) | last | .w", vec![".a.b", ".a.c", ".s"]),
        ("reduce .l[].v as $v (0; . + $v)", vec![".a.b", ".a.c", ".l[].w", ".s"]),
        (". | keys", vec![]),
        ("$item.a[.s]?", vec![".l[].v", ".l[].w"]),
        ("try .a.b catch .s", vec![".a.c", ".l[].v", ".l[].w", ".s"]),
        ("(.a, .l[]) | .c?", vec![".a.b", ".l[].v", ".l[].w", ".s"]),
        // What only decides whether or how often something is answered is read as well.
        (".s // empty | \"x\"", vec![".a.b", ".a.c", ".l[].v", ".l[].w"]),
        (".s | strings | \"x\" | ascii_upcase", vec![".a.b", ".a.c", ".l[].v", ".l[].w"]),
        (".s // empty | $document.a.b", vec![".a.c", ".l[].v", ".l[].w"]),
        (".s // empty | {x: 1}", vec![".a.b", ".a.c", ".l[].v", ".l[].w"]),
        (".s // empty | if true then 1 else 2 end", vec![".a.b", ".a.c", ".l[].v", ".l[].w"]),
        (".s // empty | error(\"no\")", vec![".a.b", ".a.c", ".l[].v", ".l[].w"]),
        ("[.l[] | 1] | add", vec![".a.b", ".a.c", ".s"]),
        (".l | map(1) | add", vec![".a.b", ".a.c", ".s"]),
        ("reduce .l[] as $l (0; . + 1)", vec![".a.b", ".a.c", ".s"]),
        ("[foreach .l[] as $l (0; . + 1)] | last", vec![".a.b", ".a.c", ".s"]),
        ("reduce .l[] as $l (0; . + $l.v)", vec![".a.b", ".a.c", ".l[].w", ".s"]),
        (".s as $unused | .a.b", vec![".a.c", ".l[].v", ".l[].w"]),
        ("any(.l[].v; true)", vec![".a.b", ".a.c", ".l[].w", ".s"]),
        ("isempty(.l[].v)", vec![".a.b", ".a.c", ".l[].w", ".s"]),
        (".a | has($document.s)", vec![".l[].v", ".l[].w"]),
        (".s as $s | .a | def f: .b + $s; f", vec![".l[].v", ".l[].w"]),
        (".a as {($document.s): $x} | $x", vec![".l[].v", ".l[].w"]),
        ("{\"\\(.s)\"}", vec![]),
        // But not more than decides.
        ("select(.s == \"t\") | \"x\"", vec![".a.b", ".a.c", ".l[].v", ".l[].w"]),
        ("[.l[] | select(.v == 1) | \"x\"] | first", vec![".a.b", ".a.c", ".l[].w", ".s"]),
        ("if .s then . else empty end | \"x\"", vec![".a.b", ".a.c", ".l[].v", ".l[].w"]),
        (".a | {b}", vec![".a.c", ".l[].v", ".l[].w", ".s"]),
    ] {
        assert_eq!(all(expression, document), expected, "{expression}");
    }
}

#[test]
fn reject_refuses_and_warn_tells_once() {
    let yaml = |policy| format!("unmapped: {policy}\nsplit: .b[]\nevents: [{{fields: {{x: .x}}}}]");
    let document = r#"{"b": [{"x": 1, "y": {"z": 1, "ann@example.com": 2}}]}"#;
    let (code, message, path) = rejected(&mapping(&yaml("reject")), document);
    assert_eq!((code.as_str(), path.as_str()), ("unmapped", ".b[].y.z"));
    assert!(
        message.contains("`.b[].y.z`") && message.contains("`drop`") && !message.contains("ann@"),
        "{message}"
    );
    let warn = mapping(&yaml("warn"));
    assert!(matches!(apply(&warn, document), Outcome::Emit(_)));
    assert_eq!(warn.take_warnings(), [".b[].y.z", ".b[].y[…]"]);
    assert!(matches!(apply(&warn, document), Outcome::Emit(_)));
    assert!(warn.take_warnings().is_empty());
    let ignore = mapping(&yaml("ignore"));
    assert!(matches!(apply(&ignore, document), Outcome::Emit(_)));
    assert!(ignore.take_warnings().is_empty());
}

#[test]
fn conservation_finds_what_is_wrong() {
    let good = mapping(
        "drop: {.seq: no use}\nevents: [{fields: {_id: .id, t: {const: c}, l: {each: '.l[]', fields: {a: .a, k: {const: 1}}}}}]",
    );
    let document = parse(r#"{"id": "a", "seq": 1, "l": [{"a": 1}, {"a": 2}]}"#, 8).unwrap();
    let report = good.check_conservation(&document);
    assert!(report.lost.is_empty() && report.unsourced.is_empty(), "{report:?}");
    assert_eq!(report.inert, [".seq"], "what is dropped changes nothing");

    let bad = mapping("events: [{fields: {_id: .id, y: '.x | \"always\"', w: 'keys | length'}}]");
    let document = parse(r#"{"id": "a", "x": 1}"#, 8).unwrap();
    let report = bad.check_conservation(&document);
    assert_eq!(report.inert, [".x"]);
    assert_eq!(report.unsourced, [".w", ".y"]);
}
