//! Documents through the examples' pipelines: those of others, as `samples.yaml` says what becomes of
//! them, and the examples' own, as their READMEs say.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};
use xylem_tests::{guests, repository, run_to_end, samples, within};

/// A test that takes longer hangs; the binary may have to be built and components to be compiled first.
const LIMIT: Duration = Duration::from_mins(15);

/// The folders of examples, each with a pipeline of its name.
const EXAMPLES: [&str; 6] = ["website", "mobile", "pos", "crm", "call-centre", "transactions"];

/// The folders of others' documents that are mapped.
const FOLDERS: [&str; 7] =
    ["pos", "crm", "web-mobile", "callcentre", "transactions", "csv-edge", "kafka"];

/// An entry of `samples.yaml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// A path below `samples`, or a glob with `*` in the file's name.
    document: String,
    config: String,
    pipeline: String,
    /// Further arguments of `xylem try`.
    flags: Vec<String>,
    /// What becomes of every record.
    expect: Outcome,
    /// Why a document gives no event.
    reason: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Emit,
    Filter,
    Reject,
}

/// A line of `xylem try --json`.
#[derive(Deserialize)]
struct Line {
    input: PathBuf,
    record: u64,
    outcome: Outcome,
    #[serde(default)]
    events: Vec<Shown>,
}

/// An event of a line.
#[derive(Deserialize)]
struct Shown {
    destination: String,
    event: Value,
    valid: bool,
    faults: Vec<Value>,
}

/// What `xylem try` says of inputs; every event that it shows is valid.
fn attempt(config: &str, pipeline: &str, flags: &[String], inputs: &[PathBuf]) -> Vec<Line> {
    let mut arguments = vec!["try", "--json", "--log", "error", "-c", config, "-p", pipeline];
    arguments.extend(flags.iter().map(String::as_str));
    arguments.extend(inputs.iter().map(|input| input.to_str().unwrap()));
    let output = run_to_end(&repository(), &arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Line> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(output.status.code().is_some_and(|code| code < 2), "{config} {pipeline}: {said}");
    for line in &lines {
        for event in &line.events {
            assert!(
                event.valid,
                "{} record {} -> {}: {:?} in {}",
                line.input.display(),
                line.record,
                event.destination,
                event.faults,
                event.event
            );
        }
    }
    lines
}

/// The shipped plugins, which the binary looks for beside it.
fn plugins() {
    for name in ["json", "csv", "pos", "crm"] {
        guests::built(name);
    }
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap()
}

fn json(path: impl AsRef<Path>) -> Value {
    serde_json::from_str(&read(path)).unwrap()
}

/// A configuration as it is written.
fn configuration(config: &str) -> Value {
    serde_saphyr::from_str(&read(repository().join(config))).unwrap()
}

fn file_name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

/// The files of a folder in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// The documents of a path or glob.
fn matching(samples: &Path, pattern: &str) -> Vec<PathBuf> {
    let (folder, name) = pattern.rsplit_once('/').unwrap();
    let fits = |file: &str| match name.split_once('*') {
        None => file == name,
        Some((begin, end)) => {
            file.len() >= begin.len() + end.len() && file.starts_with(begin) && file.ends_with(end)
        }
    };
    files(&samples.join(folder)).into_iter().filter(|file| fits(file_name(file))).collect()
}

/// Validators of the composed schemas of both classes, by the class.
struct Composed(BTreeMap<String, jsonschema::Validator>);

impl Composed {
    fn read(bundles: &Path) -> Self {
        let classes = ["experienceevent", "profile"].map(|class| {
            let schema = json(bundles.join(format!("{class}-closed.schema.json")));
            let validator =
                jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
            (format!("https://ns.adobe.com/xdm/context/{class}"), validator)
        });
        Self(classes.into())
    }

    /// Holds an event, the tenant's fields aside, against the class of its destination's schema.
    fn check(&self, config: &str, event: &Shown) {
        let schema = schema_of(config, &event.destination);
        let class = schema["meta:class"].as_str().unwrap();
        let bare = without_tenant(&event.event);
        let errors: Vec<_> = self.0[class].iter_errors(&bare).map(|e| e.to_string()).collect();
        assert_eq!(errors, [""; 0], "{config}: {bare}");
    }
}

/// The schema of a destination.
fn schema_of(config: &str, destination: &str) -> Value {
    let file = &configuration(config)["destinations"][destination]["schema"]["file"];
    json(repository().join(config).parent().unwrap().join(file.as_str().unwrap()))
}

/// A value without the tenant's fields, and without what is empty then.
fn without_tenant(value: &Value) -> Value {
    match value {
        Value::Object(members) => members
            .iter()
            .filter(|(name, _)| *name != "_acme")
            .map(|(name, member)| (name.clone(), without_tenant(member)))
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(items) => items.iter().map(without_tenant).collect(),
        other => other.clone(),
    }
}

#[test]
fn documents_of_others_become_what_samples_yaml_says() {
    let Some(folder) = samples() else { return };
    plugins();
    within(LIMIT, move || {
        let composed = Composed::read(&folder.join("xdm-bundles"));
        let samples = folder.join("samples");
        let entries: Vec<Entry> =
            serde_saphyr::from_str(&read(repository().join("tests/samples.yaml"))).unwrap();
        let mut expected = BTreeMap::new();
        let mut groups: BTreeMap<_, Vec<PathBuf>> = BTreeMap::new();
        for entry in &entries {
            let found = matching(&samples, &entry.document);
            assert!(!found.is_empty(), "no document is called {}", entry.document);
            let gives_none = entry.expect != Outcome::Emit;
            assert_eq!(entry.reason.is_some(), gives_none, "{}: its reason", entry.document);
            for document in &found {
                let twice = expected.insert(document.clone(), entry.expect);
                assert_eq!(twice, None, "{} is mapped twice", document.display());
            }
            let group = (&entry.config, &entry.pipeline, &entry.flags);
            groups.entry(group).or_default().extend(found);
        }
        for document in FOLDERS.iter().flat_map(|name| files(&samples.join(name))) {
            let is_input = !file_name(&document).ends_with(".expected.json");
            assert!(
                !is_input || expected.contains_key(&document),
                "{} is in no entry",
                document.display()
            );
        }
        for ((config, pipeline, flags), inputs) in groups {
            let lines = attempt(config, pipeline, flags, &inputs);
            for input in &inputs {
                let outcomes: Vec<_> =
                    lines.iter().filter(|line| line.input == *input).map(|l| l.outcome).collect();
                let all = !outcomes.is_empty() && outcomes.iter().all(|it| *it == expected[input]);
                assert!(all, "{}: {outcomes:?}, not {:?}", input.display(), expected[input]);
            }
            lines
                .iter()
                .flat_map(|line| &line.events)
                .for_each(|event| composed.check(config, event));
            if pipeline == "csv-edge" {
                lines.iter().for_each(rows_are_kept);
            }
        }
    });
}

/// The rows of a CSV document are those that its author expects. An empty cell is nothing.
fn rows_are_kept(line: &Line) {
    let expected = line.input.with_extension("expected.json");
    if !expected.exists() {
        return;
    }
    let mut rows: Vec<Map<String, Value>> = serde_json::from_str(&read(expected)).unwrap();
    for row in &mut rows {
        row.retain(|_, cell| cell != "");
    }
    let found: Vec<Map<String, Value>> = line
        .events
        .iter()
        .map(|event| event.event["_acme"]["row"].as_object().unwrap().clone())
        .collect();
    assert_eq!(found, rows, "{}", line.input.display());
}

/// A README's table of what does not arrive: file, record and outcome.
fn said(example: &str) -> BTreeSet<(String, u64, String)> {
    let text = read(repository().join("examples").join(example).join("README.md"));
    let rows = text.lines().filter_map(|line| {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [file, record, becomes, _] = cells.as_slice() else { return None };
        Some((file.trim_matches('`').to_owned(), record.parse().ok()?, (*becomes).to_owned()))
    });
    rows.collect()
}

#[test]
fn the_examples_own_documents_arrive_but_for_those_that_the_readmes_name() {
    plugins();
    let composed = samples().map(|folder| Composed::read(&folder.join("xdm-bundles")));
    within(LIMIT, move || {
        for example in EXAMPLES {
            let config = format!("examples/{example}/xylem.yaml");
            let pipelines = configuration(&config)["pipelines"].as_object().unwrap().clone();
            assert!(pipelines.contains_key(example), "{config} has no pipeline `{example}`");
            let mut inputs: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
            for file in files(&repository().join("examples").join(example).join("data")) {
                let pipeline = file_name(&file).split('.').next().unwrap().to_owned();
                assert!(pipelines.contains_key(&pipeline), "{} is of no pipeline", file.display());
                inputs.entry(pipeline).or_default().push(file);
            }
            assert_eq!(inputs.len(), pipelines.len(), "{example}: a pipeline has no data");
            let mut lost = BTreeSet::new();
            for (pipeline, documents) in &inputs {
                lost.extend(lost_of(&config, pipeline, documents, composed.as_ref()));
            }
            assert_eq!(lost, said(example), "{example}: what is lost, and what its README says");
        }
    });
}

/// What does not arrive of a pipeline's documents: file, record and outcome. What arrives is held
/// against the composed schemas, where they are.
fn lost_of(
    config: &str,
    pipeline: &str,
    documents: &[PathBuf],
    composed: Option<&Composed>,
) -> Vec<(String, u64, String)> {
    let lines = attempt(config, pipeline, &[], documents);
    if let Some(composed) = composed {
        lines.iter().flat_map(|line| &line.events).for_each(|event| composed.check(config, event));
    }
    let lost = lines.into_iter().filter_map(|line| {
        let becomes = match line.outcome {
            Outcome::Emit => return None,
            Outcome::Filter => "filtered",
            Outcome::Reject => "rejected",
        };
        Some((file_name(&line.input).to_owned(), line.record, becomes.to_owned()))
    });
    lost.collect()
}

#[test]
fn check_finds_the_examples_good() {
    plugins();
    within(LIMIT, || {
        for example in EXAMPLES {
            let config = format!("examples/{example}/xylem.yaml");
            let output = run_to_end(&repository(), &["check", "-c", &config]);
            let said = String::from_utf8_lossy(&output.stderr).into_owned()
                + &String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "{config}: {said}");
        }
    });
}

#[test]
fn destinations_of_the_examples_are_distinct() {
    let mut seen = BTreeSet::new();
    for example in EXAMPLES {
        let configuration = configuration(&format!("examples/{example}/xylem.yaml"));
        for (name, destination) in configuration["destinations"].as_object().unwrap() {
            for value in [
                name,
                destination["dataset"].as_str().unwrap(),
                destination["inlet"].as_str().unwrap(),
            ] {
                assert!(seen.insert(value.to_owned()), "{example}: `{value}` stands twice");
            }
        }
    }
}

#[test]
fn schemas_of_the_examples_hold_nothing_that_xdm_does_not() {
    let Some(folder) = samples() else { return };
    let mut wrong = Vec::new();
    let mut count = 0;
    for example in EXAMPLES {
        for file in files(&repository().join("examples").join(example).join("schemas")) {
            let ours = json(&file);
            let class = ours["meta:class"].as_str().unwrap().rsplit('/').next().unwrap();
            let theirs = json(folder.join(format!("xdm-bundles/{class}.xed-full.json")));
            let place = format!("{example}/{}: ", file_name(&file));
            count += held(&ours, &theirs, &place, &mut wrong);
        }
    }
    assert_eq!(wrong, [""; 0]);
    assert!(count > 500, "only {count} places were looked at");
}

/// Holds the places of a schema against those of the composed one; how many there are.
fn held(ours: &Value, theirs: &Value, place: &str, wrong: &mut Vec<String>) -> usize {
    for key in ["type", "format"] {
        if ours.get(key).is_some() && ours.get(key) != theirs.get(key) {
            wrong.push(format!("{place}: {key} is {}, there {}", ours[key], theirs[key]));
        }
    }
    let values = |schema: &Value| schema["enum"].as_array().cloned();
    if let Some(values_of_ours) = values(ours) {
        let known = values(theirs).unwrap_or_default();
        if values_of_ours.iter().any(|value| !known.contains(value)) {
            wrong.push(format!("{place}: enum is {}, there {known:?}", ours["enum"]));
        }
    }
    let mut count = 1;
    for (name, inner) in ours["properties"].as_object().into_iter().flatten() {
        let place = format!("{place}.{name}");
        match property(theirs, name) {
            _ if name == "_acme" => {}
            Some(there) => count += held(inner, there, &place, wrong),
            None => wrong.push(format!("{place} is not there")),
        }
    }
    for key in ["items", "additionalProperties"] {
        if ours[key].is_object() {
            count += held(&ours[key], &theirs[key], &format!("{place}[]"), wrong);
        }
    }
    count
}

/// A property of a schema, or of a part of it.
fn property<'s>(schema: &'s Value, name: &str) -> Option<&'s Value> {
    let parts = schema["allOf"].as_array();
    schema["properties"].get(name).or_else(|| parts?.iter().find_map(|part| property(part, name)))
}
