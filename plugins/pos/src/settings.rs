//! What a pipeline tells the plugin: what the documents do not say themselves.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use serde::Deserialize;
use xylem_mapping::conserve::Unmapped;

/// The settings as they stand in the configuration.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    /// Which format the documents have.
    pub(crate) format: Format,
    /// The tenant's namespace, such as `_acme`.
    pub(crate) tenant: Option<String>,
    /// The IANA time zone of stores that `time_zones` does not name.
    time_zone: Option<String>,
    /// The IANA time zone of each store.
    time_zones: BTreeMap<String, String>,
    /// The currency of documents that name none.
    pub(crate) currency: Option<String>,
    /// The identity namespaces of the customer's ids.
    pub(crate) identity: Identity,
    /// Destinations for events that are not sales.
    pub(crate) routes: Routes,
    /// `channel._id` of in-store events: XDM defines the type but leaves the channel to the
    /// organisation.
    pub(crate) channel: Option<String>,
    /// The unit of weighed goods where the document gives none, such as `KGM` or `LBR`.
    pub(crate) weight_unit: Option<String>,
    /// Whether a line's `ExtendedAmount` has its discount taken off.
    pub(crate) extended_amount: ExtendedAmount,
    /// What to do about fields that the mapping does not know.
    pub(crate) unmapped: Unmapped,
    /// What to do about documents whose lines, taxes and payments do not add up.
    pub(crate) totals: Totals,
}

/// Which format documents have.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// Told from each document.
    #[default]
    Auto,
    /// POSLog XML.
    Poslog,
    /// Shopify's JSON.
    Shopify,
}

/// Identity namespaces by kind of id; an id without one is not written to `identityMap`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Identity {
    /// Of loyalty memberships.
    pub(crate) loyalty: Option<String>,
    /// Of the shop's or the register's customer ids.
    pub(crate) customer: Option<String>,
    /// Of e-mail addresses (`Email` in AEP).
    pub(crate) email: Option<String>,
}

/// Destinations by kind of event; an event without one goes to the pipeline's first destination.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Routes {
    /// Returns and refunds.
    pub(crate) refunds: Option<String>,
    /// Cancelled and voided sales.
    pub(crate) cancellations: Option<String>,
    /// Customers of the Individual Profile class; without it no such event is made.
    pub(crate) profiles: Option<String>,
    /// Events of any kind without an identity.
    pub(crate) anonymous: Option<String>,
}

/// Whether `ExtendedAmount` is net of the line's own discount.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ExtendedAmount {
    /// It is: NCR ACS, SAP.
    #[default]
    Net,
    /// It is not: NCR R10 (Retalix). `ExtendedDiscountAmount` is taken off.
    Gross,
}

/// What to do about a document whose parts do not add up.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Totals {
    /// Nothing.
    Ignore,
    /// A line in the log. Real registers break their own sums, so it is the default.
    #[default]
    Warn,
    /// The record is rejected.
    Reject,
}

/// The stores' time zones, looked up once.
#[derive(Debug)]
pub(crate) struct Zones {
    /// Of stores not named.
    default: Option<TimeZone>,
    /// By store.
    stores: BTreeMap<String, TimeZone>,
}

impl Zones {
    /// The time zone of a store, if the settings give one.
    pub(crate) fn of(&self, store: Option<&str>) -> Option<&TimeZone> {
        store.and_then(|store| self.stores.get(store)).or(self.default.as_ref())
    }
}

impl Settings {
    /// Reads the settings; an error says which of them is wrong and what is expected.
    pub(crate) fn read(configuration: &str) -> Result<Self, String> {
        let settings: Self = serde_json::from_str(configuration)
            .map_err(|error| format!("settings of the pos plugin: {error}"))?;
        if let Some(tenant) = &settings.tenant {
            check_tenant(tenant)?;
        }
        if let Some(currency) = &settings.currency {
            check_currency(currency)?;
        }
        Ok(settings)
    }

    /// The time zones by store.
    pub(crate) fn zones(&self) -> Result<Zones, String> {
        let get = |setting: &str, name: &str| {
            TimeZone::get(name).map_err(|_| {
                format!(
                    "`{setting}` is `{name}`, which is no IANA time zone (such as `Europe/Berlin`)"
                )
            })
        };
        let default = self.time_zone.as_deref().map(|name| get("time_zone", name)).transpose()?;
        let stores = self
            .time_zones
            .iter()
            .map(|(store, name)| Ok((store.clone(), get(&format!("time_zones.{store}"), name)?)))
            .collect::<Result<_, String>>()?;
        Ok(Zones { default, stores })
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

/// XDM takes three capital letters.
fn check_currency(currency: &str) -> Result<(), String> {
    if currency.len() != 3 || !currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return Err(format!("`currency` is `{currency}`; expected an ISO 4217 code such as `EUR`"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_settings_are_named() {
        for (settings, expected) in [
            (r#"{"time_zome": "UTC"}"#, "time_zome"),
            (r#"{"format": "tlog"}"#, "tlog"),
            (r#"{"tenant": "acme"}"#, "`tenant` is `acme`"),
            (r#"{"currency": "eur"}"#, "`currency` is `eur`"),
            ("7", "settings of the pos plugin"),
        ] {
            let error = Settings::read(settings).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        let settings = Settings::read(r#"{"time_zones": {"9": "America/Seatle"}}"#).unwrap();
        assert!(settings.zones().unwrap_err().contains("`time_zones.9` is `America/Seatle`"));
    }
}
