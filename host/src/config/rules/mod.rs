//! What must hold beyond the shape: names that exist, values that fit one another, files that are
//! there. Every rule reports and goes on.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use super::Config;
use super::files::ReadError;
use super::inputs::Inputs;
use super::load::MAX_CERTIFICATES;
use super::path::KeyPath;
use super::problem::Problems;
use super::reference::without_user;

mod aep;
mod destinations;
mod kafka;
mod pipelines;

/// A configuration, the files that it names, and what was found.
struct Rules<'a> {
    config: &'a Config,
    inputs: &'a Inputs,
    problems: &'a mut Problems,
}

/// Holds a configuration of the right shape against all rules.
pub(super) fn check(config: &Config, inputs: &Inputs, problems: &mut Problems) {
    let mut rules = Rules { config, inputs, problems };
    rules.kafka();
    rules.aep();
    rules.destinations();
    rules.plugins();
    rules.pipelines();
    rules.machine();
    // With a name misspelt, what it meant is unused: no need to say both.
    if !rules.problems.has_errors() {
        rules.unused();
    }
}

impl Rules<'_> {
    /// An address as a message shows it. Invariant 10: user and password are drawn nowhere.
    fn shown<'t>(&mut self, address: &'t str, at: &KeyPath) -> Cow<'t, str> {
        let shown = without_user(address);
        if matches!(shown, Cow::Owned(_)) {
            self.problems.mask(at);
        }
        shown
    }

    /// Says that an address holds a user or a password.
    fn has_user(&mut self, what: &str, at: &KeyPath) {
        self.problems.mask(at);
        let draft = self.problems.at(at, format!("{what} holds a user or a password"));
        self.problems
            .push(draft.hint("addresses are shown freely; the credential stands under `aep.auth`"));
    }

    /// Limits and the admin listener.
    fn machine(&mut self) {
        let limits = &self.config.limits;
        let at = KeyPath::root().key("limits");
        // A partition's share is an eighth of the budget; a call holds records of one partition.
        if limits.call_bytes > limits.in_flight_bytes / 8 {
            let message = format!(
                "a call of {} bytes never fills: a partition's share of `in_flight_bytes` is {}",
                limits.call_bytes,
                limits.in_flight_bytes / 8
            );
            self.problems.warn(&at.key("call_bytes"), message);
        }
        let admin = KeyPath::root().key("admin");
        let listen = &self.config.admin.listen;
        let host = listen.replacen("localhost:", "127.0.0.1:", 1);
        if host.parse::<std::net::SocketAddr>().is_err() {
            let message = format!("`{listen}` is no address to listen on");
            let draft = self.problems.at(&admin.key("listen"), message);
            self.problems
                .push(draft.hint("`ADDRESS:PORT`: `127.0.0.1:9600`, `0.0.0.0:9600`, `[::1]:9600`"));
        }
        if let Some(token) = &self.config.admin.token {
            let token_at = admin.key("token");
            match token.expose().len() {
                0 => self.problems.error(&token_at, "`admin.token` is empty"),
                1..16 => {
                    self.problems.warn(&token_at, "`admin.token` has fewer than 16 characters");
                }
                _ => {}
            }
        }
    }

    /// Refuses an empty text.
    fn not_empty(&mut self, text: &str, at: &KeyPath) -> bool {
        if text.trim().is_empty() {
            self.problems.error(at, format!("`{at}` is empty"));
        }
        !text.trim().is_empty()
    }

    /// Names go into labels, ids and paths of the admin API.
    fn names<T>(&mut self, section: &str, entries: &BTreeMap<String, T>) {
        for name in entries.keys() {
            let sign = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
            let good = name.starts_with(|c: char| c.is_ascii_alphanumeric())
                && name.chars().all(sign)
                && name.len() <= 64;
            if !good {
                let at = KeyPath::root().key(section).key(name);
                let draft =
                    self.problems.at(&at, format!("{name:?} is no name for one of `{section}`"));
                self.problems.push(
                    draft.hint("letters, digits, `-` and `_`, at most 64, first a letter or digit"),
                );
            }
        }
    }

    /// A file that must be there and hold certificates.
    fn pem_file(&mut self, path: Option<&Path>, at: &KeyPath) {
        let Some(path) = path else { return };
        let full = self.inputs.resolve(path);
        match self.inputs.read_text(path, MAX_CERTIFICATES) {
            Ok(text) if text.contains("-----BEGIN CERTIFICATE-----") => {}
            Ok(_) => {
                let message = format!("`{}` holds no certificate in PEM", full.display());
                self.problems.error(at, message);
            }
            Err(error) => self.unreadable(&full, &error, at),
        }
    }

    fn unreadable(&mut self, full: &Path, error: &ReadError, at: &KeyPath) {
        let message = format!("`{}` cannot be read: {error}", full.display());
        self.problems.error(at, message);
    }
}
