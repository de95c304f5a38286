//! The contract in two languages: the example in Rust and its twin in TypeScript, through the
//! host, with the same outcomes byte for byte.

use std::sync::Arc;
use std::time::Duration;

use xylem::config::{Form, KeyForm, Tombstones};
use xylem::plugin::{
    Cache, CallLimits, Chain, Compile, Engine, Forms, Hooks, Limits, Loader, Outcome, Plugin,
    Runner,
};
use xylem::record::{Header, PartitionId, Record};
use xylem_tests::{guests, within};

/// Compiling `QuickJS` takes a second where the machine has nothing else to do.
const LIMIT: Duration = Duration::from_mins(5);

const FULL: &str = r#"{"email":"ana@example.com","firstName":"Ana","lastName":"S\u00e9\u0001ousa 😀",
    "country":"PT","signedUpAt":"2026-03-01T10:15:00Z","newsletter":true}"#;

/// Both twins in a chain each; `None`, and the test skips, where the TypeScript one is not built.
fn twins(forms: Forms, call_records: usize, settings: &str) -> Option<[Arc<Chain>; 2]> {
    let typescript = guests::example_typescript()?;
    let cache = Cache::private(guests::folder().join("native"));
    let loader = Loader::new(Engine::new().unwrap(), cache, Compile::InProcess);
    let limits = Limits::default();
    Some([guests::built("example-rust"), typescript].map(|file| {
        let wasm = std::fs::read(&file).unwrap();
        let plugin = Plugin {
            name: "sign-ups".to_owned(),
            component: loader.load(&file.display().to_string(), &wasm, &limits).unwrap(),
            limits,
            configuration: settings.to_owned(),
        };
        Arc::new(Chain {
            pipeline: "test".to_owned(),
            plugins: vec![plugin],
            forms,
            call: CallLimits { records: call_records, ..CallLimits::default() },
            stand_in: None,
            warm: xylem::plugin::Warm::default(),
        })
    }))
}

/// What a record became, but for the digest of the plugin at fault.
fn words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Reject(fault) => {
            let (code, reason) = (fault.code.as_str(), fault.reason.as_deref());
            format!("reject {code} {reason:?} {} {:?}", fault.message, fault.path)
        }
        Outcome::Filter(reason) => format!("filter {reason}"),
        Outcome::Emit(events) => {
            let bodies: Vec<_> = events.iter().map(|event| event.body.as_str()).collect();
            format!("emit {}", bodies.join(" "))
        }
    }
}

fn outcomes(chain: &Arc<Chain>, records: &[Record]) -> Vec<String> {
    let source = PartitionId { topic: "sign-ups".into(), partition: 0 };
    let mut runner = Runner::new(Arc::clone(chain), Hooks::new(Arc::new(|_| ())));
    records
        .chunks(chain.call.records)
        .flat_map(|batch| runner.transform(&source, batch).unwrap())
        .map(|outcome| words(&outcome))
        .collect()
}

fn record(payload: Option<&[u8]>) -> Record {
    let payload = payload.map(|bytes| bytes.to_vec().into());
    Record { timestamp_ms: Some(1), payload, ..Record::default() }
}

/// Records of all kinds; what a text pipeline would refuse is among them.
fn records() -> Vec<Record> {
    let campaign = |value: Option<&'static [u8]>| Header {
        key: "campaign".to_owned(),
        value: value.map(Into::into),
    };
    let other = Header { key: "other".to_owned(), value: None };
    let full = || record(Some(FULL.as_bytes()));
    let payloads: [&[u8]; 12] = [
        br#"{"firstName":"Ana"}"#,
        br#"{"email":5}"#,
        br#"{"email":"a@b.example","newsletter":"yes"}"#,
        br#"{"email":"a@b.example","newsletter":false,"country":null}"#,
        br#"{"email":"a@b.example","firstName":"a","firstName":"b"}"#,
        b"[1]",
        b"{",
        b"",
        b"\xff",
        b"\xed\xa0\x80",
        b"\xf0\x9f\x98",
        b"\xc0\x80",
    ];
    let mut records = vec![
        full(),
        Record {
            key: Some("C-1".into()),
            headers: vec![other, campaign(Some(b"spring"))],
            ..full()
        },
        Record { key: Some("C-1".into()), headers: vec![campaign(None)], ..full() },
        Record { key: Some(vec![0xff].into()), ..full() },
        Record { headers: vec![campaign(Some(b"\xff"))], ..full() },
        // Above 2^53 QuickJS rounds; the outcome is the record's by position all the same.
        Record { offset: (1 << 53) + 1, ..full() },
        record(None),
    ];
    records.extend(payloads.map(|payload| record(Some(payload))));
    records
}

#[test]
fn both_languages_give_the_same_outcomes() {
    within(LIMIT, || {
        let forms =
            |payload, key| Forms { payload, key, headers: true, tombstones: Tombstones::Plugin };
        for forms in [forms(Form::Text, KeyForm::Text), forms(Form::Bytes, KeyForm::Bytes)] {
            let Some([rust, typescript]) = twins(forms, 500, "{}") else { return };
            let (expected, found) =
                (outcomes(&rust, &records()), outcomes(&typescript, &records()));
            for (one, other) in expected.iter().zip(&found) {
                assert_eq!(one, other);
            }
            assert_eq!(expected.len(), found.len());
            let identity = r#"{"identityMap":{"Email":[{"id":"ana@example.com","primary":true}]},"#;
            assert!(expected[0].contains(identity), "{}", expected[0]);
            assert!(expected[1].contains(r#""CRMID":[{"id":"C-1"}]"#), "{}", expected[1]);
            assert!(expected[1].contains(r#""reason":"spring""#), "{}", expected[1]);
            assert_eq!(expected[6], "filter tombstone");
            assert!(expected[7].contains("no-email"), "{}", expected[7]);
        }
    });
}

/// Conformance (`invariant_9`): calls of 1, 7 and 500 records, thousands of them, one outcome.
#[test]
fn nothing_depends_on_where_a_call_begins() {
    within(LIMIT, || {
        let forms = Forms { payload: Form::Bytes, headers: true, ..Forms::default() };
        let many: Vec<_> = records().into_iter().cycle().take(2_000).collect();
        let mut whole: Option<Vec<String>> = None;
        for size in [500, 1, 7] {
            let Some(chains) = twins(forms, size, r#"{"keyNamespace":"LoyaltyId"}"#) else {
                return;
            };
            for chain in &chains {
                let found = outcomes(chain, &many);
                let whole = whole.get_or_insert_with(|| found.clone());
                assert!(*whole == found, "calls of {size} give other outcomes");
            }
        }
    });
}
