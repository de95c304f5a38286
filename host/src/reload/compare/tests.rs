use serde_json::{Value, json};

use super::*;
use crate::fault::{Code, Fault};
use crate::plugin::{Outcome, StandIn};
use crate::record::Event;
use crate::rig;

fn schema() -> Value {
    let text = json!({"type": "string"});
    let item = json!({"type": "object", "properties": {"sku": text, "price": {"type": "number"}}});
    json!({"type": "object", "properties": {
        "at": {"type": "string", "format": "date-time"},
        "items": {"type": "array", "items": item},
        "names": {"type": "object", "additionalProperties": text},
    }})
}

/// What a plugin does: the payload, with a change.
fn outcomes(records: &[Record], change: fn(&mut Value)) -> Vec<Outcome> {
    let outcome = |record: &Record| {
        let mut body: Value = serde_json::from_slice(record.payload.as_ref().unwrap()).unwrap();
        change(&mut body);
        match body.get("fate").and_then(Value::as_str) {
            Some("filter") => Outcome::Filter("unwanted".to_owned()),
            Some("reject") => {
                let mut fault = Fault::new(Code::Rejected, "no ann@example.org");
                fault.reason = Some("stranger".to_owned());
                Outcome::Reject(Box::new(fault))
            }
            _ => {
                let copies = body["copies"].as_u64().unwrap_or(1);
                body.as_object_mut().unwrap().remove("copies");
                body.as_object_mut().unwrap().remove("fate");
                let event = Event { body: body.to_string(), route: None, operation: None };
                Outcome::Emit((0..copies).map(|_| event.clone()).collect())
            }
        }
    };
    records.iter().map(outcome).collect()
}

fn compared(candidate: StandIn, payloads: &[Value], show: Show) -> Comparison {
    let pipeline = |generation, stand_in| Arc::new(rig::pipeline(generation, &schema(), stand_in));
    let running = pipeline("g1", |_, records| outcomes(records, |_| ()));
    let candidate = pipeline("g2", candidate);
    let mut compare = Compare::new(&running, &candidate, &Hooks::new(Arc::new(|_| ())), show);
    let records: Vec<Record> = payloads
        .iter()
        .zip(10..)
        .map(|(payload, offset)| Record {
            payload: Some(payload.to_string().into()),
            ..rig::record(offset)
        })
        .collect();
    compare.run(&rig::partition_id(), &records).unwrap();
    compare.comparison()
}

fn paths(comparison: &Comparison) -> Vec<(&str, u64)> {
    comparison.paths.iter().map(|path| (path.path.as_str(), path.records())).collect()
}

fn order(sku: &str, price: f64) -> Value {
    json!({"at": "2026-01-02T03:04:05Z", "items": [{"sku": sku, "price": price}, {"sku": "x", "price": 0}]})
}

#[test]
fn a_price_times_100_a_lost_zero_and_a_shifted_zone_are_named_by_path() {
    let orders = [order("0042", 12.5), order("7", 1.25), order("7", 0.0)];
    let price: StandIn = |_, records| {
        outcomes(records, |body| {
            let price = body["items"][0]["price"].as_f64().unwrap();
            body["items"][0]["price"] = json!(price * 100.0);
        })
    };
    let comparison = compared(price, &orders, Show::default());
    assert_eq!((comparison.records, comparison.equal, comparison.changed), (3, 1, 2));
    assert_eq!(paths(&comparison), [("/items/*/price", 2)]);
    assert_eq!(comparison.paths[0].first.to_string(), "orders-0@10");

    let zero: StandIn = |_, records| {
        outcomes(records, |body| {
            let sku = body["items"][0]["sku"].as_str().unwrap().trim_start_matches('0').to_owned();
            body["items"][0]["sku"] = json!(sku);
        })
    };
    assert_eq!(paths(&compared(zero, &orders, Show::default())), [("/items/*/sku", 1)]);

    let zone: StandIn =
        |_, records| outcomes(records, |body| body["at"] = json!("2026-01-02T03:04:05+01:00"));
    assert_eq!(paths(&compared(zone, &orders, Show::default())), [("/at", 3)]);
}

#[test]
fn each_record_has_one_place() {
    let fate = |before: &str, after: &str| json!({"fate": before, "at": after});
    let good = "2026-01-02T03:04:05Z";
    let given = [
        fate("", good),
        fate("", "reject"),
        fate("", "filter"),
        fate("", "invalid"),
        fate("filter", "filter"),
        fate("filter", good),
        fate("filter", "reject"),
        fate("reject", good),
        fate("reject", "filter"),
        fate("reject", "invalid"),
        json!({"at": good, "copies": 2}),
    ];
    // `at` says what the candidate does; the running one goes by `fate` alone, so both need a valid `at`.
    let running: StandIn =
        |_, records| outcomes(records, |body| body["at"] = json!("2026-01-02T03:04:05Z"));
    let candidate: StandIn = |_, records| {
        outcomes(records, |body| {
            let at = body["at"].as_str().unwrap().to_owned();
            body["fate"] = json!(at);
            body["copies"] = json!(1);
            if at != "invalid" {
                body["at"] = json!("2026-01-02T03:04:05Z");
            }
        })
    };
    let pipeline = |stand_in| Arc::new(rig::pipeline("g", &schema(), stand_in));
    let hooks = Hooks::new(Arc::new(|_| ()));
    let mut compare =
        Compare::new(&pipeline(running), &pipeline(candidate), &hooks, Show::default());
    for (payload, offset) in given.iter().zip(0..) {
        let payload = Some(payload.to_string().into());
        let record = Record { payload, ..rig::record(offset) };
        compare.run(&rig::partition_id(), &[record]).unwrap();
    }
    let counted = compare.comparison();
    let Comparison { equal, changed, newly_rejected, newly_invalid, .. } = counted;
    assert_eq!((equal, changed, newly_rejected, newly_invalid), (2, 1, 2, 1));
    let Comparison { newly_accepted, newly_filtered, newly_emitted, refused_by_both, .. } = counted;
    assert_eq!((newly_accepted, newly_filtered, newly_emitted, refused_by_both), (1, 2, 1, 1));
    assert_eq!(counted.records, 11);
    assert_eq!(paths(&counted), [("events", 1)]);
    let refusals: Vec<_> = counted
        .refusals
        .iter()
        .map(|refusal| (refusal.code.as_str(), refusal.path.as_deref(), refusal.records))
        .collect();
    assert_eq!(refusals, [("record.rejected", None, 2), ("schema.invalid", Some("/at"), 1)]);
}

/// The candidate rejects some, spoils others and renames a key of a map.
const WORDY: StandIn = |_, records| {
    outcomes(records, |body| {
        if body["names"]["ann@example.org"] == "a" {
            body["names"] = json!({"bob@example.org": "secret"});
        } else {
            body["fate"] = json!("reject");
        }
    })
};

fn wordy() -> [Value; 2] {
    [json!({"names": {"ann@example.org": "a"}}), json!({"names": {"ann@example.org": "b"}})]
}

#[test]
fn invariant_10_contents_are_told_only_where_they_are_asked_for() {
    let quiet = compared(WORDY, &wordy(), Show::default());
    assert_eq!(paths(&quiet), [("/names/*", 1)]);
    let text = format!("{quiet} {}", serde_json::to_string(&quiet).unwrap());
    for secret in ["example.org", "secret", "stranger"] {
        assert!(!text.contains(secret), "{text}");
    }
    let shown = compared(WORDY, &wordy(), Show { examples: 2, redact: Vec::new() });
    let page = shown.to_string();
    assert!(page.contains("orders-0@10: nothing -> \"secret\""), "{page}");
    assert!(page.contains("stranger: no ann@example.org"), "{page}");
    let redact = vec!["/names".to_owned()];
    let hidden = compared(WORDY, &wordy(), Show { examples: 2, redact }).to_string();
    assert!(!hidden.contains("secret") && !hidden.contains("example.org"), "{hidden}");
}

#[test]
fn the_page_for_people() {
    let page = compared(WORDY, &wordy(), Show { examples: 1, redact: Vec::new() }).to_string();
    let lines = [
        "2 records: 1 changed, 1 newly rejected",
        "  /names/*: 1 added, 1 removed, first at orders-0@10",
        "      orders-0@10: \"a\" -> nothing",
        "  record.rejected: 1 records, first at orders-0@11",
        "      stranger: no ann@example.org",
        "plugins: 0.0 -> 0.0 us of CPU a record, 0.0 -> 0.0 MiB, 0 -> 0 failed calls",
    ];
    assert_eq!(page.lines().collect::<Vec<_>>(), lines);
}

#[test]
fn a_hundred_thousand_differences_give_few_paths() {
    let many = |prefix: &str| -> Value {
        (0..1_000)
            .map(|n| (format!("{prefix}{n}"), json!("x")))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let payload = json!({"names": many("a"), "items": [{"sku": "1"}]});
    let candidate: StandIn = |_, records| {
        outcomes(records, |body| {
            let names = body["names"]
                .as_object()
                .unwrap()
                .keys()
                .map(|key| (format!("b{key}"), json!("y")));
            body["names"] = names.collect::<serde_json::Map<_, _>>().into();
        })
    };
    let comparison = compared(candidate, &vec![payload; 20], Show::default());
    assert_eq!(paths(&comparison), [("/names/*", 20)]);
}

#[test]
fn that_an_event_names_its_generation_is_no_difference() {
    let text = json!({"type": "string"});
    let schema = json!({"type": "object", "properties": {"made_by": text, "at": text}});
    let pipeline = |generation| {
        let mut pipeline =
            rig::pipeline(generation, &schema, |_, records| outcomes(records, |_| ()));
        pipeline.routes[0].stamp = Some(crate::stamp::Stamp::new("/made_by", None).unwrap());
        Arc::new(pipeline)
    };
    let hooks = Hooks::new(Arc::new(|_| ()));
    let mut compare = Compare::new(&pipeline("g1"), &pipeline("g2"), &hooks, Show::default());
    let record = Record { payload: Some("{\"at\":\"x\"}".into()), ..rig::record(0) };
    compare.run(&rig::partition_id(), &[record]).unwrap();
    assert_eq!(compare.comparison().equal, 1);
}
