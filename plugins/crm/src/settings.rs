//! What a pipeline tells the plugin: what the documents do not say themselves.

use std::collections::BTreeMap;

use encoding_rs::Encoding;
use jiff::tz::TimeZone;
use serde::Deserialize;
use xylem_mapping::{conserve::Unmapped, date, decode};

use crate::entity::Kind;

/// The settings as they stand in the configuration.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// The id of the Salesforce organisation, which makes its records' keys unique.
    pub(crate) org: String,
    /// Which form the documents have.
    #[serde(default)]
    pub(crate) format: Format,
    /// The tenant's namespace, such as `_acme`.
    #[serde(default)]
    pub(crate) tenant: Option<String>,
    /// What rows are that do not say it by their ids or columns.
    #[serde(default)]
    pub(crate) entity: Option<Kind>,
    /// The columns of rows that come without a header: a record is one row then.
    #[serde(default)]
    pub(crate) columns: Vec<String>,
    /// Salesforce's names of columns that are called otherwise, as in Data Loader's `.sdl` files.
    #[serde(default)]
    pub(crate) fields: BTreeMap<String, String>,
    /// What stands between two cells; by default what the header has: a comma, semicolon, tab, bar
    /// or exclamation mark.
    #[serde(default)]
    separator: Option<String>,
    /// The encoding of bytes without a byte order mark.
    #[serde(default)]
    encoding: Option<String>,
    /// The IANA time zone of times without an offset.
    #[serde(default)]
    time_zone: Option<String>,
    /// How dates with slashes are meant.
    #[serde(default)]
    pub(crate) slash_dates: Option<SlashDates>,
    /// The identity namespaces.
    #[serde(default)]
    pub(crate) identity: Identity,
    /// Destinations by entity.
    #[serde(default)]
    pub(crate) routes: Routes,
    /// How a change of some fields is sent.
    #[serde(default)]
    pub(crate) partial: Partial,
    /// What becomes of fields that were cleared.
    #[serde(default)]
    pub(crate) nulls: Nulls,
    /// What to do about fields that the mapping does not know and that no tenant takes in.
    #[serde(default)]
    pub(crate) unmapped: Unmapped,
}

/// Which form documents have.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// Told from each document: JSON is a change event, the rest rows.
    #[default]
    Auto,
    /// Change Data Capture.
    Cdc,
    /// Rows of Data Loader.
    Rows,
}

/// The order of day and month in `07/15/2009`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SlashDates {
    /// The month first.
    Us,
    /// The day first.
    European,
}

/// Identity namespaces by kind of id; an id without one is not written to `identityMap`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Identity {
    /// Of the source key of contacts and leads (`b2b_person` in AEP).
    pub(crate) person: Option<String>,
    /// Of e-mail addresses (`Email` in AEP).
    pub(crate) email: Option<String>,
}

/// Destinations by entity; an event without one goes to the pipeline's first destination.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Routes {
    /// Of contacts.
    pub(crate) contacts: Option<String>,
    /// Of leads.
    pub(crate) leads: Option<String>,
    /// Of accounts.
    pub(crate) accounts: Option<String>,
    /// Of opportunities.
    pub(crate) opportunities: Option<String>,
}

/// How a change of some fields of a record is sent.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Partial {
    /// As a record of what is known, for destinations in `xdm` mode, which have no other way. A
    /// profile store that replaces records loses what was not mentioned.
    #[default]
    Create,
    /// As an update, for destinations in `raw` mode.
    Update,
}

/// What becomes of fields that were cleared.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Nulls {
    /// Their names are listed below the tenant's namespace. AEP refuses nulls.
    #[default]
    List,
    /// They are written as null, for flows in `raw` mode that map null to "unset".
    Unset,
}

/// What is worked out from the settings once.
#[derive(Debug)]
pub(crate) struct Derived {
    /// The time zone of times without an offset.
    pub(crate) zone: Option<TimeZone>,
    /// What stands between two cells, if the settings say it.
    pub(crate) separator: Option<u8>,
    /// The encoding of bytes without a byte order mark.
    pub(crate) encoding: &'static Encoding,
    /// Salesforce's names by column, in lower case.
    pub(crate) fields: BTreeMap<String, String>,
}

impl Settings {
    /// Reads the settings; an error says which of them is wrong and what is expected.
    pub(crate) fn read(configuration: &str) -> Result<(Self, Derived), String> {
        let settings: Self = serde_json::from_str(configuration)
            .map_err(|error| format!("settings of the crm plugin: {error}"))?;
        if settings.org.trim().is_empty() {
            return Err("`org` is empty; expected the id of the Salesforce organisation".to_owned());
        }
        if let Some(tenant) = &settings.tenant {
            check_tenant(tenant)?;
        }
        if settings.nulls == Nulls::Unset && settings.partial != Partial::Update {
            return Err(
                "`nulls: unset` needs `partial: update`: AEP refuses nulls elsewhere".to_owned()
            );
        }
        let zone = settings.time_zone.as_deref().map(date::zone).transpose();
        let zone = zone.map_err(|error| format!("`time_zone`: {error}"))?;
        let separator = settings.separator.as_deref().map(separator).transpose()?;
        let encoding = settings.encoding.as_deref().map(decode::encoding).transpose();
        let encoding = encoding.map_err(|error| format!("`encoding`: {error}"))?;
        let fields = settings
            .fields
            .iter()
            .map(|(column, field)| (column.to_ascii_lowercase(), field.clone()))
            .collect();
        let encoding = encoding.unwrap_or(encoding_rs::UTF_8);
        Ok((settings, Derived { zone, separator, encoding, fields }))
    }
}

/// A tenant's namespace begins with an underscore, its fields do not.
fn check_tenant(tenant: &str) -> Result<(), String> {
    let name = tenant.strip_prefix('_').unwrap_or_default();
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(format!("`tenant` is `{tenant}`; expected a namespace such as `_acme`"));
    }
    Ok(())
}

/// One character of ASCII, or `tab`.
fn separator(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        [byte] if byte.is_ascii() && *byte != b'"' => Ok(*byte),
        b"tab" | b"\\t" => Ok(b'\t'),
        _ => Err(format!("`separator` is `{text}`; expected one character such as `;`, or `tab`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_settings_are_named() {
        for (settings, expected) in [
            ("{}", "missing field `org`"),
            (r#"{"org": " "}"#, "`org` is empty"),
            (r#"{"org": "00D", "orgs": 1}"#, "orgs"),
            (r#"{"org": "00D", "entity": "Case"}"#, "Case"),
            (r#"{"org": "00D", "tenant": "acme"}"#, "`tenant` is `acme`"),
            (r#"{"org": "00D", "separator": ",,"}"#, "`separator` is `,,`"),
            (r#"{"org": "00D", "time_zone": "Mars"}"#, "`time_zone`: `Mars`"),
            (r#"{"org": "00D", "encoding": "ebcdic"}"#, "`encoding`: `ebcdic`"),
            (r#"{"org": "00D", "nulls": "unset"}"#, "needs `partial: update`"),
        ] {
            let error = Settings::read(settings).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
