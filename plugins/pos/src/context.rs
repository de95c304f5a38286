//! What the mappings of both formats share: the settings, reading of values, reasons to stop.

use std::{borrow::Cow, cell::RefCell, fmt::Write};

use xylem_kit::{Event, Outcome, Rejection};
use xylem_mapping::{
    Decimal, Entity, Moment, Value,
    date::{Ambiguous, DateError},
    document::Node,
    identity,
};

use crate::settings::{Settings, Totals, Zones};

/// Why a document gives no events.
#[derive(Debug)]
pub(crate) enum Stop {
    /// It holds nothing to send.
    Filter(String),
    /// It can not be mapped.
    Reject(Rejection),
}

impl Stop {
    /// A rejection with the place in the document that it is about.
    pub(crate) fn reject(code: &str, message: impl Into<String>, path: impl Into<String>) -> Self {
        let path = Some(path.into()).filter(|path| !path.is_empty());
        Self::Reject(Rejection { code: code.to_owned(), message: message.into(), path })
    }
}

impl From<Stop> for Outcome {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Filter(reason) => Outcome::Filter(reason),
            Stop::Reject(rejection) => Outcome::Reject(rejection),
        }
    }
}

/// The settings, and what there is to say about a document beside its events.
pub(crate) struct Context {
    /// The settings.
    pub(crate) settings: Settings,
    /// The stores' time zones.
    pub(crate) zones: Zones,
    /// Lines for the log about the document at hand.
    pub(crate) notes: RefCell<Vec<String>>,
}

/// Ids of a customer, as read from a document and not yet checked.
#[derive(Default)]
pub(crate) struct Ids<'n> {
    /// A loyalty membership.
    pub(crate) loyalty: Option<&'n Node>,
    /// A customer number.
    pub(crate) customer: Option<&'n Node>,
    /// An e-mail address.
    pub(crate) email: Option<&'n Node>,
}

impl Context {
    /// Reads the settings.
    pub(crate) fn new(configuration: &str) -> Result<Self, String> {
        let settings = Settings::read(configuration)?;
        let zones = settings.zones()?;
        Ok(Self { settings, zones, notes: RefCell::default() })
    }

    /// An empty event, whose `_tenant` stands for the organisation's namespace.
    pub(crate) fn entity(&self) -> Entity<'_> {
        self.settings.tenant.as_deref().map_or_else(Entity::new, Entity::for_tenant)
    }

    /// Whether fields of the organisation's own can be written. Without a namespace they are not
    /// even read, so that they are reported as lost.
    pub(crate) fn has_tenant(&self) -> bool {
        self.settings.tenant.is_some()
    }

    /// Sets a field below the organisation's namespace from the text of a leaf.
    pub(crate) fn own<'e>(&self, entity: &mut Entity<'e>, path: &'e str, node: Option<&'e Node>) {
        if self.has_tenant() {
            entity.set(path, node.and_then(Node::text));
        }
    }

    /// A moment in a store's local time, or with its own offset.
    pub(crate) fn moment(
        &self,
        node: &Node,
        store: Option<&str>,
        path: &str,
    ) -> Result<Option<Moment>, Stop> {
        let Some(text) = node.text() else { return Ok(None) };
        let zone = self.zones.of(store);
        match Moment::parse(text, zone, Ambiguous::Compatible) {
            Ok(moment) => Ok(Some(moment)),
            Err(DateError::NoOffset) => {
                let store: String = store.unwrap_or("(none)").chars().take(40).collect();
                Err(Stop::reject(
                    "no-time-zone",
                    format!(
                        "the time has no offset from UTC and store `{store}` no time zone: name it \
                         under `time_zones` in the plugin's settings, or set `time_zone` for all"
                    ),
                    path,
                ))
            }
            Err(error) => Err(Stop::reject("bad-time", format!("the text {error}"), path)),
        }
    }

    /// Writes a customer's ids whose namespace the settings name; the first is the primary one.
    /// Placeholders are left out. Gives back whether any was written.
    pub(crate) fn identify<'e>(&'e self, entity: &mut Entity<'e>, ids: &Ids<'e>) -> bool {
        let names = &self.settings.identity;
        let mut map: Vec<(Cow<'e, str>, Value<'e>)> = Vec::new();
        for (namespace, node, is_email) in [
            (&names.loyalty, ids.loyalty, false),
            (&names.customer, ids.customer, false),
            (&names.email, ids.email, true),
        ] {
            let (Some(namespace), Some(node)) = (namespace, node) else { continue };
            let Some(text) = node.peek() else { continue };
            let id = if is_email {
                identity::email(text).ok().flatten()
            } else {
                identity::usable(text).map(str::to_owned)
            };
            let Some(id) = id else {
                node.leave_out();
                continue;
            };
            node.text();
            let mut item = Entity::new();
            item.set("id", id);
            item.set("primary", map.is_empty());
            match map.iter_mut().find(|(name, _)| name == namespace) {
                Some((_, Value::Array(items))) => items.push(item.into()),
                _ => map.push((Cow::Borrowed(namespace), Value::Array(vec![item.into()]))),
            }
        }
        let known = !map.is_empty();
        entity.set("identityMap", Value::Object(map));
        known
    }

    /// An event for a route; one without an identity goes to the route for those, if there is one.
    pub(crate) fn event(&self, entity: Entity<'_>, route: Option<&String>, known: bool) -> Event {
        let anonymous = self.settings.routes.anonymous.as_ref().filter(|_| !known);
        Event { body: entity.into_json(), route: anonymous.or(route).cloned(), operation: None }
    }

    /// Says that parts of a document do not add up, or rejects it, as the settings say.
    pub(crate) fn mismatch(&self, what: &str, path: &str) -> Result<(), Stop> {
        match self.settings.totals {
            Totals::Ignore => Ok(()),
            Totals::Warn => {
                self.notes.borrow_mut().push(format!("{what} ({path})"));
                Ok(())
            }
            Totals::Reject => Err(Stop::reject("totals-differ", what, path)),
        }
    }

    /// A currency code in the form XDM takes.
    pub(crate) fn currency<'n>(
        &'n self,
        node: Option<&'n Node>,
        path: &str,
    ) -> Result<String, Stop> {
        let code = match node.and_then(Node::text) {
            Some(code) => code.to_ascii_uppercase(),
            None => self.settings.currency.clone().ok_or_else(|| {
                Stop::reject(
                    "no-currency",
                    "the document names no currency: set `currency` in the plugin's settings",
                    path,
                )
            })?,
        };
        if code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_uppercase()) {
            Ok(code)
        } else {
            Err(Stop::reject("bad-currency", "the currency is not an ISO 4217 code", path))
        }
    }
}

/// The number of a leaf, without noting it as used; none where the leaf is missing or empty.
pub(crate) fn peek_decimal(node: Option<&Node>, path: &str) -> Result<Option<Decimal>, Stop> {
    let Some(text) = node.and_then(Node::peek) else { return Ok(None) };
    Decimal::parse(text)
        .map(Some)
        .map_err(|error| Stop::reject("bad-number", format!("the text {error}"), path))
}

/// The number of a leaf, noted as used.
pub(crate) fn decimal(node: Option<&Node>, path: &str) -> Result<Option<Decimal>, Stop> {
    let value = peek_decimal(node, path)?;
    if let Some(node) = node {
        node.text();
    }
    Ok(value)
}

/// The sum of amounts.
pub(crate) fn sum(amounts: impl IntoIterator<Item = Decimal>, path: &str) -> Result<Decimal, Stop> {
    amounts
        .into_iter()
        .try_fold(Decimal::ZERO, Decimal::checked_add)
        .ok_or_else(|| Stop::reject("bad-number", "a sum has more than 38 digits", path))
}

/// The difference of two amounts.
pub(crate) fn minus(from: Decimal, amount: Decimal, path: &str) -> Result<Decimal, Stop> {
    sum([from, amount.negated()], path)
}

/// A part of a key, so that keys built of parts joined by `~` are different where the parts are,
/// and are valid URI references: what is not a letter, digit, `-` or `_` becomes `.` and two hex
/// digits.
pub(crate) fn key_part(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
            out.push(char::from(byte));
        } else {
            // Writing to a string can not fail.
            let _ignored = write!(out, ".{byte:02X}");
        }
    }
    out
}

/// XDM's word for a way to pay: one of the list that payments and refunds share. None for a way
/// that the list does not name.
pub(crate) fn payment_type(words: &str) -> Option<&'static str> {
    let words = words.to_ascii_lowercase().replace([' ', '-', '_'], "");
    Some(match words.as_str() {
        "cash" => "cash",
        "credit" | "creditcard" => "credit_card",
        "debit" | "debitcard" => "debit_card",
        "giftcard" | "giftcertificate" | "storedvalue" | "voucher" => "gift_card",
        "check" | "cheque" => "check",
        "paypal" => "paypal",
        "wiretransfer" | "banktransfer" => "wire_transfer",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invariant_9_keys_differ_where_their_parts_do() {
        assert_eq!(key_part("9"), "9");
        assert_eq!(key_part("a.b~c"), "a.2Eb.7Ec");
        assert_eq!(key_part("Köln"), "K.C3.B6ln");
        assert_ne!(key_part("a.7Eb"), key_part("a~b"));
    }

    #[test]
    fn a_placeholder_is_no_identity() {
        let context =
            Context::new(r#"{"identity": {"loyalty": "loyaltyId", "email": "Email"}}"#).unwrap();
        let node = Node::from_json(r#"{"l": "0000", "e": " Ann@Example.com "}"#).unwrap();
        let mut entity = context.entity();
        let ids = Ids { loyalty: node.child("l"), customer: None, email: node.child("e") };
        assert!(context.identify(&mut entity, &ids));
        assert_eq!(
            entity.into_json(),
            r#"{"identityMap":{"Email":[{"id":"ann@example.com","primary":true}]}}"#
        );
    }
}
