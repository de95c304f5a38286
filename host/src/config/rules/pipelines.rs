//! Rules of the sections `plugins` and `pipelines`.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::component::SHIPPED;
use crate::config::nearest::nearest;
use crate::config::path::KeyPath;
use crate::config::step::MAX_LOOKUP_BYTES;
use crate::config::{MAX_COMPONENT_BYTES, Pipeline, Step};

use super::Rules;

/// The first eight bytes of a WebAssembly component, and of a core module.
const COMPONENT: [u8; 8] = *b"\0asm\x0d\0\x01\0";
const CORE_MODULE: [u8; 8] = *b"\0asm\x01\0\0\0";

impl Rules<'_> {
    pub(super) fn plugins(&mut self) {
        let config = self.config;
        self.names("plugins", &config.plugins);
        for (name, plugin) in &config.plugins {
            let at = KeyPath::root().key("plugins").key(name);
            match &plugin.component {
                Some(component) => self.component(component, &at.key("component")),
                None if !SHIPPED.contains(&name.as_str()) => {
                    let draft =
                        self.problems.at(&at, format!("the plugin `{name}` names no `component`"));
                    self.problems.push(
                        draft.hint("`component: FILE.wasm`; only `csv`, `json`, `pos` and `crm` come with xylem"),
                    );
                }
                None => {}
            }
        }
    }

    /// Warns of what nothing refers to.
    pub(super) fn unused(&mut self) {
        let config = self.config;
        for name in config.destinations.keys() {
            if !config.pipelines.values().any(|p| p.destinations.contains(name)) {
                let at = KeyPath::root().key("destinations").key(name);
                self.problems.warn(&at, format!("no pipeline sends to the destination `{name}`"));
            }
        }
        let steps = config.pipelines.values().flat_map(|pipeline| &pipeline.chain);
        for name in config.plugins.keys() {
            if !steps.clone().any(|step| step.plugin == *name) {
                let at = KeyPath::root().key("plugins").key(name);
                self.problems.warn(&at, format!("no pipeline uses the plugin `{name}`"));
            }
        }
    }

    fn component(&mut self, component: &std::path::Path, at: &KeyPath) {
        let full = self.inputs.resolve(component);
        match self.inputs.read(component, MAX_COMPONENT_BYTES) {
            Err(error) => self.unreadable(&full, &error, at),
            Ok(bytes) if bytes.starts_with(&COMPONENT) => {}
            Ok(bytes) if bytes.starts_with(&CORE_MODULE) => {
                let message = format!("`{}` is a core module, not a component", full.display());
                let draft = self.problems.at(at, message);
                self.problems.push(
                    draft.hint("build for `wasm32-wasip2`, or run `wasm-tools component new`"),
                );
            }
            Ok(_) => {
                let message = format!("`{}` is no WebAssembly component", full.display());
                self.problems.error(at, message);
            }
        }
    }

    pub(super) fn pipelines(&mut self) {
        let config = self.config;
        let at = KeyPath::root().key("pipelines");
        if config.pipelines.is_empty() {
            self.problems.error(&at, "there is no pipeline");
        }
        self.names("pipelines", &config.pipelines);
        let mut owners = BTreeMap::new();
        for (name, pipeline) in &config.pipelines {
            let at = at.key(name);
            self.topics(name, pipeline, &mut owners, &at.key("topics"));
            self.routes(pipeline, &at.key("destinations"));
            if pipeline.chain.is_empty() {
                self.problems
                    .error(&at.key("chain"), format!("the pipeline `{name}` has no plugin"));
            }
            for (i, step) in pipeline.chain.iter().enumerate() {
                self.step(step, &at.key("chain").index(i));
            }
            if let Some(samples) = &pipeline.samples {
                let full = self.inputs.resolve(samples);
                if !full.is_dir() {
                    let message = format!("there is no folder `{}`", full.display());
                    self.problems.error(&at.key("samples"), message);
                }
            }
        }
        for (name, pipeline) in &config.pipelines {
            let topic = &pipeline.dead_letter.topic;
            let at = at.key(name).key("dead_letter").key("topic");
            if !is_topic(topic) {
                self.no_topic(topic, &at);
            } else if let Some(owner) = owners.get(topic.as_str()) {
                let message =
                    format!("the dead-letter topic `{topic}` is read by the pipeline `{owner}`");
                let draft =
                    self.problems.at(&at, message).label("rejected records would come round again");
                self.problems.push(draft.hint("give dead letters a topic of their own"));
            }
        }
    }

    fn topics<'c>(
        &mut self,
        name: &'c str,
        pipeline: &'c Pipeline,
        owners: &mut BTreeMap<&'c str, &'c str>,
        at: &KeyPath,
    ) {
        if pipeline.topics.is_empty() {
            self.problems.error(at, format!("the pipeline `{name}` reads no topic"));
        }
        for (i, topic) in pipeline.topics.iter().enumerate() {
            let at = at.index(i);
            if !is_topic(topic) {
                self.no_topic(topic, &at);
                continue;
            }
            match owners.insert(topic, name) {
                Some(owner) if owner == name => {
                    self.problems.error(&at, format!("the topic `{topic}` is listed twice"));
                }
                Some(owner) => {
                    let message =
                        format!("the topic `{topic}` is read by the pipeline `{owner}` already");
                    let draft =
                        self.problems.at(&at, message).label("a topic belongs to one pipeline");
                    self.problems.push(draft.hint(
                        "to send its records to several destinations, list them in one pipeline; \
                         its plugin chooses by the event's `route`",
                    ));
                }
                None => {}
            }
        }
    }

    fn no_topic(&mut self, topic: &str, at: &KeyPath) {
        let draft = self.problems.at(at, format!("`{topic}` is no name of a topic"));
        let hint = if topic.starts_with('^') {
            "patterns are not read: list the topics"
        } else {
            "letters, digits, `.`, `_` and `-`, at most 249"
        };
        self.problems.push(draft.hint(hint));
    }

    fn routes(&mut self, pipeline: &Pipeline, at: &KeyPath) {
        let known = &self.config.destinations;
        if pipeline.destinations.is_empty() {
            let draft = self.problems.at(at, "the pipeline has no destination");
            self.problems.push(draft.hint(
                "name at least one of `destinations`; the first takes events without a route",
            ));
        }
        // Where the section itself is broken there is nothing to compare with.
        if self.problems.is_broken(&KeyPath::root().key("destinations")) {
            return;
        }
        for (i, name) in pipeline.destinations.iter().enumerate() {
            let at = at.index(i);
            if pipeline.destinations.iter().take(i).any(|earlier| earlier == name) {
                self.problems.error(&at, format!("the destination `{name}` is listed twice"));
            }
            if known.contains_key(name) {
                continue;
            }
            let draft = self.problems.at(&at, format!("there is no destination `{name}`"));
            let meant = nearest(name, known.keys().map(String::as_str));
            self.problems.push(match meant {
                Some(meant) => draft.label(format!("did you mean `{meant}`?")),
                None => draft.hint(known_names("destinations", known.keys().map(String::as_str))),
            });
        }
    }

    fn step(&mut self, step: &Step, at: &KeyPath) {
        let known = self.config.plugins.keys().map(String::as_str);
        let known: BTreeSet<&str> = known.chain(SHIPPED).collect();
        let plugins_are_broken = self.problems.is_broken(&KeyPath::root().key("plugins"));
        if !known.contains(step.plugin.as_str()) && !plugins_are_broken {
            let message = format!("there is no plugin `{}`", step.plugin);
            let draft = self.problems.at(&at.key("plugin"), message);
            self.problems.push(match nearest(&step.plugin, known.iter().copied()) {
                Some(meant) => draft.label(format!("did you mean `{meant}`?")),
                None => draft.hint(known_names("plugins", known.iter().copied())),
            });
        }
        let mut missing = false;
        let lookups = step.lookups.iter().map(|(name, path)| (path, at.key("lookups").key(name)));
        let mapping = step.mapping.iter().map(|path| (path, at.key("mapping")));
        for (path, file_at) in mapping.chain(lookups) {
            if let Err(error) = self.inputs.read(path, MAX_LOOKUP_BYTES) {
                self.unreadable(&self.inputs.resolve(path), &error, &file_at);
                missing = true;
            }
        }
        let given = [
            ("mapping", step.mapping.is_some()),
            ("lookups", !step.lookups.is_empty()),
            ("tenant", self.config.aep.tenant.is_some()),
        ];
        for (name, _) in given.iter().filter(|(name, is)| *is && step.settings.contains_key(*name))
        {
            let at = at.key("settings").key(name);
            self.problems.error(&at, format!("xylem gives the plugin `{name}` as well"));
            missing = true;
        }
        if missing {
            return;
        }
        if let Err(error) = step.configuration(self.inputs, self.config.aep.tenant.as_deref()) {
            self.problems.extend(error.problems);
        }
    }
}

/// Kafka's own rule for names of topics.
fn is_topic(name: &str) -> bool {
    let sign = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=249).contains(&name.len()) && name.chars().all(sign) && name != "." && name != ".."
}

fn known_names<'a>(noun: &str, names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    if names.is_empty() {
        format!("there are no {noun}")
    } else {
        format!("{noun}: {}", names.join(", "))
    }
}
