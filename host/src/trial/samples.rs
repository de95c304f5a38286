//! A pipeline's samples: inputs, and optionally what they must become.
//!
//! `NAME.input.EXT` is cut into records as the pipeline's `split` says and mapped as `xylem try`
//! maps it. Without `NAME.expected.json` no record may be rejected and every event must be valid.
//! With it, it holds one object per record in the form of `xylem try --json`; what it does not
//! mention may be anything, but an `event` is compared whole.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value as Json;

use super::attempt::attempt;
use super::show::Shown;
use super::split::{Cut, split};
use crate::config::{self, Inputs, Loaded, Problem, ReadError};
use crate::generation::Pipeline;
use crate::id::Ids;
use crate::plugin::{Hooks, Runner};
use crate::record::{PartitionId, Record};

/// The most bytes of an input or an expectation.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// The most characters of a value that are shown.
const MAX_SHOWN: usize = 60;

/// What came of the samples.
#[derive(Default)]
pub(crate) struct Tried {
    /// How many gave what is expected.
    pub(crate) good: usize,
    /// What the others did.
    pub(crate) problems: Vec<Problem>,
}

/// Maps all samples of a pipeline, where it has some. `config` is the configuration's file.
pub(crate) fn run(config: &Path, loaded: &Loaded, pipeline: &Pipeline, hooks: &Hooks) -> Tried {
    let settings = loaded.config.pipelines.get(&*pipeline.name);
    match settings.and_then(|settings| Some((settings, settings.samples.as_ref()?))) {
        Some((settings, folder)) => {
            let folder = loaded.resolve(folder);
            Samples { inputs: &loaded.inputs, pipeline, settings }.run(config, &folder, hooks)
        }
        None => Tried::default(),
    }
}

/// The records of all samples of a pipeline; those that cannot be read are left out.
pub(crate) fn records(loaded: &Loaded, pipeline: &Pipeline) -> Vec<(PartitionId, Record)> {
    let settings = loaded.config.pipelines.get(&*pipeline.name);
    let Some((settings, folder)) = settings.and_then(|it| Some((it, it.samples.as_ref()?))) else {
        return Vec::new();
    };
    let samples = Samples { inputs: &loaded.inputs, pipeline, settings };
    let files = list(&loaded.inputs, &loaded.resolve(folder))
        .map(|listed| listed.files)
        .unwrap_or_default();
    let records = files.iter().filter_map(|(input, _)| samples.records(input).ok()).flatten();
    // As if they were one input, so that no offset stands twice.
    let numbered = (0..).zip(records).map(|(offset, record)| Record { offset, ..record });
    numbered.map(|record| (partition(), record)).collect()
}

/// Where samples come from.
fn partition() -> PartitionId {
    PartitionId { topic: "try".into(), partition: 0 }
}

/// A pipeline's samples and what they are read and mapped with.
struct Samples<'a> {
    inputs: &'a Inputs,
    pipeline: &'a Pipeline,
    settings: &'a config::Pipeline,
}

impl Samples<'_> {
    fn run(&self, config: &Path, folder: &Path, hooks: &Hooks) -> Tried {
        let mut tried = Tried::default();
        let found = match list(self.inputs, folder) {
            Ok(found) => found,
            Err(error) => {
                let message = format!("the samples cannot be listed: {error}");
                tried.problems.push(Problem::in_file(folder, message));
                return tried;
            }
        };
        tried.problems.extend(found.orphans);
        if found.files.is_empty() {
            tried.problems.push(
                Problem::in_file(folder, "the folder holds no sample").hint(
                    "an input is called `NAME.input.EXT`, what it becomes `NAME.expected.json`",
                ),
            );
        }
        let mut runner = Runner::new(Arc::clone(&self.pipeline.chain), hooks.clone());
        for (input, expected) in found.files {
            match self.sample(&mut runner, &input, &expected) {
                Ok(None) => tried.good += 1,
                Ok(Some(differs)) => {
                    let command = command(config, &self.pipeline.name, &input);
                    let hint = format!(
                        "`{command}` shows the whole of it; where the change is meant, change the expectation"
                    );
                    tried.problems.push(Problem::in_file(input, differs).hint(hint));
                }
                Err(problem) => tried.problems.push(*problem),
            }
        }
        tried
    }

    /// Maps one sample and compares: what is not as expected, if anything.
    fn sample(
        &self,
        runner: &mut Runner,
        input: &Path,
        expectation: &Path,
    ) -> Result<Option<String>, Box<Problem>> {
        let wrong = |message: String| Box::new(Problem::in_file(input, message));
        let records = self
            .records(input)
            .map_err(|error| wrong(format!("the sample cannot be read: {error}")))?;
        let expected = match self.inputs.read_at(expectation, MAX_BYTES) {
            Err(ReadError::Missing) => None,
            Err(error) => {
                let message = format!("the expectation cannot be read: {error}");
                return Err(Box::new(Problem::in_file(expectation, message)));
            }
            Ok(text) => Some(expected(expectation, &text)?),
        };
        let ids = Ids::new("try", "try", &self.pipeline.id_epoch, &self.pipeline.name);
        let partition = partition();
        let attempts = attempt(self.pipeline, runner, &ids, &partition, &records)
            .map_err(|error| wrong(error.to_string()))?;
        if let Some(expected) = &expected
            && expected.len() != attempts.len()
        {
            let (has, wants) = (attempts.len(), expected.len());
            return Err(wrong(format!("the sample has {has} records, the expectation {wants}")));
        }
        for (number, attempt) in attempts.iter().enumerate() {
            let shown = Shown { input: "", record: number, attempt };
            let line = json(&shown).map_err(|error| wrong(error.to_string()))?;
            let differs = match expected.as_ref().and_then(|expected| expected.get(number)) {
                Some(expected) => differs(expected, &line, ""),
                None if attempt.is_good() => None,
                None => Some(complaint(&line)),
            };
            if let Some(words) = differs {
                return Ok(Some(format!("record {number} {words}")));
            }
        }
        Ok(None)
    }

    /// The records of an input.
    fn records(&self, input: &Path) -> Result<Vec<Record>, ReadError> {
        let bytes = self.inputs.read_at(input, MAX_BYTES)?;
        let pieces = split(&bytes, Cut::of(self.settings.split, self.settings.chain.first()));
        let record = |(piece, offset): (&&[u8], i64)| Record {
            offset,
            timestamp_ms: Some(0),
            payload: Some(piece.to_vec().into()),
            ..Record::default()
        };
        Ok(pieces.iter().zip(0..).map(record).collect())
    }
}

/// The inputs with their expectations, and expectations without an input.
struct Listed {
    files: Vec<(PathBuf, PathBuf)>,
    orphans: Vec<Problem>,
}

fn list(inputs: &Inputs, folder: &Path) -> Result<Listed, ReadError> {
    let names = inputs.names_at(folder)?;
    let mut stems = BTreeSet::new();
    let mut files = Vec::new();
    for name in names.iter().filter_map(|name| name.to_str()) {
        let Some((stem, _)) = name.split_once(".input.") else { continue };
        stems.insert(stem.to_owned());
        files.push((folder.join(name), folder.join(format!("{stem}.expected.json"))));
    }
    let orphans = names
        .iter()
        .filter_map(|name| name.to_str()?.strip_suffix(".expected.json"))
        .filter(|stem| !stems.contains(*stem))
        .map(|stem| {
            let message = format!("there is no `{stem}.input.EXT` for this expectation");
            Problem::in_file(folder.join(format!("{stem}.expected.json")), message)
        })
        .collect();
    Ok(Listed { files, orphans })
}

/// What shows all of a sample, as a shell takes it.
fn command(config: &Path, pipeline: &str, input: &Path) -> String {
    let quoted = |path: &Path| {
        let text = path.display().to_string();
        let plain = |c: char| c.is_alphanumeric() || "/._-+:@%,".contains(c);
        if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
    };
    format!("xylem try -c {} -p {pipeline} {}", quoted(config), quoted(input))
}

/// The expectation of each record.
fn expected(path: &Path, text: &[u8]) -> Result<Vec<Json>, Box<Problem>> {
    let wrong = |message: String| Box::new(Problem::in_file(path, message));
    match serde_json::from_slice(text) {
        Ok(Json::Array(records)) => Ok(records),
        Ok(Json::Object(record)) => Ok(vec![Json::Object(record)]),
        Ok(_) => Err(wrong("the expectation is neither an object nor a list of objects".into())),
        Err(error) => Err(wrong(format!("the expectation is no JSON: {error}"))),
    }
}

fn json(shown: &Shown<'_>) -> io::Result<Json> {
    let mut text = Vec::new();
    shown.json(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

/// Where and how an outcome is not what is expected. Keys that are not mentioned may be anything,
/// but an `event` is compared whole.
fn differs(expected: &Json, actual: &Json, pointer: &str) -> Option<String> {
    match (expected, actual) {
        (Json::Object(wanted), Json::Object(there)) => {
            let whole = pointer.split('/').nth(3) == Some("event");
            // The host gives an event an `_id` where the plugin does not.
            let of_host = |key: &str| key == "_id" && pointer.ends_with("/event");
            let more = |key: &&String| whole && !wanted.contains_key(*key) && !of_host(key);
            let more = there.keys().find(more);
            if let Some(more) = more {
                return Some(format!("has `{pointer}/{more}`, which is not expected"));
            }
            wanted.iter().find_map(|(key, value)| {
                let at = format!("{pointer}/{key}");
                match there.get(key) {
                    Some(found) => differs(value, found, &at),
                    None => Some(format!("lacks `{at}`, expected {}", shorten(value))),
                }
            })
        }
        (Json::Array(wanted), Json::Array(there)) if wanted.len() == there.len() => {
            let mut pairs = wanted.iter().zip(there).enumerate();
            pairs.find_map(|(at, (item, found))| differs(item, found, &format!("{pointer}/{at}")))
        }
        (Json::Number(wanted), Json::Number(there)) if wanted.as_f64() == there.as_f64() => None,
        _ if expected == actual => None,
        _ => Some(format!("has `{pointer}` {}, expected {}", shorten(actual), shorten(expected))),
    }
}

/// What is wrong with an outcome that nothing is expected of but that it is good.
fn complaint(line: &Json) -> String {
    let words = |fault: &Json| {
        let text = |key| fault.get(key).and_then(Json::as_str).unwrap_or_default();
        format!("{} {} {}", text("code"), text("pointer"), text("message"))
    };
    if let Some(fault) = line.get("fault") {
        return format!("is rejected: {}", words(fault));
    }
    let events = line.get("events").and_then(Json::as_array).into_iter().flatten();
    let faults = events.filter_map(|event| event.get("faults")?.as_array());
    let words: Vec<String> = faults.flatten().map(words).collect();
    format!("gives an event that is not valid: {}", words.join("; "))
}

/// A value on one line, its beginning where it is long.
fn shorten(value: &Json) -> String {
    let text = value.to_string();
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("`{}…`", text.get(..end).unwrap_or_default()),
        None => format!("`{text}`"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_outcome_is_compared_as_far_as_it_is_mentioned() {
        let actual = json!({
            "input": "", "record": 0, "outcome": "emit",
            "events": [{ "destination": "orders", "valid": true, "faults": [],
                         "event": { "_id": "x", "total": 10.0, "lines": [1, 2] } }],
        });
        let event = |event: Json| json!({ "events": [{ "event": event }] });
        for (expected, words) in [
            (json!({ "outcome": "emit" }), None),
            (event(json!({ "_id": "x", "total": 10, "lines": [1, 2] })), None),
            (
                json!({ "outcome": "filter" }),
                Some("has `/outcome` `\"emit\"`, expected `\"filter\"`"),
            ),
            (
                event(json!({ "_id": "x", "lines": [1, 2] })),
                Some("has `/events/0/event/total`, which is not expected"),
            ),
            (
                event(json!({ "_id": "x", "total": 10, "lines": [1, 3] })),
                Some("has `/events/0/event/lines/1` `2`, expected `3`"),
            ),
            (
                event(json!({ "_id": "x", "total": 10, "lines": [1] })),
                Some("has `/events/0/event/lines` `[1,2]`, expected `[1]`"),
            ),
            (
                json!({ "fault": { "code": "x" } }),
                Some("lacks `/fault`, expected `{\"code\":\"x\"}`"),
            ),
        ] {
            assert_eq!(differs(&expected, &actual, "").as_deref(), words, "{expected}");
        }
    }

    #[test]
    fn an_id_of_the_host_need_not_be_expected() {
        let line = |event: Json| json!({ "events": [{ "event": event }] });
        let actual = line(json!({ "_id": "x", "a": { "_id": 1 } }));
        assert_eq!(differs(&line(json!({ "a": { "_id": 1 } })), &actual, ""), None);
        assert!(differs(&line(json!({ "a": {} })), &actual, "").is_some());
    }

    #[test]
    fn the_command_is_one_for_the_shell() {
        let command = |input| command(Path::new("etc/xylem.yaml"), "orders", Path::new(input));
        assert_eq!(
            command("etc/samples/a.input.json"),
            "xylem try -c etc/xylem.yaml -p orders etc/samples/a.input.json"
        );
        assert_eq!(
            command("it's here/a.json"),
            r"xylem try -c etc/xylem.yaml -p orders 'it'\''s here/a.json'"
        );
    }

    #[test]
    fn inputs_and_expectations_belong_together() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a.input.json", "a.expected.json", "b.input.csv", "c.expected.json", "README"]
        {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let listed = list(&Inputs::new(dir.path()), dir.path()).unwrap();
        let names: Vec<_> = listed
            .files
            .iter()
            .map(|(input, _)| input.file_name().unwrap().to_str().unwrap())
            .collect();
        assert_eq!(names, ["a.input.json", "b.input.csv"]);
        assert_eq!(listed.orphans.len(), 1);
        assert!(listed.orphans[0].message.contains("`c.input.EXT`"));
    }
}
