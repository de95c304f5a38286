//! Rules of the section `destinations`.

use url::Url;

use crate::config::path::KeyPath;
use crate::config::reference::has_user;
use crate::config::{Destination, MAX_SCHEMA_BYTES, Mode, SchemaRef};
use crate::stamp::Stamp;

use super::Rules;
use super::aep::is_loopback;

/// Request headers that xylem sends itself.
const OURS: &[(&str, &str)] = &[
    ("authorization", "it comes from `aep.auth`"),
    ("content-type", "it is `application/json`"),
    ("content-length", "it follows from the request"),
    ("content-encoding", "it follows from the request"),
    ("transfer-encoding", "it follows from the request"),
    ("host", "it follows from `inlet`"),
    ("connection", "it follows from the request"),
    ("x-gw-ims-org-id", "it comes from `aep.organisation`"),
    ("x-sandbox-name", "it comes from `aep.sandbox`"),
    ("x-adobe-flow-id", "it comes from `flow`"),
    ("x-api-key", "it comes from `aep.auth.client_id`"),
];

impl Rules<'_> {
    pub(super) fn destinations(&mut self) {
        let config = self.config;
        self.names("destinations", &config.destinations);
        for (name, destination) in &config.destinations {
            let at = KeyPath::root().key("destinations").key(name);
            self.destination(destination, &at);
        }
    }

    fn destination(&mut self, destination: &Destination, at: &KeyPath) {
        self.inlet(destination, &at.key("inlet"));
        self.schema(&destination.schema, &at.key("schema"));
        self.not_empty(destination.dataset.as_str(), &at.key("dataset"));
        match &destination.flow {
            Some(flow) => drop(self.not_empty(flow.as_str(), &at.key("flow"))),
            None if destination.mode == Mode::Raw => {
                let draft = self.problems.at(&at.key("mode"), "`mode: raw` needs `flow`");
                self.problems
                    .push(draft.hint(
                        "`flow` is the id of the dataflow that maps the entities (`flowId`)",
                    ));
            }
            None => {}
        }
        if destination.authenticate == Some(true) && self.config.aep.auth.is_none() {
            let message = "`authenticate: true` needs a credential under `aep.auth`";
            self.problems.error(&at.key("authenticate"), message);
        }
        if let Some(field) = &destination.generation_field
            && let Err(error) = Stamp::new(field, self.config.aep.tenant.as_deref())
        {
            self.problems.error(&at.key("generation_field"), format!("`{field}`: {error}"));
        }
        for (name, value) in &destination.headers {
            self.header(name, value, &at.key("headers").key(name));
        }
    }

    fn inlet(&mut self, destination: &Destination, at: &KeyPath) {
        let inlet = destination.inlet.as_str();
        let url = Url::parse(inlet).ok().filter(|url| matches!(url.scheme(), "https" | "http"));
        let url = url.filter(|url| {
            let path = url.path();
            let id = path.strip_prefix("/collection/").or_else(|| {
                path.find("/collection/").and_then(|start| path.get(start + "/collection/".len()..))
            });
            let id = id.map(|id| id.strip_prefix("batch/").unwrap_or(id).trim_end_matches('/'));
            id.is_some_and(|id| !id.is_empty() && id != "batch" && !id.contains('/'))
        });
        let Some(url) = url else {
            let message = format!("`{}` is not the URL of an inlet", self.shown(inlet, at));
            let draft = self.problems.at(at, message);
            self.problems.push(draft.hint(
                "the streaming connection in AEP shows it: `https://dcs.adobedc.net/collection/ID`",
            ));
            return;
        };
        if has_user(&url) {
            self.has_user("the inlet", at);
        } else if url.scheme() == "http" && !is_loopback(&url) {
            self.problems.warn(at, "the inlet is not https: events travel in the clear");
        }
    }

    fn schema(&mut self, schema: &SchemaRef, at: &KeyPath) {
        let id = schema.id.as_str();
        if !id.starts_with("https://") {
            let hint = if id.contains(".schemas.") {
                "this looks like `meta:altId`; the `$id` is wanted: `https://ns.adobe.com/TENANT/schemas/ID`"
            } else {
                "the schema's `$id` is wanted: `https://ns.adobe.com/TENANT/schemas/ID`"
            };
            let draft = self.problems.at(&at.key("id"), format!("`{id}` is no schema id"));
            self.problems.push(draft.hint(hint));
        }
        let version = &schema.version;
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !version.split('.').all(digits) {
            let draft = self.problems.at(&at.key("version"), format!("`{version}` is no version"));
            self.problems.push(draft.hint("the major version is wanted: `\"1\"`"));
        }
        if let Err(error) = self.inputs.read(&schema.file, MAX_SCHEMA_BYTES) {
            self.unreadable(&self.inputs.resolve(&schema.file), &error, &at.key("file"));
        }
    }

    fn header(&mut self, name: &str, value: &str, at: &KeyPath) {
        let ours = OURS.iter().find(|(header, _)| name.eq_ignore_ascii_case(header));
        if let Some((_, reason)) = ours {
            // Invariant 10: somebody may have put a token here.
            self.problems.mask(at);
            let draft = self.problems.at(at, format!("the header `{name}` is xylem's own"));
            self.problems.push(draft.hint(*reason));
        } else if !is_header_name(name) {
            self.problems.error(at, format!("{name:?} is no name of a header"));
        } else if value.chars().any(char::is_control) {
            self.problems
                .error(at, format!("the value of `{name}` is none that a header can have"));
        }
    }
}

/// A token of RFC 9110, 5.6.2.
fn is_header_name(name: &str) -> bool {
    !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c))
}
