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

/// The code of a rejection, or the body of the event, with each answer of an expression as a text.
fn answers(expression: &str, document: &Json) -> Result<String, String> {
    let quoted = expression.replace('\'', "''");
    let mapping = fields(&format!("k: type\nx: {{each: '{quoted}', value: tojson}}"));
    match crate::support::apply(&mapping, &document.to_string()) {
        xylem_kit::Outcome::Emit(events) => Ok(events[0].body.clone()),
        xylem_kit::Outcome::Reject(rejection) => Err(rejection.code),
        xylem_kit::Outcome::Filter(reason) => panic!("{reason}"),
    }
}

/// Checks that an expression answers the same where all of the document is copied for it.
fn check_copying(expression: &str, documents: &[Json]) {
    // Both run in jq: what is direct looks at the document itself.
    let partly = format!("1 as $one | ({expression})");
    let whole = format!("reduce 1 as $one (.; .) | ({expression})");
    for document in documents {
        assert_eq!(
            answers(&partly, document),
            answers(&whole, document),
            "{expression} of {document}"
        );
    }
}

#[test]
fn what_only_decides_is_there_too() {
    let document =
        json!({"cancelled_at": "2026", "lines": [{"q": 1}, {"q": 2}], "a": 1, "o": {"b": [1]}});
    for (expression, expected) in [
        (".cancelled_at // empty | \"cancelled\"", json!(["\"cancelled\""])),
        (".a | values | \"x\"", json!(["\"x\""])),
        (".a | numbers | \"x\"", json!(["\"x\""])),
        (".a | strings | \"x\"", Json::Null),
        ("reduce .lines[] as $l (0; . + 1)", json!(["2"])),
        ("[.lines[] | 1] | add", json!(["2"])),
        ("[.lines[]? | 1] | add", json!(["2"])),
        ("[foreach .lines[] as $l (0; . + 1)]", json!(["[1,2]"])),
        (".lines[] | {n: 1}", json!(["{\"n\":1}", "{\"n\":1}"])),
        ("{n: (.lines[] | 1)}", json!(["{\"n\":1}", "{\"n\":1}"])),
        (".lines | map(1)", json!(["[1,1]"])),
        ("any(.lines[]; true)", json!(["true"])),
        ("isempty(.lines[])", json!(["false"])),
        ("limit(.a; .lines[] | \"x\")", json!(["\"x\""])),
        ("if .a then \"x\" elif .o then \"y\" else \"z\" end", json!(["\"x\""])),
        (".o as {b: [$b]} | \"x\\($b)\"", json!(["\"x1\""])),
        ("def f: .a; if f then \"x\" else \"y\" end", json!(["\"x\""])),
    ] {
        let found: Json = serde_json::from_str(&answers(expression, &document).unwrap()).unwrap();
        assert_eq!(found.get("x").cloned().unwrap_or_default(), expected, "{expression}");
    }
    let when = mapping(
        "unmapped: ignore\nevents: [{when: '.cancelled_at // empty | true', fields: {x: .a}}]",
    );
    assert_eq!(event(&when, &document.to_string()), json!({"x": 1}));
}

/// All ways to look at a document, and some not to.
const LOOKS: &[&str] = &[
    "if .a then 1 elif .b then 2 end | .k",
    "select(.a) | \"x\"",
    "select(.a == 1 and (.b | type) == \"string\") | .k",
    "any(.l[]; .v == 3)",
    "all(.l[]; true), any, all(. == 1)",
    "first(.l[]), last(.l[]), nth(1; .l[]), limit(1; .l[] | 1), skip(1; .l[] | 1)",
    "first, last",
    "until(. == 5; 5), [limit(3; repeat(.a))]",
    "[while(type == \"object\"; .a)]",
    "try .a.b catch \"caught\", try error(.k) catch ., try error catch .a",
    ".a.b?, .l[]?.v, .o.b[]?, (.k | .x)?",
    ". as $d | .l[]? | [$d.a, .v]",
    ". as $d | $d | .a",
    ". as $d | [$d] | .[0].b",
    ". as {a: $a, $b} | [$a, $b]",
    ". as {$k, o: {b: [$x, $y]}} | [$k, $x, $y]",
    ". as {(.k): $x} | $x",
    ".o as {(.k): $x} | $x",
    ".k as $k | . as {($k): $x} | $x",
    ".k as $k | .[$k], .[\"a\", \"b\"]",
    ". as $x | .o as $x | $x.b",
    ". as $d | .o as {a: $d, (\"b\", ($d | keys[0])): $x} | $x",
    ". as [$x] | $x",
    "[paths], [paths(type == \"number\")], [leaf_paths?]",
    "getpath([\"a\"]), getpath([\"o\", \"b\"]), [path(.a, .l[0].v)], path(..)",
    "[.. | numbers], [recurse | type], [recurse(.o?; . != null)]",
    "to_entries, with_entries(.), keys, keys_unsorted, length, type",
    "has(\"a\"), has(\"zz\"), has(.k)",
    "(.l | has(0)), (.o | has($document.k))",
    "def f: .a; f, (.o | .b)",
    "def f($x; g): g + $x; f(.a; .l | length)",
    "def select(f): keys; select(.a)",
    ".o | def f: .b; f",
    "label $out | .l[] | if .v == 3 then ., break $out else .v end",
    "label $out | 1, (.a | values | break $out), 2",
    "\"\\(.a)-\\(.l[]?.v)-\\(if .b then 1 else 2 end)\", \"\\(.)\"",
    "@base64, @json, @text, @json \"\\(.o)\", @base64 \"\\(.k)\", @csv \"\\([.a])\"",
    "{a, \"b\": .k, \"o\", (.k): 1, \"x\\(.a)\": 2}",
    "{\"\\(.k)\"}, {@text \"\\(.k)\"}, (. as $d | {$d}), ({a: .a} as $o | {$o})",
    "{a: .l[]?.v, b: (.a, .b)}",
    "reduce .l[] as $l (0; . + 1), reduce .l[]? as {v: $v} (0; . + $v)",
    "reduce (1, 2) as $i (.; .x = $i), reduce .l[] as $l (.; .a)",
    "reduce .l[] as $l ({}; . + $l) | .n",
    "[foreach .l[] as $l (.a; . + 1; [., $l.v])], [foreach . as $d (0; 1; $d)]",
    ". as $d | reduce 1 as $x (0; $d) | .b",
    ".a = 2, .a |= 3, .a += 1, .n //= 4, (.l[0] |= 1), del(.a), delpaths([[\"a\"]])",
    "(.a, .b) = 1, (.o | .k = 1), to_entries[0], setpath([\"a\"]; 1), pick(.a)",
    ". + {z: 1}, . == {}, (. | not), -.a, .a - 1, .l + .l",
    "(., .a) | type, (. // 1 | .a), (.n // . | .k), (.a | ., 1), (if .a then . else .o end | .b?)",
    ".l | map(1), map(.v), (sort_by(.v) | last), group_by(1), min_by(.v), add(.[]?.v), any, first",
    "map(1), map_values(1), add, tojson, tostring, ascii, flatten, tostream, [splits(\"a\")]",
    "walk(1), env.PATH?, splits(.k)",
    "range(.a), [range(0; .l | length)], isempty(.l[]), isempty(empty), input_line_number",
    "$__loc__, $document.a, $item.k, ([$document] | length), limit(1; repeat(.k))",
    ".[], .[]?, .[0]?, .[1:]?, .\"a\", .[\"a\"], .[.k]?, .[\"o\"].b",
    "try (.a | error) catch ., (.a as $x | try error({$x}) catch .x)",
    "combinations?, transpose?, (.l | IN(1)), IN(.l; .l), INDEX(.l[]?; .v), ascii_downcase?",
    "ltrimstr(.k), test(.k)?, (.b | test($document.b)), @sh?, limit(.n; 1), tojson",
    "(.a // empty | \"c\"), (.n // empty | \"c\"), (.a | values | \"x\"), (.o | arrays | 1)",
    "(.l | objects | 1), (.a, .b, .zz | booleans, scalars, nulls, iterables | 1)",
    ".l as $l | 1, ([.l[]?] | 1), ($item | .b), (.a as $x | .b as $y | 1)",
];

#[test]
fn what_is_copied_makes_no_difference() {
    let documents = [
        json!({"a": 1, "b": "x", "l": [{"v": 1}, {"v": 3, "n": null}], "o": {"b": [1, 2], "k": "b"}, "k": "a", "n": null}),
        json!({"b": false, "l": {"x": 1}, "o": "t", "k": "b"}),
        json!({}),
        json!([1, {"a": 2}]),
    ];
    for expression in LOOKS {
        // Each alternative alone, and all together; those that this jq does not know are left out.
        let alone = expression.split(", ").collect::<Vec<_>>();
        let mut tried = 0;
        for expression in alone.into_iter().chain([*expression]) {
            let quoted = expression.replace('\'', "''");
            if try_mapping(&format!("events: [{{fields: {{x: '{quoted}'}}}}]")).is_ok() {
                check_copying(expression, &documents);
                tried += 1;
            }
        }
        assert!(tried > 0, "{expression}");
    }
}

#[test]
fn what_is_copied_makes_no_difference_to_what_is_composed() {
    let documents = [
        json!({"a": 1, "l": [{"v": 1}, {"v": 3}], "o": {"a": 2, "l": [{}]}, "k": "a"}),
        json!({"a": null, "l": []}),
    ];
    let terms = [
        ".",
        ".a",
        ".l[]?",
        ".a // empty",
        ".a | values",
        "\"x\"",
        "{a}",
        "select(.a?)",
        "$d.a?",
        "$d",
        "first(.l?, .o?)",
        "keys",
    ];
    for left in terms {
        for right in terms {
            for shape in [
                "L | R",
                "(L) // (R)",
                "[L] | R",
                "(L), (R) | 1",
                "if L then R end",
                "(L) as $d | R",
                "(L) as {a: $d} | R",
                "reduce (L) as $d (0; . + 1, (R))",
                "[foreach (L) as $d (R; .; $d)]",
                "try (L | error) catch (R)",
                "label $f | (L) | (R), break $f",
                "{a: (L)} | R",
                "any((L); R)",
                "[limit(1; L)] | map(R)",
                "[(L) | (R)] == [R]",
                "\"\\(L)\" | R",
            ] {
                let shape: String = shape
                    .chars()
                    .map(|c| match c {
                        'L' => left.to_owned(),
                        'R' => format!("({right})"),
                        other => other.to_string(),
                    })
                    .collect();
                check_copying(&format!(". as $d | ({shape})"), &documents);
                if !shape.contains("$d") {
                    check_copying(&shape, &documents);
                }
            }
        }
    }
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
fn the_record_is_asked_for_wherever_it_is_named() {
    for expression in
        ["def f: $record.key; f", "$document | has($record.key)", ".a as {($record.key): $x} | $x"]
    {
        assert!(fields(&format!("x: '{expression}'")).uses_record(), "{expression}");
    }
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
