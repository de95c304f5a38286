//! Numbers, ids and times go through unharmed, and nothing depends on what came before.

use proptest::prelude::*;
use xylem_mapping::{Decimal, Value};

use crate::support::{apply, bodies, fields};

#[test]
fn ids_and_decimals_go_through() {
    let mapping = fields(
        "a: .a\nb: .b\nc: {from: .c, type: number}\nd: {from: .d, type: string}\ne: '.e | .[0]'\nf: '[.b, .a]'",
    );
    assert_eq!(
        bodies(
            &mapping,
            r#"{"a": 19.99, "b": 9007199254740993, "c": "0.10", "d": 12345678901234567890, "e": [18446744073709551617.10]}"#
        ),
        [
            r#"{"a":19.99,"b":9007199254740993,"c":0.1,"d":"12345678901234567890","e":18446744073709551617.1,"f":[9007199254740993,19.99]}"#
        ]
    );
}

proptest! {
    /// A number's value survives every way through the mapping, and whole numbers lose their fraction.
    #[test]
    fn numbers_keep_their_value(text in r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,12})?") {
        let mapping = fields("a: .v\nb: {from: .v, type: number}\nc: '.v | .'\nd: {from: .s, type: number}\ne: {each: '.l[]', value: .}");
        let body = &bodies(&mapping, &format!(r#"{{"v": {text}, "s": "{text}", "l": [{text}]}}"#))[0];
        let event = xylem_mapping::json::parse(body, 8).unwrap();
        let expected = Decimal::parse(&text).unwrap();
        for name in ["a", "b", "c", "d"] {
            let Some(Value::Number(number)) = event.get(name) else { panic!("{body}") };
            prop_assert_eq!(Decimal::parse(number).unwrap(), expected);
            prop_assert_eq!(number.contains('.'), expected.floor().to_string() != expected.to_string(), "{}", number);
        }
        let Some(Value::Array(list)) = event.get("e") else { panic!("{body}") };
        prop_assert_eq!(list.len(), 1);
    }

    /// Texts survive, whatever is in them.
    #[test]
    fn texts_survive(text in ".{1,40}") {
        let mapping = fields("a: .v\nb: '.v | .'\nc: {from: .v, type: string}");
        let document = Value::Object(vec![("v".into(), Value::from(text.as_str()))]).to_json();
        let event: serde_json::Value = serde_json::from_str(&bodies(&mapping, &document)[0]).unwrap();
        for name in ["a", "b", "c"] {
            prop_assert_eq!(event[name].as_str(), Some(text.as_str()));
        }
    }

    /// Foreign documents give an outcome, never a panic, and the same one after any neighbours.
    #[test]
    fn outcomes_do_not_depend_on_neighbours(documents in proptest::collection::vec(json_text(), 1..6)) {
        let yaml = "_id: {from: .id, type: uri-safe}\nn: {from: .a.n, type: number, invalid: omit}\nt: {from: .t, type: date-time}\n\
                    l: {each: '.l[]', fields: {x: .x, y: '.x | tostring | sub(\"a\"; \"b\")'}}\nc: '.a | keys? | first'";
        let long_used = fields(yaml);
        for document in &documents {
            let first = format!("{:?}", apply(&fields(yaml), document));
            prop_assert_eq!(format!("{:?}", apply(&long_used, document)), first.clone());
            prop_assert_eq!(format!("{:?}", apply(&long_used, document)), first);
        }
    }
}

/// Documents that often have what the mapping reads, of the right or the wrong kind.
fn json_text() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("\"\"".to_owned()),
        Just("\"2026-01-02T03:04:05Z\"".to_owned()),
        (-5i64..5).prop_map(|n| n.to_string()),
        "\"[a-c é]{0,4}\"",
    ];
    let value = scalar.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4)
                .prop_map(|items| format!("[{}]", items.join(","))),
            proptest::collection::vec(("[idatlnx]{1,2}", inner), 0..4).prop_map(|members| {
                let members: Vec<String> =
                    members.into_iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    });
    proptest::collection::vec(
        (prop_oneof![Just("id"), Just("a"), Just("t"), Just("l")], value),
        0..4,
    )
    .prop_map(|members| {
        let members: Vec<String> =
            members.into_iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
        format!("{{{}}}", members.join(","))
    })
}
