//! jq, and what is faster than jq but says the same.

use serde_json::{Value as Json, json};

use crate::support::{convert, event, fields, mapping, rejected, try_mapping};

#[test]
fn paths() {
    let document = r#"{"a": {"b c": [1, 2, {"d": "x"}]}, "n": null, "t": "text", "l": [{"v": 1}, {}, {"v": 3}]}"#;
    for (expression, expected) in [
        (".a.\"b c\"[0]", json!(1)),
        (".a[\"b c\"][-1].d", json!("x")),
        (".a[\"b c\"][9]", Json::Null),
        (".n.x.y", Json::Null),
        (".missing.x", Json::Null),
        (".t.x?", Json::Null),
        ("$document.t", json!("text")),
        ("$item.t", json!("text")),
        (".missing // .t", json!("text")),
        (".missing // \"d\"", json!("d")),
        (".t == \"text\" and .n == null", json!(true)),
        (".t != \"text\" or (.missing | not)", json!(true)),
        ("3 == .l[2].v", json!(true)),
        (".l[2].v == 3.0", json!(true)),
    ] {
        let mapping = fields(&format!("k: .t\nx: '{expression}'"));
        assert_eq!(
            event(&mapping, document).get("x").cloned().unwrap_or_default(),
            expected,
            "{expression}"
        );
    }
    let many = fields("x: {each: '.l[].v', value: .}");
    assert_eq!(event(&many, document), json!({"x": [1, 3]}));
    let (code, message, path) = rejected(&fields("x: .t.y"), document);
    assert_eq!(
        (code.as_str(), message.as_str(), path.as_str()),
        ("expression", "`.t.y` reads the member `y` of a text", ".t.y")
    );
    assert!(
        rejected(&fields("x: '.l[].v'"), document).1.contains("gives 3 values where one is needed")
    );
}

#[test]
fn what_is_direct_answers_as_jq_does() {
    let documents = [
        json!({"a": 1, "b": "x"}),
        json!({"a": null}),
        json!({"a": {"b": false}}),
        json!({"a": {"b": [1, 2]}}),
        json!({}),
        json!(null),
        json!({"a": "1"}),
        json!({"a": {"b": 0}}),
        json!([1]),
        json!("t"),
    ];
    for expression in [
        ".a",
        ".a?",
        ".a.b",
        ".a.b?",
        ".a[\"b\"]",
        ".a // \"d\"",
        ".a.b // .b",
        ".a == 1",
        ".a != 1",
        ".a == null",
        ".a == \"1\"",
        ".a and .b",
        ".a or .b",
        "(.a | not)",
        ".a.b == 0",
        ".a == -1",
        "not",
        "null",
        "true",
        "\"lit\"",
        "7",
        ".a.b[-1]",
    ] {
        let with = |expression: &str| {
            fields(&format!(
                "k: {{const: 1}}\nx: {{from: '{expression}', type: string}}\ny: '{expression}'"
            ))
        };
        // A reduce is not direct, so this runs in jq.
        let jq_expression = format!("reduce 1 as $x (.; .) | {expression}");
        for document in &documents {
            let outcome = |expression: &str| {
                let outcome = crate::support::apply(&with(expression), &document.to_string());
                match outcome {
                    xylem_kit::Outcome::Emit(events) => Ok(events[0].body.clone()),
                    xylem_kit::Outcome::Reject(rejection) => Err(rejection.code),
                    xylem_kit::Outcome::Filter(reason) => panic!("{reason}"),
                }
            };
            assert_eq!(outcome(expression), outcome(&jq_expression), "{expression} of {document}");
        }
    }
}

/// Checks expressions against values and what they give, and that it makes no difference how much
/// of the document an expression reads.
fn check(cases: &[(&str, Json, Json)]) {
    for (expression, value, expected) in cases {
        let quoted = expression.replace('\'', "''");
        assert_eq!(convert(&format!("'{quoted}'"), value), *expected, "{expression}");
        // What an expression does not read is not copied for it; this one reads everything.
        let whole = format!("'(keys | empty), ({quoted})'");
        assert_eq!(convert(&whole, value), *expected, "{expression} of the whole document");
    }
}

#[test]
fn regular_expressions() {
    check(&[
        (".v | sub(\"\\\\.0$\"; \"\")", json!("17850.0"), json!("17850")),
        (".v | gsub(\"(?<x>[0-9])\"; \"<\\(.x)>\")", json!("a1b2"), json!("a<1>b<2>")),
        (".v | test(\"^a\"; \"i\")", json!("Abc"), json!(true)),
        (".v | test(\"^a\")", json!("Abc"), json!(false)),
        (".v | [test(\"a\", \"z\")]", json!("a"), json!([true, false])),
        (
            ".v | sub(\"(?<a>x)|(?<b>y)\"; \"<\\(.a)\\(.b)>\"; \"g\")",
            json!("xyz"),
            json!("<xnull><nully>z"),
        ),
        (".v | [sub(\"a\"; \"1\", \"2\")]", json!("ab"), json!(["1b", "2b"])),
        (".v | gsub(\"\"; \"-\")", json!("ab"), json!("-a-b-")),
        (".v | gsub(\"\\\\s+\"; \" \")", json!("a \t b"), json!("a b")),
        (".v | [scan(\"[a-z]+\")] | join(\"-\")", json!("ab1cd"), json!("ab-cd")),
        (".v | [match(\"é\").offset]", json!("aé"), json!([1])),
        (".v | capture(\"(?<y>[0-9]{4})-(?<m>[0-9]{2})\").y", json!("2026-01"), json!("2026")),
        (".v | [splits(\", *\")]", json!("a, b,c"), json!(["a", "b", "c"])),
    ]);
}

#[test]
fn jq() {
    check(&[
        (".v | ascii_downcase", json!("AbC"), json!("abc")),
        (".v | split(\",\") | map(tonumber) | add", json!("1,2,3"), json!(6)),
        (".v | @base64", json!("foo"), json!("Zm9v")),
        (".v | @base64d | fromjson | .a", json!("eyJhIjoxfQ=="), json!(1)),
        (".v | @uri", json!("a b"), json!("a%20b")),
        ("\"\\(.k)-\\(.v)\"", json!("x"), json!("1-x")),
        (
            "if .v > 5 then \"big\" elif .v == 5 then \"five\" else \"small\" end",
            json!(5),
            json!("five"),
        ),
        (
            ".v | to_entries | map(\"\\(.key)=\\(.value)\") | join(\"&\")",
            json!({"a": 1, "b": 2}),
            json!("a=1&b=2"),
        ),
        (
            ".v | map(select(.k == \"page\")) | first | .s",
            json!([{"k": "x"}, {"k": "page", "s": "p"}]),
            json!("p"),
        ),
        (".v | with_entries(select(.value != null))", json!({"a": null, "b": 1}), json!({"b": 1})),
        ("reduce .v[] as $x (0; . + $x)", json!([1, 2]), json!(3)),
        ("[.v[] | . as {a: $a} | $a] | unique | length", json!([{"a": 1}, {"a": 1}]), json!(1)),
        ("try error(\"x\") catch .", json!(1), json!("x")),
        (".v[1:] | length", json!([1, 2, 3]), json!(2)),
        ("[.v | .. | numbers] | max", json!({"a": [3, {"b": 9}]}), json!(9)),
        (".v | floor", json!(1.5), json!(1)),
        ("[limit(2; .v[])]", json!([1, 2, 3]), json!([1, 2])),
        ("def half: . / 2; .v | half", json!(3), json!(1.5)),
        (".v | ltrimstr(\"gid://\") | trim", json!("gid://x "), json!("x")),
        ("first(.v[] | select(. > 1))", json!([1, 2, 3]), json!(2)),
        (".v | if type == \"array\" then .[] else . end", json!(["one"]), json!("one")),
        (".v | tostring", json!(12), json!("12")),
        ("empty", json!(1), json!(null)),
        (".v | group_by(.a) | map(length)", json!([{"a": 1}, {"a": 2}, {"a": 1}]), json!([2, 1])),
        (".v | any(. == 2)", json!([1, 2]), json!(true)),
        (".v | [paths] | length", json!({"a": {"b": 1}}), json!(2)),
        (".v | del(.a)", json!({"a": 1, "b": 2}), json!({"b": 2})),
        (".v | .a |= . + 1 | .a", json!({"a": 1}), json!(2)),
        (".v | @text \"x\\(.)\"", json!(1), json!("x1")),
        (".v | tojson", json!([1, "a"]), json!("[1,\"a\"]")),
        (".v | has(\"a\") and (.a | inside(\"xyz\"))", json!({"a": "y"}), json!(true)),
        (".v | explode | implode", json!("é"), json!("é")),
        (".v | sort_by(.n) | last.n", json!([{"n": 2}, {"n": 1}]), json!(2)),
    ]);
}

#[test]
fn nothing_outside_the_record_can_be_read() {
    for expression in [
        "now",
        "env",
        "$ENV",
        "input",
        "inputs",
        "halt",
        "debug",
        "localtime",
        "include \"x\"; .",
        "import \"a\" as a; .",
        "input_filename",
        "halt_error",
        "stderr",
    ] {
        let yaml = format!("events: [{{fields: {{x: '{expression}'}}}}]");
        let Err(error) = try_mapping(&yaml) else { panic!("{expression} compiles") };
        assert!(error.contains("events[0].fields.x"), "{error}");
    }
}

#[test]
fn expressions_are_bounded() {
    let (code, message, _) =
        rejected(&fields("x: '[range(1000000)] | length'\ny: 'range(1000000)'"), "{}");
    assert_eq!(
        (code.as_str(), message.as_str()),
        ("expression", "`range(1000000)` gives more than 65536 values")
    );
    let error = try_mapping("events: [{fields: {x: 'def f: f; f'}}]").err().unwrap();
    assert!(error.contains("the function `f` calls itself"), "{error}");
    let error = try_mapping("events: [{fields: {x: 'def f: def g: f; g; f'}}]").err().unwrap();
    assert!(error.contains("calls itself"), "{error}");
    let long = format!("events: [{{fields: {{x: '{}'}}}}]", ". |".repeat(2000));
    assert!(try_mapping(&long).err().unwrap().contains("limit is 4096"));
}

/// Invariant 10, as far as a plugin can uphold it: a failure says what the mapping's author wrote,
/// never what the record holds.
#[test]
fn failures_do_not_repeat_the_record() {
    let secret = r#"{"s": "hunter2", "n": 4711, "o": {"hunter2": 1}}"#;
    for expression in [
        ".s | tonumber",
        ".s + .n",
        ".s | .[\"a\"]",
        ".o | .[0]",
        ".s | fromjson",
        "error(.s)",
        ".s | error",
        ".n | test(\"a\")",
        ".s[]?, (.s | keys)",
        ".s | @base64d",
        "(1, .s) |= .",
        ".o | implode",
        ".s | splits(.s)",
        ".n | ascii_downcase",
        "$document.s | has(0)",
        "-.s",
        ".s | sub(\"(\"; \"\")",
    ] {
        let (_, message, path) =
            rejected(&fields(&format!("x: '{}'", expression.replace('\'', "''"))), secret);
        assert!(!message.contains("hunter2") && !message.contains("4711"), "{message}");
        assert!(!path.contains("hunter2"), "{path}");
    }
    let (_, message, _) =
        rejected(&fields(r#"x: 'if .n > 1 then error("too many") else . end'"#), secret);
    assert!(message.ends_with("raises: too many"), "{message}");
}

#[test]
fn mistakes_are_explained() {
    for (expression, expected) in [
        (".a |", "is no jq expression"),
        (".a + nosuch", "there is no filter `nosuch`"),
        ("$nosuch", "there is no variable `$nosuch`"),
        ("$lookups.nosuch[.a]", "there is no look-up `nosuch`; there are: genders, stores"),
        ("if . then 1", "is no jq expression"),
        ("\"abc", "is no jq expression"),
        (".a | 1 2", "is no jq expression"),
    ] {
        let error =
            try_mapping(&format!("events: [{{fields: {{x: '{expression}'}}}}]")).err().unwrap();
        assert!(error.contains(expected) && error.contains("events[0].fields.x"), "{error}");
    }
}

#[test]
fn lookups_in_expressions() {
    let mapping = fields(
        "k: .k\nx: '$lookups.stores[.s].city'\ny: '$lookups.genders.M'\nz: '$lookups | keys | length'\nw: '$lookups.stores[.s | tostring].zone'",
    );
    assert_eq!(
        event(&mapping, r#"{"k": 1, "s": "007"}"#),
        json!({"k": 1, "x": "Berlin", "y": "male", "z": 2, "w": "Europe/Berlin"})
    );
    assert_eq!(event(&mapping, r#"{"k": 1, "s": "9"}"#), json!({"k": 1, "y": "male", "z": 2}));
}

#[test]
fn the_record_can_be_read() {
    let mapping = mapping(
        "events: [{fields: {k: $record.key, t: {from: $record.timestamp, type: date-time}, o: $record.offset, h: '$record.headers.ce_id', j: '$record.topic + \"x\"'}}]",
    );
    assert!(mapping.uses_record());
    let record = xylem_kit::Record {
        offset: 7,
        timestamp_ms: Some(1_600_000_000_123),
        key: Some(xylem_kit::Payload::Bytes(b"key".to_vec())),
        payload: None,
        headers: vec![xylem_kit::Header { key: "ce_id".to_owned(), value: Some(b"h".to_vec()) }],
    };
    let source =
        xylem_kit::Source { pipeline: "p".to_owned(), topic: "t".to_owned(), partition: 0 };
    let value = xylem_mapping::record_value(&source, &record);
    let xylem_kit::Outcome::Emit(events) = mapping.apply(&xylem_mapping::Value::Null, &value)
    else {
        panic!()
    };
    let event: Json = serde_json::from_str(&events[0].body).unwrap();
    assert_eq!(
        event,
        json!({"k": "key", "t": "2020-09-13T12:26:40.123Z", "o": 7, "h": "h", "j": "tx"})
    );
}
