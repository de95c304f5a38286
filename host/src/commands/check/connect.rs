//! What `--connect` asks: brokers, topics, the group, the token endpoint and the inlets.

use std::sync::Arc;
use std::time::Duration;

use super::Report;
use crate::commands::{Exit, clients};
use crate::config::{KeyPath, Loaded, Problem, count};
use crate::deliver::{Access, Destination, Quota};
use crate::fault::{Code, Domain};
use crate::kafka::{self, ProbeError};

/// How long brokers may take to answer: a TLS and SASL handshake over a slow network, twice.
const PATIENCE: Duration = Duration::from_secs(15);

/// Asks everything, one after the other.
pub(super) fn check(loaded: &Loaded, report: &mut Report) -> anyhow::Result<()> {
    kafka(loaded, report);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(aep(loaded, report));
    Ok(())
}

fn kafka(loaded: &Loaded, report: &mut Report) {
    let root = KeyPath::root();
    let mut topics = Vec::new();
    for (name, pipeline) in &loaded.config.pipelines {
        let at = root.key("pipelines").key(name);
        for (i, topic) in pipeline.topics.iter().enumerate() {
            topics.push((topic.as_str(), at.key("topics").index(i)));
        }
        topics.push((pipeline.dead_letter.topic.as_str(), at.key("dead_letter").key("topic")));
    }
    let names: Vec<&str> = topics.iter().map(|(name, _)| *name).collect();
    let brokers = root.key("kafka").key("brokers");
    let answer = match kafka::probe(&loaded.config.kafka, &names, PATIENCE) {
        Ok(answer) => answer,
        Err(error) => {
            let exit = match error {
                ProbeError::Settings(_) => Exit::Configuration,
                ProbeError::Silent { .. } => Exit::Unreachable,
            };
            report.found(exit, vec![loaded.error(&brokers, error.to_string())]);
            return;
        }
    };
    let cluster = answer.cluster_id.unwrap_or_else(|| "without an id".to_owned());
    report.reached.push(format!("brokers: cluster {cluster}"));
    for ((topic, at), found) in topics.iter().zip(answer.topics) {
        match found {
            Ok(partitions) => {
                let partitions = count(partitions, "partition");
                report.reached.push(format!("topic {topic}: {partitions}"));
            }
            Err(error) => {
                let message = format!("the topic `{topic}`: {error}");
                report.found(Exit::Configuration, vec![loaded.error(at, message)]);
            }
        }
    }
    match answer.group {
        Ok(()) => report.reached.push(format!("group {}", loaded.config.kafka.group)),
        Err(error) => {
            let message = format!("the group `{}`: {error}", loaded.config.kafka.group);
            let at = root.key("kafka").key("group");
            report.found(Exit::Configuration, vec![loaded.error(&at, message)]);
        }
    }
}

async fn aep(loaded: &Loaded, report: &mut Report) {
    let aep = &loaded.config.aep;
    let section = KeyPath::root().key("aep");
    let (client, token) = match clients(loaded, 1) {
        Ok(made) => made,
        Err(message) => {
            report.found(Exit::Configuration, vec![loaded.error(&section, message)]);
            return;
        }
    };
    let mut authorised = true;
    if let Some(token) = &token {
        match token.bearer().await {
            Ok(_) => report.reached.push("token".to_owned()),
            Err(fault) => {
                authorised = false;
                report.found_code(loaded, &section.key("auth"), "no token", fault.code);
            }
        }
    }
    let quota = Arc::new(Quota::new(&loaded.config.quota));
    let access = Access { client, token: token.clone(), quota };
    for (name, settings) in &loaded.config.destinations {
        let at = KeyPath::root().key("destinations").key(name).key("inlet");
        let wants_token = token.is_some() && settings.authenticate != Some(false);
        if wants_token && !authorised {
            // What the inlet says without the token that it wants says nothing.
            continue;
        }
        match Destination::new(name, settings, aep, access.clone()) {
            Ok(destination) => match destination.probe().await {
                Ok(()) => report.reached.push(format!("inlet of {name}")),
                Err(code) => {
                    report.found_code(loaded, &at, "the inlet does not take requests", code);
                }
            },
            Err(error) => {
                report.found(Exit::Configuration, vec![loaded.error(&at, error.to_string())]);
            }
        }
    }
}

impl Report {
    /// Adds what a code means, and what to do.
    fn found_code(&mut self, loaded: &Loaded, at: &KeyPath, what: &str, code: Code) {
        let exit = match code.domain() {
            Domain::Infrastructure | Domain::Quota => Exit::Unreachable,
            _ => Exit::Configuration,
        };
        let message = format!("{what}: {} ({})", code.meaning(), code.as_str());
        let problem: Problem = loaded.error(at, message).hint(code.advice());
        self.found(exit, vec![problem]);
    }
}
