//! The host's validation and the emulator's, which share no code, say the same of an event: verdict, code, place
//! and words, over Adobe's composed schemas, its examples, and mutations of them.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use aep_emulator::CompiledSchema;
use serde_json::{Value, json};
use xylem::config::Mode;
use xylem::schema::{Entity, Schema, Violations};
use xylem_tests::{samples, within};

const FORMS: [&str; 3] = [".schema.json", ".xed-full.json", "-closed.schema.json"];

/// One schema as both sides read it.
struct Both {
    name: String,
    host: Schema,
    emulator: CompiledSchema,
    cases: usize,
    refused: usize,
}

/// Code, place and words of a violation.
type Said = BTreeSet<(String, String, String)>;

impl Both {
    fn read(folder: &Path, name: &str) -> Self {
        let text = std::fs::read_to_string(folder.join(name)).unwrap();
        let document = serde_json::from_str(&text).unwrap();
        Self {
            name: name.to_owned(),
            host: Schema::load(&text, Mode::Raw).unwrap(),
            emulator: CompiledSchema::new(&document).unwrap(),
            cases: 0,
            refused: 0,
        }
    }

    /// Both sides agree on a document, whole and as an update.
    fn agree(&mut self, document: &Value) {
        let text = document.to_string();
        let entity = Entity::parse(&text).unwrap();
        self.compare(&text, self.host.check(&entity), &self.emulator.check(document));
        self.compare(
            &text,
            self.host.check_partial(&entity),
            &self.emulator.check_partial(document),
        );
        self.cases += 1;
        self.refused += usize::from(self.host.check(&entity).is_err());
    }

    fn compare(
        &self,
        text: &str,
        host: Result<(), Violations>,
        emulator: &[aep_emulator::Violation],
    ) {
        let (host, total) = match host {
            Ok(()) => (Said::new(), 0),
            Err(violations) => {
                let said = violations.first.iter().map(|violation| {
                    let place = format!("#{}", violation.pointer);
                    (violation.code.to_owned(), place, violation.message.clone())
                });
                (said.collect(), violations.total)
            }
        };
        let emulator: Said = emulator
            .iter()
            .map(|said| {
                (said.code.clone(), said.pointer_to_violation.clone(), said.message.clone())
            })
            .collect();
        // Of more than five, both show the first five places, but at one place in an order of their own.
        let whole = total <= Violations::SHOWN;
        let places =
            |said: &Said| said.iter().map(|(_, place, _)| place.clone()).collect::<BTreeSet<_>>();
        let equal = if whole { host == emulator } else { places(&host) == places(&emulator) };
        assert!(equal, "{}: {text}\nhost {total}: {host:#?}\nemulator: {emulator:#?}", self.name);
    }
}

#[test]
fn host_and_emulator_say_the_same_of_every_example_and_mutation() {
    within(Duration::from_mins(5), || {
        let Some(samples) = samples() else { return };
        let folder = samples.join("xdm-bundles");
        let examples = std::fs::read_to_string(folder.join("examples.jsonl")).unwrap();
        let (mut cases, mut refused) = (0, 0);
        for bundle in ["experienceevent", "profile"] {
            let mut forms = FORMS.map(|form| Both::read(&folder, &format!("{bundle}{form}")));
            let examples = examples.lines().map(|line| serde_json::from_str(line).unwrap());
            for example in examples.filter(|example: &Value| example["bundle"] == bundle) {
                agree_on(&mut forms, &example["doc"]);
            }
            cases += forms.iter().map(|both| both.cases).sum::<usize>();
            refused += forms.iter().map(|both| both.refused).sum::<usize>();
        }
        // 615 leaves with thirteen mutations each, in three forms, and objects beside them.
        assert!(cases > 20_000 && refused > 10_000, "{cases} cases, {refused} refused");
    });
}

/// Every form of a schema on an example and its mutations.
fn agree_on(forms: &mut [Both], document: &Value) {
    let Some(both) = forms.first() else { return };
    let known = without_extraneous_keys(&both.host, document.clone());
    for both in forms {
        both.agree(document);
        mutate(&known, |mutant| both.agree(mutant));
    }
}

/// The document without the keys that no schema names: few violations tell more than many.
fn without_extraneous_keys(schema: &Schema, mut document: Value) -> Value {
    loop {
        let text = document.to_string();
        let Err(violations) = schema.check_partial(&Entity::parse(&text).unwrap()) else {
            return document;
        };
        let extraneous = violations.first.iter().find_map(|violation| {
            let key = violation
                .message
                .strip_prefix("extraneous key [")?
                .strip_suffix("] is not permitted")?;
            Some((violation.pointer.clone(), key.to_owned()))
        });
        let Some((pointer, key)) = extraneous else { return document };
        document.pointer_mut(&pointer).unwrap().as_object_mut().unwrap().remove(&key).unwrap();
    }
}

/// Calls for the document with one place changed, for every place and change.
fn mutate(document: &Value, mut call: impl FnMut(&Value)) {
    let values = [
        json!(null),
        json!(true),
        json!("text"),
        json!(""),
        json!(5),
        json!(1.0),
        json!(-3.5),
        json!(2_000_000_000),
        json!([]),
        json!({}),
        json!("2026-01-02T03:04:05z"),
        json!("2026-02-30T03:04:05.1234567890+01:00"),
        json!("a b"),
    ];
    for pointer in places(document) {
        for value in &values {
            let mut mutant = document.clone();
            *mutant.pointer_mut(&pointer).unwrap() = value.clone();
            if mutant.is_object() {
                call(&mutant);
            }
        }
        let mut mutant = document.clone();
        match mutant.pointer_mut(&pointer).unwrap() {
            Value::Object(members) => {
                members.insert("notInAnySchema".to_owned(), json!(1));
                call(&mutant);
            }
            Value::Array(items) => {
                items.push(json!(7));
                call(&mutant);
            }
            _ => {}
        }
        if let Some((parent, key)) = pointer.rsplit_once('/') {
            let mut mutant = document.clone();
            let key = key.replace("~1", "/").replace("~0", "~");
            if let Some(members) = mutant.pointer_mut(parent).unwrap().as_object_mut() {
                members.remove(&key);
                call(&mutant);
            }
        }
    }
}

/// Pointers to every value of a document, itself included.
fn places(value: &Value) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut under = |key: &str, inner: &Value| {
        let key = key.replace('~', "~0").replace('/', "~1");
        all.extend(places(inner).into_iter().map(|rest| format!("/{key}{rest}")));
    };
    match value {
        Value::Object(members) => members.iter().for_each(|(key, inner)| under(key, inner)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(n, item)| under(&n.to_string(), item));
        }
        _ => {}
    }
    all
}
