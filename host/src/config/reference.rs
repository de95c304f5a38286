//! Values that may refer to the environment or to a file: addresses and secrets.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};
use url::Url;

use super::files::ReadError;
use super::inputs::Inputs;
use super::nearest::nearest;

/// The most bytes that a file named in a reference may hold; a private key has three kilobytes.
const MAX_BYTES: u64 = 64 * 1024;

/// A text that may contain `${NAME}` and `${file:PATH}`; shown freely.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Address(String);

impl Address {
    /// A text without references.
    pub fn literal(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, references resolved.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

impl JsonSchema for Address {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Address".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", REFERENCES: "address" })
    }
}

/// An address as it may be shown. Invariant 10: whatever may be a user or a password is left out,
/// also where the address is none.
pub(crate) fn without_user(address: &str) -> Cow<'_, str> {
    let Some((before, rest)) = address.rsplit_once('@') else { return Cow::Borrowed(address) };
    let scheme = before.split_once("://").map(|(scheme, _)| format!("{scheme}://"));
    Cow::Owned(format!("{}***@{rest}", scheme.unwrap_or_default()))
}

/// Whether a URL holds a user or a password.
pub(crate) fn has_user(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

/// A text that may contain references and is never shown.
///
/// Invariant 10: it has no `Display`, its `Debug` prints `***`, and only [`Secret::expose`] reads it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A secret without references.
    pub fn literal(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

impl JsonSchema for Secret {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", REFERENCES: "secret" })
    }
}

/// The keyword of the JSON Schema that says where references are read.
pub(crate) const REFERENCES: &str = "x-references";

/// Resolves references.
pub(super) struct Resolver<'a> {
    inputs: &'a Inputs,
    environment: &'a BTreeMap<String, OsString>,
}

/// Why a reference can not be resolved. Invariant 10: names and paths, never contents.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReferenceError {
    #[error("`${{` has no closing `}}`")]
    Unclosed,
    #[error("`${{{0}}}` is no reference")]
    Malformed(String),
    #[error("the environment has no variable `{name}`")]
    Unset { name: String, nearest: Option<String> },
    #[error("the variable `{0}` is not UTF-8")]
    NotUtf8(String),
    #[error("`${{file:{path}}}` cannot be read: {source}")]
    File { path: String, source: ReadError },
}

impl ReferenceError {
    /// The same error without what may be a piece of a secret that happens to hold `${`. Invariant
    /// 10: only what is written as variables are is taken for the name of one.
    pub(super) fn of_secret(self) -> Self {
        let hidden = || "…".to_owned();
        match self {
            Self::Malformed(_) => Self::Malformed(hidden()),
            Self::Unset { name, .. } if !is_upper_name(&name) => {
                Self::Unset { name: hidden(), nearest: None }
            }
            other => other,
        }
    }

    pub(super) fn hint(&self) -> Option<String> {
        match self {
            Self::Unclosed => Some("a literal `${` is written `$${`".to_owned()),
            Self::Malformed(_) => Some(
                "references are `${NAME}` (letters, digits, underscores) and `${file:PATH}`; \
                 there are no defaults"
                    .to_owned(),
            ),
            Self::Unset { nearest: Some(nearest), .. } => Some(format!("it has `{nearest}`")),
            Self::File { .. } => {
                Some("paths are relative to the folder of the configuration file".to_owned())
            }
            Self::Unset { .. } | Self::NotUtf8(_) => None,
        }
    }
}

impl<'a> Resolver<'a> {
    pub(super) fn new(inputs: &'a Inputs, environment: &'a BTreeMap<String, OsString>) -> Self {
        Self { inputs, environment }
    }

    /// The text with its references replaced by what they refer to; `$${` becomes `${`.
    pub(super) fn resolve(&self, text: &str) -> Result<String, ReferenceError> {
        let mut resolved = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            if let Some(before) = before.strip_suffix('$') {
                resolved.push_str(before);
                resolved.push_str("${");
                rest = after;
                continue;
            }
            let (name, after) = after.split_once('}').ok_or(ReferenceError::Unclosed)?;
            resolved.push_str(before);
            resolved.push_str(&match name.strip_prefix("file:") {
                Some(path) => self.file(path)?,
                None => self.variable(name)?,
            });
            rest = after;
        }
        resolved.push_str(rest);
        Ok(resolved)
    }

    fn variable(&self, name: &str) -> Result<String, ReferenceError> {
        if !is_name(name) {
            return Err(ReferenceError::Malformed(name.to_owned()));
        }
        let Some(value) = self.environment.get(name) else {
            let nearest = nearest(name, self.environment.keys().map(String::as_str));
            let nearest = nearest.map(str::to_owned);
            return Err(ReferenceError::Unset { name: name.to_owned(), nearest });
        };
        value.to_str().map(str::to_owned).ok_or_else(|| ReferenceError::NotUtf8(name.to_owned()))
    }

    fn file(&self, path: &str) -> Result<String, ReferenceError> {
        let text = self
            .inputs
            .read_text(path, MAX_BYTES)
            .map_err(|source| ReferenceError::File { path: path.to_owned(), source })?;
        // Editors and `echo` end a file with a line break that nobody means.
        let text = text.strip_suffix('\n').unwrap_or(&text);
        Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
    }
}

/// The first thing in a text that looks like a reference, for places where none is read.
pub(super) fn looks_like_reference(text: &str) -> Option<&str> {
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let from_here = rest.get(start..)?;
        let end = from_here.find('}')?;
        let name = from_here.get(2..end)?;
        let upper = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        if name.starts_with("file:") || (!name.is_empty() && name.chars().all(upper)) {
            return from_here.get(..=end);
        }
        rest = from_here.get(2..)?;
    }
    None
}

fn is_upper_name(name: &str) -> bool {
    is_name(name) && !name.contains(|c: char| c.is_ascii_lowercase())
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_resolved() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("pw"), "s3cret\r\n").unwrap();
        let environment = BTreeMap::from([("HOST".to_owned(), OsString::from("kafka"))]);
        let inputs = Inputs::new(dir.path());
        let resolver = Resolver::new(&inputs, &environment);
        assert_eq!(
            resolver.resolve("${HOST}:9092,${HOST}-2:9092").unwrap(),
            "kafka:9092,kafka-2:9092"
        );
        assert_eq!(resolver.resolve("${file:pw}").unwrap(), "s3cret");
        assert_eq!(resolver.resolve("a$${HOST}b$c").unwrap(), "a${HOST}b$c");
        assert_eq!(inputs.fingerprint().paths().count(), 1);
        for bad in ["${HOST", "${}", "${HOST:-x}", "${HOSTS}", "${file:none}", "${file:.}"] {
            assert!(resolver.resolve(bad).is_err(), "{bad}");
        }
        assert_eq!(resolver.resolve("${HOSTS}").unwrap_err().hint().unwrap(), "it has `HOST`");
    }

    #[test]
    fn invariant_10_a_secret_is_not_shown() {
        assert_eq!(format!("{:?}", Secret::literal("s3cret")), "***");
    }

    #[test]
    fn invariant_10_a_piece_of_a_secret_is_not_shown() {
        let environment = BTreeMap::new();
        let inputs = Inputs::new(".");
        let resolver = Resolver::new(&inputs, &environment);
        let words = |text| {
            let error = resolver.resolve(text).unwrap_err().of_secret();
            format!("{error} {}", error.hint().unwrap_or_default())
        };
        for text in ["ab${c!d}e", "ab${cd}e", "ab${c-d}e", "ab${cde"] {
            assert!(!words(text).contains("cd") && !words(text).contains("c!d"), "{}", words(text));
        }
        assert!(words("${CLIENT_SECRET}").contains("`CLIENT_SECRET`"));
    }

    #[test]
    fn invariant_10_an_address_is_shown_without_user_and_password() {
        for (address, shown) in [
            ("https://h:1/collection/a", "https://h:1/collection/a"),
            ("https://me:geheim@h/a", "https://***@h/a"),
            ("https://me@h/a", "https://***@h/a"),
            ("https://me:ge/he@im@h/a", "https://***@h/a"),
            ("me:geheim@h:9092", "***@h:9092"),
            ("https:/me:geheim@h", "***@h"),
        ] {
            assert_eq!(without_user(address), shown);
        }
    }

    #[test]
    fn templates_of_others_are_no_references() {
        assert_eq!(looks_like_reference("x ${orderId} ${"), None);
        assert_eq!(looks_like_reference("x ${a} ${DB_PASSWORD}!"), Some("${DB_PASSWORD}"));
        assert_eq!(looks_like_reference("${file:a b}"), Some("${file:a b}"));
    }
}
