//! Whatever stands in the configuration and in a mapping: it loads, or every problem has its place.

use std::cell::OnceCell;
use std::path::Path;

use serde_json::value::RawValue;
use tempfile::TempDir;
use xylem::config::{Environment, Inputs, Loaded, Problem, load_text};
use xylem_kit::Plugin;

/// A line of its own between the configuration and the mapping file.
const MAPPING: &str = "\n%%%\n";

/// A secret of the environment, which no plugin may be given.
const SECRET: &str = "s3cret-client";

/// The configuration's name.
const FILE: &str = "xylem.yaml";

thread_local! {
    static FOLDER: OnceCell<TempDir> = const { OnceCell::new() };
}

/// The input is the configuration's text and, after a line `%%%`, that of `order.map.yaml` beside it.
pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (text, mapping) = text.split_once(MAPPING).unwrap_or((text, "_id: .id\n"));
    FOLDER.with(|folder| load(folder.get_or_init(folder_of_files).path(), text, mapping));
}

/// A folder with what the corpus's configurations name.
#[expect(clippy::unwrap_used, reason = "without a folder nothing can be tried")]
fn folder_of_files() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("password", "s3cret-password\n"),
        ("order.schema.json", "{}"),
        ("ca.pem", "-----BEGIN CERTIFICATE-----\n"),
        ("core.wasm", "\0asm\x01\0\0\0"),
        ("stores.csv", "id,name\n1,A\n"),
    ] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn load(folder: &Path, text: &str, mapping: &str) {
    let written = std::fs::write(folder.join("order.map.yaml"), mapping);
    assert!(written.is_ok(), "{written:?}");
    let environment = Environment::from([
        ("BROKERS".to_owned(), "kafka-1:9092,kafka-2:9092".into()),
        ("CLIENT_SECRET".to_owned(), SECRET.into()),
    ]);
    let texts = Texts { text, mapping };
    match load_text(Path::new(FILE), text.to_owned(), &Inputs::new(folder), &environment) {
        Ok(loaded) => {
            texts.check(&loaded.warnings);
            steps(&loaded, &texts);
        }
        Err(errors) => {
            assert!(!errors.problems.is_empty(), "refused without a reason");
            texts.check(&errors.problems);
        }
    }
}

/// What plugins are told, and what the json plugin makes of it.
fn steps(loaded: &Loaded, texts: &Texts<'_>) {
    let tenant = loaded.config.aep.tenant.as_deref();
    for step in loaded.config.pipelines.values().flat_map(|pipeline| &pipeline.chain) {
        match step.configuration(&loaded.inputs, tenant) {
            Ok(json) => {
                assert!(serde_json::from_str::<&RawValue>(&json).is_ok(), "no JSON: {json}");
                let named = texts.text.contains(SECRET) || texts.mapping.contains(SECRET);
                assert!(named || !json.contains(SECRET), "a plugin is given a secret");
                if step.plugin == "json" {
                    drop(xylem_plugin_json::Json::init(&json));
                }
            }
            Err(error) => texts.check(&error.problems),
        }
    }
}

/// The texts that problems point into.
struct Texts<'a> {
    text: &'a str,
    mapping: &'a str,
}

impl Texts<'_> {
    /// Each problem has words, can be shown, and points into its text.
    fn check(&self, problems: &[Problem]) {
        for problem in problems {
            assert!(!problem.message.is_empty());
            assert!(problem.to_string().len() > problem.message.len());
            if problem.line == 0 {
                assert_eq!(problem.column, 0);
                continue;
            }
            let text = if problem.file == Path::new(FILE) { self.text } else { self.mapping };
            let line = text.split('\n').nth(problem.line - 1);
            let last = line.map(|line| line.chars().count() + 1);
            assert!(
                last.is_some_and(|last| (1..=last).contains(&problem.column)),
                "{}:{} is not in the text: {problem}",
                problem.line,
                problem.column,
            );
        }
    }
}
