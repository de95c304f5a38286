//! `type` and what goes with it.

use serde_json::json;

use crate::support::{convert, event, fields, refuse, rejected};

#[test]
fn without_a_type_values_stay_what_they_are_without_empty_parts() {
    assert_eq!(convert(".v", &json!("a")), json!("a"));
    assert_eq!(convert(".v", &json!(false)), json!(false));
    assert_eq!(convert(".v", &json!(0)), json!(0));
    assert_eq!(convert(".v", &json!({"a": [1, null, "", {}], "b": null})), json!({"a": [1]}));
    for empty in [json!(null), json!(""), json!([]), json!({}), json!({"a": [""]})] {
        assert_eq!(convert(".v", &empty), json!(null), "{empty}");
    }
}

#[test]
fn strings() {
    let rule = "{from: .v, type: string}";
    assert_eq!(convert(rule, &json!(" 007 ")), json!(" 007 "));
    assert_eq!(convert("{from: .v, type: string, trim: true}", &json!(" 007 ")), json!("007"));
    assert_eq!(convert(rule, &json!(42)), json!("42"));
    assert_eq!(convert(rule, &json!(true)), json!("true"));
    assert_eq!(refuse(rule, &json!([1])), "`x` needs a text, but `.v` is a list");
    assert_eq!(convert("{from: .v, type: upper}", &json!(" eur")), json!("EUR"));
    assert_eq!(convert("{from: .v, type: lower}", &json!("ÄB ")), json!("äb"));
}

#[test]
fn integers_are_whole() {
    let rule = "{from: .v, type: integer}";
    for (value, expected) in [
        (json!(3), "3"),
        (json!(3.0), "3"),
        (json!("17850.0"), "17850"),
        (json!(" 7 "), "7"),
        (json!("1e3"), "1000"),
        (json!("-007"), "-7"),
    ] {
        assert_eq!(convert(rule, &value).to_string(), expected, "{value}");
    }
    assert_eq!(convert(rule, &json!(" ")), json!(null));
    assert_eq!(
        refuse(rule, &json!(1.47)),
        "`x` needs a whole number, but `.v` is a number that has a fraction"
    );
    assert_eq!(
        refuse(rule, &json!("1,000")),
        "`x` needs a whole number, but `.v` is a text that is not written as one"
    );
    assert_eq!(refuse(rule, &json!(true)), "`x` needs a whole number, but `.v` is a boolean");
    assert!(refuse(rule, &json!("1e99")).contains("more than 64 digits"));
}

#[test]
fn numbers() {
    let rule = "{from: .v, type: number}";
    for (value, expected) in
        [(json!("19.90"), "19.9"), (json!("-0"), "0"), (json!(".5"), "0.5"), (json!(12), "12")]
    {
        assert_eq!(convert(rule, &value).to_string(), expected, "{value}");
    }
    for value in ["19,90", "$5", "NaN", "(12.00)", "0x1"] {
        assert!(refuse(rule, &json!(value)).contains("not written as one"), "{value}");
    }
}

#[test]
fn booleans_take_data_preps_words() {
    let rule = "{from: .v, type: boolean}";
    for word in ["y", "yes", "Y", "YES", "on", "ON", "true", "TRUE", "True"] {
        assert_eq!(convert(rule, &json!(word)), json!(true), "{word}");
    }
    for word in ["n", "no", "N", "NO", "off", "OFF", "false", "FALSE"] {
        assert_eq!(convert(rule, &json!(word)), json!(false), "{word}");
    }
    assert_eq!(convert(rule, &json!(false)), json!(false));
    assert!(refuse(rule, &json!("1")).contains("none of y, yes, on, true"));
    assert!(refuse(rule, &json!(1)).contains("is a number"));
}

#[test]
fn date_times_refuse_to_guess() {
    let rule = "{from: .v, type: date-time}";
    assert_eq!(convert(rule, &json!("2009-11-10T23:00:00Z")), json!("2009-11-10T23:00:00Z"));
    assert_eq!(
        convert(rule, &json!("2009-11-10 23:00:00.100+0100")),
        json!("2009-11-10T23:00:00.1+01:00")
    );
    assert_eq!(
        refuse(rule, &json!("2009-11-10T23:00:00")),
        "`x` needs a date-time, but `.v` has no offset from UTC; state its `zone`"
    );
    assert!(refuse(rule, &json!("10/11/2009")).contains("state its `format`"));
    assert!(refuse(rule, &json!(1_257_894_000)).contains("s, ms, us or ns"));
    assert_eq!(
        convert("{from: .v, type: date-time, zone: Europe/Berlin}", &json!("2009-11-10T23:00:00")),
        json!("2009-11-10T23:00:00+01:00")
    );
}

#[test]
fn date_times_with_formats() {
    let rule = r#"{from: .v, type: date-time, zone: Europe/Berlin, format: "%Y-%m-%d %H:%M"}"#;
    assert_eq!(convert(rule, &json!("2026-07-01 08:05")), json!("2026-07-01T08:05:00+02:00"));
    assert!(refuse(rule, &json!("2026-07-01T08:05")).contains("does not have the format"));
    for (unit, value, expected) in [
        ("s", json!(1_600_000_000), "2020-09-13T12:26:40Z"),
        ("ms", json!("1600000000123"), "2020-09-13T12:26:40.123Z"),
        ("us", json!("1600000000123456"), "2020-09-13T12:26:40.123456Z"),
        ("s", json!(-1), "1969-12-31T23:59:59Z"),
    ] {
        assert_eq!(
            convert(&format!("{{from: .v, type: date-time, format: {unit}}}"), &value),
            json!(expected)
        );
    }
    let several = r#"{from: .v, type: date-time, zone: UTC, format: [iso, "%d.%m.%Y", ms]}"#;
    assert_eq!(
        convert(several, &json!("2026-01-02T03:04:05-05:00")),
        json!("2026-01-02T03:04:05-05:00")
    );
    assert_eq!(convert(several, &json!("02.01.2026")), json!("2026-01-02T00:00:00Z"));
    assert_eq!(convert(several, &json!("1600000000000")), json!("2020-09-13T12:26:40Z"));
}

#[test]
fn zones_can_come_from_the_document() {
    let mapping = fields("t: {from: .at, type: date-time, zone: '$lookups.stores[.store].zone'}");
    assert_eq!(
        event(&mapping, r#"{"at": "2026-01-02T03:04:05", "store": "007"}"#),
        json!({"t": "2026-01-02T03:04:05+01:00"})
    );
    assert_eq!(
        event(&mapping, r#"{"at": "2026-01-02T03:04:05", "store": 12}"#),
        json!({"t": "2026-01-02T03:04:05-05:00"})
    );
    assert!(
        rejected(&mapping, r#"{"at": "2026-01-02T03:04:05", "store": "8"}"#)
            .1
            .contains("no offset")
    );
}

#[test]
fn what_the_clocks_skip_or_repeat_is_as_stated() {
    let rule =
        |word| format!("{{from: .v, type: date-time, zone: Europe/Berlin, ambiguous: {word}}}");
    let twice = json!("2026-10-25T02:30:00");
    assert_eq!(convert(&rule("compatible"), &twice), json!("2026-10-25T02:30:00+02:00"));
    assert_eq!(convert(&rule("later"), &twice), json!("2026-10-25T02:30:00+01:00"));
    assert!(refuse(&rule("reject"), &twice).contains("skip or repeat"));
}

#[test]
fn dates() {
    assert_eq!(convert("{from: .v, type: date}", &json!("2026-01-02")), json!("2026-01-02"));
    assert_eq!(
        convert("{from: .v, type: date}", &json!("2026-01-02T23:30:00-08:00")),
        json!("2026-01-02")
    );
    assert_eq!(
        convert(r#"{from: .v, type: date, format: "%m/%d/%y"}"#, &json!("2/5/10")),
        json!("2010-02-05")
    );
    assert_eq!(convert("{from: .v, type: date, format: s}", &json!("-86401")), json!("1969-12-30"));
    assert_eq!(
        convert(
            "{from: .v, type: date, format: ms, zone: Asia/Tokyo}",
            &json!(1_600_009_200_000_i64)
        ),
        json!("2020-09-14")
    );
    assert!(refuse("{from: .v, type: date}", &json!("12112020")).contains("ISO 8601 date"));
}

#[test]
fn identities_drop_placeholders() {
    assert_eq!(
        convert("{from: .v, type: email}", &json!(" Ann@Example.COM ")),
        json!("ann@example.com")
    );
    assert_eq!(convert("{from: .v, type: id}", &json!(12_345)), json!("12345"));
    assert_eq!(
        convert("{from: .v, type: phone}", &json!("+1 (555) 010-9999")),
        json!("+15550109999")
    );
    for placeholder in [json!("null"), json!("undefined"), json!("0000"), json!(0), json!(" ")] {
        assert_eq!(convert("{from: .v, type: id}", &placeholder), json!(null), "{placeholder}");
    }
    assert_eq!(
        refuse("{from: .v, type: email}", &json!("ann")),
        "`x` needs an e-mail address, but `.v` is not an e-mail address"
    );
    assert_eq!(convert("{from: .v, type: email, invalid: omit}", &json!("ann")), json!(null));
    assert_eq!(
        convert("{from: .v, type: email, invalid: omit, default: none}", &json!("ann")),
        json!("none")
    );
    assert_eq!(
        convert("{from: .v, type: uri-safe}", &json!("I'm unique")),
        json!("I%27m%20unique")
    );
}

#[test]
fn money() {
    let rule = "{from: .v, type: minor-units, currency: EUR}";
    assert_eq!(convert(rule, &json!(1999)).to_string(), "19.99");
    assert_eq!(convert(rule, &json!("-5")).to_string(), "-0.05");
    assert!(refuse(rule, &json!(19.99)).contains("whole number of minor units"));
    let mapping = fields(
        "a: {from: .amount, type: minor-units, currency: .currency}\nc: {from: .currency, type: currency}",
    );
    assert_eq!(
        event(&mapping, r#"{"amount": 1999, "currency": "jpy"}"#).to_string(),
        r#"{"a":1999,"c":"JPY"}"#
    );
    assert_eq!(
        event(&mapping, r#"{"amount": 1999, "currency": "kwd"}"#).to_string(),
        r#"{"a":1.999,"c":"KWD"}"#
    );
    assert!(
        rejected(&mapping, r#"{"amount": 1999}"#)
            .1
            .contains("has no currency: `.currency` is missing")
    );
    assert!(rejected(&mapping, r#"{"amount": 1, "currency": "euro"}"#).1.contains("three letters"));
}
