//! Small schemas of our own; Adobe's composed ones are in [`bundles`].

use serde_json::{Value, json};

use super::*;

mod bundles;

fn load(schema: &Value) -> Schema {
    Schema::load(&schema.to_string(), Mode::Raw).unwrap()
}

fn violations(schema: &Schema, event: &Value) -> Vec<String> {
    violations_of_text(schema, &event.to_string())
}

fn violations_of_text(schema: &Schema, text: &str) -> Vec<String> {
    match schema.check(&Entity::parse(text).unwrap()) {
        Ok(()) => Vec::new(),
        Err(violations) => violations.first.iter().map(ToString::to_string).collect(),
    }
}

/// A schema whose only property is `x`.
fn with_x(x: &Value) -> Schema {
    load(&json!({"type": "object", "properties": {"x": x}}))
}

/// AEP's words, as Adobe documents them and its failed batches show them: the schema of `x`, its value, code
/// and words.
const WORDS: &[(&str, &str, &str)] = &[
    (r#"{"type": "string"}"#, "5", "1104-400 #/x: expected type: String, found: Integer"),
    (r#"{"type": "string"}"#, "5000000000", "1104-400 #/x: expected type: String, found: Long"),
    (
        r#"{"type": "string"}"#,
        "18446744073709551615",
        "1104-400 #/x: expected type: String, found: BigInteger",
    ),
    (r#"{"type": "string"}"#, "[]", "1104-400 #/x: expected type: String, found: JSONArray"),
    (r#"{"type": "string"}"#, "null", "1101-400 #/x: expected type: String, found: Null"),
    (r#"{"type": "integer"}"#, "1.0", "1104-400 #/x: expected type: Integer, found: Double"),
    (r#"{"type": "integer"}"#, "1e2", "1104-400 #/x: expected type: Integer, found: Double"),
    (r#"{"type": "integer"}"#, r#""1""#, "1104-400 #/x: expected type: Integer, found: String"),
    (r#"{"type": "number"}"#, "true", "1104-400 #/x: expected type: Number, found: Boolean"),
    (r#"{"type": "boolean"}"#, "0", "1104-400 #/x: expected type: Boolean, found: Integer"),
    (r#"{"type": "object"}"#, "[1]", "1104-400 #/x: expected type: JSONObject, found: JSONArray"),
    (r#"{"type": "array"}"#, "{}", "1104-400 #/x: expected type: JSONArray, found: JSONObject"),
    (
        r#"{"type": "object", "properties": {}, "required": ["eVar14"]}"#,
        "{}",
        "1106-400 #/x: required key [eVar14] not found",
    ),
    (
        r#"{"type": "object", "properties": {"a": {}}}"#,
        r#"{"b":1}"#,
        "1101-400 #/x: extraneous key [b] is not permitted",
    ),
    (r#"{"enum": ["a"]}"#, r#""b""#, "1101-400 #/x: b is not a valid enum value"),
    (
        r#"{"pattern": "^[A-Z]{3}$"}"#,
        r#""eur""#,
        "1103-400 #/x: string [eur] does not match pattern ^[A-Z]{3}$",
    ),
    (r#"{"minLength": 3}"#, r#""äö""#, "1101-400 #/x: expected minLength: 3, actual: 2"),
    (r#"{"maxLength": 1}"#, r#""äö""#, "1101-400 #/x: expected maxLength: 1, actual: 2"),
    (r#"{"minimum": 0}"#, "-1", "1101-400 #/x: -1 is not greater or equal to 0"),
    (r#"{"maximum": 1.5}"#, "1.75", "1101-400 #/x: 1.75 is not less or equal to 1.5"),
    (r#"{"exclusiveMinimum": 0}"#, "0", "1101-400 #/x: 0 is not greater than 0"),
    (r#"{"exclusiveMaximum": 10}"#, "10", "1101-400 #/x: 10 is not less than 10"),
    (r#"{"multipleOf": 5}"#, "7", "1101-400 #/x: 7 is not a multiple of 5"),
    (r#"{"minItems": 2}"#, "[1]", "1101-400 #/x: expected minimum item count: 2, found: 1"),
    (r#"{"maxItems": 1}"#, "[1, 2]", "1101-400 #/x: expected maximum item count: 1, found: 2"),
    (r#"{"uniqueItems": true}"#, "[1, 1]", "1101-400 #/x: array items are not unique"),
    (
        r#"{"format": "date"}"#,
        r#""1.2.26""#,
        "1102-400 #/x: [1.2.26] is not a valid date. Expected [yyyy-MM-dd]",
    ),
    (r#"{"format": "email"}"#, r#""a""#, "1102-400 #/x: [a] is not a valid email address"),
    (r#"{"format": "hostname"}"#, r#""a b""#, "1102-400 #/x: [a b] is not a valid hostname"),
    (r#"{"format": "ipv4"}"#, r#""1.2.3""#, "1102-400 #/x: [1.2.3] is not a valid ipv4 address"),
    (r#"{"format": "ipv6"}"#, r#""x""#, "1102-400 #/x: [x] is not a valid ipv6 address"),
    (r#"{"format": "uri"}"#, r#""a b""#, "1102-400 #/x: [a b] is not a valid URI"),
    (r#"{"format": "url"}"#, r#""a b""#, "1102-400 #/x: [a b] is not a valid URI"),
    (
        r#"{"format": "uri-reference"}"#,
        r#""a b""#,
        "1102-400 #/x: [a b] is not a valid URI reference",
    ),
    (r#"{"format": "uri-template"}"#, r#""{""#, "1102-400 #/x: [{] is not a valid URI template"),
    (r#"{"format": "regex"}"#, r#""(""#, "1102-400 #/x: [(] is not a valid regular expression"),
    (r#"{"format": "json-pointer"}"#, r#""a""#, "1102-400 #/x: [a] is not a valid JSON pointer"),
    (
        r#"{"anyOf": [{"type": "string"}, {"minimum": 3}]}"#,
        "1",
        "1101-400 #/x: no subschema matched out of the total 2 subschemas",
    ),
    (
        r#"{"type": ["string", "boolean"]}"#,
        "1",
        "1101-400 #/x: no subschema matched out of the total 2 subschemas",
    ),
    (
        r#"{"oneOf": [{"type": "integer"}, {"minimum": 3}, {"maximum": 9}]}"#,
        "5",
        "1101-400 #/x: 3 subschemas matched instead of one",
    ),
    (
        r#"{"oneOf": [{"type": "string"}, {"type": "boolean"}]}"#,
        "5",
        "1101-400 #/x: 0 subschemas matched instead of one",
    ),
    (
        r#"{"format": "date-time"}"#,
        r#""2018-00-23T22:07:01Z""#,
        "1102-400 #/x: [2018-00-23T22:07:01Z] is not a valid date-time. Expected [yyyy-MM-dd'T'HH:mm:ssZ, \
         yyyy-MM-dd'T'HH:mm:ss.[0-9]{1,9}Z, yyyy-MM-dd'T'HH:mm:ss[+-]HH:mm, \
         yyyy-MM-dd'T'HH:mm:ss.[0-9]{1,9}[+-]HH:mm]",
    ),
];

#[test]
fn violations_have_the_codes_and_words_of_aep() {
    for (x, value, says) in WORDS {
        let schema = with_x(&serde_json::from_str(x).unwrap());
        let found = violations_of_text(&schema, &format!("{{\"x\":{value}}}"));
        assert_eq!(found, [format!("DCVS-{says}")], "{x} {value}");
    }
}

/// The registry resolves `allOf` before AEP validates, so the branch's own words are AEP's.
#[test]
fn a_violated_branch_of_all_of_speaks_for_itself() {
    let schema = with_x(
        &json!({"type": "string", "allOf": [{"minLength": 2}, {"pattern": "^a"}, {"pattern": "^b"}]}),
    );
    assert_eq!(
        violations(&schema, &json!({"x": "a"})),
        [
            "DCVS-1101-400 #/x: expected minLength: 2, actual: 1",
            "DCVS-1103-400 #/x: string [a] does not match pattern ^b",
        ]
    );
}

#[test]
fn what_fits_is_valid() {
    let schema = with_x(&json!({"type": "integer", "meta:xdmType": "long"}));
    for text in ["{}", "{\"x\":-0}", "{\"x\":9007199254740992}", "{\"x\":-9007199254740992}"] {
        let expected: &[&str] = match text {
            // Java reads `-0` as a double, and so do we.
            "{\"x\":-0}" => &["DCVS-1104-400 #/x: expected type: Integer, found: Double"],
            _ => &[],
        };
        assert_eq!(violations_of_text(&schema, text), expected, "{text}");
    }
}

#[test]
fn integers_have_the_width_of_their_storage() {
    for (width, low, high) in [
        ("byte", -128_i64, 127_i64),
        ("short", -32_768, 32_767),
        ("int", -2_147_483_648, 2_147_483_647),
        ("long", -9_007_199_254_740_992_i64, 9_007_199_254_740_992_i64),
    ] {
        let schema = with_x(&json!({"type": "integer", "meta:xdmType": width}));
        assert!(violations(&schema, &json!({"x": low})).is_empty());
        assert!(violations(&schema, &json!({"x": high})).is_empty());
        assert_eq!(
            violations(&schema, &json!({"x": low - 1})),
            [format!("DCVS-1101-400 #/x: {} is not greater or equal to {low}", low - 1)]
        );
        assert_eq!(
            violations(&schema, &json!({"x": high + 1})),
            [format!("DCVS-1101-400 #/x: {} is not less or equal to {high}", high + 1)]
        );
    }
    let narrower = json!({"type": "integer", "meta:xdmType": "int", "minimum": 0, "maximum": 5});
    assert_eq!(
        violations(&with_x(&narrower), &json!({"x": 6})),
        ["DCVS-1101-400 #/x: 6 is not less or equal to 5"]
    );
    // However it is written.
    let written = json!({"type": "integer", "meta:xdmType": "int", "minimum": 0.0, "maximum": 5.0});
    let schema = with_x(&written);
    assert_eq!(violations(&schema, &json!({"x": 6})).len(), 1);
    assert_eq!(violations(&schema, &json!({"x": -1})).len(), 1);
    let wider = json!({"type": "integer", "meta:xdmType": "byte", "minimum": -1e3, "maximum": 1e3});
    let byte = with_x(&wider);
    assert_eq!(violations(&byte, &json!({"x": 128})).len(), 1);
    assert_eq!(violations(&byte, &json!({"x": -129})).len(), 1);
    assert!(violations(&byte, &json!({"x": 127})).is_empty());
}

#[test]
fn violations_stand_in_a_fixed_order_and_five_are_shown() {
    let item = json!({"type": "object", "properties": {"n": {"type": "integer"}}});
    let schema = load(&json!({
        "type": "object",
        "required": ["timestamp", "_id"],
        "properties": {
            "_id": {"type": "string"},
            "timestamp": {"type": "string"},
            "b": {"type": "object", "properties": {"n": {"type": "integer"}}},
            "items": {"type": "array", "items": item},
        },
    }));
    let wrong = json!({"n": "1"});
    let event = json!({"zz": 1, "aa": 1, "items": vec![wrong; 11], "b": {"n": 1.5}});
    let violations = schema.check(&Entity::parse(&event.to_string()).unwrap()).unwrap_err();
    assert_eq!(violations.total, 4 + 1 + 11);
    assert_eq!(
        violations.to_string(),
        "16 schema violations found, the first 5: \
         DCVS-1106-400 #: required key [_id] not found; \
         DCVS-1106-400 #: required key [timestamp] not found; \
         DCVS-1101-400 #: extraneous key [aa] is not permitted; \
         DCVS-1101-400 #: extraneous key [zz] is not permitted; \
         DCVS-1104-400 #/b/n: expected type: Integer, found: Double"
    );
    let mut good: Vec<Value> = vec![json!({"n": 1}); 11];
    good[2] = json!({"n": "1"});
    good[10] = json!({"n": "1"});
    let wrong_items = json!({"_id": "1", "timestamp": "", "items": good}).to_string();
    let pointers = schema.check(&Entity::parse(&wrong_items).unwrap()).unwrap_err().first;
    assert_eq!(
        pointers.iter().map(|v| v.pointer.as_str()).collect::<Vec<_>>(),
        ["/items/2/n", "/items/10/n"]
    );
}

/// The same schema in the forms in which people have it.
fn forms() -> Vec<(&'static str, Value)> {
    let name = json!({"type": "object", "properties": {"first": {"type": "string"}, "last": {"type": "string"}}, "required": ["last"]});
    let closed_name = json!({"type": "object", "additionalProperties": false, "properties": {"first": {"type": "string"}, "last": {"type": "string"}}, "required": ["last"]});
    let map =
        json!({"type": "object", "additionalProperties": {"type": "array", "items": name.clone()}});
    vec![
        (
            "expanded, draft-06",
            json!({
                "$schema": "http://json-schema.org/draft-06/schema#", "$id": "https://ns.adobe.com/acme/schemas/1", "meta:altId": "_acme.1",
                "type": "object", "required": ["_id"],
                "properties": {"_id": {"type": "string", "format": "uri-reference"}, "name": name, "map": map, "n": {"type": "integer", "meta:xdmType": "int"}},
            }),
        ),
        (
            "references with keywords beside them",
            json!({
                "$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "required": ["_id"],
                "properties": {
                    "_id": {"$ref": "#/$defs/id", "format": "uri-reference"}, "name": {"$ref": "#/$defs/a~1name"},
                    "map": {"type": "object", "additionalProperties": {"type": "array", "items": {"$ref": "#/$defs/a~1name"}}},
                    "n": {"type": "integer", "meta:xdmType": "int"},
                },
                "$defs": {"id": {"type": "string"}, "a/name": name},
            }),
        ),
        (
            "class and field groups joined by allOf",
            json!({
                "type": "object",
                "allOf": [
                    {"$ref": "#/definitions/class"},
                    {"$ref": "#/definitions/group", "type": "object", "meta:xdmType": "object"},
                    {"$ref": "#/definitions/more"},
                ],
                "definitions": {
                    "class": {"type": "object", "properties": {"_id": {"type": "string", "format": "uri-reference"}, "n": {"type": "integer", "meta:xdmType": "int"}}, "required": ["_id"]},
                    "group": {"properties": {"name": {"allOf": [{"$ref": "#/definitions/first"}, {"$ref": "#/definitions/last"}]}}},
                    "more": {"properties": {"map": {"type": "object", "additionalProperties": {"type": "array", "items": {"$ref": "#/definitions/name"}}}}},
                    "first": {"type": "object", "properties": {"first": {"type": "string"}}},
                    "last": {"type": "object", "properties": {"last": {"type": "string"}}, "required": ["last"]},
                    "name": name,
                },
            }),
        ),
        (
            "closed already",
            json!({
                "type": "object", "required": ["_id"], "additionalProperties": false,
                "properties": {
                    "_id": {"type": "string", "format": "uri-reference"}, "name": closed_name, "n": {"type": "integer", "meta:xdmType": "int"},
                    "map": {"type": "object", "additionalProperties": {"type": "array", "items": closed_name}},
                },
            }),
        ),
    ]
}

#[test]
fn every_form_of_a_schema_says_the_same() {
    let events = [
        (json!({"_id": "1"}), 0),
        (
            json!({"_id": "1", "name": {"first": "a", "last": "b"}, "map": {"x": [{"last": "b"}], "y": []}, "n": 3}),
            0,
        ),
        (json!({}), 1),
        (json!({"_id": "a b"}), 1),
        (json!({"_id": "1", "more": 1}), 1),
        (json!({"_id": "1", "name": {"first": "a"}}), 1),
        (json!({"_id": "1", "name": {"last": "b", "middle": "c"}}), 1),
        (json!({"_id": "1", "map": {"x": [{"last": "b"}, {"last": 1, "z": 0}]}}), 2),
        (json!({"_id": "1", "map": {"x": {}}}), 1),
        (json!({"_id": "1", "n": 3_000_000_000_i64}), 1),
    ];
    let said: Vec<Vec<Vec<String>>> = forms()
        .iter()
        .map(|(_, form)| load(form))
        .map(|schema| events.iter().map(|(event, _)| violations(&schema, event)).collect())
        .collect();
    for ((event, expected), found) in events.iter().zip(&said[0]) {
        assert_eq!(found.len(), *expected, "{event} {found:?}");
    }
    for ((name, _), other) in forms().iter().zip(&said) {
        assert_eq!(other, &said[0], "{name}");
    }
}

#[test]
fn objects_are_closed_where_they_list_properties_and_nowhere_else() {
    let accepts = |x: Value, event: Value| violations(&with_x(&x), &json!({"x": event})).is_empty();
    let a = json!({"properties": {"a": {"type": "string"}}});
    assert!(!accepts(a.clone(), json!({"b": 1})));
    assert!(accepts(json!({"type": "object"}), json!({"b": 1})));
    assert!(accepts(
        json!({"properties": {"a": {}}, "additionalProperties": true}),
        json!({"b": 1})
    ));
    assert!(accepts(
        json!({"properties": {"a": {}}, "patternProperties": {"^c": {}}}),
        json!({"b": 1})
    ));
    // Properties of a branch are known, others are not.
    let choice = json!({"properties": {"c": {}}, "oneOf": [a, {"properties": {"b": {"type": "integer"}}, "required": ["b"]}]});
    assert!(accepts(choice.clone(), json!({"c": 1, "a": "1"})));
    assert!(accepts(json!({"anyOf": [a, {"required": ["b"]}]}), json!({"a": "1"})));
    assert_eq!(
        violations(&with_x(&json!({"anyOf": [a]})), &json!({"x": {"a": "1", "d": 1}})),
        ["DCVS-1101-400 #/x: extraneous key [d] is not permitted"]
    );
    assert!(!accepts(choice, json!({"c": 1, "a": "1", "d": 1})));
    assert!(
        !accepts(json!(false), json!(1))
            && accepts(json!(true), json!(1))
            && accepts(json!({}), json!(null))
    );
}

#[test]
fn updates_and_deletions_need_nothing_but_must_fit() {
    let schema = load(&forms()[2].1);
    let partial = |event: Value| schema.check_partial(&Entity::parse(&event.to_string()).unwrap());
    assert_eq!(partial(json!({})), Ok(()));
    assert_eq!(partial(json!({"name": {"first": "a"}})), Ok(()));
    assert_eq!(partial(json!({"name": {"first": 1}})).unwrap_err().total, 1);
    assert_eq!(partial(json!({"other": 1})).unwrap_err().total, 1);
}

#[test]
fn the_class_is_read_off_the_root() {
    let class = |root: Value| {
        let schema = load(&root);
        (schema.has_id(), schema.is_time_series())
    };
    let text = json!({"type": "string"});
    assert_eq!(class(json!({"properties": {"_id": text, "timestamp": text}})), (true, true));
    assert_eq!(
        class(json!({"properties": {"timestamp": text}, "required": ["timestamp"]})),
        (false, true)
    );
    assert_eq!(class(json!({"properties": {"timestamp": text}})), (false, false));
    assert_eq!(class(json!({"properties": {"_id": text, "person": text}})), (true, false));
}

#[test]
fn a_schema_that_cannot_be_used_says_why() {
    let refused =
        |root: &Value| Schema::load(&root.to_string(), Mode::Xdm).unwrap_err().to_string();
    let x = |x: Value| json!({"type": "object", "properties": {"a": {"type": "object", "properties": {"x": x}}}});
    assert_eq!(
        refused(&x(json!({"$ref": "https://ns.adobe.com/xdm/context/identity"}))),
        "`$ref` to `https://ns.adobe.com/xdm/context/identity` at `/a/x` of the event leads out of the document; give the \
         schema in one piece, such as the registry's answer to `application/vnd.adobe.xed-full+json; version=1`"
    );
    assert_eq!(
        refused(&x(json!({"$ref": "#/$defs/y"}))),
        "`$ref` to `#/$defs/y` at `/a/x` of the event points at nothing in the document"
    );
    let recursive = "`$ref` to `#/properties/a` at `/a/x/x` of the event contains itself; XDM schemas are finite";
    assert_eq!(refused(&x(json!({"$ref": "#/properties/a"}))), recursive);
    assert!(refused(&x(json!({"$ref": "#"}))).contains("contains itself"));
    assert_eq!(
        refused(&x(json!({"not": {}}))),
        "`not` at `/a/x` of the event is not a keyword of XDM schemas and not supported"
    );
    assert_eq!(
        refused(&x(json!({"items": [{}]}))),
        "`items: [{}]` at `/a/x` of the event is not a keyword of XDM schemas and not supported"
    );
    assert_eq!(
        refused(&x(json!(3))),
        "at `/a/x` of the event: expected a schema (an object or a boolean), found `3`"
    );
    assert!(
        refused(&x(json!({"type": "text"})))
            .starts_with("the schema is not valid at `/properties/a/properties/x/type`")
    );
    assert!(refused(&x(json!({"pattern": "("}))).starts_with("the schema is not valid at"));
    assert!(refused(&json!({"type": "array"})).starts_with("the schema describes no object"));
    assert!(refused(&json!({})).starts_with("the schema describes no object"));
    assert!(Schema::load("{\"type\":\"object\",\"properties\":{}}", Mode::Xdm).is_ok());
    assert!(refused(&json!([])).contains("expected a schema"));
    assert!(
        Schema::load("{", Mode::Xdm).unwrap_err().to_string().starts_with("the schema is not JSON")
    );
    let mut deep = json!({"type": "string"});
    for _ in 0..100 {
        deep = json!({"type": "object", "properties": {"x": deep}});
    }
    assert!(Schema::load(&deep.to_string(), Mode::Xdm).is_err());
    // Ten doublings of ten: a thousand million fields in a few hundred bytes.
    let mut definitions = serde_json::Map::new();
    for n in 0..30 {
        let next = json!({"$ref": format!("#/$defs/d{}", n + 1)});
        definitions.insert(format!("d{n}"), json!({"properties": {"a": next.clone(), "b": next}}));
    }
    definitions.insert("d30".to_owned(), json!({}));
    let bomb = json!({"type": "object", "properties": {"x": {"$ref": "#/$defs/d0"}}, "$defs": definitions});
    assert!(refused(&bomb).contains("more than 100000 fields"));
}

#[test]
fn silent_rules_are_warnings() {
    let schema = load(&json!({
        "type": "object", "required": ["timestamp"],
        "properties": {
            "timestamp": {"type": "string"},
            "eventType": {"type": "string", "meta:enum": {"a": "A", "b": "B"}},
            "old": {"type": "string", "meta:status": "deprecated"},
            "list": {"type": "array", "items": {"type": "object", "properties": {"kind": {"type": "string", "meta:enum": {"k": ""}}}}},
            "identityMap": {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "object", "properties": {"id": {"type": "string"}, "primary": {"type": "boolean"}}}}},
        },
    }));
    let warned = |event: Value| -> Vec<String> {
        let text = event.to_string();
        let entity = Entity::parse(&text).unwrap();
        assert_eq!(schema.check(&entity), Ok(()));
        schema
            .warnings(&entity)
            .iter()
            .map(|w| format!("{} {}", w.code.as_str(), w.pointer))
            .collect()
    };
    assert_eq!(
        warned(json!({"timestamp": "", "eventType": "a", "list": vec![json!({"kind": "k"}); 10]})),
        [""; 0]
    );
    assert_eq!(warned(json!({"timestamp": "", "eventType": "c"})), ["schema.soft-enum /eventType"]);
    assert_eq!(warned(json!({"timestamp": "", "old": ""})), ["schema.deprecated /old"]);
    assert_eq!(
        warned(json!({"timestamp": "", "list": vec![json!({}); 11]})),
        ["profile.long-array /list"]
    );
    assert_eq!(
        warned(json!({"timestamp": "", "list": [{}, {"kind": "l"}]})),
        ["schema.soft-enum /list/1/kind"]
    );
    let ids = json!({"a/b": [{"id": "7", "primary": true}, {"id": " NULL "}], "c": [{"id": "8", "primary": true}, {"id": ""}]});
    assert_eq!(
        warned(json!({"timestamp": "", "identityMap": ids})),
        [
            "identity.placeholder /identityMap/a~1b/1/id",
            "identity.placeholder /identityMap/c/1/id",
            "identity.primaries /identityMap"
        ]
    );
    assert_eq!(warned(json!({"timestamp": "", "list": vec![json!({"kind": "?"}); 99]})).len(), 16);
}
