//! Mappings that are refused, and what the refusal says.

use crate::support::try_mapping;

fn refused(yaml: &str) -> String {
    match try_mapping(yaml) {
        Ok(_) => panic!("{yaml} is accepted"),
        Err(error) => error,
    }
}

/// The refusal of a mapping with one field `x`.
fn field(rule: &str) -> String {
    refused(&format!("events: [{{fields: {{x: {rule}}}}}]"))
}

#[test]
fn unknown_keys_are_named_with_the_nearest() {
    assert!(refused("event: []").contains("unknown key `event`; did you mean `events`?"));
    assert!(
        refused("events: [{feilds: {a: .a}}]")
            .contains("`events[0]`: unknown key `feilds`; did you mean `fields`?")
    );
    assert!(
        field("{form: .a, type: string}")
            .contains("`events[0].fields.x`: unknown key `form`; did you mean `from`?")
    );
    assert!(
        field("{from: .a, type: strnig}").contains("unknown word `strnig`; did you mean `string`?")
    );
    assert!(
        refused("events: [{fields: {a: .a}}]\nunmapped: complain")
            .contains("unknown word `complain`; there are: ignore, warn, reject")
    );
    assert!(
        refused("filter: [{when: .a, raeson: b}]\nevents: [{fields: {a: .a}}]")
            .contains("`filter[0]`")
    );
    assert!(
        refused("events: [{operation: upsert, fields: {a: .a}}]")
            .contains("there are: create, update, delete")
    );
}

#[test]
fn contradictions_are_refused() {
    for (rule, expected) in [
        ("{from: .a, const: b}", "has from and const together"),
        ("{type: string}", "needs one of from, const, list, each, fields"),
        ("{const: a, required: true}", "`required` does not go with `const`"),
        ("{const: ''}", "is empty"),
        ("{from: .a, default: ''}", "is empty"),
        ("{from: .a, default: 1, unset: true}", "contradict"),
        ("{from: .a, unset: 1}", "needs true"),
        ("{from: .a, zone: UTC}", "`zone` needs `type: date` or `type: date-time`"),
        ("{from: .a, type: date-time, zone: Mars}", "no time zone"),
        ("{from: .a, type: date-time, format: yyyy-MM-dd}", "%Y-%m-%d"),
        ("{from: .a, type: minor-units}", "needs `currency`"),
        ("{from: .a, type: minor-units, currency: euro}", "three letters"),
        ("{from: .a, unknown: omit}", "needs `table` or `lookup`"),
        ("{from: .a, lookup: nosuch}", "there is no look-up `nosuch`"),
        ("{from: .a, table: {a: [1]}}", "needs a scalar"),
        ("{from: .a, fields: {b: .b}}", "has from and fields together"),
        ("{from: .a, value: .}", "`value` goes with `each`"),
        ("{each: '.a[]'}", "needs `fields`"),
        ("{each: '.a[]', fields: {b: .b}, value: .}", "`value` does not go with"),
        ("{list: []}", "empty list"),
        ("{list: .a}", "needs a list"),
        ("{fields: {}}", "has no fields"),
        ("[.a]", "is a list"),
        ("null", "is null"),
        ("''", "is no jq expression"),
        ("{from: .a, required: 'yes'}", "needs true or false"),
    ] {
        let error = field(rule);
        assert!(error.contains(expected), "{rule}: {error}");
    }
}

#[test]
fn paths_of_events_are_checked() {
    for (fields, expected) in [
        ("{a: .a, a.b: .b}", "not both"),
        ("{a.b: .b, a: .a}", "not both"),
        ("{a..b: .b}", "empty name"),
        ("{'a[0].b': .b}", "has an index"),
        ("{a: {fields: {b: .b}}, a.c: .c}", "not both"),
    ] {
        assert!(refused(&format!("events: [{{fields: {fields}}}]")).contains(expected), "{fields}");
    }
    let json = r#"{"events": [{"fields": {"_tenant.a": ".a"}}]}"#;
    let none = xylem_mapping::Mapping::from_json(json, &xylem_mapping::Options::default());
    assert!(none.err().unwrap().to_string().contains("the configuration gives no `tenant`"));
    let bare = xylem_mapping::Options { tenant: Some("acme".to_owned()), ..Default::default() };
    assert!(
        xylem_mapping::Mapping::from_json(json, &bare)
            .err()
            .unwrap()
            .to_string()
            .contains("such as `_acme`")
    );
}

#[test]
fn the_rest_of_the_table_is_checked() {
    for (yaml, expected) in [
        ("{}", "needs `events`"),
        ("events: []", "empty list"),
        ("events: [{}]", "needs `fields`"),
        ("events: [{fields: {a: .a}}]\nfilter: [{when: .a}]", "needs `when` and `reason`"),
        ("events: [{fields: {a: .a}}]\ndrop: {.b: }", "needs a reason"),
        ("events: [{fields: {a: .a}}]\ndrop: {'.b | .c': why}", "needs a plain path"),
        ("events: [{fields: {a: .a}}]\nsplit: ''", "text that is not empty"),
        ("[1]", "needs an object"),
    ] {
        let error = refused(yaml);
        assert!(error.contains(expected), "{yaml}: {error}");
    }
    let twice = xylem_mapping::Mapping::from_json(
        r#"{"events": [{"fields": {"a": ".a", "a": ".b"}}]}"#,
        &xylem_mapping::Options::default(),
    );
    assert!(twice.err().unwrap().to_string().contains("stands twice"));
    assert!(
        xylem_mapping::Mapping::from_json("{", &xylem_mapping::Options::default())
            .err()
            .unwrap()
            .to_string()
            .contains("line 1, column 2")
    );
}
